"""A stranger's statistics, read with limits; and the figures that they give, which are the ones that are taken over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.config.fingerprint import digest
from harness.datasets.base import problem_of_id
from harness.errors import other_version
from harness.metrics import Protocol, Scores, StatisticsTable, fold
from harness.metrics.confidence import CONFIDENCE_BINS
from harness.metrics.histogram import BINS
from harness.metrics.metric import all_metrics
from harness.metrics.protocol import EVALUATOR_VERSION
from harness.results.check import contradictions, expected_scores
from harness.results.merging.limits import Limits
from harness.results.merging.models import DatasetModel, EvaluationModel, ScoreModel
from harness.results.schema import OVERALL

# The radii of a protocol's trimap, and the largest side of an image.
RADII, SIDE = 64, 1_000_000
# The mean loss, compared as the figures are.
LOSS = ("loss", OVERALL)


@dataclass(frozen=True)
class Verified:
    """What an evaluation's statistics give."""

    table: StatisticsTable
    protocol: Protocol
    scores: Scores
    unknown: frozenset[str]
    """Metrics of packages that are not installed here: their figures cannot be verified and are left out."""


def verified(
    row: EvaluationModel, scores: Sequence[ScoreModel], data: DatasetModel, fingerprint: str, limits: Limits
) -> Verified:
    """Fold an evaluation's statistics, and compare what they give with what is stored.

    Args:
        row: the evaluation.
        scores: its stored figures.
        data: what its run was scored on.
        fingerprint: of its run.
        limits: how large statistics may be.

    Raises:
        ValueError: a figure is not what the statistics give, or something does not belong to the evaluation.
    """
    protocol = _protocol(row, fingerprint)
    table = read_statistics(row.statistics, len(data.classes), limits)
    try:
        with np.errstate(all="ignore"):
            folded = fold(table, len(data.classes), protocol, data.foreground)
    except (ArithmeticError, LookupError, ValueError, TypeError, MemoryError) as error:
        raise ValueError(f"its statistics cannot be folded: {type(error).__name__}: {error}") from error
    stored = {(score.metric, score.class_index): score.value for score in scores}
    if len(stored) != len(scores):
        raise ValueError("a figure is stored twice")
    own = {metric.name for metric in all_metrics() if metric.family == "extra"}
    expected = expected_scores(folded)
    # A metric of an installed package may be missing there: it is folded here.
    needed = {key: value for key, value in expected.items() if key in stored or key[0] not in own}
    needed[LOSS], stored[LOSS] = folded.loss, row.loss
    problem = next(contradictions(stored, needed, data.classes), None)
    if problem is not None:
        raise ValueError(problem)
    if row.n_images != folded.n_images:
        raise ValueError(f"{row.n_images} images are stored, its statistics have {folded.n_images}")
    unknown = {metric for metric, _ in stored.keys() - expected.keys() - {LOSS}}
    return Verified(table, protocol, folded, frozenset(unknown))


def _protocol(row: EvaluationModel, fingerprint: str) -> Protocol:
    """The conventions, if the hashes that keep boards apart are those of these conventions.

    Raises:
        ValueError: they are not, or are of an evaluator that this one cannot verify.
    """
    if row.evaluator_version != EVALUATOR_VERSION:
        raise ValueError(
            f"it {other_version('evaluator version', row.evaluator_version, EVALUATOR_VERSION)}: "
            "run its suite there again with this one, which scores the label maps anew"
        )
    smoke, images = row.protocol.get("smoke", False), row.protocol.get("images")
    if not isinstance(smoke, bool) or not (images is None or isinstance(images, int)):
        raise ValueError("protocol: smoke and images are not what they should be")
    protocol = Protocol.from_stored(row.protocol)
    if len(protocol.trimap_radii) > RADII:
        raise ValueError(f"protocol: more than {RADII} radii of a trimap")
    if smoke:
        protocol = protocol.model_copy(update={"name": protocol.name.removesuffix("-smoke")})
    if row.protocol_name != row.protocol.get("name") or protocol.hash_of(smoke, images) != row.protocol_hash:
        raise ValueError("its protocol's hash is not that of its protocol")
    about = {"train": fingerprint, "protocol": row.protocol_hash, "evaluator": row.evaluator_version}
    if digest(about) != row.score_fingerprint:
        raise ValueError("its score fingerprint is not that of its run and protocol")
    return protocol


def read_statistics(data: bytes, num_classes: int, limits: Limits) -> StatisticsTable:
    """Read statistics that others wrote: nothing is unpacked before it is known how large it is.

    Raises:
        ValueError: they are of another format, too large, or contradict themselves.
    """
    try:
        table = StatisticsTable.from_bytes(data, limits.statistics_bytes)
    except Exception as error:  # damaged bytes may raise anything
        raise ValueError(f"its statistics cannot be read: {str(error) or type(error).__name__}") from error
    _check_ids(table, num_classes, limits)
    _check_numbers(table, num_classes)
    return table


def _check_ids(table: StatisticsTable, num_classes: int, limits: Limits) -> None:
    count = len(table.ids)
    if count * (num_classes + 1) > limits.cells:
        raise ValueError(f"{count:,} images of {num_classes} classes are too many")
    if len(set(table.ids)) != count:
        raise ValueError("its statistics name an image twice")
    if any(problem_of_id(name) for name in (*table.ids, *table.groups)):
        raise ValueError("its statistics have an image of an odd name")
    if not (len(table.shape) == len(table.loss) == count) or len(table.groups) not in (0, count):
        raise ValueError("its statistics have parts of other lengths than images")
    if len(table.surface_integers) != len(table.surface_floats) or len(table.batch_loss) > max(count, 1):
        raise ValueError("its statistics have parts of other lengths than they should")


def _check_numbers(table: StatisticsTable, num_classes: int) -> None:
    """Counts have to be counts of these images and classes, and to agree with one another."""
    count, k = len(table.ids), num_classes
    _within(table.shape[:, :2], SIDE, "sides of images")
    _within(table.shape[:, 2:], SIDE * SIDE, "pixels")
    for part, name, most in (
        (table.confusion, "confusion", (count, k, k + 1)),
        (table.trimap, "trimap", (count, RADII, k, k + 1)),
        (table.surface_integers, "surface_integers", (count, k)),
        (table.histogram, "histogram", (count, BINS, 2)),
        (table.structures, "structures", (count, k)),
        (table.confidence, "confidence", (count, CONFIDENCE_BINS, 2)),
    ):
        for column, end in enumerate(most):
            _within(part[:, column], end - 1, name)
        _within(part[:, len(most) :], SIDE * SIDE, name)
    if np.isinf(table.loss).any() or np.isinf(table.batch_loss).any() or np.isinf(table.surface_floats).any():
        raise ValueError("its statistics have an infinite number")
    if (table.surface_floats < 0).any():
        raise ValueError("its statistics have a negative distance")
    scored = np.zeros(count, dtype=np.int64)
    np.add.at(scored, table.confusion[:, 0], table.confusion[:, 3])
    area = table.shape[:, 0] * table.shape[:, 1]
    if (scored != table.shape[:, 2]).any() or (table.shape[:, 2] + table.shape[:, 3] > area).any():
        raise ValueError("its statistics count other pixels than the images have")


def _within(numbers: NDArray[np.int64], most: int, name: str) -> None:
    if numbers.size and (numbers.min() < 0 or numbers.max() > most):
        raise ValueError(f"its statistics: {name} has a number that cannot be")


def same_pixels(ours: StatisticsTable, theirs: StatisticsTable) -> bool:
    """Whether every image of theirs is one of ours, and was counted alike: so they come from the same label maps."""
    place = {name: index for index, name in enumerate(ours.ids)}
    if not set(theirs.ids) <= place.keys():
        return False
    return _cells(ours.subset(theirs.ids)) == _cells(theirs)


def _cells(table: StatisticsTable) -> dict[str, Any]:
    """The confusion matrix of each image, by its name."""
    found: dict[str, list[tuple[int, ...]]] = {name: [] for name in table.ids}
    for image, *cell in table.confusion.tolist():
        found[table.ids[image]].append(tuple(cell))
    return {name: sorted(cells) for name, cells in found.items()}
