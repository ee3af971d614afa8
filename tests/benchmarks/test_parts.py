"""The scripts of benchmarks/ measure what they say, and still fit the product."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks import end_to_end
from harness.datasets.palette import save_labels, voc_palette
from harness.metrics import Protocol
from harness.results.score import score


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Predictions and targets of two images with three classes and void."""
    rng = np.random.default_rng(0)
    for name in ("predictions", "targets"):
        (tmp_path / name).mkdir()
    for number in range(2):
        target = rng.integers(0, 3, (4, 5)).repeat(8, 0).repeat(8, 1).astype(np.uint8)
        save_labels(tmp_path / "predictions" / f"{number}.png", np.roll(target, 1, axis=1), voc_palette(3))
        target[:, 17:19] = 255
        save_labels(tmp_path / "targets" / f"{number}.png", target, voc_palette(3))
    return tmp_path / "predictions", tmp_path / "targets"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_researchers_script_scores_what_bench_score_does(folders: tuple[Path, Path], tmp_path: Path) -> None:
    predictions, targets = folders
    end_to_end.script(predictions, targets, 3, tmp_path / "theirs.json")
    theirs = json.loads((tmp_path / "theirs.json").read_text())
    scores = score(predictions, targets=targets, num_classes=3, protocol={"void": "mask"}).scores
    end_to_end.same_figures(scores.to_dict(), theirs)
    # Means of its distances weigh every image and class alike; ours, the images of a class first.
    assert theirs["hd95"] == pytest.approx(scores.values["hd95"], rel=0.2)
    assert math.isfinite(theirs["nsd"])


def test_scores_that_differ_stop_the_comparison() -> None:
    right = {"miou": 0.5, "pa": 0.5, "dice": 0.5}
    end_to_end.same_figures(right, right)
    with pytest.raises(SystemExit, match="dice"):
        end_to_end.same_figures(right, right | {"dice": 0.6})


def test_predictions_are_made_from_the_truth_and_hold_no_void(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGBENCH_DATA", raising=False)
    monkeypatch.setattr(end_to_end, "ROOT", tmp_path / "a" / "b")  # no real data beside it
    predictions, targets, classes, _, count = end_to_end.folders(tmp_path, 3)
    assert (count, len(list(predictions.glob("*.png"))), len(list(targets.glob("*.png")))) == (3, 3, 3)
    scores = score(predictions, targets=targets, num_classes=classes, protocol=Protocol().model_dump()).scores
    assert 0 < (scores.values["miou"] or 0) < 1


def test_every_comparison_of_the_evaluator_is_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cv2")
    from benchmarks import evaluator

    monkeypatch.setattr(evaluator, "KINDS", (("small", 512, 3, (2,)),))
    whole = evaluator.scene
    monkeypatch.setattr(evaluator, "scene", lambda side, classes, present, seed: whole(64, classes, present, seed))
    records = evaluator.records(quick=True)
    names = {one.name for one in records}
    assert {"evaluator.confusion.bincount", "evaluator.distances.monai", "evaluator.everything.stack"} <= names
    assert all(one.ratio and one.lowest and one.lowest <= one.ratio <= (one.highest or 0) for one in records)


def test_the_jobs_that_scheduling_measures_can_be_planned() -> None:
    from benchmarks import scheduling

    with scheduling.planned(3) as (plan, store):
        assert len(plan.train) == 3
        assert store.name


def test_turns_of_a_loop_are_told_apart() -> None:
    from benchmarks.training import Trained, turns

    assert turns(Trained(seconds=[1.0, 1.0, 2.0, 2.0]), repeats=2, batch=4) == [4.0, 2.0]
