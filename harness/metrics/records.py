"""Per-image sufficient statistics: what is kept of an image so that every score can be recomputed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import other_version
from harness.metrics import packing
from harness.metrics.columns import LARGEST, pack, unpack

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ClassSurface:
    """Boundary statistics of one class in one image, for a class that at least one of the maps holds.

    Distances are in units of the protocol's spacing. Where one map has no boundary, its length is 0 and every distance
    is NaN. A length is the number of boundary points; under `boundary="deepmind"`, the length of the contour.
    """

    label: int
    edge_prediction: float
    """Length of the prediction's boundary."""
    edge_target: float
    """Length of the target's boundary."""
    hd: float
    """Hausdorff distance: the largest of all distances, both ways."""
    hd95: float
    """Robust Hausdorff distance by the protocol's percentile and rule."""
    sum_to_target: float
    """Sum of distances along the prediction's boundary."""
    sum_to_prediction: float
    """Sum of distances along the target's boundary."""
    nsd_prediction: float
    """Length of the prediction's boundary within the NSD tolerance."""
    nsd_target: float
    bf_edge_prediction: float
    """Edge pixels of the prediction, as the boundary F-measure sees them."""
    bf_edge_target: float
    bf_prediction: float
    """Of those, the ones within the BF tolerance of the target's."""
    bf_target: float
    band_intersection: int
    """Pixels in both Boundary IoU bands."""
    band_union: int
    """Pixels in either Boundary IoU band."""


STRUCTURES = (
    "skeleton_prediction",
    "skeleton_prediction_inside",
    "skeleton_target",
    "skeleton_target_inside",
    "components_prediction",
    "components_target",
    "holes_prediction",
    "holes_target",
    "components_met",
    "alarms",
)
"""Of one class in one image: pixels of the skeletons, and of those that lie inside the other mask; components and
holes; components of the target that the prediction meets, and of the prediction that meet none: see
`harness.metrics.structure`."""


@dataclass(frozen=True)
class ImageStatistics:
    """Everything that is kept of one scored image.

    `confusion` is sparse: rows of (target, prediction, pixels); prediction K means out of range.
    `trimap` adds the index of the radius in front. `histogram` has rows of (bin, whether the target is the foreground,
    pixels) where scores of the foreground were given. An image without a scored pixel has empty parts and
    `scored` 0: it is skipped and counted.
    """

    image_id: str
    height: int
    width: int
    scored: int
    """Pixels that were scored."""
    ignored: int
    """Pixels that are void or not valid."""
    confusion: NDArray[np.int64]
    """(n, 3)"""
    trimap: NDArray[np.int64]
    """(m, 4)"""
    surfaces: tuple[ClassSurface, ...] = field(default=())
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    """(h, 3)"""
    structures: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 1 + len(STRUCTURES)), dtype=np.int64))
    """(m, 1 + 10): label, then `STRUCTURES`, of the classes whose structures were counted."""
    confidence: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))
    """(c, 3): bin, whether the prediction is right, pixels, where confidences were given."""
    loss: float = float("nan")
    """The loss of this image; NaN where there is none."""

    def dense_confusion(self, num_classes: int) -> NDArray[np.int64]:
        """The (K, K) confusion matrix; out-of-range predictions are left out."""
        matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        matrix[self.confusion[:, 0], self.confusion[:, 1]] = self.confusion[:, 2]
        return matrix[:, :num_classes]


def sparse(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """The non-zero cells of a matrix as rows (row, column, value)."""
    rows, columns = np.nonzero(matrix)
    return np.stack([rows, columns, matrix[rows, columns]], axis=1).astype(np.int64)


SURFACE_INTEGERS = ("label", "band_intersection", "band_union")
SURFACE_FLOATS = tuple(f.name for f in fields(ClassSurface) if f.name not in SURFACE_INTEGERS)


@dataclass(frozen=True)
class StatisticsTable:
    """The statistics of many images, column by column; the form in which they are stored and folded.

    `image` in each part is an index into `ids`.
    """

    ids: tuple[str, ...]
    shape: NDArray[np.int64]
    """(N, 4): height, width, scored, ignored."""
    confusion: NDArray[np.int64]
    """(n, 4): image, target, prediction, pixels."""
    trimap: NDArray[np.int64]
    """(m, 5): image, index of the radius, target, prediction, pixels."""
    surface_integers: NDArray[np.int64]
    """(s, 1 + 3): image, then `SURFACE_INTEGERS`."""
    surface_floats: NDArray[np.float64]
    """(s, 12): `SURFACE_FLOATS`."""
    histogram: NDArray[np.int64]
    """(h, 4): image, bin, whether the target is the foreground, pixels."""
    loss: NDArray[np.float64]
    """(N,): the loss of each image; NaN where there is none."""
    structures: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 2 + len(STRUCTURES)), dtype=np.int64))
    """(m, 2 + 10): image, label, then `STRUCTURES`."""
    confidence: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 4), dtype=np.int64))
    """(c, 4): image, bin, whether the prediction is right, pixels."""
    batch_loss: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """(B,): the loss of each batch of images, in order, where they are kept."""
    groups: tuple[str, ...] = ()
    """The patient, drive or city of each image; () where the data set has none. Images of one group are not
    independent, which intervals over images have to know."""

    @classmethod
    def of(cls, images: Sequence[ImageStatistics]) -> StatisticsTable:
        """Gather single images, in the order given."""
        surfaces = [(i, s) for i, image in enumerate(images) for s in image.surfaces]
        return cls(
            ids=tuple(image.image_id for image in images),
            shape=_rows([(im.height, im.width, im.scored, im.ignored) for im in images], 4),
            confusion=_indexed([image.confusion for image in images], 4),
            trimap=_indexed([image.trimap for image in images], 5),
            surface_integers=_rows(
                [(i, *(getattr(s, name) for name in SURFACE_INTEGERS)) for i, s in surfaces],
                1 + len(SURFACE_INTEGERS),
            ),
            surface_floats=np.array(
                [[getattr(s, name) for name in SURFACE_FLOATS] for _, s in surfaces], dtype=np.float64
            ).reshape(-1, len(SURFACE_FLOATS)),
            histogram=_indexed([image.histogram for image in images], 4),
            structures=_indexed([image.structures for image in images], 2 + len(STRUCTURES)),
            confidence=_indexed([image.confidence for image in images], 4),
            loss=np.array([image.loss for image in images], dtype=np.float64),
        )

    def subset(self, ids: Iterable[str]) -> StatisticsTable:
        """The same statistics for some of the images only, in the table's order; batches are not kept."""
        wanted = set(ids)
        keep = np.array([name in wanted for name in self.ids], dtype=bool)
        renumber = np.cumsum(keep) - 1

        def part(rows: NDArray[np.int64]) -> NDArray[np.int64]:
            kept: NDArray[np.int64] = rows[keep[rows[:, 0]]].copy()
            kept[:, 0] = renumber[kept[:, 0]]
            return kept

        return StatisticsTable(
            ids=tuple(name for name, k in zip(self.ids, keep, strict=True) if k),
            shape=self.shape[keep],
            confusion=part(self.confusion),
            trimap=part(self.trimap),
            surface_integers=part(self.surface_integers),
            surface_floats=self.surface_floats[keep[self.surface_integers[:, 0]]],
            histogram=part(self.histogram),
            structures=part(self.structures),
            confidence=part(self.confidence),
            loss=self.loss[keep],
            groups=tuple(name for name, k in zip(self.groups, keep, strict=True) if k) if self.groups else (),
        )

    def with_groups(self, group: Callable[[str], str]) -> StatisticsTable:
        """The same statistics with each image's group; nothing is kept where every image is one to itself.

        Args:
            group: gives the group of an image's id, or the id itself.
        """
        groups = tuple(group(name) for name in self.ids)
        return replace(self, groups=() if groups == self.ids else groups)

    def with_scores_of(self, other: StatisticsTable) -> StatisticsTable:
        """The same statistics with another table's losses and histograms, which label maps alone do not give.

        The losses of batches are taken over where the images are the same.
        """
        place = {name: index for index, name in enumerate(self.ids)}
        renumber = np.array([place.get(name, -1) for name in other.ids], dtype=np.int64)
        known = renumber >= 0
        loss = self.loss.copy()
        loss[renumber[known]] = other.loss[known]

        def taken(rows: NDArray[np.int64]) -> NDArray[np.int64]:
            kept: NDArray[np.int64] = rows[known[rows[:, 0]]].copy()
            kept[:, 0] = renumber[kept[:, 0]]
            return kept

        batch_loss = other.batch_loss if other.ids == self.ids else self.batch_loss
        histogram, confidence = taken(other.histogram), taken(other.confidence)
        return replace(self, loss=loss, histogram=histogram, confidence=confidence, batch_loss=batch_loss)

    def to_bytes(self) -> bytes:
        """Serialise as packed columns (`harness.metrics.columns`): the same bytes for the same values, and no objects.

        Every figure comes back bit for bit.
        """
        columns: packing.Columns = {
            name: np.frombuffer("\n".join(lines).encode(), dtype=np.uint8)
            for name, lines in (("ids", self.ids), ("groups", self.groups))
        }
        images = len(self.ids)
        height, width, scored, ignored = self.shape.T
        columns |= {"height": height, "width": width, "scored": scored - _pixels(self.confusion, images)}
        columns["ignored"] = ignored - (height * width - scored)
        packing.put_confusion(columns, self.confusion, self.trimap, images)
        floats = dict(zip(SURFACE_FLOATS, self.surface_floats.T, strict=True))
        packing.put_surfaces(columns, self.surface_integers, floats, self.confusion, images)
        for name in _ROWS:
            if len(rows := getattr(self, name)):
                packing.put_rows(columns, name, rows, images)
        packing.put_floats(columns, "loss", self.loss)
        packing.put_floats(columns, "batch_loss", self.batch_loss)
        return pack(columns, {"version": FORMAT_VERSION})

    @classmethod
    def from_bytes(cls, data: bytes, most: int = LARGEST) -> StatisticsTable:
        """Read what `to_bytes` wrote.

        Args:
            data: the bytes.
            most: bytes that packed columns may have unpacked.

        Raises:
            ValueError: the bytes are of another format, damaged, or unpack to more.
        """
        columns, facts = unpack(data, most)
        if facts.get("version") != FORMAT_VERSION:
            raise ValueError(
                f"it {other_version('statistics format', facts.get('version'), FORMAT_VERSION)}: "
                "open it with the version that wrote it"
            )
        try:
            table = cls._of_columns(columns)
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"damaged statistics: {error}") from None
        wrong = [name for name, kind in _KINDS.items() if getattr(table, name).dtype != kind]
        if wrong:
            raise ValueError(f"damaged statistics: {wrong[0]} is not of whole numbers, or only of them")
        return table

    @classmethod
    def _of_columns(cls, columns: Mapping[str, NDArray[Any]]) -> StatisticsTable:
        ids, groups = (_texts(columns[name]) for name in ("ids", "groups"))
        confusion, trimap = packing.take_confusion(columns)
        integers, floats = packing.take_surfaces(columns, SURFACE_FLOATS, confusion)
        height, width = columns["height"], columns["width"]
        scored = columns["scored"] + _pixels(confusion, len(ids))
        return cls(
            ids=ids,
            groups=groups,
            shape=np.column_stack([height, width, scored, columns["ignored"] + height * width - scored]),
            confusion=confusion,
            trimap=trimap,
            surface_integers=integers,
            surface_floats=floats,
            **{
                name: packing.take_rows(columns, name, width)
                if f"{name}.1" in columns
                else np.zeros((0, width), dtype=np.int64)
                for name, width in _ROWS.items()
            },
            loss=packing.take_floats(columns, "loss"),
            batch_loss=packing.take_floats(columns, "batch_loss"),
        )


# Rows of whole numbers led by an image, and their width; what has none takes no columns.
_ROWS = {"histogram": 4, "structures": 2 + len(STRUCTURES), "confidence": 4}
# The types of the parts.
_KINDS = dict.fromkeys(("shape", "confusion", "trimap", "surface_integers", *_ROWS), np.int64) | dict.fromkeys(
    ("surface_floats", "loss", "batch_loss"), np.float64
)


def _texts(column: NDArray[Any]) -> tuple[str, ...]:
    """Lines of text that are kept as their bytes."""
    text = column.astype(np.uint8).tobytes().decode()
    return tuple(text.split("\n")) if text else ()


def _pixels(confusion: NDArray[np.int64], images: int) -> NDArray[np.int64]:
    """The pixels of each image's confusion matrix, which are mostly all that were scored."""
    found = np.zeros(images, dtype=np.int64)
    np.add.at(found, confusion[:, 0], confusion[:, 3])
    return found


def _rows(rows: list[tuple[int, ...]], width: int) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _indexed(parts: list[NDArray[np.int64]], width: int) -> NDArray[np.int64]:
    """Stack the parts, each row led by the index of its part."""
    if not parts:
        return np.zeros((0, width), dtype=np.int64)
    owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    rows: NDArray[np.int64] = np.column_stack([owner, np.concatenate(parts)]).astype(np.int64)
    return rows
