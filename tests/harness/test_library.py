"""The project as a library: what `import harness` gives, and the study of docs/python.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import harness
from leaderboard.queries.load import load_runs
from tests.conftest import ROOT, TINY

PAGE = ROOT / "docs" / "python.md"


def test_the_library_has_these_names() -> None:
    # What is listed here is used by other people's programs: names are added, and none is taken away.
    assert harness.__all__ == [
        "ArtifactsError", "BenchError", "ClusterError", "DataError", "DatabaseError", "Evaluator", "Outcome", "Plan",
        "PluginError", "Protocol", "Ranked", "Results", "RunOptions", "Suite", "SuiteError", "UnknownName", "Watcher",
        "WeightsError", "__version__", "load_results", "load_suite", "open_results", "plan", "run", "score",
    ]  # fmt: skip
    assert [name for name in harness.__all__ if getattr(harness, name).__doc__ is None] == []
    assert set(harness.__all__) <= set(dir(harness))
    with pytest.raises(AttributeError, match="no attribute 'runn'"):
        harness.runn  # noqa: B018


def test_it_is_imported_without_torch_and_ray(tmp_path: Path) -> None:
    code = (
        "import sys, harness\n"
        "assert not {'torch', 'ray', 'pandas', 'sqlalchemy'} & sys.modules.keys()\n"
        f"suite = harness.load_suite({str(TINY)!r})\n"
        "harness.Watcher, harness.RunOptions, harness.run, harness.plan\n"
        "assert not {'torch', 'ray'} & sys.modules.keys(), 'only jobs need them'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@pytest.mark.long
@pytest.mark.slow
def test_the_study_of_the_documentation_runs_as_it_is_printed(home: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
    (home / "study.py").write_text("\n".join(blocks))
    done = subprocess.run([sys.executable, "study.py"], cwd=home, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok U-Net on shapes") == 4
    assert "There is no suite named 'no-such-suite'" in done.stdout


def test_a_run_prints_nothing_and_says_everything_to_its_watcher(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []

    class Listener(harness.Watcher):
        def begins(self, plan: harness.Plan, database: str) -> None:
            seen.append(f"begins {len(plan.to_train)}")

        def finished(self, task: object, result: object) -> None:
            seen.append("finished")

        def ends(self) -> None:
            seen.append("ends")

    options = harness.RunOptions(backend="local", smoke=True)
    outcome = harness.run(str(TINY), options, Listener(), overrides=["seeds=[0]"])
    assert (outcome.ok, outcome.exit_code, seen) == (2, 0, ["begins 2", "finished", "finished", "ends"])
    again = harness.run(str(TINY), options, overrides=["seeds=[0]"])
    assert (len(again.plan.done), again.ok) == (2, 0)
    assert capfd.readouterr() == ("", "")


def test_a_mistake_leaves_no_database(home: Path) -> None:
    with pytest.raises(harness.SuiteError):
        harness.run(str(TINY), harness.RunOptions(backend="local"), overrides=["resources.nodes=2"])
    assert not (home / "results.db").exists()


def test_the_frames_have_what_the_board_shows_and_the_statistics_hold(finished: Path) -> None:
    store = harness.open_results(str(finished))
    results = harness.load_results(store, suite="tiny")
    shown = load_runs(store, suite="tiny")
    runs = results.runs.set_index("run")
    assert set(runs.index) == {r.run_id for r in shown}
    assert set(runs["state"]) == {"ok"}
    assert {"grid.lr", "seconds.train", "dataset", "variant", "commit"} <= set(runs.columns)
    for one in shown:
        own = results.scores.query("run == @one.run_id and split == 'test'")
        overall = own[own["class"].isna()].set_index("metric")["value"]
        assert overall["miou"] == one.test["miou"]
        disk = own[(own["class"] == "disk") & (own["metric"] == "iou")]["value"]
        assert disk.item() == one.test["iou[disk]"]
    images = results.image_scores.query("split == 'test'")
    one = shown[0]
    pixel = images.query("run == @one.run_id and metric == 'pa'")
    assert len(pixel) == one.n_images
    loss = images.query("run == @one.run_id and metric == 'loss'")["value"].mean()
    assert loss == pytest.approx(one.test["loss"])
    assert images.query("metric == 'iou'")["value"].between(0, 1).all()
    curve = results.curves.query("run == @one.run_id and name == 'train_loss'")
    assert list(curve["epoch"]) == [1, 2]
    assert harness.load_results(store, suite="no such").runs.empty
    results.close()


def test_scores_of_a_folder_are_those_of_the_command(home: Path, tmp_path: Path) -> None:
    masks = home / "data" / "shapes-v1" / "SegmentationClass"
    if not masks.is_dir():
        masks = next(path.parent for path in (home / "data").rglob("*.png"))
    scored = harness.score(masks, targets=masks, num_classes=6)
    assert scored.scores.values["miou"] == 1.0
    with pytest.raises(harness.BenchError, match="give either"):
        harness.score(masks)
    with pytest.raises(harness.SuiteError, match="void"):
        harness.score(masks, targets=masks, num_classes=6, protocol={"void": "nothing"})
    assert json.dumps(scored.scores.to_dict())
