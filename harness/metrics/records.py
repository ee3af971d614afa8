"""Per-image sufficient statistics: what is kept of an image so that every score can be recomputed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from harness.metrics.protocol import Protocol

FORMAT_VERSION = 1


@dataclass(frozen=True)
class ClassSurface:
    """Boundary statistics of one class in one image, for a class that at least one of the maps holds.

    Distances are in units of the protocol's spacing. Where one map lacks the class its edge count is 0 and
    every distance is NaN.
    """

    label: int
    edge_prediction: int
    """Edge pixels of the prediction."""
    edge_target: int
    """Edge pixels of the target."""
    hd: float
    """Hausdorff distance: the largest of all distances, both ways."""
    hd95: float
    """Robust Hausdorff distance by the protocol's percentile and rule."""
    sum_to_target: float
    """Sum of distances from the prediction's edge pixels."""
    sum_to_prediction: float
    """Sum of distances from the target's edge pixels."""
    bf_prediction: int
    """Edge pixels of the prediction within the BF tolerance."""
    bf_target: int
    nsd_prediction: int
    """Edge pixels of the prediction within the NSD tolerance."""
    nsd_target: int
    band_intersection: int
    """Pixels in both Boundary IoU bands."""
    band_union: int
    """Pixels in either Boundary IoU band."""


@dataclass(frozen=True)
class ImageStatistics:
    """Everything that is kept of one scored image.

    `confusion` is sparse: rows of (target, prediction, pixels); prediction K means out of range.
    `trimap` adds the index of the radius in front. An image without a scored pixel has empty parts and
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

    def dense_confusion(self, num_classes: int) -> NDArray[np.int64]:
        """The (K, K) confusion matrix; out-of-range predictions are left out."""
        matrix = np.zeros((num_classes, num_classes + 1), dtype=np.int64)
        matrix[self.confusion[:, 0], self.confusion[:, 1]] = self.confusion[:, 2]
        return matrix[:, :num_classes]


def sparse(matrix: NDArray[np.int64]) -> NDArray[np.int64]:
    """The non-zero cells of a matrix as rows (row, column, value)."""
    rows, columns = np.nonzero(matrix)
    return np.stack([rows, columns, matrix[rows, columns]], axis=1).astype(np.int64)


def diagonal(height: int, width: int, protocol: Protocol) -> float:
    """The image's diagonal in units of the spacing."""
    return float(np.hypot(height * protocol.spacing[0], width * protocol.spacing[1]))


SURFACE_INTEGERS = (
    "label",
    "edge_prediction",
    "edge_target",
    "bf_prediction",
    "bf_target",
    "nsd_prediction",
    "nsd_target",
    "band_intersection",
    "band_union",
)
SURFACE_FLOATS = ("hd", "hd95", "sum_to_target", "sum_to_prediction")


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
    """(s, 1 + 9): image, then `SURFACE_INTEGERS`."""
    surface_floats: NDArray[np.float64]
    """(s, 4): `SURFACE_FLOATS`."""

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
        )

    def subset(self, ids: Iterable[str]) -> StatisticsTable:
        """The same statistics for some of the images only, in the table's order."""
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
        )

    def to_bytes(self) -> bytes:
        """Serialise; compressed, without pickled objects."""
        buffer = io.BytesIO()
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "ids"}
        ids = np.frombuffer("\n".join(self.ids).encode(), dtype=np.uint8)
        np.savez_compressed(buffer, version=np.array(FORMAT_VERSION), ids=ids, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> StatisticsTable:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: the bytes are of a newer format.
        """
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            version = int(stored["version"])
            if version > FORMAT_VERSION:
                raise ValueError(f"statistics of format {version}; this version reads up to {FORMAT_VERSION}")
            text = stored["ids"].tobytes().decode()
            arrays = {f.name: stored[f.name] for f in fields(cls) if f.name != "ids"}
        return cls(ids=tuple(text.split("\n")) if text else (), **arrays)


def _rows(rows: list[tuple[int, ...]], width: int) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64).reshape(-1, width)


def _indexed(parts: list[NDArray[np.int64]], width: int) -> NDArray[np.int64]:
    """Stack the parts, each row led by the index of its part."""
    if not parts:
        return np.zeros((0, width), dtype=np.int64)
    owner = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    rows: NDArray[np.int64] = np.column_stack([owner, np.concatenate(parts)]).astype(np.int64)
    return rows
