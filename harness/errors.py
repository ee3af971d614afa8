"""Errors a user can correct, and the reasons a run can fail for.

BenchError                 anything the command line reports as one message, exit code 2
├── SuiteError             a suite or recipe file, or an override of it
├── UnknownName            a model, data set, suite or metric that does not exist
├── DataError              images or masks missing, corrupt or mismatched
├── WeightsError           pretrained weights that cannot be had
├── PluginError            a part from outside the project: a model file, an installed package
├── DatabaseError          a results database that cannot be opened or written
│   └── DatabaseBusy       one that is locked, or whose server is away: the same may work later
├── ArtifactsError         a place of checkpoints and label maps that cannot be read or written
└── ClusterError           a Ray cluster that cannot be reached
RunFailure                 a task that ended badly; becomes a row, never a crash
├── Diverged               the loss or the weights are no longer finite
└── BadModel               a network that breaks the model contract
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """A mistake a user can correct: says what was wrong, where, and what to do.

    Args:
        message: what was wrong, and where.
        hint: what to do about it; printed on a line of its own.
    """

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"

    def __reduce__(self) -> tuple[type[BenchError], tuple[str | None, ...]]:
        return type(self), (self.message, self.hint)


class SuiteError(BenchError):
    """A suite or recipe file, or an override of it, that cannot be used."""


class UnknownName(BenchError):
    """A name that does not exist, with the nearest that does."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str], listing: str) -> UnknownName:
        """Say that `name` is no `kind`, suggest the nearest, and name the command that lists them."""
        names = sorted(known)
        lowered = {n.lower(): n for n in names}
        close = difflib.get_close_matches(name.lower(), list(lowered), n=3, cutoff=0.5)
        guess = f" Did you mean {' or '.join(repr(lowered[c]) for c in close)}?" if close else ""
        return cls(f"There is no {kind} named {name!r}.{guess}", f"`{listing}` lists what there is.")


class DataError(BenchError):
    """Images or masks that are missing, corrupt or do not match.

    Args:
        message: what was wrong, and where.
        hint: what to do about it.
        kind: the short name `bench check-data` lists it under, such as `missing` or `unknown label`.
    """

    def __init__(self, message: str, hint: str | None = None, kind: str = "unreadable") -> None:
        super().__init__(message, hint)
        self.kind = kind

    def __reduce__(self) -> tuple[type[BenchError], tuple[str | None, ...]]:
        return type(self), (self.message, self.hint, self.kind)


class WeightsError(BenchError):
    """Pretrained weights that are neither here nor to be fetched."""


class PluginError(BenchError):
    """A part from outside the project (a model file, an installed package) that cannot be used."""


class DatabaseError(BenchError):
    """A results database that cannot be opened, read or written."""


def other_version(part: str, found: object, reads: int) -> str:
    """What messages say of stored results of another version: what was found, and what this version reads."""
    return f"has {part} {found}, this version of segbench reads {part} {reads}"


class DatabaseBusy(DatabaseError):
    """A results database that is locked, or whose server cannot be reached now."""


class ArtifactsError(BenchError):
    """A place of checkpoints and label maps that cannot be read or written."""


class ClusterError(BenchError):
    """A Ray cluster that cannot be reached."""


class RunFailure(Exception):
    """A task that ended badly; recorded as a row with its reason."""


class Diverged(RunFailure):
    """The loss or the weights are no longer finite."""


class BadModel(RunFailure):
    """A network that breaks the model contract (wrong type, shape or number of classes)."""
