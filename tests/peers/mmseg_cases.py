"""mmsegmentation's tests of its metrics (Apache-2.0): tests/test_metrics.py and tests/test_evaluation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from tests.peers.adapter import by_class, scores
from tests.peers.case import Case, Peer

WHERE = "tests/test_metrics.py"
CLASSES = 19


def random_maps(predicted: int = CLASSES, present: int = CLASSES, void: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Ten images of 30×30 as its tests draw them, with a stripe of void."""
    rng = np.random.default_rng(0)
    prediction, target = rng.integers(0, predicted, (10, 30, 30)), rng.integers(0, present, (10, 30, 30))
    if void:
        target[:, 2, 5:10] = 255
    return prediction, target


def by_definition(what: str, prediction: np.ndarray, target: np.ndarray, classes: int = CLASSES) -> Any:
    """The figures of its tests' reference: one matrix of all pixels that are not void."""
    known = target != 255
    pairs = classes * target[known] + prediction[known]
    matrix = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    hit, row, column = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    with np.errstate(invalid="ignore"):
        recall, precision = hit / row, hit / column
        found = {
            "aAcc": hit.sum() / matrix.sum(), "Acc": recall, "IoU": hit / (row + column - hit),
            "Dice": 2 * hit / (row + column), "Recall": recall, "Precision": precision,
            "Fscore": 2 * precision * recall / (precision + recall),
        }  # fmt: skip
    return found[what]


def mmsegmentation() -> Peer:
    """All of them."""
    names = {"IoU": "iou", "Acc": "accuracy", "Dice": "dice", "Recall": "recall", "Precision": "precision"}
    maps, few = random_maps(), random_maps(5, 4, void=False)
    counted = np.zeros(59)
    counted[31] = 1 / 59
    line = np.full((1, 59), 31), np.arange(59)[None]
    twice = np.array([[0, 0, 0]]), np.array([[0, 0, 1]])
    absent = "`nan_to_num=-1` writes −1 for undefined; here it is null."
    cases = [
        Case(f"{WHERE}: test_metrics", "aAcc of random maps of 19 classes with void", lambda: by_definition("aAcc",
             *maps),
             lambda: scores(*maps, CLASSES).values["pa"], "`pa`"),
        *[
            Case(
                f"{WHERE}: test_metrics, test_mean_iou, test_mean_dice, test_mean_fscore", f"{theirs} of the same",
                lambda theirs=theirs: by_definition(theirs, *maps),  # type: ignore[misc]
                lambda ours=ours: by_class(ours, *maps, CLASSES), f"`{ours}`",  # type: ignore[misc]
            )
            for theirs, ours in names.items()
        ],
        Case(f"{WHERE}: test_mean_fscore", "mean Fscore of the same", lambda: by_definition("Fscore", *maps).mean(),
             lambda: scores(*maps, CLASSES, f1="mmseg").values["f1"], "f1=mmseg"),
        Case(f"{WHERE}: test_mean_fscore", "beta=2", None, why="`f1` and `dice` weigh precision and recall alike."),
        Case(
            f"{WHERE}: test_metrics", "the last of 19 classes of which four are there: IoU, Acc, Dice", [-1, -1, -1],
            lambda: [by_class(name, *few, CLASSES)[-1] for name in ("iou", "accuracy", "dice")],
            instead=[None] * 3, why=absent,
        ),
        Case(
            f"{WHERE}: test_metrics", "a class that is predicted and not there: IoU 0, Acc undefined", [0, None],
            lambda: [by_class(name, *few, CLASSES)[4] for name in ("iou", "accuracy")],
        ),
        Case(f"{WHERE}: test_metrics", "59 classes, all predicted as 31: no IoU is undefined (histc)", counted,
             lambda: by_class("iou", *line, 59)),
        Case(
            "mmseg/evaluation/metrics/iou_metric.py", "mFscore where a class is never predicted", 4 / 5,
            lambda: scores(*twice).values["f1"], instead=2 / 5,
            why="0/0 leaves its mean; here the class has Dice 0. `f1=mmseg` gives its figure: the next case.",
        ),
        Case("mmseg/evaluation/metrics/iou_metric.py", "the same", 4 / 5,
             lambda: scores(*twice, f1="mmseg").values["f1"], "f1=mmseg"),
        Case("mmseg/evaluation/metrics/iou_metric.py", "a predicted label that does not exist is a miss, and no error",
             [1, 0], lambda: by_class("iou", [[0, 7]], [[0, 1]], out_of_range="fn"), "out_of_range=fn"),
        Case(f"{WHERE}: test_filename_inputs", "label maps in files: aAcc and IoU", lambda: [
            by_definition("aAcc", *maps), *by_definition("IoU", *maps)], _of_files, "PNG; its predictions are .npy"),
        Case("tests/test_evaluation/test_metrics/test_iou_metric.py", "a dictionary of figures; predictions as PNG",
             None,
             why="No figures are stated. `bench score` writes figures, `bench run` label maps as PNG."),
        Case("tests/test_evaluation/test_metrics/test_citys_metric.py", "Cityscapes' own instance-level evaluation",
             None,
             why="Needs its files; labels here are classes."),
    ]  # fmt: skip
    about = (
        "mmsegmentation (Apache-2.0): its tests draw random maps and compare with a matrix built by hand; the same "
        "is done "
        "here. The package itself needs mmcv, and is not installed."
    )
    return Peer("mmsegmentation", about, tuple(cases))


def _of_files() -> Any:
    """The figures of label maps that are written as PNG and scored as `bench score` does."""
    from PIL import Image

    from harness.metrics import Evaluator
    from harness.scoring.label_files import predictions_of, score_files, truth_in

    prediction, target = random_maps()
    with tempfile.TemporaryDirectory() as name:
        folders = Path(name) / "predictions", Path(name) / "targets"
        for folder, maps in zip(folders, (prediction, target), strict=True):
            folder.mkdir()
            for number, labels in enumerate(maps):
                Image.fromarray(labels.astype(np.uint8)).save(folder / f"{number}.png")
        ids = [str(n) for n in range(len(target))]
        evaluator = Evaluator(CLASSES)
        truth = truth_in(predictions_of(folders[1], ids), None)
        score_files(predictions_of(folders[0], ids), truth, evaluator, 1)
    found = evaluator.compute()
    return [found.values["pa"], *found.per_class["iou"]]
