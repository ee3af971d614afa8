"""What a merge has done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Merged:
    """What a merge did."""

    number: int | None = None
    """Of the merge, by which it can be undone; None where it changed nothing."""
    added: int = 0
    same: int = 0
    replaced: int = 0
    """Runs that had failed or were not done here, and were done there."""
    scored: int = 0
    """Evaluations under a protocol that a run of both had only there."""
    entered: int = 0
    """Runs that became part of a suite."""
    unfinished: int = 0
    """Runs that were not done there, either, or are being trained here now; left out."""
    without_label_maps: int = 0
    """Runs that came without their label maps, because these are not beside the other database."""
    conflicts: list[str] = field(default_factory=list)
    """What contradicts this database, a line each; this database's was kept."""
    refused: list[str] = field(default_factory=list)
    """Runs that are not sound, and why, a line each."""
    unknown_metrics: list[str] = field(default_factory=list)
    """Metrics that are not installed here, whose figures were left out."""

    @property
    def changed(self) -> bool:
        """Whether anything was taken over."""
        return bool(self.added or self.replaced or self.scored or self.entered)

    def counts(self) -> dict[str, Any]:
        """How often, as the database keeps it."""
        names = ("added", "replaced", "same", "scored", "entered", "unfinished", "without_label_maps")
        told = {name: getattr(self, name) for name in names}
        return told | {"conflicts": len(self.conflicts), "refused": len(self.refused)}
