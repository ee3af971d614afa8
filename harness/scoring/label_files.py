"""Label maps that were predicted elsewhere: paired with the truth by name, checked, scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

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


def refuse(problems: Sequence[str], summary: str) -> None:
    """Raise what is wrong with some files, naming the first of them.

    Raises:
        DataError: there is a problem.
    """
    if problems:
        more = f"\n… and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise DataError("\n".join([*problems[:SHOWN]]) + more, f"Nothing was scored: {summary}.")


def score_files(
    predictions: dict[str, Path],
    truth: Truth,
    evaluator: Evaluator,
    threads: int,
    tick: Tick | None = None,
    keep: Keep | None = None,
) -> None:
    """Score label files into an evaluator, a few images in memory at a time.

    Args:
        predictions: image -> the file with its predicted labels.
        truth: reads an image's labels and valid region; called from several threads.
        evaluator: takes the statistics, in the order of `predictions`.
        threads: images scored at once.
        tick: told how many are done, of how many.
        keep: called with each image and its labels.

    Raises:
        DataError: files that cannot be read, have another size than the truth, or hold labels that do not exist; every
            file was looked at, and the first ten problems are named.
    """

    def one(image_id: str) -> list[ImageStatistics] | str:
        path = predictions[image_id]
        try:
            labels = read_labels(path)
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
        return found

    problems = []
    for done, found in enumerate(in_order(one, predictions, threads), start=1):
        if isinstance(found, str):
            problems.append(found)
        else:
            evaluator.add(found)
        if tick is not None:
            tick(done, len(predictions))
    refuse(problems, f"{len(problems)} of {len(predictions)} predictions cannot be scored")


def truth_in(targets: dict[str, Path], valid: Path | None) -> Truth:
    """The truth in a folder of label PNGs, and beside it a folder of regions that count where they are not black.

    Raises:
        DataError: a region is missing.
    """
    regions = None if valid is None else predictions_of(valid, targets)

    def read(image_id: str) -> tuple[NDArray[np.integer], NDArray[np.bool_] | None]:
        labels = read_labels(targets[image_id])
        if regions is None:
            return labels, None
        region: NDArray[np.bool_] = np.asarray(open_image(regions[image_id]).convert("L")) > 0
        if region.shape != labels.shape:
            raise DataError(f"{regions[image_id]}: the region has another size than {targets[image_id].name}")
        return labels, region

    return read
