"""Boards and statistics made by hand: what the leaderboard's statistics are tried on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.metrics import ImageStatistics, Protocol, StatisticsTable
from harness.metrics.evaluator import Evaluator
from leaderboard.boards.board import Board, boards
from leaderboard.queries.load import Data, ScoredRun

CLASSES = ("background", "cat", "dog", "cow", "horse")
SELECTION = {"rule": "last", "split": "val", "metric": "miou"}


def images(seed: int, count: int = 30, protocol: Protocol | None = None, binary: bool = False) -> list[ImageStatistics]:
    """The statistics of small random images; `seed` decides what is predicted, the truth is always the same.

    The last class is nowhere, one image is all void, classes are missed and spurious, predictions go out of range
    where the protocol lets them.
    """
    protocol = protocol or Protocol()
    k = 2 if binary else len(CLASSES)
    truth, guess = np.random.default_rng(0), np.random.default_rng(seed)
    evaluator = Evaluator(k, protocol=protocol, foreground=1 if binary else None)
    found = []
    for i in range(count):
        shape = (14 + i % 3, 17)
        target = np.zeros(shape, dtype=np.int64)
        for label in range(1, min(k, 4)):
            if truth.random() < 0.6:
                y, x = truth.integers(0, 9, 2)
                target[y : y + truth.integers(2, 6), x : x + truth.integers(2, 7)] = label
        target[0, : truth.integers(0, 6)] = 255
        if i == 7:
            target[:] = 255
        wrong = guess.random(shape) < 0.1 + 0.02 * (seed % 5)
        clean = np.where(target == 255, 0, target)
        near = np.append(np.unique(clean), guess.integers(0, min(k, 4)) if guess.random() < 0.3 else 0)
        prediction = np.where(wrong, guess.choice(near, shape), clean)
        if guess.random() < 0.2:
            prediction[prediction == 1] = 0
        if protocol.out_of_range == "fn":
            prediction[3, 3] = k + 2
        chance = np.clip(0.6 * (prediction == 1) + 0.4 * guess.random(shape), 0, 1) if binary else None
        loss = None if i == 3 else float(guess.random())
        sure = None if chance is None else np.where(prediction == 1, chance, 1 - chance)
        found += evaluator.measure(prediction, target, f"image{i:02}", score=chance, loss=loss, confidence=sure)
    return found


def table(seed: int, **how: Any) -> StatisticsTable:
    """`images` as a table."""
    return StatisticsTable.of(images(seed, **how))


def board(
    rows: Mapping[str, Sequence[float | None]],
    metric: str = "miou",
    failed: Mapping[str, int] | None = None,
    apart: Sequence[str] = (),
    classes: Sequence[str] = CLASSES,
) -> Board:
    """A board of models with a figure for each seed; runs are numbered in their order.

    Args:
        rows: model -> its seeds' figures; None: the run is not done.
        metric: what it is ranked by.
        failed: model -> further seeds, which failed.
        apart: models that were pretrained and are ranked apart.
        classes: of the data set.
    """
    found: list[ScoredRun] = []
    for model, values in rows.items():
        states = ["ok" if v is not None else "pending" for v in values] + ["failed"] * (failed or {}).get(model, 0)
        for seed, state in enumerate(states):
            value = values[seed] if seed < len(values) else None
            scores = {metric: value} if value is not None else {}
            found.append(_run(len(found), model, seed, state, scores, model in apart, classes))
    return boards(found, metric)[0]


def _run(
    number: int,
    model: str,
    seed: int,
    state: str,
    scores: dict[str, float | None],
    apart: bool,
    classes: Sequence[str],
) -> ScoredRun:
    data = Data(
        "made", "Made", "standard", tuple(classes), ((0, 0, 0),) * len(classes), None, "ab12" * 16, {"test": 30}
    )
    return ScoredRun(
        run_id=number, suite="made", data=data, model=model, model_name=model, params={}, origin="builtin", recipe="r",
        grid={}, seed=seed, cell=f"cell of {model}", state=state, reason="", error="", traceback="",
        selection=SELECTION, selected_on_test=False, protocol_name="standard", protocol_hash="cd34" * 16, smoke=False,
        parameters=None, started=None, finished=None, attempt=1, times={}, progress={}, provenance={},
        fingerprint=f"{number:064}", test=scores, n_images=30, pretrained_on=("ImageNet-1k",) if apart else (),
    )  # fmt: skip
