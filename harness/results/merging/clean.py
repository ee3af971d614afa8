"""From a stranger's database to one of our own that holds what of it is sound, row by row."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from sqlalchemy import Table, insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from harness.errors import BenchError, DatabaseError
from harness.results.image_scores import ImageNames, add_evaluation, image_contradictions
from harness.results.merging.figures import Verified, verified
from harness.results.merging.models import (
    ArtifactModel,
    CurveModel,
    DatasetModel,
    EvaluationModel,
    GalleryImageModel,
    GalleryPredictionModel,
    ImageListModel,
    ImageScoreModel,
    Row,
    RunModel,
    ScoreModel,
    SuiteModel,
    WithdrawalModel,
    problem_of,
)
from harness.results.merging.source import Source
from harness.results.opening import open_store
from harness.results.rows import score_rows
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
from harness.results.scored_as import copy_key
from harness.results.store import Store
from harness.utils.text import plain_line

# Runs that are written in one transaction, and pictures that a run's gallery may have.
BATCH, PICTURES = 50, 64
# What can go wrong with a value that a stranger chose, wherever it is looked at.
BAD = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError, AttributeError, MemoryError, BenchError)

M = TypeVar("M", bound=Row)
Tick = Callable[[int, int], None]


@dataclass
class Cleaned:
    """What of a database is sound."""

    store: Store
    """A results database of our own; runs keep their numbers, and name no merge."""
    refused: list[str] = field(default_factory=list)
    """Runs that are not in it, and why, a line each."""
    unfinished: int = 0
    unknown_metrics: set[str] = field(default_factory=set)
    """Metrics that are not installed here, whose figures were left out."""
    corrected: dict[int, int] = field(default_factory=dict)
    """Withdrawals, and the runs that correct what was withdrawn."""


def cleaned(source: Source, target: Path, tick: Tick = lambda done, total: None) -> Cleaned:
    """Write what is sound of a database into a new one.

    Args:
        source: the database.
        target: the new file.
        tick: told how many runs are done, of how many.

    Raises:
        DatabaseError: the time is over, or there is no list of runs or data sets to be had.
    """
    store = open_store(str(target))
    result = Cleaned(store)
    try:
        reader = _Reader(source)
        numbers = reader.keys(Run, source.limits.runs)
        for first in range(0, len(numbers), BATCH):
            with store.session() as session:
                for number in numbers[first : first + BATCH]:
                    _take(session, reader, number, result)
            tick(min(first + BATCH, len(numbers)), len(numbers))
        with store.session() as session:
            for row, run in result.corrected.items():
                withdrawal = session.get(Withdrawal, row)
                if withdrawal is not None and session.get(Run, run) is not None:
                    withdrawal.replaced_by = run
    except BaseException:
        store.close()
        raise
    return result


def _take(session: Session, reader: _Reader, number: Any, result: Cleaned) -> None:
    """One run: into the new database, or onto the list of those that are refused."""
    name = f"run {plain_line(str(number))}"
    reader.source.clock.check(reader.source.name)
    try:
        state = reader.state(number)
        if state not in ("ok", *FAILED):
            result.unfinished += 1
            return
        run = reader.run(number)
        name = f"run {run.id} ({run.model}, seed {run.seed})"
        with session.begin_nested():
            _write(session, reader, run, result)
    except (*BAD, SQLAlchemyError) as error:
        reader.source.clock.check(reader.source.name)
        result.refused.append(f"{name}: {problem_of(error)}")


def _write(session: Session, reader: _Reader, run: RunModel, result: Cleaned) -> None:
    """Write a run with everything that belongs to it.

    Raises:
        ValueError: something of it is not sound.
    """
    data = reader.dataset(run.manifest)
    if data.manifest != copy_key(run.parts["data"], data.scored_as):
        raise ValueError("its data set is not what its fingerprint was taken over")
    if session.get(DatasetRow, data.manifest) is None:
        session.add(DatasetRow(**data.model_dump()))
        session.flush()
    session.add(Run(**run.model_dump(), driver=None, heartbeat=None, merge_id=None))
    session.flush()
    evaluations = reader.of(EvaluationModel, Evaluation, run_id=run.id)
    if run.state == "ok" and not any(one.split in ("val", "test") for one in evaluations):
        raise ValueError("it ended well and has no score")
    for one in evaluations:
        result.unknown_metrics |= _write_evaluation(session, reader, run, one, data)
    _write_parts(session, reader, run, result)
    _write_gallery(session, reader, run, data)


def _write_evaluation(
    session: Session, reader: _Reader, run: RunModel, row: EvaluationModel, data: DatasetModel
) -> set[str]:
    """Write an evaluation with the figures that its statistics give; returns the metrics that are left out."""
    scores = reader.of(ScoreModel, Score, evaluation_id=row.id)
    found = verified(row, scores, data, run.fingerprint, reader.source.limits)
    _compare_images(reader, row, found, len(data.classes))
    details = json.loads(json.dumps(found.scores.details()))
    facts = row.model_dump(exclude={"loss", "image_list"})
    fresh = Evaluation(**facts, run_id=run.id, loss=found.scores.loss, details=details)
    add_evaluation(session, fresh, len(data.classes), data.foreground)
    session.add_all(score_rows(fresh.id, found.scores.values, found.scores.per_class))
    return set(found.unknown)


def _compare_images(reader: _Reader, row: EvaluationModel, found: Verified, classes: int) -> None:
    """Compare scores of single images, and their list, with the statistics; what is written is made of these.

    Raises:
        ValueError: they are others.
    """
    scores = reader.of(ImageScoreModel, ImageScore, evaluation_id=row.id)
    stored = {one.metric: one.figures for one in scores}
    if len(stored) != len(scores):
        raise ValueError("a score of single images is stored twice")
    kept = reader.of(ImageListModel, ImageList, 1, key=row.image_list)
    if not kept:
        raise ValueError("its list of images is missing")
    names = ImageNames.read(kept[0].images)
    if names.stored()[0] != row.image_list:
        raise ValueError("its list of images is not the one that its key names")
    with np.errstate(all="ignore"):
        problem = next(image_contradictions(found.table, classes, found.protocol, stored, names), None)
    if problem is not None:
        raise ValueError(problem)


def _write_parts(session: Session, reader: _Reader, run: RunModel, result: Cleaned) -> None:
    """The curve, the suites, what is said of label maps, and whether it was withdrawn."""
    curve = [point.model_dump() | {"run_id": run.id} for point in reader.of(CurveModel, CurvePoint, run_id=run.id)]
    if curve:
        session.execute(insert(CurvePoint), curve)
    suites = reader.of(SuiteModel, SuiteEntry, run_id=run.id)
    if not suites:
        raise ValueError("it belongs to no suite")
    session.add_all(SuiteEntry(suite=one.suite, run_id=run.id) for one in suites)
    label_maps = reader.of(ArtifactModel, Artifact, run_id=run.id)
    session.add_all(Artifact(run_id=run.id, **one.model_dump()) for one in label_maps)
    for row in reader.of(WithdrawalModel, Withdrawal, run_id=run.id):
        session.add(Withdrawal(**row.model_dump(exclude={"replaced_by"}), run_id=run.id))
        if row.replaced_by is not None:
            result.corrected[row.id] = row.replaced_by


def _write_gallery(session: Session, reader: _Reader, run: RunModel, data: DatasetModel) -> None:
    predictions = reader.of(GalleryPredictionModel, GalleryPrediction, PICTURES, run_id=run.id)
    for row in predictions:
        _check_picture(row.prediction, row.image_id, ("PNG",), reader)
        if session.get(GalleryImage, (data.test_manifest, row.image_id)) is None:
            keys = {"test_manifest": data.test_manifest, "image_id": row.image_id}
            found = reader.of(GalleryImageModel, GalleryImage, 1, **keys)
            if not found:
                raise ValueError(f"the gallery has no image {row.image_id}")
            _check_picture(found[0].image, row.image_id, ("JPEG",), reader)
            _check_picture(found[0].target, row.image_id, ("PNG",), reader)
            session.add(GalleryImage(**found[0].model_dump()))
        session.add(GalleryPrediction(run_id=run.id, **row.model_dump()))


def _check_picture(data: bytes, name: str, formats: tuple[str, ...], reader: _Reader) -> None:
    """A small picture, or none: published databases leave photographs out.

    Raises:
        ValueError: it is something else.
    """
    if not data:
        return
    limits = reader.source.limits
    if len(data) > limits.picture_bytes:
        raise ValueError(f"the gallery's {name} has {len(data):,} bytes")
    try:
        with Image.open(BytesIO(data), formats=formats) as picture:
            if max(picture.size) > limits.picture_side:
                raise ValueError(f"it has {picture.width} × {picture.height} pixels")
            if formats == ("PNG",) and picture.mode not in ("P", "L", "1"):
                raise ValueError(f"it is no label map but {picture.mode}")
            picture.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        told = str(error) if isinstance(error, ValueError) else f"is no {' or '.join(formats)}"
        raise ValueError(f"the gallery's {name}: {told}") from error


class _Reader:
    """The rows of a source, as records that fit."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._datasets: dict[str, DatasetModel | str] = {}

    def keys(self, kind: type[Base], most: int) -> list[Any]:
        """The keys of a table.

        Raises:
            DatabaseError: they cannot be read.
        """
        try:
            return self.source.numbers(_table(kind), most)
        except ValueError as error:
            raise DatabaseError(f"{self.source.name}: {error}; nothing was taken over") from error

    def state(self, number: Any) -> Any:
        """The state of a run."""
        return self._only(Run, id=number)["state"]

    def run(self, number: Any) -> RunModel:
        """A run that is done.

        Raises:
            ValueError: it is not sound.
        """
        return RunModel.model_validate(self._only(Run, id=number))

    def dataset(self, manifest: str) -> DatasetModel:
        """The data set of a run; looked at once.

        Raises:
            ValueError: it is not there or not sound.
        """
        if manifest not in self._datasets:
            try:
                self._datasets[manifest] = DatasetModel.model_validate(self._only(DatasetRow, manifest=manifest))
            except BAD as error:
                self._datasets[manifest] = f"its data set: {problem_of(error)}"
        found = self._datasets[manifest]
        if isinstance(found, str):
            raise ValueError(found)
        return found

    def of(self, model: type[M], kind: type[Base], most: int | None = None, **where: Any) -> list[M]:
        """The rows that belong to something.

        Raises:
            ValueError: one is not sound, or there are too many.
        """
        found = self.source.rows(_table(kind), self.source.limits.rows if most is None else most, **where)
        try:
            return [model.model_validate(row) for row in found]
        except ValueError as error:
            raise ValueError(f"{kind.__tablename__}: {problem_of(error)}") from error

    def _only(self, kind: type[Base], **where: Any) -> dict[str, Any]:
        found = self.source.rows(_table(kind), 2, **where)
        if len(found) != 1:
            raise ValueError(f"{kind.__tablename__} has {len(found)} rows of it")
        return found[0]


def _table(kind: type[Base]) -> Table:
    table = kind.__table__
    assert isinstance(table, Table)  # noqa: S101 (declarative classes of ours are tables)
    return table
