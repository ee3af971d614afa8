"""What a run tells whoever watches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.tasks.messages import EpochDone, Stage
from harness.tasks.result import Result
from harness.tasks.task import Task

if TYPE_CHECKING:
    from harness.runner.plan import Plan


class Watcher:
    """Told of everything that happens, and does nothing; override what you want to see.

    All methods are called in the thread of `harness.run`.
    """

    def say(self, line: str) -> None:
        """Something worth a line: a download, a search, a warning."""

    def progress(self, what: str, done: int, total: int) -> None:
        """How far something is that counts files."""

    def begins(self, plan: Plan, database: str) -> None:
        """The tasks of a plan begin; results go to a database."""

    def started(self, task: Task) -> None:
        """A task has begun."""

    def message(self, task: Task, message: Stage | EpochDone) -> None:
        """What a task does now, or an epoch with its figures."""

    def finished(self, task: Task, result: Result) -> None:
        """A task has ended, and its result is in the database."""

    def ends(self) -> None:
        """No task runs any more; called however the run ended, after `begins`."""
