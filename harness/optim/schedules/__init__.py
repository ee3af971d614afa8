"""Learning-rate schedules. To add one, write a module here that registers it."""

from harness.optim.schedules.base import SCHEDULES, Schedule

__all__ = ["SCHEDULES", "Schedule"]
