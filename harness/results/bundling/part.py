"""One suite's part of a database, as a new file that names nothing of the machine that made it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Table, insert, select
from sqlalchemy.orm import Session

from harness.results.opening import open_store
from harness.results.publish import compact, is_generated, without_machine
from harness.results.schema import (
    FAILED,
    Artifact,
    Base,
    CurvePoint,
    DatasetRow,
    Evaluation,
    GalleryImage,
    GalleryPrediction,
    ImageList,
    ImageScore,
    Run,
    Score,
    SuiteEntry,
    Withdrawal,
)
from harness.results.store import Store

# Keys in one query, and rows in one insertion.
_KEYS, _ROWS = 500, 2000


def write_part(store: Store, suite: str, target: Path) -> list[Run]:
    """Write the finished runs of a suite, failed ones too, with their numbers, into a new database.

    Photographs and truths of data sets that are not generated are left out, as their terms may forbid to hand them on;
    so are host names and folders.

    Args:
        store: is only read.
        suite: its name.
        target: the new file.

    Returns:
        The runs as they were written, by number.
    """
    part = open_store(str(target))
    try:
        with store.session() as ours, part.session() as theirs:
            _copy(ours, theirs, suite)
        with part.session() as theirs:
            runs = list(theirs.scalars(select(Run).order_by(Run.id)))
            theirs.expunge_all()
    finally:
        part.close()
    compact(target)
    return runs


def _copy(ours: Session, theirs: Session, suite: str) -> None:
    finished = (
        select(Run.id)
        .join(SuiteEntry, SuiteEntry.run_id == Run.id)
        .where(SuiteEntry.suite == suite, Run.state.in_(("ok", *FAILED)))
        .order_by(Run.id)
    )
    numbers = list(ours.scalars(finished))
    runs = [_without_traces(row) for row in _rows(ours, Run, "id", numbers)]
    data = _rows(ours, DatasetRow, "manifest", sorted({run["manifest"] for run in runs}))
    _insert(theirs, DatasetRow, data)
    _insert(theirs, Run, runs)
    entries = _rows(ours, SuiteEntry, "run_id", numbers)
    _insert(theirs, SuiteEntry, (_own(row) for row in entries if row["suite"] == suite))
    evaluations = [_own(row) for row in _rows(ours, Evaluation, "run_id", numbers)]
    lists = sorted({row["image_list"] for row in evaluations})
    _insert(theirs, ImageList, _rows(ours, ImageList, "key", lists))
    _insert(theirs, Evaluation, evaluations)
    scored = [row["id"] for row in evaluations]
    for of_evaluation in (Score, ImageScore):
        _insert(theirs, of_evaluation, _rows(ours, of_evaluation, "evaluation_id", scored))
    for of_run in (CurvePoint, GalleryPrediction, Artifact):
        _insert(theirs, of_run, _rows(ours, of_run, "run_id", numbers))
    _insert(theirs, Withdrawal, _withdrawals(ours, numbers))
    _insert(theirs, GalleryImage, _pictures(ours, theirs))


def _rows(session: Session, table: type[Base], key: str, values: Sequence[Any]) -> Iterator[dict[str, Any]]:
    """The rows of a table whose key has one of some values, always in the same order."""
    own = _table(table)
    for first in range(0, len(values), _KEYS):
        wanted = own.c[key].in_(values[first : first + _KEYS])
        order = (own.c[key], *own.primary_key.columns)
        for row in session.execute(select(own).where(wanted).order_by(*order)).mappings():
            yield dict(row)


def _insert(session: Session, table: type[Base], rows: Any) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _ROWS:
            session.execute(insert(_table(table)), batch)
            batch = []
    if batch:
        session.execute(insert(_table(table)), batch)


def _table(table: type[Base]) -> Table:
    found = table.__table__
    if not isinstance(found, Table):
        raise TypeError(f"{table.__name__} is no table")
    return found


def _own(row: dict[str, Any]) -> dict[str, Any]:
    """A row that no merge brought: the part names none."""
    return {**row, "merge_id": None}


def _without_traces(row: dict[str, Any]) -> dict[str, Any]:
    return _own(without_machine(row))


def _withdrawals(session: Session, numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    there = set(numbers)
    for row in _rows(session, Withdrawal, "run_id", numbers):
        yield {**row, "replaced_by": row["replaced_by"] if row["replaced_by"] in there else None}


def _pictures(ours: Session, theirs: Session) -> Iterator[dict[str, Any]]:
    """The galleries' photographs and truths: of generated data as they are, of others only which there are."""
    copies = theirs.execute(select(DatasetRow.test_manifest, DatasetRow.name).distinct()).all()
    generated = {row.test_manifest for row in copies if is_generated(row.name)}
    for row in _rows(ours, GalleryImage, "test_manifest", sorted({row.test_manifest for row in copies})):
        yield row if row["test_manifest"] in generated else {**row, "image": b"", "target": b""}
