"""From a suite to finished rows: the plan, the driver, and two ways to run: Ray Tune, or one after another."""

from harness.runner.driver import Driver, Outcome
from harness.runner.plan import Plan, make_plan
from harness.runner.suite_run import RunOptions
from harness.runner.watcher import Watcher

__all__ = ["Driver", "Outcome", "Plan", "RunOptions", "Watcher", "make_plan"]
