"""What an evaluation counts apart from its scores: missed classes, and classes without a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.metrics.metric import split_metric
from harness.results import Store
from leaderboard.queries.details import load_details

# The figure over classes stands under its own name: the mean of these.
_OF_CLASSES = {"miou": "iou", "mpa": "accuracy", "fwiou": "iou", "pa": "accuracy"}


@dataclass(frozen=True)
class Counts:
    """Of one run's scored images."""

    missed: int
    """Times that an image holds a class and its label map does not."""
    spurious: int
    """The reverse."""
    undefined: Mapping[str, int]
    """Metric of a class -> how many classes have no figure."""

    def undefined_of(self, metric: str) -> int:
        """How many classes have no figure of a metric."""
        name = split_metric(metric)[0]
        return self.undefined.get(name, self.undefined.get(_OF_CLASSES.get(name, ""), 0))


def load_counts(store: Store, run_ids: Sequence[int], protocol_hash: str) -> dict[int, Counts]:
    """The counts of runs under a protocol; a run whose counts cannot be read is left out."""
    details = load_details(store, run_ids, protocol_hash)
    return {run: _counts(kept) for run, kept in details.items()}


def _counts(kept: Mapping[str, Any]) -> Counts:
    undefined = kept.get("undefined")
    return Counts(
        _sum(kept.get("missed")),
        _sum(kept.get("spurious")),
        {str(k): v for k, v in undefined.items() if isinstance(v, int)} if isinstance(undefined, dict) else {},
    )


def _sum(values: Any) -> int:
    return sum(v for v in values if isinstance(v, int)) if isinstance(values, list) else 0
