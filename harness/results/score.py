"""Label maps that anything predicted, scored: against a folder of true label maps, or a split of a data set."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.datasets import data_dir as data_folder
from harness.datasets import open_dataset
from harness.errors import BenchError, DataError
from harness.metrics import Evaluator, Protocol, Scores
from harness.results.submission import score_submission
from harness.scoring.label_files import (
    VOID,
    LabelTable,
    label_files,
    predictions_of,
    score_files,
    table_of_predictions,
    truth_in,
)
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
class Pixels:
    """How many pixels were scored, and how many were not."""

    scored: int = 0
    void: int = 0
    outside: int = 0
    """Outside the regions that count."""


@dataclass(frozen=True)
class Scored:
    """Scores, what the classes are called, and the suites in which they are ranked now."""

    scores: Scores
    classes: tuple[str, ...]
    suites: tuple[str, ...] = ()
    pixels: Pixels = field(default_factory=Pixels)
    read_by_table: bool = False
    """Whether the values of the predictions were read by `labels`, as those of the targets."""


def score(
    predictions: str | Path,
    *,
    targets: str | Path | None = None,
    num_classes: int | None = None,
    ignore_index: int | Literal["none"] | None = None,
    labels: LabelTable | None = None,
    valid: str | Path | None = None,
    foreground: int | None = None,
    dataset: str | None = None,
    variant: str | None = None,
    split: str | None = None,
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
        ignore_index: the targets' void label, or `none` where there is none. None: 255, and targets that can hardly
            mean that are refused.
        labels: what each value of the label maps means, `{0: 0, 255: 1}`, where the values are no classes. Predictions
            are read by it, too, unless all of their values are classes.
        valid: a folder of regions that count where they are not black.
        foreground: the label that counts in a binary set.
        dataset: score against a data set instead of `targets`; what its labels mean, it says itself.
        variant: its data variant; None: the default.
        split: its split, `val` or `test`; None: test.
        data_dir: where data sets are.
        rank_as: rank the scores in a database, with the suites that scored the same images.
        protocol: conventions that differ from the data set's, or from the standard ones.
        tick: told how many images are done, of how many.

    Raises:
        BenchError: a label map is missing or cannot be scored, what is given does not go together, or the targets
            cannot be meant as they are read; nothing is written then.
    """
    if (dataset is None) == (targets is None):
        raise BenchError("give either --targets DIR or --dataset NAME", "See: bench score --help")
    if dataset is not None:
        of_targets = {
            "--num-classes": num_classes, "--void": ignore_index, "--labels": labels, "--valid": valid,
            "--foreground": foreground,
        }  # fmt: skip
        _refuse_given(of_targets, "--dataset", "a data set says itself what its labels mean and which pixels count")
        if split not in (None, "val", "test"):
            raise BenchError(f"--split {split}: choose val or test")
        return _against_dataset(
            Path(predictions), dataset, variant, split or "test", data_dir, rank_as, protocol or {}, tick
        )
    of_dataset = {"--variant": variant, "--split": split, "--data-dir": data_dir}
    _refuse_given(of_dataset, "--targets", "it says of a data set where it is and which part of it is meant")
    if num_classes is None:
        raise BenchError("--targets needs --num-classes K", "K counts the background; void does not count.")
    if rank_as is not None:
        raise BenchError("--as needs --dataset: what is ranked must be scored against a known split")
    if foreground is not None and not 0 <= foreground < num_classes:
        raise BenchError(f"--foreground {foreground} is none of the labels 0 to {num_classes - 1}")
    if labels is not None and ignore_index is not None:
        raise BenchError("--void and --labels: only one can say what is void", "With --labels: 255:void, for example.")
    unknown = [label for label in (labels or {}).values() if label != "void" and not 0 <= label < num_classes]
    if unknown:
        raise BenchError(f"--labels: there is no class {unknown[0]}; the classes are 0 to {num_classes - 1}")
    base = {"background": 0 if num_classes > 1 else None}
    conventions = validate(Protocol, {**base, **(protocol or {})}, None, "protocol")
    void = -1 if ignore_index == "none" else VOID if ignore_index is None else ignore_index
    evaluator = Evaluator(num_classes, void, conventions, foreground)
    true, threads = label_files(Path(targets or "")), os.cpu_count() or 1
    guessed = predictions_of(Path(predictions), true)
    table = table_of_predictions(guessed.values(), labels, num_classes, threads)
    truth = truth_in(true, None if valid is None else Path(valid), labels)
    tally = score_files(guessed, truth, evaluator, threads, tick, table=table)
    doubt = tally.doubt(num_classes, void)
    if doubt and ignore_index is None and labels is None:
        raise DataError(
            f"{targets}: {doubt}",
            f"Nothing was scored. Say what is meant: --labels 0:0,{VOID}:1 where {VOID} is a class, --void none where "
            f"nothing is void, --void {VOID} where it is void indeed.",
        )
    pixels = Pixels(tally.scored(void), tally.void(void), tally.outside)
    return Scored(evaluator.compute(), tuple(map(str, range(num_classes))), (), pixels, table is not None)


def _against_dataset(
    predictions: Path,
    name: str,
    variant: str | None,
    split: str,
    data_dir: str | Path | None,
    rank_as: Ranked | None,
    protocol: dict[str, Any],
    tick: Tick | None,
) -> Scored:
    copy = open_dataset(name, variant, data_folder(data_dir))
    conventions = validate(Protocol, {**copy.info.protocol, **protocol}, None, "protocol")
    who = rank_as or Ranked("")
    declared_as = declared(who.pretrained_on, "--pretrained-on")
    scores, suites, tally = score_submission(
        copy, split, predictions, conventions, who.name or None, who.seed, who.db, tick, declared_as
    )
    void = copy.info.ignore_index
    return Scored(scores, copy.info.classes, tuple(suites), Pixels(tally.scored(void), tally.void(void), tally.outside))


def _refuse_given(options: dict[str, Any], beside: str, why: str) -> None:
    """Refuse options that cannot apply.

    Raises:
        BenchError: one of them was given.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise BenchError(f"{', '.join(given)} cannot go with {beside}: {why}")
