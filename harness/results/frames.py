"""The results database as tidy pandas frames: what a paper's notebook starts from."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Select, select

from harness.metrics import Protocol, StatisticsTable
from harness.metrics.image_figures import alone, class_figures, image_figures
from harness.metrics.sums import ScoredImages
from harness.results.facts import pretraining, scores_from, search_budget
from harness.results.opening import open_results
from harness.results.schema import OVERALL, CurvePoint, DatasetRow, Evaluation, Run, Score, SuiteEntry
from harness.results.store import Store

# The scores of single images that are listed.
_OF_CLASSES = ("iou", "dice", "biou", "hd", "hd95")
_OF_IMAGES = ("pa", "miou", "loss")


class Results:
    """What a results database holds, as four frames in which every row is one figure or one run.

    The frames join on `run`. Figures are at full precision; what is undefined is NaN. Each frame is read when it is
    first asked for.

    Args:
        store: the database.
        suite: only this suite's runs; None: all.
    """

    def __init__(self, store: Store, suite: str | None = None) -> None:
        self._store, self._suite = store, suite

    @cached_property
    def runs(self) -> pd.DataFrame:
        """One row for each run of each suite.

        Columns: run, suite, dataset, variant, model, model_name, origin, recipe, seed, cell, state, reason, error,
        selected_on_test, parameters, attempt, started, finished, fingerprint; `scores_from` (training, checkpoint or
        label maps); `pretrained_on` (a tuple of data sets, empty from scratch, None where nobody declared it);
        `search_trials` and `search_hours`, the budget of the search for its hyperparameters (None: given, or no limit);
        `grid.NAME` for each hyperparameter of a grid; `seconds.PART` for each part of the time; `commit` of this
        project's code.
        """
        query = (
            select(SuiteEntry.suite, Run, DatasetRow.name, DatasetRow.variant)
            .join(Run, SuiteEntry.run_id == Run.id)
            .join(DatasetRow, Run.manifest == DatasetRow.manifest)
            .order_by(Run.id, SuiteEntry.suite)
        )
        if self._suite is not None:
            query = query.where(SuiteEntry.suite == self._suite)
        with self._store.session() as session:
            rows = [_run_row(suite, run, name, variant) for suite, run, name, variant in session.execute(query)]
        return pd.DataFrame(rows)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row for each score of each run, split and protocol.

        Columns: run, split, protocol, protocol_hash, metric, class (None over all classes), value.
        """
        query = (
            select(
                Evaluation.run_id,
                Evaluation.split,
                Evaluation.protocol_name,
                Evaluation.protocol_hash,
                Score.metric,
                Score.class_index,
                Score.value,
                DatasetRow.classes,
            )
            .join(Score, Score.evaluation_id == Evaluation.id)
            .join(Run, Evaluation.run_id == Run.id)
            .join(DatasetRow, Run.manifest == DatasetRow.manifest)
            .order_by(Evaluation.id)
        )
        with self._store.session() as session:
            rows = [
                (run, split, name, key, metric, None if index == OVERALL else classes[index], value)
                for run, split, name, key, metric, index, value, classes in session.execute(self._only(query))
            ]
        return _frame(rows, "run split protocol protocol_hash metric class value")

    @cached_property
    def image_scores(self) -> pd.DataFrame:
        """One row for each score of each image, folded from the stored statistics; images without a scored pixel lack.

        Columns: run, split, protocol, protocol_hash, image, group, metric, class, value. `group` is the patient, drive
        or city of the image, and the image itself where the data set has none. (Scores of versions that kept no groups
        have the image, too, until the run is scored again.) For each class that target or prediction holds: `iou`,
        `dice`, `hd`, `hd95`, `biou`. For the image: `pa`, `miou` (mean over the classes that it holds), `loss`.
        """
        query = (
            select(Evaluation, DatasetRow.classes)
            .join(Run, Evaluation.run_id == Run.id)
            .join(DatasetRow, Run.manifest == DatasetRow.manifest)
            .order_by(Evaluation.id)
        )
        rows: list[tuple[Any, ...]] = []
        with self._store.session() as session:
            for one, classes in session.execute(self._only(query)):
                place = (one.run_id, one.split, one.protocol_name, one.protocol_hash)
                table = StatisticsTable.from_bytes(one.statistics)
                protocol = Protocol.from_stored(one.protocol)
                group = dict(zip(table.ids, table.groups or table.ids, strict=True))
                figures = _image_figures(ScoredImages(table, len(classes), protocol), classes)
                rows += [(*place, image, group[image], *figure) for image, *figure in figures]
        return _frame(rows, "run split protocol protocol_hash image group metric class value")

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row for each figure of each epoch. Columns: run, epoch, name, value."""
        query = select(CurvePoint.run_id, CurvePoint.epoch, CurvePoint.name, CurvePoint.value).order_by(
            CurvePoint.run_id, CurvePoint.name, CurvePoint.epoch
        )
        if self._suite is not None:
            query = query.where(CurvePoint.run_id.in_(self._members()))
        with self._store.session() as session:
            rows = [tuple(row) for row in session.execute(query)]
        return _frame(rows, "run epoch name value")

    def close(self) -> None:
        """Close the database; frames that were read stay."""
        self._store.close()

    def _only(self, query: Select[Any]) -> Select[Any]:
        return query if self._suite is None else query.where(Evaluation.run_id.in_(self._members()))

    def _members(self) -> Select[int]:
        return select(SuiteEntry.run_id).where(SuiteEntry.suite == self._suite)


def _run_row(suite: str, run: Run, dataset: str, variant: str) -> dict[str, Any]:
    row: dict[str, Any] = {"run": run.id, "suite": suite, "dataset": dataset, "variant": variant}
    row |= {name: getattr(run, name) for name in ("model", "model_name")}
    row |= {"origin": run.model_origin}
    row |= {name: getattr(run, name) for name in ("recipe", "seed", "cell", "state", "reason", "error")}
    row |= {name: getattr(run, name) for name in ("selected_on_test", "parameters", "attempt", "started", "finished")}
    row |= {"fingerprint": run.fingerprint, "commit": run.provenance.get("code", {}).get("commit")}
    weights, given = "checkpoint" in run.parts, "start_from" in run.parts
    row |= {"scores_from": scores_from(run.model_origin, weights)}
    row |= {"pretrained_on": pretraining(run.model_origin, run.model_params, weights or given, run.provenance)}
    trials, hours = search_budget(run.search) or (None, None)
    row |= {"search_trials": trials, "search_hours": hours}
    row |= {f"grid.{name}": value for name, value in run.grid.items()}
    return row | {f"seconds.{name}": value for name, value in run.times.items()}


def _image_figures(images: ScoredImages, classes: list[str]) -> Iterator[tuple[str, str, str | None, float]]:
    """(image, metric, class, value) of every score that an image has."""
    ids, each = images.table.ids, alone(images)
    for metric in _OF_CLASSES:
        figures = np.where(images.scored[:, None], class_figures(each, metric), np.nan)
        for row, column in zip(*np.nonzero(~np.isnan(figures)), strict=True):
            yield ids[row], metric, classes[column], float(figures[row, column])
    for metric, figures in image_figures(images, _OF_IMAGES).items():
        for row in np.flatnonzero(~np.isnan(figures)):
            yield ids[row], metric, None, float(figures[row])


def _frame(rows: list[tuple[Any, ...]], columns: str) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=columns.split())


def load_results(db: str | Store | None = None, suite: str | None = None) -> Results:
    """Read a results database.

    Args:
        db: a path, a URL, or an open database; None: ./results.db.
        suite: only this suite's runs.

    Raises:
        DatabaseError: there is none, or it cannot be opened.
    """
    return Results(db if isinstance(db, Store) else open_results(db), suite)
