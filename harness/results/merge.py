"""Two results databases into one: every training once, contradictions named."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import delete, inspect, select
from sqlalchemy.orm import Session

from harness.results.schema import (
    FAILED,
    Artifact,
    Base,
    CurvePoint,
    DatasetRow,
    Evaluation,
    GalleryImage,
    GalleryPrediction,
    Run,
    Score,
    SuiteEntry,
)
from harness.results.store import Store
from harness.scoring.keep import PREDICTIONS
from harness.tasks.artifacts import Artifacts, transfer

# What belongs to a run and is copied with it, besides its evaluations.
_PARTS: tuple[type[Base], ...] = (CurvePoint, GalleryPrediction, Artifact, SuiteEntry)


@dataclass
class Merged:
    """What a merge did."""

    added: int = 0
    same: int = 0
    replaced: int = 0
    """Runs that had failed or were not done here, and were done there."""
    scored: int = 0
    """Evaluations under a protocol that a run of both had only there."""
    unfinished: int = 0
    """Runs that were not done there, either; left out."""
    conflicts: list[str] = field(default_factory=list)
    """The same training with other figures, a line each; this database's were kept."""


def merge(store: Store, other: Store, artifacts: Artifacts, other_artifacts: Artifacts) -> Merged:
    """Take everything over that another database has and this one lacks, in one transaction.

    A training is the same if its fingerprint is. Two that ended well and predicted other label maps, or have other
    scores under one protocol, contradict each other: that is named, and nothing is taken over.

    Args:
        store: takes the runs in.
        other: is only read.
        artifacts: of `store`, where label maps are copied to.
        other_artifacts: of `other`; runs whose label maps are not there come without them.
    """
    result = Merged()
    copied: list[Path] = []
    try:
        with store.session() as ours, other.session() as theirs:
            for data in theirs.scalars(select(DatasetRow)):
                ours.merge(DatasetRow(**_columns(data)))
            for image in theirs.scalars(select(GalleryImage)):
                if ours.get(GalleryImage, (image.test_manifest, image.image_id)) is None:
                    ours.add(GalleryImage(**_columns(image)))
            ours.flush()
            known = {run.fingerprint: run for run in ours.scalars(select(Run))}
            for run in theirs.scalars(select(Run).order_by(Run.id)):
                own = known.get(run.fingerprint)
                if _take(ours, theirs, own, run, result):
                    source, target = other_artifacts.run(run.fingerprint), artifacts.run(run.fingerprint)
                    copy = transfer(source, target, PREDICTIONS)
                    if copy is not None:
                        copied.append(copy)
    except BaseException:
        for folder in copied:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return result


def _take(ours: Session, theirs: Session, own: Run | None, run: Run, result: Merged) -> bool:
    """Decide what becomes of a run of the other database; returns whether it was taken over whole."""
    done = run.state == "ok"
    if not done and (own is not None or run.state not in FAILED):
        result.unfinished += 1
        return False
    if own is None:
        fresh = Run(**_columns(run, "id"))
        ours.add(fresh)
        ours.flush()
        _copy_parts(ours, theirs, run, fresh)
        result.added += 1
        return True
    if own.state != "ok":
        for name, value in _columns(run, "id").items():
            setattr(own, name, value)
        for part in _PARTS[:-1]:
            ours.execute(delete(part).where(inspect(part).c.run_id == own.id))
        _copy_parts(ours, theirs, run, own)
        result.replaced += 1
        return True
    contradictions = _contradictions(ours, theirs, own, run)
    if contradictions:
        result.conflicts += contradictions
        return False
    _copy_suites(ours, theirs, run, own)
    result.scored += _copy_evaluations(ours, theirs, run, own)
    result.same += 1
    return False


def _contradictions(ours: Session, theirs: Session, own: Run, run: Run) -> list[str]:
    name = f"{run.model} on {run.config['dataset']['name']}, seed {run.seed} (here run {own.id}, there run {run.id})"
    sums = [
        {(a.kind, a.split): a.sha256 for a in session.scalars(select(Artifact).where(Artifact.run_id == which.id))}
        for session, which in ((ours, own), (theirs, run))
    ]
    here, there = sums
    differing = sorted(key[1] for key in here.keys() & there.keys() if here[key] != there[key])
    if differing:
        return [f"{name}: predicted other label maps for {', '.join(differing)}"]
    found = []
    mine = {(e.score_fingerprint, e.split): e for e in own.evaluations}
    for evaluation in run.evaluations:
        match = mine.get((evaluation.score_fingerprint, evaluation.split))
        if match is None:
            continue
        a, b = _scores(ours, match), _scores(theirs, evaluation)
        wrong = next((key for key in a if key in b and a[key] != b[key]), None)
        if wrong is not None:
            found.append(f"{name}: {wrong[0]} on {evaluation.split} is {a[wrong]} here and {b[wrong]} there")
    return found


def _scores(session: Session, evaluation: Evaluation) -> dict[tuple[str, int], float | None]:
    rows = session.scalars(select(Score).where(Score.evaluation_id == evaluation.id))
    return {(row.metric, row.class_index): row.value for row in rows}


def _copy_parts(ours: Session, theirs: Session, run: Run, own: Run) -> None:
    for part in _PARTS[:-1]:
        for row in theirs.scalars(select(part).where(inspect(part).c.run_id == run.id)):
            ours.add(part(**{**_columns(row), "run_id": own.id}))
    _copy_suites(ours, theirs, run, own)
    _copy_evaluations(ours, theirs, run, own)


def _copy_suites(ours: Session, theirs: Session, run: Run, own: Run) -> None:
    for suite in theirs.scalars(select(SuiteEntry.suite).where(SuiteEntry.run_id == run.id)):
        if ours.get(SuiteEntry, (suite, own.id)) is None:
            ours.add(SuiteEntry(suite=suite, run_id=own.id))


def _copy_evaluations(ours: Session, theirs: Session, run: Run, own: Run) -> int:
    """The evaluations that a run lacks here; returns how many."""
    have = {(e.score_fingerprint, e.split) for e in ours.scalars(select(Evaluation).where(Evaluation.run_id == own.id))}
    count = 0
    for evaluation in theirs.scalars(select(Evaluation).where(Evaluation.run_id == run.id)):
        if (evaluation.score_fingerprint, evaluation.split) in have:
            continue
        fresh = Evaluation(**{**_columns(evaluation, "id"), "run_id": own.id})
        ours.add(fresh)
        ours.flush()
        for score in theirs.scalars(select(Score).where(Score.evaluation_id == evaluation.id)):
            ours.add(Score(**{**_columns(score), "evaluation_id": fresh.id}))
        count += 1
    return count


def _columns(row: Base, *without: str) -> dict[str, Any]:
    return {c.key: getattr(row, c.key) for c in inspect(type(row)).column_attrs if c.key not in without}
