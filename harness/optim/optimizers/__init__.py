"""Optimizers. To add one, write a module here that registers it."""

from harness.optim.optimizers.base import OPTIMIZERS, Optimizer

__all__ = ["OPTIMIZERS", "Optimizer"]
