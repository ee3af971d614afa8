"""Label maps that anything predicted, scored: against a folder of true label maps, or a split of a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.datasets import data_dir as data_folder
from harness.datasets import open_dataset
from harness.errors import BenchError
from harness.metrics import Evaluator, Protocol, Scores
from harness.results.submission import score_submission
from harness.scoring.label_files import label_files, predictions_of, score_files, truth_in
from harness.utils.pretraining import declared
from harness.utils.yaml_file import validate

Tick = Callable[[int, int], None]


@dataclass(frozen=True)
class Ranked:
    """What a database should rank the scores as."""

    name: str
    seed: int = 0
    """Which repetition of that name."""
    db: str | None = None
    pretrained_on: str | Sequence[str] | None = None
    """The data sets that what made them was pretrained on, or `none`; None where nobody knows."""


@dataclass(frozen=True)
class Scored:
    """Scores, what the classes are called, and the suites in which they are ranked now."""

    scores: Scores
    classes: tuple[str, ...]
    suites: tuple[str, ...] = ()


def score(
    predictions: str | Path,
    *,
    targets: str | Path | None = None,
    num_classes: int | None = None,
    ignore_index: int = 255,
    valid: str | Path | None = None,
    foreground: int | None = None,
    dataset: str | None = None,
    variant: str | None = None,
    split: str = "test",
    data_dir: str | Path | None = None,
    rank_as: Ranked | None = None,
    protocol: dict[str, Any] | None = None,
    tick: Tick | None = None,
) -> Scored:
    """Score a folder of label maps (palette or grey PNGs), whatever made them.

    Args:
        predictions: one PNG for each image, named as its target or its id.
        targets: a folder of true label maps, paired by name; needs `num_classes`.
        num_classes: K; labels are 0 to K-1.
        ignore_index: the targets' void label.
        valid: a folder of regions that count where they are not black.
        foreground: the label that counts in a binary set.
        dataset: score against a data set instead of `targets`.
        variant: its data variant; None: the default.
        split: its split, `val` or `test`.
        data_dir: where data sets are.
        rank_as: rank the scores in a database, with the suites that scored the same images.
        protocol: conventions that differ from the data set's, or from the standard ones.
        tick: told how many images are done, of how many.

    Raises:
        BenchError: a label map is missing or cannot be scored; nothing is written then.
    """
    if (dataset is None) == (targets is None):
        raise BenchError("give either --targets DIR or --dataset NAME", "See: bench score --help")
    if dataset is not None:
        if split not in ("val", "test"):
            raise BenchError(f"--split {split}: choose val or test")
        copy = open_dataset(dataset, variant, data_folder(data_dir))
        conventions = validate(Protocol, {**copy.info.protocol, **(protocol or {})}, None, "protocol")
        who = rank_as or Ranked("")
        scores, suites = score_submission(
            copy, split, Path(predictions), conventions, who.name or None, who.seed, who.db, tick,
            declared(who.pretrained_on, "--pretrained-on"),
        )  # fmt: skip
        return Scored(scores, copy.info.classes, tuple(suites))
    if num_classes is None:
        raise BenchError("--targets needs --num-classes K", "K counts the background; void does not count.")
    if rank_as is not None:
        raise BenchError("--as needs --dataset: what is ranked must be scored against a known split")
    if foreground is not None and not 0 <= foreground < num_classes:
        raise BenchError(f"--foreground {foreground} is none of the labels 0 to {num_classes - 1}")
    true = label_files(Path(targets or ""))
    guessed = predictions_of(Path(predictions), true)
    base = {"background": 0 if num_classes > 1 else None}
    conventions = validate(Protocol, {**base, **(protocol or {})}, None, "protocol")
    evaluator = Evaluator(num_classes, ignore_index, conventions, foreground)
    region = None if valid is None else Path(valid)
    score_files(guessed, truth_in(true, region), evaluator, os.cpu_count() or 1, tick)
    return Scored(evaluator.compute(), tuple(map(str, range(num_classes))))
