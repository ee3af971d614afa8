"""From jobs, results and submissions to rows of the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from harness.datasets.base import DatasetInfo, Manifest
from harness.metrics.protocol import EVALUATOR_VERSION, Protocol
from harness.results.image_scores import add_evaluation
from harness.results.schema import (
    OVERALL,
    Artifact,
    CurvePoint,
    DatasetRow,
    Evaluation,
    GalleryImage,
    GalleryPrediction,
    ImageScore,
    Run,
    Score,
)
from harness.results.scored_as import dataset_key
from harness.tasks.result import Evaluation as ScoredSplit
from harness.tasks.result import GalleryImage as Shown
from harness.tasks.result import Result, now
from harness.tasks.stated import stated_facts
from harness.tasks.task import Task

# The origin of a run whose label maps came from outside.
PREDICTIONS = "predictions"


@dataclass(frozen=True)
class Submission:
    """Predictions from outside: what they are called and what they were scored on."""

    name: str
    seed: int
    parts: dict[str, Any]
    cell: str
    score_fingerprint: str
    info: DatasetInfo
    variant: str
    manifest: Manifest
    protocol: Protocol


def new_run(task: Task) -> Run:
    """The row of a job that has not begun."""
    job = task.job
    return Run(
        fingerprint=task.fingerprint,
        parts=task.parts,
        cell=task.cell,
        manifest=task.manifest,
        model=job.model.title,
        model_name=job.model.name,
        model_params=job.model.params,
        model_origin=task.model.origin,
        model_source=task.model.source or None,
        parameters=None,
        recipe=job.recipe.name,
        grid=job.grid,
        seed=job.seed,
        config=job.model_dump(mode="json"),
        selection=job.selection.model_dump(mode="json"),
        selected_on_test=task.selected_on_test,
        state="pending",
        attempt=0,
        history=[],
        search=job.search,
        created=now(),
        times={},
        progress={},
        provenance=stated_facts(task),
    )


def restate(session: Session, tasks: Mapping[int, Task]) -> None:
    """Let rows say what is declared of their networks today; it moves no figure.

    Args:
        session: the transaction.
        tasks: the jobs of rows that exist, by the row's number.
    """
    said = {number: facts for number, task in tasks.items() if (facts := stated_facts(task))}
    numbers = list(said)
    for first in range(0, len(numbers), 500):
        part = select(Run.id, Run.provenance).where(Run.id.in_(numbers[first : first + 500]))
        for row in session.execute(part).all():
            stated = {**row.provenance, **said[row.id]}
            if stated != row.provenance:
                session.execute(update(Run).where(Run.id == row.id).values(provenance=stated))


def submitted_run(submission: Submission, result: Result) -> Run:
    """A row for predictions from outside: nothing of how they came about is known."""
    return Run(
        fingerprint=result.fingerprint,
        parts=submission.parts,
        cell=submission.cell,
        manifest=dataset_key(submission.info, submission.manifest),
        model=submission.name,
        model_name=submission.name,
        model_params={},
        model_origin=PREDICTIONS,
        model_source=None,
        parameters=None,
        recipe="–",
        grid={},
        seed=submission.seed,
        config={
            "dataset": {"name": submission.info.name, "variant": submission.variant},
            "protocol": submission.protocol.model_dump(mode="json"),
        },
        selection={"rule": "none", "split": "none", "metric": submission.info.headline},
        selected_on_test=False,
        state="ok",
        attempt=1,
        history=[],
        created=now(),
        started=result.started,
        finished=result.finished,
        times=result.times,
        progress={},
        provenance=result.provenance,
    )


def curve_points(run_id: int, curve: Iterable[Mapping[str, Any]]) -> Iterator[CurvePoint]:
    """The rows of a learning curve, which has one record for each epoch."""
    for record in curve:
        for name, value in record.items():
            if name != "epoch":
                yield CurvePoint(run_id=run_id, name=name, epoch=record["epoch"], value=value)


def write_results(session: Session, run: Run, result: Result, task: Task) -> None:
    """Replace a run's curve, scores, gallery and label maps by those of a result."""
    for table in (CurvePoint, GalleryPrediction, Artifact):
        session.execute(delete(table).where(table.run_id == run.id))
    session.add_all(curve_points(run.id, result.curve))
    for evaluation in result.evaluations:
        write_evaluation(
            session, run, evaluation, task.job.stored_protocol, task.job.protocol_hash, task.score_fingerprint
        )
    write_gallery(session, run, result.gallery)
    session.add_all(Artifact(run_id=run.id, **vars(kept)) for kept in result.label_maps)


def write_gallery(session: Session, run: Run, gallery: Sequence[Shown]) -> None:
    """Add a run's gallery; photographs and targets are kept once for all runs."""
    test = session.get_one(DatasetRow, run.manifest).test_manifest
    for shown in gallery:
        if session.get(GalleryImage, (test, shown.image_id)) is None:
            session.add(
                GalleryImage(
                    test_manifest=test,
                    image_id=shown.image_id,
                    image=shown.image,
                    target=shown.target,
                )
            )
        session.add(GalleryPrediction(run_id=run.id, image_id=shown.image_id, prediction=shown.prediction))


def write_evaluation(
    session: Session,
    run: Run,
    scored: ScoredSplit,
    under: dict[str, Any],
    protocol_hash: str,
    score_fingerprint: str,
) -> None:
    """Replace the run's scores of one split under one score fingerprint."""
    old = session.scalars(
        select(Evaluation.id).where(Evaluation.score_fingerprint == score_fingerprint, Evaluation.split == scored.split)
    ).all()
    for table in (Score, ImageScore):
        session.execute(delete(table).where(table.evaluation_id.in_(old)))
    session.execute(delete(Evaluation).where(Evaluation.id.in_(old)))
    scores = scored.scores
    row = Evaluation(
        run_id=run.id,
        score_fingerprint=score_fingerprint,
        split=scored.split,
        protocol_name=under["name"],
        protocol_hash=protocol_hash,
        protocol=under,
        evaluator_version=EVALUATOR_VERSION,
        loss=scores.loss,
        n_images=scores.n_images,
        details=json.loads(json.dumps(scores.details())),
        statistics=scored.statistics,
        ceiling=scored.ceiling,
        created=now(),
    )
    data = session.get_one(DatasetRow, run.manifest)
    add_evaluation(session, row, len(data.classes), data.foreground)
    session.add_all(score_rows(row.id, scores.values, scores.per_class))


def score_rows(
    evaluation_id: int, values: Mapping[str, float | None], per_class: Mapping[str, Sequence[float | None]]
) -> list[Score]:
    """The rows of scores over all classes and of single ones."""
    overall = [
        Score(evaluation_id=evaluation_id, metric=name, class_index=OVERALL, value=value)
        for name, value in values.items()
    ]
    return overall + [
        Score(evaluation_id=evaluation_id, metric=name, class_index=index, value=value)
        for name, figures in per_class.items()
        for index, value in enumerate(figures)
    ]
