"""Statistics of earlier versions in today's format, with the scores of single images that those did not store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.metrics import StatisticsTable
from harness.metrics.columns import is_packed
from harness.results.image_scores import write_image_scores
from harness.results.schema import DatasetRow, Evaluation, Run
from harness.results.store import Store

Tick = Callable[[int, int], None]


@dataclass
class Compacted:
    """What was done."""

    rewritten: int = 0
    """Evaluations whose statistics were written anew."""
    scored: int = 0
    """Evaluations that got scores of single images."""
    before: int = 0
    """Bytes of all statistics."""
    after: int = 0
    unreadable: int = 0
    """Evaluations whose statistics cannot be read; they were left as they are."""


def compact_statistics(store: Store, tick: Tick = lambda done, total: None) -> Compacted:
    """Write the statistics of earlier versions in today's format; no figure changes, which is verified one by one.

    Each evaluation is a transaction of its own: what is done stays done.

    Args:
        store: the database.
        tick: told how many evaluations are done, of how many.
    """
    found = Compacted()
    with store.session() as session:
        numbers = list(session.scalars(select(Evaluation.id).order_by(Evaluation.id)))
    for done, number in enumerate(numbers, start=1):
        with store.writing() as session:
            evaluation = session.get(Evaluation, number)
            if evaluation is not None:  # another command may have scored its run again
                _compact(session, evaluation, found)
        tick(done, len(numbers))
    return found


def _compact(session: Session, evaluation: Evaluation, found: Compacted) -> None:
    found.before += len(evaluation.statistics)
    try:
        table = StatisticsTable.from_bytes(evaluation.statistics)
    except Exception:  # noqa: BLE001 (damaged bytes may raise anything; `check_database` names them)
        found.unreadable += 1
        found.after += len(evaluation.statistics)
        return
    if not is_packed(evaluation.statistics):
        packed = table.to_bytes()
        if StatisticsTable.from_bytes(packed).to_npz() == table.to_npz():
            evaluation.statistics = packed
            found.rewritten += 1
    if evaluation.image_list is None:
        run = session.get_one(Run, evaluation.run_id)
        data = session.get_one(DatasetRow, run.manifest)
        write_image_scores(session, evaluation, len(data.classes), data.foreground)
        found.scored += 1
    found.after += len(evaluation.statistics)
