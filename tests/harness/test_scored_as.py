"""What is scored of the images makes a board: labels, classes, void."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.export import export_text
from harness.config.load import load_suite
from harness.datasets.library import dataset_class, resolved
from harness.errors import SuiteError
from harness.results import open_store
from harness.results.score import Ranked, score
from harness.results.scored_as import scored_as
from harness.runner.plan import make_plan
from harness.tasks.artifacts import Artifacts
from leaderboard.boards.board import boards
from leaderboard.queries.load import load_runs

TABLES = {
    "two": "classes: [ground, thing]\nlabels: {0: 0, 1: 1, 2: 1}\n",
    "other": "classes: [ground, thing]\nlabels: {0: 0, 1: 0, 2: 1}\n",
    "three": "classes: [ground, thing, rest]\nlabels: {0: 0, 1: 1, 2: 2}\n",
}


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A folder of images whose masks hold 0, 1 and 2, and predictions of 0 and 1."""
    rng = np.random.default_rng(0)
    for folder in ("mine/images", "mine/masks", "out"):
        (tmp_path / folder).mkdir(parents=True)
    for name in "abcd":
        mask = rng.integers(0, 3, (4, 6), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(mask).save(tmp_path / "mine" / "masks" / f"{name}.png")
        picture = rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)
        Image.fromarray(picture).save(tmp_path / "mine" / "images" / f"{name}.png")
        Image.fromarray((mask > 0).astype(np.uint8)).save(tmp_path / "out" / f"{name}.png")
    return tmp_path / "mine"


def say(folder: Path, table: str, more: str = "splits: {test: 1.0}\n") -> None:
    (folder / "dataset.yaml").write_text(f"name: mine\n{table}{more}")


def test_the_same_files_read_otherwise_stand_on_boards_of_their_own(mine: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "results.db")
    for name, table in TABLES.items():
        say(mine, table)
        score(tmp_path / "out", dataset=str(mine), rank_as=Ranked(name, db=place))
    store = open_store(place)
    found = boards(load_runs(store))
    store.close()
    assert len({board.key for board in found}) == len({board.title for board in found}) == 3
    assert sorted(len(board.data.classes) for board in found) == [2, 2, 3]
    (three,) = [board for board in found if len(board.data.classes) == 3]
    assert "3 classes: ground, thing, rest" in three.title
    for kind in ("csv", "markdown", "latex", "json"):
        assert export_text(kind, place)
    rows = json.loads(export_text("json", place))
    assert {row["model"]: set(row["per_class"]["iou"]) for row in rows} == {
        "two": {"ground", "thing"}, "other": {"ground", "thing"}, "three": {"ground", "thing", "rest"},
    }  # fmt: skip
    figures = {row["model"]: row["metrics"]["miou"]["mean"] for row in rows}
    assert figures["two"] == 1
    assert figures["other"] < 1


def test_what_a_definition_says_besides_its_labels_splits_no_board(mine: Path, tmp_path: Path) -> None:
    place = str(tmp_path / "results.db")
    for number, more in enumerate(("", "title: Mine\n", "license: CC0\n")):
        say(mine, TABLES["two"], f"splits: {{test: 1.0}}\n{more}")
        score(tmp_path / "out", dataset=str(mine), rank_as=Ranked(f"m{number}", db=place))
    store = open_store(place)
    assert len(boards(load_runs(store))) == 1
    store.close()


def test_two_folders_under_one_name_are_refused(mine: Path, tmp_path: Path) -> None:
    say(mine, TABLES["two"])
    other = Path(shutil.copytree(mine, tmp_path / "again"))
    say(other, TABLES["three"])
    text = {"datasets": [{"name": "folder", "params": {"path": str(p)}} for p in (mine, other)], "models": ["unet"],
            "recipe": {"epochs": 1}}  # fmt: skip
    (tmp_path / "s.yaml").write_text(json.dumps(text))
    with pytest.raises(SuiteError, match="are both called mine"):
        make_plan(load_suite(str(tmp_path / "s.yaml")), None, tmp_path, Artifacts("artifacts"))


def test_tables_that_mean_the_same_are_one(mine: Path, tmp_path: Path) -> None:
    def info(table: str) -> str:
        say(mine, table)
        return scored_as(dataset_class(*resolved(str(mine), {}, tmp_path)).info)

    plain = info("classes: [a, b]\n")
    assert info("classes: [a, b]\nlabels: {0: 0, 1: 1, 255: void}\n") == plain
    assert info("classes: [a, b]\nlabels: {1: 0, 0: 1, 255: void}\n") != plain
    assert info("classes: [a, c]\n") != plain
    assert info("classes: [a, b]\nthreshold: 128\n") != plain
    colors = "classes: [a, b]\nencoding: colors\n"
    assert info(colors + "palette: [[0, 0, 0], [128, 0, 0]]\n") == info(colors) != plain
