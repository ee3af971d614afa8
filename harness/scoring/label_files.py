"""Label maps that were predicted elsewhere: paired with the truth by name, checked, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import open_image, read_labels
from harness.errors import DataError
from harness.metrics import Evaluator, ImageStatistics
from harness.utils.parallel import in_order

# The truth of an image: its labels (H, W), and the region that counts.
Truth = Callable[[str], tuple[NDArray[np.integer], NDArray[np.bool_] | None]]
Keep = Callable[[str, NDArray[np.uint8]], None]
Tick = Callable[[int, int], None]

# Problems that are named one by one.
SHOWN = 10
# The void label of label maps that come with a table of values.
VOID = 255
# A larger share of void than this is taken for a mistake, unless somebody says that it is meant.
MOST_VOID = 0.5

LabelTable = Mapping[int, int | Literal["void"]]
"""What each value of a label map means: a class, or void."""


@dataclass
class Tally:
    """How many pixels of the targets hold each label."""

    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    """(256,) pixels inside the regions, by their label; void among them."""
    outside: int = 0
    """Pixels outside the regions that count."""

    def add(self, target: NDArray[np.integer], valid: NDArray[np.bool_] | None) -> Tally:
        """Count one more target (H, W); returns this tally."""
        inside = target if valid is None else target[valid]
        self.labels += np.bincount(inside.ravel(), minlength=256)[:256]
        self.outside += target.size - inside.size
        return self

    def merge(self, other: Tally) -> None:
        """Count what another has counted."""
        self.labels += other.labels
        self.outside += other.outside

    def void(self, ignore_index: int) -> int:
        """Void pixels inside the regions; a void label that no byte can be is that of none."""
        return int(self.labels[ignore_index]) if 0 <= ignore_index < 256 else 0

    def scored(self, ignore_index: int) -> int:
        """Pixels that are scored."""
        return int(self.labels.sum()) - self.void(ignore_index)

    def doubt(self, num_classes: int, ignore_index: int) -> str:
        """Why the void label can hardly be meant as it is; empty where nothing speaks against it.

        Args:
            num_classes: K.
            ignore_index: the void label.
        """
        void, scored = self.void(ignore_index), self.scored(ignore_index)
        if not void:
            return ""
        share = f"{void:,} of {void + scored:,} pixels ({100 * void / (void + scored):.1f} %) are {ignore_index}, void"
        if not scored:
            return f"{share}: nothing is left to score"
        (left,) = np.nonzero(np.delete(self.labels, ignore_index))
        if len(left) == 1 and num_classes > 1:
            return f"{share}, and all others are {left[0] + (left[0] >= ignore_index)}: only one class is left to score"
        return f"{share}: more than are scored" if void > MOST_VOID * (void + scored) else ""


def label_files(folder: Path) -> dict[str, Path]:
    """Every PNG under a folder by its name there, without the ending.

    Raises:
        DataError: there is no such folder, or no PNG in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder")
    found = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.png"))}
    if not found:
        raise DataError(f"{folder}: there is no PNG in it", "Label maps are palette or grey PNGs, one for each image.")
    return found


def predictions_of(folder: Path, wanted: Iterable[str]) -> dict[str, Path]:
    """The prediction of each wanted image.

    Raises:
        DataError: names what is missing and what nobody asked for.
    """
    found, names = label_files(folder), list(wanted)
    missing = [name for name in names if name not in found]
    extra = sorted(found.keys() - set(names))
    problems = [f"{folder / name}.png: this prediction is missing" for name in missing]
    problems += [f"{found[name]}: no image of that name is to be scored" for name in extra]
    refuse(problems, f"{len(missing)} missing, {len(extra)} too many, of {len(names)} expected")
    return {name: found[name] for name in names}


def refuse(problems: Sequence[str], summary: str, todo: str = "") -> None:
    """Raise what is wrong with some files, naming the first of them.

    Raises:
        DataError: there is a problem.
    """
    if problems:
        more = f"\n… and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError("\n".join([*problems[:SHOWN]]) + more, f"Nothing was scored: {summary}.{todo}")


def score_files(
    predictions: dict[str, Path],
    truth: Truth,
    evaluator: Evaluator,
    threads: int,
    tick: Tick | None = None,
    keep: Keep | None = None,
    table: LabelTable | None = None,
) -> Tally:
    """Score label files into an evaluator, a few images in memory at a time.

    Args:
        predictions: image -> the file with its predicted labels.
        truth: reads an image's labels and valid region; called from several threads.
        evaluator: takes the statistics, in the order of `predictions`.
        threads: images scored at once.
        tick: told how many are done, of how many.
        keep: called with each image and its labels.
        table: what the values of the predictions mean; None: they are classes.

    Returns:
        How many pixels of the targets hold each label.

    Raises:
        DataError: files that cannot be read, have another size than the truth, or hold labels that do not exist; every
            file was looked at, and the first ten problems are named.
    """

    def one(image_id: str) -> tuple[list[ImageStatistics], Tally] | str:
        path = predictions[image_id]
        try:
            labels = translated(read_labels(path), table, path)
            target, valid = truth(image_id)
            if labels.shape != target.shape:
                (h, w), (th, tw) = labels.shape, target.shape
                return f"{path}: the prediction is {w}×{h}, its target {tw}×{th}"
            found = evaluator.measure(labels, target, image_id, valid)
            if keep is not None:
                keep(image_id, labels)
        except DataError as error:
            return error.message
        except ValueError as error:
            return f"{path}: {error}"
        return found, Tally().add(target, valid)

    problems, tally = [], Tally()
    for done, found in enumerate(in_order(one, predictions, threads), start=1):
        if isinstance(found, str):
            problems.append(found)
        else:
            evaluator.add(found[0])
            tally.merge(found[1])
        if tick is not None:
            tick(done, len(predictions))
    refuse(problems, f"{len(problems)} of {len(predictions)} predictions cannot be scored", _hint(problems))
    return tally


def _hint(problems: Sequence[str]) -> str:
    """What to do about labels that do not exist."""
    if not any("holds label(s)" in problem for problem in problems):
        return ""
    return " If the values are no classes, --labels says what each means, as in --labels 0:0,255:1."


def translated(values: NDArray[np.uint8], table: LabelTable | None, path: Path) -> NDArray[np.uint8]:
    """The labels (H, W) of a label map's values.

    Raises:
        DataError: the table lacks a value.
    """
    if table is None:
        return values
    known = np.full(256, -1, dtype=np.int16)
    for value, label in table.items():
        known[value] = VOID if label == "void" else label
    labels = known[values]
    if (labels < 0).any():
        unknown = ", ".join(map(str, np.unique(values[labels < 0])[:5]))
        raise DataError(f"{path}: holds {unknown}, which --labels does not name")
    return labels.astype(np.uint8)


def table_of_predictions(
    files: Iterable[Path], table: LabelTable | None, num_classes: int, threads: int
) -> LabelTable | None:
    """How predictions are read: by the targets' table, unless all of their values are classes already.

    Args:
        files: the predictions.
        table: of the targets.
        num_classes: K.
        threads: files read at once.

    Raises:
        DataError: a file cannot be read.
    """
    if table is None:
        return None
    largest = max(in_order(lambda path: int(read_labels(path).max(initial=0)), files, threads), default=0)
    return None if largest < num_classes else table


def truth_in(targets: dict[str, Path], valid: Path | None, table: LabelTable | None = None) -> Truth:
    """The truth in a folder of label PNGs, and beside it a folder of regions that count where they are not black.

    Args:
        targets: image -> the file with its labels.
        valid: the folder of regions; None: everything counts.
        table: what the values in the files mean; None: they are labels.

    Raises:
        DataError: a region is missing.
    """
    regions = None if valid is None else predictions_of(valid, targets)

    def read(image_id: str) -> tuple[NDArray[np.integer], NDArray[np.bool_] | None]:
        labels = translated(read_labels(targets[image_id]), table, targets[image_id])
        if regions is None:
            return labels, None
        region: NDArray[np.bool_] = np.asarray(open_image(regions[image_id]).convert("L")) > 0
        if region.shape != labels.shape:
            raise DataError(f"{regions[image_id]}: the region has another size than {targets[image_id].name}")
        return labels, region

    return read
