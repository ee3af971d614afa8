"""All rows of a run as JSON, and back: a failed run that a merge replaces can be put back as it was."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import ColumnElement, delete, insert, inspect, select
from sqlalchemy.orm import Session

from harness.results.schema import (
    Artifact,
    Base,
    CurvePoint,
    Evaluation,
    GalleryPrediction,
    ImageScore,
    Run,
    Score,
    Withdrawal,
)

# What belongs to a run, and to an evaluation. Suites and withdrawals stay with the run, whoever trained it.
OF_RUNS: tuple[type[Base], ...] = (CurvePoint, GalleryPrediction, Artifact)
OF_EVALUATIONS: tuple[type[Base], ...] = (Score, ImageScore)
_BYTES = "base64"


def snapshot(session: Session, run: Run) -> dict[str, list[Any]]:
    """A run's rows by table, as JSON; and the numbers of its withdrawals, which stay with it."""
    evaluations = select(Evaluation.id).where(Evaluation.run_id == run.id)
    chosen: dict[type[Base], Any] = {
        Run: Run.id == run.id,
        Evaluation: Evaluation.run_id == run.id,
        **{kind: inspect(kind).c.run_id == run.id for kind in OF_RUNS},
        **{kind: inspect(kind).c.evaluation_id.in_(evaluations) for kind in OF_EVALUATIONS},
    }
    withdrawals = session.scalars(select(Withdrawal.id).where(Withdrawal.run_id == run.id)).all()
    found: dict[str, list[Any]] = {Withdrawal.__tablename__: list(withdrawals)}
    for kind, where in chosen.items():
        rows = session.scalars(select(kind).where(where)).all()
        if rows:
            found[kind.__tablename__] = [{name: _told(v) for name, v in columns(row).items()} for row in rows]
    return found


def restore(session: Session, rows: dict[str, list[Any]]) -> None:
    """Let a run be what `snapshot` said of it; its number is the same.

    Args:
        session: the transaction.
        rows: what `snapshot` gave.
    """
    (old,) = rows[Run.__tablename__]
    run = session.get_one(Run, old["id"])
    remove_parts(session, run.id)
    for name, value in old.items():
        setattr(run, name, _read(value))
    session.flush()
    kinds: tuple[type[Base], ...] = (Evaluation, *OF_RUNS, *OF_EVALUATIONS)
    for kind in kinds:
        for row in rows.get(kind.__tablename__, []):
            session.execute(insert(kind).values({name: _read(value) for name, value in row.items()}))


def remove_parts(session: Session, run_id: int) -> None:
    """Remove everything that belongs to a run alone: its figures, curve, gallery and label maps."""
    remove_evaluations(session, Evaluation.run_id == run_id)
    for kind in OF_RUNS:
        session.execute(delete(kind).where(inspect(kind).c.run_id == run_id))


def remove_evaluations(session: Session, which: ColumnElement[bool]) -> None:
    """Remove evaluations with their scores."""
    ids = select(Evaluation.id).where(which)
    for kind in OF_EVALUATIONS:
        session.execute(delete(kind).where(inspect(kind).c.evaluation_id.in_(ids)))
    session.execute(delete(Evaluation).where(which))


def columns(row: Base, *without: str) -> dict[str, Any]:
    """A row's values by column."""
    return {c.key: getattr(row, c.key) for c in inspect(type(row)).column_attrs if c.key not in without}


def _told(value: Any) -> Any:
    return {_BYTES: base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _read(value: Any) -> Any:
    return base64.b64decode(value[_BYTES]) if isinstance(value, dict) and value.keys() == {_BYTES} else value
