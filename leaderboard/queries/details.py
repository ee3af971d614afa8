"""What an evaluation keeps besides its scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from harness.results import Store
from harness.results.schema import Evaluation
from leaderboard.queries.sound import parsed, raw, reading

_AT_ONCE = 500


def load_details(store: Store, run_ids: Sequence[int], protocol_hash: str) -> dict[int, dict[str, Any]]:
    """The details of the scored test images of runs under a protocol; those that cannot be read are left out."""
    found: dict[int, dict[str, Any]] = {}
    ids = sorted(set(run_ids))
    with reading(store) as session:
        for start in range(0, len(ids), _AT_ONCE):
            query = select(raw(Evaluation.run_id), raw(Evaluation.details)).where(
                Evaluation.run_id.in_(ids[start : start + _AT_ONCE]),
                Evaluation.split == "test",
                Evaluation.protocol_hash == protocol_hash,
            )
            for run, details in session.execute(query):
                try:
                    kept = parsed(details)
                except ValueError:
                    continue
                if isinstance(kept, dict):
                    found[int(run)] = kept
    return found


def load_batch_losses(store: Store, run_ids: Sequence[int], protocol_hash: str) -> dict[int, list[float]]:
    """The losses of the test batches of runs, in order; only of runs that keep them, and all as numbers."""
    found = {}
    for run, details in load_details(store, run_ids, protocol_hash).items():
        losses = details.get("batch_losses")
        if isinstance(losses, list) and losses and all(type(loss) in (int, float) for loss in losses):
            found[run] = [float(loss) for loss in losses]
    return found
