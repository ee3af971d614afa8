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
from harness.metrics import ClassSums, Evaluator, ImageSums, Metric, ScoredImages
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
from tests.plugin_package.segbench_example import volume


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


def one_over_n(images: ScoredImages) -> ImageSums:
    return ImageSums(np.ones((len(images.table.ids), 1)), lambda sums: 1 / sums[..., 0])


def classes(images: ScoredImages) -> ClassSums:
    shape = (len(images.table.ids), 1, images.num_classes)
    return ClassSums(np.zeros(shape), lambda sums: np.full_like(sums[..., 0, :], images.num_classes))


def raises(_: ScoredImages) -> ImageSums:
    raise RuntimeError("not today")


def test_the_example_is_volumetric_similarity() -> None:
    evaluator = Evaluator(3)
    evaluator.update(np.array([[0, 0, 0, 1]]), np.array([[0, 0, 1, 1]]))
    evaluator.update(np.array([[1, 1, 1, 1]]), np.array([[1, 0, 255, 0]]))
    sums = volume.volumetric_similarity(ScoredImages(evaluator.statistics(), 3, evaluator.protocol))
    # Of class 0 there are 4 and 3 pixels, of class 1 3 and 4.
    np.testing.assert_allclose(sums.scores(), [6 / 7, 6 / 7, np.nan])


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
            sums=one_over_n,
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
            sums=classes,
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
    register(installed, Metric("broken", "Broken", "Always fails.", sums=raises))
    register(installed, Metric("wrong", "Wrong", "One figure.", per_class=True, overall=False, sums=one_over_n))
    evaluator = Evaluator(3)
    evaluator.update(np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8), "a")
    scores = evaluator.compute()
    assert (scores.values["broken"], scores.per_class["wrong"]) == (None, [None] * 3)
    assert scores.problems == {
        "broken": "RuntimeError: not today",
        "wrong": "ValueError: gave no figure for each of 3 classes",
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
    assert listed["vs"]["origin"] == "plugin segbench-example 1.2.3"
    assert listed["vs"]["better"] == "higher"
    done = run_bench(*words, cwd=tmp_path, **env)
    assert "Added to finished jobs, from their stored statistics: vs" in done.stdout
    found = rows(tmp_path, "select distinct split from scores join evaluations on evaluation_id = id "
                           "where metric = 'vs' and value between 0 and 1 order by 1")  # fmt: skip
    assert found == [("test",), ("val",)]
    exported = run_bench("export", "csv", "--suite", "kidneys", "--metrics", "vs,miou", cwd=tmp_path, **env).stdout
    assert "vs mean" in exported
    plain = run_bench("export", "csv", "--suite", "kidneys", cwd=tmp_path).stdout
    assert "vs mean" not in plain, "without the package its figures are not shown"
