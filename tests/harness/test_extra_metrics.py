"""Metrics of other packages: folded from statistics, added to results from before them, and unable to harm anything."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UnknownName
from harness.metrics import Evaluator, Metric, StatisticsTable
from harness.metrics.metric import METRICS, check_known, find_metric, higher_is_better, score_names
from harness.results import open_store
from harness.results.check import check_database
from harness.results.extra_metrics import add_missing_metrics
from harness.results.schema import Run
from leaderboard.boards.board import boards
from leaderboard.queries.load import load_runs
from leaderboard.tables.table import overview
from tests.conftest import ROOT, rows, run_bench
from tests.harness.test_folder import BASIC, make
from tests.plugin_package.segbench_example import ece


@pytest.fixture
def installed() -> Iterator[list[Metric]]:
    """Metrics that are known for one test."""
    added: list[Metric] = []
    yield added
    for metric in added:
        METRICS.forget(metric.name)


def register(installed: list[Metric], metric: Metric) -> None:
    METRICS.register(metric.name)(metric)
    installed.append(metric)


def test_ece_is_that_of_the_probabilities_themselves() -> None:
    rng = np.random.default_rng(3)
    evaluator = Evaluator(2, foreground=1)
    every, wins = [], []
    for number in range(3):
        chance = rng.beta(0.6, 0.9, (40, 50))
        target = (rng.random((40, 50)) < chance**1.5).astype(np.uint8)
        target[:3] = 255
        evaluator.update((chance >= 0.5).astype(np.uint8), target, f"image{number}", score=chance)
        counted = target != 255
        confidence = np.maximum(chance, 1 - chance)[counted]
        every.append(confidence)
        wins.append(((chance >= 0.5) == (target == 1))[counted])
    confidence, right = np.concatenate(every), np.concatenate(wins)
    place = np.minimum(((confidence - 0.5) * 30).astype(int), 14)
    expected = sum(
        abs(right[place == k].mean() - confidence[place == k].mean()) * (place == k).mean() for k in np.unique(place)
    )
    found = ece.expected_calibration_error(evaluator.statistics(), 2, evaluator.protocol, 1)
    assert found == pytest.approx(expected, abs=0.004)
    assert found > 0.02


def test_ece_without_probabilities_is_undefined() -> None:
    evaluator = Evaluator(2, foreground=1)
    evaluator.update(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), "a")
    assert ece.expected_calibration_error(evaluator.statistics(), 2, evaluator.protocol, 1) is None


def share_of_images(statistics: StatisticsTable, *_: object) -> float:
    return 1 / len(statistics.ids)


def raises(*_: object) -> float:
    raise RuntimeError("not today")


@pytest.mark.slow
@pytest.mark.long
def test_a_new_metric_is_scored_ranked_exported_and_checked(
    finished: Path, tmp_path: Path, installed: list[Metric]
) -> None:
    path = Path(shutil.copy(finished, tmp_path))
    register(
        installed,
        Metric(
            "per_image",
            "1/N",
            "One over the number of images.",
            higher_is_better=False,
            digits=3,
            compute=share_of_images,
        ),
    )
    register(
        installed,
        Metric(
            "sizes",
            "Sizes",
            "As many as classes.",
            overall=False,
            per_class=True,
            compute_each=lambda s, k, *_: [float(k)] * k,
        ),
    )
    store = open_store(str(path))
    with store.session() as session:
        fingerprints = [run.fingerprint for run in session.query(Run)]
    before = rows(path, "select count(*) from scores")
    assert add_missing_metrics(store, fingerprints) == ["per_image", "sizes"]
    assert rows(path, "select count(*) from scores where metric = 'per_image' and value = 0.025") == [(16,)]
    assert rows(path, "select count(*) from scores where metric = 'sizes' and value = 6") == [(16 * 6,)]
    assert rows(path, "select count(*) from scores") == [(before[0][0] + 16 + 96,)]
    assert add_missing_metrics(store, fingerprints) == [], "once is enough"
    assert list(check_database(store, None)) == []
    (board,) = boards(load_runs(store), "per_image")
    assert board.rows[0].cell.test("per_image").mean == 0.025
    assert "1/N" in overview(board, ["per_image"]).columns
    assert not higher_is_better("per_image")
    assert not higher_is_better("val_loss".removeprefix("val_"))
    store.close()


def test_a_metric_that_fails_is_undefined_with_its_reason_and_fails_nothing_else(installed: list[Metric]) -> None:
    register(installed, Metric("broken", "Broken", "Always fails.", compute=raises))
    register(
        installed,
        Metric("wrong", "Wrong", "Two figures.", per_class=True, overall=False, compute_each=lambda *_: [1.0, 2.0]),
    )
    evaluator = Evaluator(3)
    evaluator.update(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), "a")
    scores = evaluator.compute()
    assert (scores.values["broken"], scores.per_class["wrong"]) == (None, [None] * 3)
    assert scores.problems == {
        "broken": "RuntimeError: not today",
        "wrong": "ValueError: gave 2 figures for 3 classes",
    }
    assert scores.values["miou"] == 1.0
    assert scores.details()["problems"] == scores.problems


def test_an_unknown_metric_has_no_title_and_no_direction() -> None:
    for ask in (find_metric, higher_is_better):
        with pytest.raises(UnknownName, match=r"There is no metric named 'mious'\. Did you mean 'miou'"):
            ask("mious")
    assert "Did you mean" in (check_known("mious", None, ()) or "")
    assert check_known("auc", None, ()) is not None
    assert check_known("auc", 1, ("a", "b")) is None
    assert check_known("iou[b]", 1, ("a", "b")) is None
    assert check_known("iou[c]", 1, ("a", "b")) is not None


def test_the_scores_of_a_data_set_keep_their_order() -> None:
    plain = "miou pa mpa fwiou dice precision recall f1 hd hd95 assd masd biou bf nsd trimap_iou"
    assert score_names(None)[:16] == tuple(plain.split())
    assert score_names(1)[:19] == (*plain.split(), "auc", "sensitivity", "specificity")


def test_the_example_of_the_documentation_works(installed: list[Metric]) -> None:
    page = (ROOT / "docs" / "add-a-metric.md").read_text()
    space: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0], space)
    metric = space["METRIC"]
    assert isinstance(metric, Metric)
    register(installed, metric)
    evaluator = Evaluator(3)
    target = np.array([[0, 0, 1, 1], [0, 0, 1, 255]], dtype=np.uint8)
    guess = np.array([[0, 0, 1, 0], [0, 0, 1, 0]], dtype=np.uint8)
    evaluator.update(guess, target, "a")
    assert evaluator.compute().values["worst_iou"] == 2 / 3


@pytest.mark.slow
def test_an_installed_package_s_metric_reaches_results_from_before_it_and_the_board(
    tmp_path: Path, plugin_site: Path
) -> None:
    make(tmp_path / "kidney", BASIC)
    suite = {
        "datasets": ["kidney"], "models": [{"name": "unet", "params": {"width": 4, "depth": 2}}],
        "recipe": {"size": [16, 16], "epochs": 1, "batch_size": 4}, "seeds": [0],
    }  # fmt: skip
    (tmp_path / "kidneys.yaml").write_text(json.dumps(suite))
    words = ("run", "--suite", "kidneys.yaml", "--data-dir", ".", "--local")
    run_bench(*words, cwd=tmp_path)
    env = {"PYTHONPATH": str(plugin_site)}
    listed = {m["name"]: m for m in json.loads(run_bench("metrics", "--json", cwd=tmp_path, **env).stdout)}
    assert listed["ece"]["origin"] == "plugin segbench-example 1.2.3"
    assert listed["ece"]["better"] == "lower"
    done = run_bench(*words, cwd=tmp_path, **env)
    assert "Added to finished jobs, from their stored statistics: ece" in done.stdout
    found = rows(tmp_path, "select split from scores join evaluations on evaluation_id = id "
                           "where metric = 'ece' and value between 0 and 1 order by 1")  # fmt: skip
    assert found == [("test",), ("val",)]
    exported = run_bench("export", "csv", "--suite", "kidneys", "--metrics", "ece,miou", cwd=tmp_path, **env).stdout
    assert "ece mean" in exported
    plain = run_bench("export", "csv", "--suite", "kidneys", cwd=tmp_path).stdout
    assert "ece" not in plain, "without the package its figures are not shown"
