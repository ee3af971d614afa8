"""What the process of a task tells its driver: a closed set, the last of which is the result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from harness.tasks.result import Result


@dataclass(frozen=True)
class Stage:
    """What the process does now, in a few words."""

    text: str


@dataclass(frozen=True)
class EpochDone:
    """An epoch has ended."""

    epoch: int
    """Counted from 1."""
    epochs: int
    """Of the whole training."""
    figures: dict[str, float | None]
    """Learning rate, losses, seconds; where the epoch was validated its scores, under `val_NAME`."""


@dataclass(frozen=True)
class SharedResult:
    """The result of a shorter job whose training is part of this one."""

    result: Result


@dataclass(frozen=True)
class CheckDone:
    """A check of a network is done."""

    name: str
    """What was tried, in plain words."""
    state: Literal["ok", "note", "failed"]
    said: str
    """What came of it, in a line."""
    todo: str
    """What to do about it; empty where it is in order."""


Message = Stage | EpochDone | SharedResult | CheckDone | Result
Emit = Callable[[Message], None]
