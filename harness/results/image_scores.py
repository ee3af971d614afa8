"""A score for each image of an evaluation: stored beside its statistics, read without them, checked against them."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.metrics import Protocol, StatisticsTable
from harness.metrics.image_figures import has_image_figures, image_figures
from harness.metrics.metric import split_metric
from harness.metrics.sums import ScoredImages
from harness.results.schema import Evaluation, ImageList, ImageScore

__all__ = [
    "ImageNames",
    "add_evaluation",
    "check_image_scores",
    "image_contradictions",
    "stored_metrics",
    "stored_name",
]

# What is stored of every evaluation; of binary sets the scores of the class that counts, too.
_STORED = ("miou", "pa", "biou")
_STORED_OF_FOREGROUND = ("iou", "biou")
# Stored scores are float32: equal to the last of its bits.
_TOLERANCE = 1e-6
# A list of images is refused above this: a stored one may be made to fill the memory.
_LARGEST_LIST = 64_000_000


@dataclass(frozen=True)
class ImageNames:
    """The images of a scored split, in order."""

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """The patient, drive or city of each; () where images have none."""

    def stored(self) -> tuple[str, bytes]:
        """Its key and its bytes in `image_lists`."""
        text = json.dumps({"ids": self.ids, "groups": self.groups}, ensure_ascii=False, separators=(",", ":")).encode()
        return hashlib.sha256(text).hexdigest(), zlib.compress(text, 9)

    @classmethod
    def read(cls, stored: bytes) -> ImageNames:
        """Read what `stored` gave.

        Raises:
            ValueError: it is something else.
        """
        try:
            unpacking = zlib.decompressobj()
            text = unpacking.decompress(stored, _LARGEST_LIST)
            if unpacking.unconsumed_tail:
                raise ValueError("it is too long")
            value = json.loads(text)
            ids, groups = value["ids"], value["groups"]
            if not all(isinstance(word, str) for word in (*ids, *groups)) or len(groups) not in (0, len(ids)):
                raise ValueError("it is no list of names")
            return cls(tuple(ids), tuple(groups))
        except (zlib.error, ValueError, TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"a list of images cannot be read: {error}") from None


def add_evaluation(session: Session, evaluation: Evaluation, classes: int, foreground: int | None) -> None:
    """Add an evaluation, the list of its images, if it is new, and the score of each image.

    Args:
        session: the transaction.
        evaluation: a new row, but for its list of images; it has its number afterwards.
        classes: K.
        foreground: the class that counts in a binary set.

    Raises:
        ValueError: its statistics cannot be read.
    """
    table = StatisticsTable.from_bytes(evaluation.statistics)
    key, images = ImageNames(table.ids, table.groups).stored()
    if session.get(ImageList, key) is None:
        session.add(ImageList(key=key, images=images))
        session.flush()
    evaluation.image_list = key
    session.add(evaluation)
    session.flush()
    protocol = Protocol.from_stored(evaluation.protocol)
    scored = ScoredImages(table, classes, protocol, foreground)
    for metric, figures in image_figures(scored, stored_metrics(foreground)).items():
        session.add(ImageScore(evaluation_id=evaluation.id, metric=metric, figures=figures.astype("<f4").tobytes()))


def image_contradictions(
    table: StatisticsTable,
    classes: int,
    protocol: Protocol,
    stored: Mapping[str, bytes],
    names: ImageNames,
) -> Iterator[str]:
    """What is stored of single images and is not what their statistics say, a line each.

    Args:
        table: the statistics.
        classes: K.
        protocol: the conventions.
        stored: figures of `image_scores` by metric.
        names: the evaluation's list of images.
    """
    if names != ImageNames(table.ids, table.groups):
        yield "its list of images is not that of its statistics"
    known = [metric for metric in stored if _is_stored_name(metric, classes)]
    if len(known) < len(stored):
        yield f"has scores of single images of an unknown name: {', '.join(sorted(stored.keys() - set(known)))[:100]}"
    for metric, figures in image_figures(ScoredImages(table, classes, protocol), known).items():
        if len(stored[metric]) != len(figures.astype("<f4").tobytes()):
            yield f"{metric} of single images is not there for each of them"
        elif not np.allclose(np.frombuffer(stored[metric], "<f4"), figures, rtol=_TOLERANCE, atol=0, equal_nan=True):
            yield f"{metric} of single images is not what the statistics give"


def check_image_scores(
    session: Session, evaluation: Evaluation, table: StatisticsTable, classes: int, protocol: Protocol
) -> Iterator[str]:
    """The same for a row of this database."""
    query = select(ImageScore.metric, ImageScore.figures).where(ImageScore.evaluation_id == evaluation.id)
    stored = {row.metric: row.figures for row in session.execute(query)}
    row = session.get(ImageList, evaluation.image_list)
    if row is None:
        yield "its list of images is not in the database"
        return
    try:
        names = ImageNames.read(row.images)
    except ValueError as error:
        yield str(error)
        return
    if names.stored()[0] != row.key:
        yield "its list of images is not the one that its key names"
    yield from image_contradictions(table, classes, protocol, stored, names)


def _is_stored_name(metric: str, classes: int) -> bool:
    """Whether it is one of those that are stored, of any class that may be the foreground."""
    return any(metric in stored_metrics(foreground) for foreground in (None, *range(classes)))


def stored_metrics(foreground: int | None) -> tuple[str, ...]:
    """The scores of each image that are stored of every evaluation, by the names they are stored under."""
    own = () if foreground is None else tuple(f"{name}[{foreground}]" for name in _STORED_OF_FOREGROUND)
    return _STORED + own


def stored_name(metric: str, classes: Sequence[str]) -> str | None:
    """`iou[horse]` by the class's number, `iou[1]`; None for a score that single images do not have."""
    name, label = split_metric(metric)
    if not has_image_figures(metric) or (label is not None and label not in classes):
        return None
    return metric if label is None else f"{name}[{classes.index(label)}]"
