"""What an evaluation counts apart from its scores: missed classes, and classes without a figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from harness.metrics.metric import split_metric
from harness.results import Store
from harness.results.schema import Evaluation
from leaderboard.queries.sound import parsed, raw, reading

_AT_ONCE = 500
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
    found: dict[int, Counts] = {}
    ids = sorted(set(run_ids))
    with reading(store) as session:
        for start in range(0, len(ids), _AT_ONCE):
            query = select(raw(Evaluation.run_id), raw(Evaluation.details)).where(
                Evaluation.run_id.in_(ids[start : start + _AT_ONCE]),
                Evaluation.split == "test",
                Evaluation.protocol_hash == protocol_hash,
            )
            for run, details in session.execute(query):
                counted = _counts(details)
                if counted is not None:
                    found[int(run)] = counted
    return found


def _counts(details: Any) -> Counts | None:
    try:
        kept = parsed(details)
    except ValueError:
        return None
    if not isinstance(kept, dict):
        return None
    undefined = kept.get("undefined")
    return Counts(
        _sum(kept.get("missed")),
        _sum(kept.get("spurious")),
        {str(k): v for k, v in undefined.items() if isinstance(v, int)} if isinstance(undefined, dict) else {},
    )


def _sum(values: Any) -> int:
    return sum(v for v in values if isinstance(v, int)) if isinstance(values, list) else 0
