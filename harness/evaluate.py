"""Label maps -> per-image statistics -> scores."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Dataset, DatasetInfo, read_labels
from harness.errors import SuiteError, UnknownName
from harness.metrics import SCORE_NAMES, Evaluator, Protocol, Scores
from harness.metrics.scores import PER_CLASS

Tick = Callable[[int, int], None]

CHECKSUMS = "SHA256SUMS"


def new_evaluator(info: DatasetInfo, protocol: Protocol) -> Evaluator:
    """An evaluator for a data set's classes."""
    return Evaluator(len(info.classes), info.ignore_index, protocol, info.foreground)


def evaluate_labels(
    dataset: Dataset, protocol: Protocol, label_maps: Iterable[tuple[str, NDArray[np.integer]]]
) -> Evaluator:
    """Score label maps (H, W), each with its image's id, at the original resolution."""
    evaluator = new_evaluator(dataset.info, protocol)
    for image_id, labels in label_maps:
        sample = dataset.read(image_id)
        evaluator.update(labels, sample.mask, image_id, sample.valid)
    return evaluator


def stored_label_maps(folder: Path, ids: Iterable[str]) -> Iterable[tuple[str, NDArray[np.uint8]]]:
    """Label maps kept as PNG, each checked against the folder's checksums.

    Raises:
        DataError: a map is missing or cannot be decoded.
        ValueError: a map is not what was written.
    """
    sums = read_checksums(folder)
    for image_id in ids:
        path = folder / f"{image_id}.png"
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != sums.get(path.name):
            raise ValueError(f"{path}: is not the file that was written (SHA-256 differs)")
        yield image_id, read_labels(path)


def read_checksums(folder: Path) -> dict[str, str]:
    """File name -> SHA-256, from a file `sha256sum --check` reads."""
    lines = (folder / CHECKSUMS).read_text().splitlines()
    return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}


def write_checksums(folder: Path) -> tuple[int, str]:
    """Write the checksums of every PNG; returns how many there are, and the SHA-256 of that list."""
    names = sorted(path.name for path in folder.glob("*.png"))
    text = "".join(f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    (folder / CHECKSUMS).write_text(text)
    return len(names), hashlib.sha256(text.encode()).hexdigest()


def check_metric(metric: str, info: DatasetInfo) -> None:
    """Refuse a metric that a data set does not have.

    Raises:
        SuiteError: names the nearest metric, or the class that does not exist.
    """
    name, label = split_metric(metric)
    if label is None and name not in SCORE_NAMES:
        error = UnknownName.of("metric", metric, [*SCORE_NAMES, info.headline], "bench metrics")
        raise SuiteError(error.message, f"Scores: {', '.join(SCORE_NAMES)}; of one class: iou[NAME] and others.")
    if label is not None and (name not in PER_CLASS or label not in info.classes):
        raise SuiteError(
            f"{info.name} has no metric {metric!r}",
            f"Scores of one class: {', '.join(PER_CLASS)}; classes: {', '.join(info.classes)}.",
        )


def split_metric(metric: str) -> tuple[str, str | None]:
    """`iou[horse]` -> (`iou`, `horse`); `miou` -> (`miou`, None)."""
    match = re.fullmatch(r"(\w+)\[(.+)\]", metric)
    return (match[1], match[2]) if match else (metric, None)


def pick(scores: Scores, metric: str, info: DatasetInfo) -> float | None:
    """One figure out of the scores, by its name."""
    name, label = split_metric(metric)
    if label is None:
        return scores.values[name]
    return scores.per_class[name][info.classes.index(label)]
