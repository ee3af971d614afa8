"""Label maps -> per-image statistics -> scores."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Dataset, DatasetInfo, read_labels
from harness.errors import DataError, SuiteError
from harness.metrics import Evaluator, ImageStatistics, Protocol, Scores
from harness.metrics.metric import check_known, class_score_names, score_names, split_metric
from harness.utils.parallel import in_order

Tick = Callable[[int, int], None]

CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Predicted:
    """What a network predicted for one image."""

    image_id: str
    labels: NDArray[np.uint8]
    """(H, W)"""
    score: NDArray[np.floating] | None = None
    """Binary sets: (H, W) probability of the foreground."""
    loss: float = math.nan
    confidence: NDArray[np.floating] | None = None
    """(H, W) probability of the predicted label."""


def new_evaluator(info: DatasetInfo, protocol: Protocol) -> Evaluator:
    """An evaluator for a data set's classes."""
    return Evaluator(len(info.classes), info.ignore_index, protocol, info.foreground)


def evaluate_images(
    dataset: Dataset,
    protocol: Protocol,
    predicted: Iterable[Predicted],
    threads: int = 1,
    keep: Callable[[Predicted], None] | None = None,
) -> Evaluator:
    """Score predictions at the original resolution, by several threads and with a few images in memory at a time.

    Args:
        dataset: where the truth is read.
        protocol: the conventions.
        predicted: taken one by one, in the caller's thread.
        threads: images scored at once.
        keep: called with each prediction, in the thread that scores it.

    Returns:
        An evaluator that holds the images in the order they came.
    """
    evaluator = new_evaluator(dataset.info, protocol)

    def score(one: Predicted) -> list[ImageStatistics]:
        if keep is not None:
            keep(one)
        mask, valid = dataset.truth(one.image_id)
        return evaluator.measure(one.labels, mask, one.image_id, valid, one.score, one.loss, one.confidence)

    for found in in_order(score, predicted, threads):
        evaluator.add(found)
    return evaluator


def stored_label_maps(folder: Path, ids: Iterable[str]) -> Iterator[Predicted]:
    """Label maps kept as PNG, each checked against the folder's checksums.

    Raises:
        DataError: a map is missing or cannot be decoded.
        ValueError: a map is not what was written.
    """
    sums = read_checksums(folder)
    for image_id in ids:
        name = f"{image_id}.png"
        path = folder / name
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sums.get(name):
            raise ValueError(f"{path}: is not the file that was written (SHA-256 differs)")
        yield Predicted(image_id, read_labels(path))


def read_checksums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, from a file `sha256sum --check` reads."""
    lines = (folder / CHECKSUMS).read_text(encoding="utf-8").split("\n")
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines if line)}


def write_checksums(folder: Path) -> tuple[int, str]:
    """Write the checksums of every file; returns how many there are, and the SHA-256 of that list."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != CHECKSUMS]
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    text = "".join(f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    (folder / CHECKSUMS).write_text(text, encoding="utf-8")
    return len(names), hashlib.sha256(text.encode()).hexdigest()


def verify_checksums(folder: Path) -> None:
    """Compare every file with the list that was written with them.

    Raises:
        DataError: the folder or a file is missing, or a file has changed; names it.
    """
    try:
        sums = read_checksums(folder)
    except OSError as error:
        raise DataError(f"{folder / CHECKSUMS}: is missing: the label maps are no longer kept here") from error
    except ValueError as error:
        raise DataError(f"{folder / CHECKSUMS}: is no list of checksums") from error
    for name, digest in sums.items():
        path = folder / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise DataError(f"{path}: is missing or is not what the run wrote")


def check_metric(metric: str, info: DatasetInfo) -> None:
    """Refuse a metric that a data set does not have.

    Raises:
        SuiteError: names the nearest metric, or the class that does not exist.
    """
    problem = check_known(metric, info.foreground, info.classes)
    if problem is None:
        return
    if split_metric(metric)[1] is None:
        names = ", ".join(score_names(info.foreground))
        raise SuiteError(problem, f"Scores: {names}; of one class: iou[NAME] and others.")
    raise SuiteError(
        f"{info.name} has no metric {metric!r}",
        f"Scores of one class: {', '.join(class_score_names())}; classes: {', '.join(info.classes)}.",
    )


def pick(scores: Scores, metric: str, info: DatasetInfo) -> float | None:
    """One figure out of the scores, by its name."""
    name, label = split_metric(metric)
    if label is None:
        return scores.values[name]
    return scores.per_class[name][info.classes.index(label)]
