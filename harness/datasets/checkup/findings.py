"""What a checkup finds, and how it tells of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Findings of a kind that are named one by one.
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or strange."""

    kind: str
    """A fixed short name, such as `missing`."""
    message: str
    """One line: where, and what."""
    severity: str = "error"
    """`error`: a run on this copy stops before training. `warning`: look at it."""


def some(names: Iterable[str]) -> str:
    """The first names of many, in a line."""
    known = list(names)
    return ", ".join(known[:SHOWN]) + (", …" if len(known) > SHOWN else "")
