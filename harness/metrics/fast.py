"""The statistics of one image through the compiled kernels: the same numbers as `statistics.reference_statistics`."""

from __future__ import annotations

import threading
from functools import cache

import numpy as np
from numpy.typing import NDArray

from harness.metrics import kernels
from harness.metrics.boundary import band_width
from harness.metrics.confusion import Labels, Mask
from harness.metrics.protocol import Protocol
from harness.metrics.records import ClassSurface, ImageStatistics, sparse

Bytes = NDArray[np.uint8]

# Pixels whose runs are found at a time; small enough to stay in the first cache.
_BLOCK = 4096
# Squared distances up to here (64 pixels) are counted, the others sorted.
_SMALL_SQUARES = 4096

_scratch = threading.local()


def can_score(protocol: Protocol, num_classes: int, ignore_index: int) -> bool:
    """Whether the kernels know these conventions; the others go the slower way."""
    radii = protocol.trimap_radii
    return (
        num_classes < kernels.NOTHING - 1
        and ignore_index == kernels.NOTHING
        and protocol.spacing == (1.0, 1.0)
        and (protocol.boundary, protocol.hd_percentile_rule, protocol.bf) == ("inner", "directed", "inner")
        and protocol.biou_band == protocol.trimap_band == "chessboard"
        and list(radii) == sorted(set(radii))
        and min(radii) >= 1
        and max(radii) <= 126
    )


def fast_statistics(
    prediction: Labels,
    target: Labels,
    num_classes: int,
    protocol: Protocol,
    image_id: str,
    valid: Mask | None,
) -> ImageStatistics | None:
    """Gather the statistics of one image; None where a label is none of 0..255 or does not exist.

    Args:
        prediction: (H, W) predicted labels.
        target: (H, W) true labels, 255 for void.
        num_classes: K.
        protocol: the conventions, which `can_score` accepts.
        image_id: the image's name.
        valid: (H, W) the region to score.
    """
    guess, given = _as_bytes(prediction), _as_bytes(target)
    if guess is None or given is None:
        return None
    height, width = given.shape
    true = given if valid is None else np.where(valid, given, np.uint8(kernels.NOTHING))
    counts = np.zeros((num_classes + 2, num_classes + 1), dtype=np.int64)
    memory = _Memory.of(height, width)
    kernels.count_pairs(guess.ravel(), true.ravel(), *memory.blocks, counts)
    if counts[num_classes].any() or (protocol.out_of_range == "raise" and counts[:num_classes, -1].any()):
        return None
    confusion = counts[:num_classes]
    scored = int(confusion.sum())
    trimap = np.zeros((0, 4), dtype=np.int64)
    surfaces: tuple[ClassSurface, ...] = ()
    if scored:
        filled = _void_handled(true, valid, protocol, memory)
        masked = memory.map("masked")
        kernels.mask_guess(guess.ravel(), filled.ravel(), num_classes, masked.ravel())
        trimap = _trimap(guess, given, true, filled, num_classes, protocol, memory)
        surfaces = _surfaces(masked, filled, num_classes, protocol, memory)
    return ImageStatistics(
        image_id, height, width, scored, height * width - scored, sparse(confusion), trimap, surfaces
    )


def count_labels(
    prediction: Labels, target: Labels, num_classes: int, valid: Mask | None = None
) -> NDArray[np.int64] | None:
    """The confusion matrix alone, (K, K+1), with 255 for void; None where the kernels cannot count it."""
    guess, true = _as_bytes(prediction), _as_bytes(target)
    if guess is None or true is None or num_classes >= kernels.NOTHING - 1:
        return None
    if valid is not None:
        true = np.where(valid, true, np.uint8(kernels.NOTHING))
    counts = np.zeros((num_classes + 2, num_classes + 1), dtype=np.int64)
    kernels.count_pairs(guess.ravel(), true.ravel(), *_Memory.of(*true.shape).blocks, counts)
    return None if counts[num_classes].any() else counts[:num_classes]


def largest_channel(logits: NDArray[np.float32]) -> Bytes:
    """Logits (K, H, W) -> labels (H, W): the channel with the largest logit, of equal ones the first."""
    channels, height, width = logits.shape
    labels = np.empty((height, width), dtype=np.uint8)
    best, channel = np.empty(_BLOCK, dtype=np.float32), np.empty(_BLOCK, dtype=np.int32)
    kernels.largest_channel(logits.reshape(channels, -1), labels.ravel(), best, channel)
    return labels


def _as_bytes(labels: Labels) -> Bytes | None:
    """The labels as contiguous, writable uint8, which is what the kernels' signatures say; None where one does not fit.

    Decoded images are read-only: those are copied.
    """
    if labels.dtype != np.uint8:
        if labels.size and (labels.min() < 0 or labels.max() > 255):
            return None
        labels = labels.astype(np.uint8)
    return np.require(labels, dtype=np.uint8, requirements=["C", "W"])


def _words(labels: Bytes) -> NDArray[np.uint64]:
    """The whole words of eight pixels of a contiguous map."""
    flat = labels.ravel()
    return flat[: flat.size // 8 * 8].view(np.uint64)


def _void_handled(true: Bytes, valid: Mask | None, protocol: Protocol, memory: _Memory) -> Bytes:
    """The target after the protocol's void rule; NOTHING belongs to no class."""
    if protocol.void == "mask" or protocol.fill_radius == 0:
        return true
    filled = memory.map("filled")
    np.copyto(filled, true)
    if valid is not None:
        filled[~valid] = kernels.NOTHING - 1  # not to be filled
    kernels.fill_nothing(true, filled, _offsets(protocol.fill_radius))
    if valid is not None:
        filled[~valid] = kernels.NOTHING
    return filled


@cache
def _offsets(radius: int) -> NDArray[np.int64]:
    """Every (dy, dx, d²) within a radius but the centre, nearest first."""
    span = np.arange(-radius, radius + 1)
    dy, dx = (a.ravel() for a in np.meshgrid(span, span, indexing="ij"))
    rows = np.stack([dy, dx, dy**2 + dx**2], axis=1).astype(np.int64)
    rows = rows[(rows[:, 2] <= radius**2) & (rows[:, 2] > 0)]
    return np.ascontiguousarray(rows[np.argsort(rows[:, 2], kind="stable")])


def _trimap(
    guess: Bytes, given: Bytes, true: Bytes, filled: Bytes, num_classes: int, protocol: Protocol, memory: _Memory
) -> NDArray[np.int64]:
    """Confusion within each band, as rows (index of the radius, target, prediction, pixels)."""
    mask, spread, reach = memory.map("mask"), memory.map("spread"), memory.map("reach")
    if protocol.trimap == "void":
        np.equal(given, kernels.NOTHING, out=mask.view(bool))
        grown = 0
    else:
        kernels.change_map(filled, mask)
        grown = 1  # a pixel beside a change has distance 1
    reach[:] = 0
    for number, radius in enumerate(protocol.trimap_radii, start=1):
        if radius > grown:
            age = np.empty(mask.shape[1], dtype=np.uint8)
            kernels.dilate(mask, radius - grown, spread, *memory.lines(2 * (radius - grown)), age)
            mask, spread, grown = spread, mask, radius
        kernels.mark_reach(mask.ravel(), true.ravel(), reach.ravel(), number)
    counts = np.zeros((len(protocol.trimap_radii) + 1, num_classes, num_classes + 1), dtype=np.int64)
    kernels.count_reach(guess.ravel(), true.ravel(), reach.ravel(), _words(reach), counts)
    # A band holds what all narrower ones hold.
    index, row, column = np.nonzero(inside := counts[1:].cumsum(axis=0))
    return np.stack([index, row, column, inside[index, row, column]], axis=1).astype(np.int64)


def _surfaces(
    guess: Bytes, true: Bytes, num_classes: int, protocol: Protocol, memory: _Memory
) -> tuple[ClassSurface, ...]:
    """Boundary statistics of each class that one of the maps holds."""
    height, width = true.shape
    band = band_width(height, width, protocol)
    bands = memory.map("guess band"), memory.map("true band")
    for labels, into in ((guess, bands[0]), (true, bands[1])):
        mark_bands(labels, band, into, memory)
    in_bands = np.zeros((256, 3), dtype=np.int64)
    parts = (guess, true, *bands)
    kernels.count_bands(*(part.ravel() for part in parts), *memory.blocks, in_bands)
    guess_points, guess_starts = memory.points("guess", guess)
    true_points, true_starts = memory.points("true", true)
    longest = max(len(guess_points), len(true_points))
    results = np.zeros((num_classes, 2, 5))
    kernels.class_distances(
        guess_points,
        guess_starts,
        true_points,
        true_starts,
        width,
        protocol.hd_percentile / 100,
        protocol.bf_limit(height, width),
        protocol.nsd_limit,
        memory.numbers("squares", longest),
        memory.columns,
        memory.numbers("order", longest),
        memory.bins,
        results,
    )
    found = []
    for label in range(num_classes):
        edges = (
            int(guess_starts[label + 1] - guess_starts[label]),
            int(true_starts[label + 1] - true_starts[label]),
        )
        if edges != (0, 0):
            found.append(_class_surface(label, edges, results[label], in_bands[label].tolist()))
    return tuple(found)


def mark_bands(labels: Bytes, distance: int, into: Bytes, memory: _Memory) -> None:
    """Mark the Boundary IoU bands of all classes of a map."""
    age = np.empty(labels.shape[1], dtype=np.uint8 if 2 * distance < 256 else np.uint16)
    kernels.mixed_windows(labels, distance, into, *memory.lines(2 * distance), age)


def _class_surface(
    label: int, edges: tuple[int, int], result: NDArray[np.float64], in_bands: list[int]
) -> ClassSurface:
    intersection, union = in_bands[2], in_bands[0] + in_bands[1] - in_bands[2]
    lengths = float(edges[0]), float(edges[1])
    if 0 in edges:
        nan = float("nan")
        return ClassSurface(label, *lengths, nan, nan, nan, nan, 0.0, 0.0, *lengths, 0.0, 0.0, intersection, union)
    (hd_a, q_a, sum_a, bf_a, nsd_a), (hd_b, q_b, sum_b, bf_b, nsd_b) = result.tolist()
    return ClassSurface(
        label=label,
        edge_prediction=lengths[0],
        edge_target=lengths[1],
        hd=max(hd_a, hd_b),
        hd95=max(q_a, q_b),
        sum_to_target=sum_a,
        sum_to_prediction=sum_b,
        nsd_prediction=nsd_a,
        nsd_target=nsd_b,
        bf_edge_prediction=lengths[0],
        bf_edge_target=lengths[1],
        bf_prediction=bf_a,
        bf_target=bf_b,
        band_intersection=intersection,
        band_union=union,
    )


class _Memory:
    """Scratch of one thread, kept between images of one size: fresh pages would cost more than the work."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = (height, width)
        self._maps: dict[str, Bytes] = {}
        self._numbers: dict[str, NDArray[np.int64]] = {}
        changes = np.empty(_BLOCK, dtype=np.uint8)
        self.blocks = changes, changes.view(np.uint64), np.empty(_BLOCK, dtype=np.int64)
        self.columns = np.empty((4, 3 * width + 2), dtype=np.int64)
        self.bins = np.zeros(_SMALL_SQUARES, dtype=np.int64)
        self._row = np.zeros(-(-width // 8) * 8, dtype=np.uint8)

    @classmethod
    def of(cls, height: int, width: int) -> _Memory:
        """This thread's scratch for a size; the last size's is dropped."""
        held: _Memory | None = getattr(_scratch, "memory", None)
        if held is None or held.shape != (height, width):
            held = _scratch.memory = cls(height, width)
        return held

    def map(self, name: str) -> Bytes:
        """A map (H, W); holds whatever was left in it."""
        if name not in self._maps:
            self._maps[name] = np.empty(self.shape, dtype=np.uint8)
        return self._maps[name]

    def numbers(self, name: str, count: int) -> NDArray[np.int64]:
        """At least `count` numbers; hold whatever was left in them."""
        held = self._numbers.get(name)
        if held is None or held.size < count:
            held = self._numbers[name] = np.empty(max(1, count), dtype=np.int64)
        return held

    def lines(self, extra: int) -> tuple[Bytes, Bytes]:
        """Two lines as long as a row and `extra`."""
        length = self.shape[1] + extra
        return np.empty(length, dtype=np.uint8), np.empty(length, dtype=np.uint8)

    def points(self, name: str, labels: Bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The edge pixels of a map, class by class: y·2²⁴ + x of each, and where each class begins."""
        starts = np.empty(257, dtype=np.int64)
        room = self._numbers[name].size if name in self._numbers else 8192
        while True:
            points = self.numbers(name, room)
            places = self.numbers("places", room)[:room]
            found = kernels.edge_points(labels, self._row, self._row.view(np.uint64), places, points, starts)
            if found >= 0:
                return points[:found], starts
            room *= 2
