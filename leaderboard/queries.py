"""Reading the results database into plain records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row, func, select

from harness.config.stored import stored_protocol
from harness.results import Store
from harness.results.schema import (
    OVERALL,
    CurvePoint,
    DatasetRow,
    Evaluation,
    GalleryImage,
    GalleryPrediction,
    Run,
    Score,
    SuiteEntry,
)


@dataclass(frozen=True)
class Data:
    """The copy of a data set a result is on."""

    name: str
    title: str
    variant: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    foreground: int | None
    test_manifest: str
    counts: dict[str, int]

    @property
    def headline(self) -> str:
        """The metric its board is ranked by."""
        return "miou" if self.foreground is None else f"iou[{self.classes[self.foreground]}]"


@dataclass(frozen=True)
class ScoredRun:
    """A run under one protocol. A run that is not scored has empty scores."""

    run_id: int
    suite: str
    data: Data
    model: str
    model_name: str
    params: dict[str, Any]
    origin: str
    recipe: str
    grid: dict[str, Any]
    seed: int
    cell: str
    state: str
    reason: str
    error: str
    traceback: str
    selection: dict[str, Any]
    selected_on_test: bool
    protocol_name: str
    protocol_hash: str
    smoke: bool
    parameters: int | None
    started: str | None
    finished: str | None
    attempt: int
    times: dict[str, float]
    progress: dict[str, Any]
    provenance: dict[str, Any]
    fingerprint: str
    test: dict[str, float | None] = field(default_factory=dict)
    """Scores over classes under their names, those of a class as `iou[horse]`; `loss`."""
    val: dict[str, float | None] = field(default_factory=dict)
    n_images: int = 0
    search: dict[str, Any] | None = None
    """How its hyperparameters were found, where they were searched: trials, hours, values; None: they were given."""


# What no view of all runs reads.
_UNREAD = ("model_source", "parts", "config", "history")


def load_runs(store: Store, suite: str | None = None) -> list[ScoredRun]:
    """Every run of the database, or of one suite, once for each protocol it was scored under."""
    with store.session() as session:
        # Plain rows, not objects: with ten thousand runs that is most of the time.
        query = (
            select(SuiteEntry.suite, *(c for c in Run.__table__.columns if c.key not in _UNREAD))
            .join(Run, SuiteEntry.run_id == Run.id)
            .order_by(Run.id)
        )
        if suite is not None:
            query = query.where(SuiteEntry.suite == suite)
        rows = session.execute(query).all()
        copies = {dataset.manifest: _data(dataset) for dataset in session.scalars(select(DatasetRow))}
        evaluations: dict[int, list[Any]] = defaultdict(list)
        scored = select(
            Evaluation.id,
            Evaluation.run_id,
            Evaluation.split,
            Evaluation.protocol_hash,
            Evaluation.loss,
            Evaluation.n_images,
        )
        for evaluation in session.execute(scored.order_by(Evaluation.id)):
            evaluations[evaluation.run_id].append(evaluation)
        one_of_each = select(func.min(Evaluation.id)).group_by(Evaluation.protocol_hash)
        kept = select(Evaluation.protocol_hash, Evaluation.protocol).where(Evaluation.id.in_(one_of_each))
        protocols: dict[str, dict[str, Any]] = {row.protocol_hash: row.protocol for row in session.execute(kept)}
        # Scores of every evaluation in one pass: a query for each would cost a round trip a run.
        scores: dict[int, list[tuple[str, int, float | None]]] = defaultdict(list)
        for key, metric, index, value in session.execute(
            select(Score.evaluation_id, Score.metric, Score.class_index, Score.value)
        ):
            scores[key].append((metric, index, value))
        unscored = [run.id for run in rows if run.id not in evaluations]
        configs: dict[int, dict[str, Any]] = {}
        for first in range(0, len(unscored), 500):
            part = select(Run.id, Run.config).where(Run.id.in_(unscored[first : first + 500]))
            configs |= {row.id: row.config for row in session.execute(part)}
    found: list[ScoredRun] = []
    for run in rows:
        by_protocol: dict[str, dict[str, Any]] = defaultdict(dict)
        for evaluation in evaluations[run.id]:
            by_protocol[evaluation.protocol_hash][evaluation.split] = evaluation
        for protocol, splits in by_protocol.items():
            found.append(_scored_run(run, copies[run.manifest], splits, scores, protocols[protocol], protocol))
        if not by_protocol:
            # A protocol of a newer evaluator may have fields this version does not know: a stored hash counts above.
            planned, expected = planned_protocol(configs[run.id])
            found.append(_scored_run(run, copies[run.manifest], {}, scores, planned, expected))
    return found


def planned_protocol(config: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """What a run that is not scored will be scored under, and its hash; `config` is the resolved job."""
    protocol, smoke, images = stored_protocol(config)
    return protocol.stored(smoke, images), protocol.hash_of(smoke, images)


def _data(row: DatasetRow) -> Data:
    return Data(
        name=row.name,
        title=row.title,
        variant=row.variant,
        classes=tuple(row.classes),
        palette=tuple((c[0], c[1], c[2]) for c in row.palette),
        foreground=row.foreground,
        test_manifest=row.test_manifest,
        counts=row.counts,
    )


def _scored_run(
    run: Row[Any],
    data: Data,
    splits: dict[str, Any],
    scores: dict[int, list[tuple[str, int, float | None]]],
    protocol: dict[str, Any],
    protocol_hash: str,
) -> ScoredRun:
    def values(split: str) -> dict[str, float | None]:
        evaluation = splits.get(split)
        if evaluation is None:
            return {}
        named = {
            metric if index == OVERALL else f"{metric}[{data.classes[index]}]": value
            for metric, index, value in scores[evaluation.id]
        }
        return named | {"loss": evaluation.loss}

    test = splits.get("test")
    return ScoredRun(
        run_id=run.id,
        suite=run.suite,
        data=data,
        model=run.model,
        model_name=run.model_name,
        params=run.model_params,
        origin=run.model_origin,
        recipe=run.recipe,
        grid=run.grid,
        seed=run.seed,
        cell=run.cell,
        state=run.state,
        reason=run.reason,
        error=run.error,
        traceback=run.traceback,
        selection=run.selection,
        selected_on_test=run.selected_on_test,
        protocol_name=str(protocol["name"]),
        protocol_hash=protocol_hash,
        smoke=bool(protocol["smoke"]),
        parameters=run.parameters,
        started=run.started,
        finished=run.finished,
        attempt=run.attempt,
        times=run.times,
        progress=run.progress,
        provenance=run.provenance,
        fingerprint=run.fingerprint,
        test=values("test"),
        val=values("val"),
        n_images=test.n_images if test else 0,
        search=run.search,
    )


def load_curves(store: Store, run_ids: Sequence[int]) -> list[tuple[int, str, int, float | None]]:
    """Learning curves: (run, name, epoch, value), by epoch."""
    with store.session() as session:
        query = (
            select(CurvePoint.run_id, CurvePoint.name, CurvePoint.epoch, CurvePoint.value)
            .where(CurvePoint.run_id.in_(run_ids))
            .order_by(CurvePoint.run_id, CurvePoint.name, CurvePoint.epoch)
        )
        return [(r, n, e, v) for r, n, e, v in session.execute(query)]


@dataclass(frozen=True)
class Shown:
    """One gallery image: the photograph and the truth, with each run's prediction."""

    image_id: str
    image: bytes
    target: bytes
    predictions: dict[int, bytes]
    """Run -> palette PNG."""


def load_gallery(store: Store, test_manifest: str, run_ids: Sequence[int]) -> list[Shown]:
    """The gallery images of a copy of a data set, with what these runs predicted."""
    with store.session() as session:
        predicted: dict[str, dict[int, bytes]] = defaultdict(dict)
        query = select(GalleryPrediction).where(GalleryPrediction.run_id.in_(run_ids))
        for row in session.scalars(query):
            predicted[row.image_id][row.run_id] = row.prediction
        images = session.scalars(
            select(GalleryImage).where(GalleryImage.test_manifest == test_manifest).order_by(GalleryImage.image_id)
        )
        return [Shown(i.image_id, i.image, i.target, predicted[i.image_id]) for i in images if i.image_id in predicted]
