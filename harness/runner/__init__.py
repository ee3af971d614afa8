"""From jobs to finished rows: the plan, the driver, and two ways to run: Ray Tune, or one after another."""

from harness.runner.driver import Driver, Outcome, Watcher, Work
from harness.runner.plan import Plan, make_plan

__all__ = ["Driver", "Outcome", "Plan", "Watcher", "Work", "make_plan"]
