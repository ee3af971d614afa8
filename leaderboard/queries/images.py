"""Reading what is stored of single images: scores, statistics, galleries; and learning curves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from harness.errors import DatabaseError
from harness.metrics import Protocol, StatisticsTable
from harness.metrics.image_figures import image_figures
from harness.metrics.sums import ScoredImages
from harness.results import Store
from harness.results.image_scores import ImageNames, stored_name
from harness.results.schema import CurvePoint, Evaluation, GalleryImage, GalleryPrediction, ImageList, ImageScore, Run
from leaderboard.queries.records import Data
from leaderboard.queries.scored_runs import copies_of_data
from leaderboard.queries.sound import parsed, raw, reading, sound_figure
from leaderboard.queries.stored_scores import parts


def load_curves(store: Store, run_ids: Sequence[int]) -> list[tuple[int, str, int, float | None]]:
    """Learning curves: (run, name, epoch, value), by epoch; a point that is not sound is left out."""
    found: list[tuple[int, str, int, float | None]] = []
    columns = (CurvePoint.run_id, CurvePoint.name, CurvePoint.epoch, CurvePoint.value)
    with reading(store) as session:
        for part in parts(sorted(set(run_ids))):
            query = select(*map(raw, columns)).where(CurvePoint.run_id.in_(part))
            for run, name, epoch, value in session.execute(
                query.order_by(CurvePoint.run_id, CurvePoint.name, CurvePoint.epoch)
            ):
                if isinstance(name, str) and isinstance(epoch, int) and sound_figure(value):
                    found.append((run, name, epoch, value))
    return found


def curve_length(store: Store, run_id: int) -> int:
    """How many points the learning curves of a run have by now."""
    with reading(store) as session:
        return session.scalar(select(func.count()).where(CurvePoint.run_id == run_id)) or 0


@dataclass(frozen=True)
class Shown:
    """One gallery image: the photograph and the truth, with each run's prediction."""

    image_id: str
    image: bytes
    target: bytes
    predictions: dict[int, bytes]
    """Run -> palette PNG."""


def list_gallery(store: Store, run_ids: Sequence[int]) -> dict[str, list[int]]:
    """The images of the gallery that these runs have predictions of, each with the runs that have; no picture is read.

    Every run has the images that are spread over the data set, and some that it alone predicted badly.
    """
    found: dict[str, list[int]] = defaultdict(list)
    with reading(store) as session:
        for part in parts(sorted(set(run_ids))):
            query = select(raw(GalleryPrediction.image_id), raw(GalleryPrediction.run_id))
            query = query.where(GalleryPrediction.run_id.in_(part))
            for image, run in session.execute(query.order_by(GalleryPrediction.image_id, GalleryPrediction.run_id)):
                found[str(image)].append(run)
    return dict(found)


def load_gallery(
    store: Store, test_manifest: str, run_ids: Sequence[int], image_ids: Sequence[str] | None = None
) -> list[Shown]:
    """The gallery images of a copy of a data set, with what these runs predicted.

    Args:
        store: the database.
        test_manifest: of the scored split.
        run_ids: the runs; an image that none of them has is left out.
        image_ids: only these images.
    """
    predicted: dict[str, dict[int, bytes]] = defaultdict(dict)
    columns = (GalleryPrediction.image_id, GalleryPrediction.run_id, GalleryPrediction.prediction)
    with reading(store) as session:
        for part in parts(sorted(set(run_ids))):
            query = select(*map(raw, columns)).where(GalleryPrediction.run_id.in_(part))
            if image_ids is not None:
                query = query.where(GalleryPrediction.image_id.in_(image_ids))
            for image, run, prediction in session.execute(query):
                if isinstance(prediction, bytes):
                    predicted[image][run] = prediction
        shown = select(raw(GalleryImage.image_id), raw(GalleryImage.image), raw(GalleryImage.target)).where(
            GalleryImage.test_manifest == test_manifest
        )
        if image_ids is not None:
            shown = shown.where(GalleryImage.image_id.in_(image_ids))
        return [
            Shown(name, image, target, predicted[name])
            for name, image, target in session.execute(shown.order_by(GalleryImage.image_id))
            if name in predicted and isinstance(image, bytes) and isinstance(target, bytes)
        ]


@dataclass(frozen=True)
class ImageScores:
    """One score of each image, run by run."""

    metric: str
    runs: tuple[int, ...]
    """Those that have such scores."""
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """The patient, drive or city of each image; () where images have none."""
    figures: NDArray[np.float32]
    """(runs, images); NaN where undefined."""
    problems: dict[int, str]
    """Runs whose scores cannot be read, and why."""


def load_image_scores(
    store: Store, run_ids: Sequence[int], metric: str, protocol_hash: str | None = None, split: str = "test"
) -> ImageScores:
    """One score of each image of some runs on the same data; from their statistics where it is not stored.

    Args:
        store: the database.
        run_ids: the runs; one that is not scored has no line.
        metric: a metric that is a figure of images, or one of a class: `iou[horse]`.
        protocol_hash: the protocol; None: the latest that each run was scored under.
        split: of the data.

    Returns:
        The images in the order in which they were scored; one that only some runs scored is NaN for the others.
    """
    lines: dict[int, tuple[ImageNames, NDArray[np.float32]]] = {}
    problems: dict[int, str] = {}
    with reading(store) as session:
        copies = copies_of_data(session)
        lists: dict[str, ImageNames] = {}
        for run, one in _evaluations(session, run_ids, protocol_hash, split).items():
            data, _ = copies.get(one["manifest"]) or (None, "")
            name = None if data is None else stored_name(metric, data.classes)
            if data is None or name is None:
                continue
            try:
                lines[run] = _stored(session, one, name, lists) or _folded(session, one, name, data)
            except Exception as error:  # noqa: BLE001 (damaged bytes may raise anything, and are shown as damaged)
                problems[run] = f"its scores of single images cannot be read: {error}"
    runs = tuple(run for run in dict.fromkeys(run_ids) if run in lines)
    names = _all_names([lines[run][0] for run in runs])
    figures = np.full((len(runs), len(names.ids)), np.nan, dtype=np.float32)
    place = {image: index for index, image in enumerate(names.ids)}
    for row, run in enumerate(runs):
        own, values = lines[run]
        if own.ids == names.ids:
            figures[row] = values
        else:
            figures[row, [place[image] for image in own.ids]] = values
    return ImageScores(metric, runs, names.ids, names.groups, figures, problems)


def _all_names(lists: Sequence[ImageNames]) -> ImageNames:
    """The images of all lists, each once."""
    if len(set(lists)) <= 1:
        return lists[0] if lists else ImageNames((), ())
    groups: dict[str, str] = {}
    for one in lists:
        for image, group in zip(one.ids, one.groups or one.ids, strict=True):
            groups.setdefault(image, group)
    some = any(one.groups for one in lists)
    return ImageNames(tuple(groups), tuple(groups.values()) if some else ())


def _evaluations(
    session: Session, run_ids: Sequence[int], protocol_hash: str | None, split: str
) -> dict[int, Mapping[str, Any]]:
    """Of each run the latest evaluation of a split, without its statistics."""
    found: dict[int, Mapping[str, Any]] = {}
    columns = (Evaluation.id, Evaluation.run_id, Evaluation.image_list, Run.manifest)
    for part in parts(sorted(set(run_ids))):
        query = select(*map(raw, columns)).join(Run, Evaluation.run_id == Run.id).order_by(Evaluation.id)
        query = query.where(Evaluation.run_id.in_(part), Evaluation.split == split)
        if protocol_hash is not None:
            query = query.where(Evaluation.protocol_hash == protocol_hash)
        found |= {row.run_id: row._mapping for row in session.execute(query)}
    return found


def _stored(
    session: Session, one: Mapping[str, Any], name: str, lists: dict[str, ImageNames]
) -> tuple[ImageNames, NDArray[np.float32]] | None:
    """What is stored of an evaluation; None where it is not."""
    key = one["image_list"]
    if key not in lists:
        images = session.execute(select(raw(ImageList.images)).where(ImageList.key == key)).scalar()
        if images is None:
            return None
        lists[key] = ImageNames.read(images)
    query = select(raw(ImageScore.figures)).where(ImageScore.evaluation_id == one["id"], ImageScore.metric == name)
    figures = session.execute(query).scalar()
    if figures is None:
        return None
    values = np.frombuffer(figures, dtype="<f4")
    if len(values) != len(lists[key].ids) or np.isinf(values).any():
        raise ValueError("they are not one for each image")
    return lists[key], values


def _folded(session: Session, one: Mapping[str, Any], name: str, data: Data) -> tuple[ImageNames, NDArray[np.float32]]:
    """The same from the statistics of an evaluation."""
    columns = (raw(Evaluation.statistics), raw(Evaluation.protocol))
    statistics, protocol = session.execute(select(*columns).where(Evaluation.id == one["id"])).one()
    table = StatisticsTable.from_bytes(statistics)
    images = ScoredImages(table, len(data.classes), Protocol.from_stored(parsed(protocol)), data.foreground)
    return ImageNames(table.ids, table.groups), image_figures(images, [name])[name].astype(np.float32)


def load_statistics(store: Store, run_id: int, protocol_hash: str, split: str = "test") -> StatisticsTable:
    """What was counted in each image of a scored split.

    Raises:
        DatabaseError: the run is not scored so, or its statistics cannot be read.
    """
    query: Select[Any] = select(raw(Evaluation.statistics)).where(
        Evaluation.run_id == run_id, Evaluation.protocol_hash == protocol_hash, Evaluation.split == split
    )
    with reading(store) as session:
        stored = session.execute(query.order_by(Evaluation.id.desc())).scalars().first()
    if stored is None:
        raise DatabaseError(f"{store.name}: run {run_id} has no scores of {split} under protocol {protocol_hash[:12]}")
    try:
        return StatisticsTable.from_bytes(stored)
    except Exception as error:
        raise DatabaseError(f"{store.name}: the statistics of run {run_id} cannot be read: {error}") from error
