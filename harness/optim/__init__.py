"""Optimizers and learning-rate schedules."""

from harness.optim.build import build_optimizer
from harness.optim.learning_rate import learning_rate_factor, set_learning_rate
from harness.optim.optimizers import OPTIMIZERS, Optimizer
from harness.optim.schedules import SCHEDULES, Schedule

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "Optimizer",
    "Schedule",
    "build_optimizer",
    "learning_rate_factor",
    "set_learning_rate",
]
