"""What a driver hands to a task's process."""

from __future__ import annotations

from dataclasses import dataclass

from harness.tasks.task import Task


@dataclass(frozen=True)
class Order:
    """What a driver sends first: the task, and what a network may see of the environment."""

    task: Task
    scratch: str
    environment: dict[str, str]
