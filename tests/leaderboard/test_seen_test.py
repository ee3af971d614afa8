"""Where val is the test split, rows say so under every rule, and nothing claims that val chose."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.export import export_text
from harness.config.load import load_suite
from harness.results import open_store
from harness.runner.plan import Plan, make_plan
from harness.tasks.artifacts import Artifacts
from leaderboard.boards.board import Board, boards
from leaderboard.queries.load import load_runs
from leaderboard.tables.table import overview
from tests.harness import copies
from tests.leaderboard.test_tables import result


def planned(folder: Path, variant: str, selection: dict[str, str], **more: object) -> Plan:
    """A suite on a copy of Cityscapes, whose variant `official` has one split as val and as test."""
    copies.cityscapes(folder / "cityscapes")
    suite = {
        "title": "Streets", "datasets": [{"name": "cityscapes", "variant": variant}], "seeds": [0],
        "models": [{"name": "unet", "params": {"width": 4, "depth": 2}}], "selection": selection,
        "recipe": {"size": [32, 32], "epochs": 2, "batch_size": 1}, **more,
    }  # fmt: skip
    (folder / "streets.yaml").write_text(json.dumps(suite))
    return make_plan(load_suite(str(folder / "streets.yaml")), None, folder, Artifacts("artifacts"))


@pytest.mark.parametrize("selection", [{"rule": "last"}, {"rule": "best"}, {"rule": "best", "split": "train"}], ids=str)
def test_a_val_that_is_the_test_marks_rows_under_every_rule(tmp_path: Path, selection: dict[str, str]) -> None:
    marked = {v: planned(tmp_path, v, selection).train[0].selected_on_test for v in ("official", "cities")}
    assert marked == {"official": True, "cities": False}


def test_a_checkpoint_chosen_on_the_test_marks_a_row_that_has_a_val_of_its_own(tmp_path: Path) -> None:
    assert planned(tmp_path, "cities", {"rule": "best", "split": "test"}).train[0].selected_on_test
    assert not planned(tmp_path, "cities", {"rule": "last", "split": "test"}).train[0].selected_on_test


def test_the_mark_of_a_row_reaches_titles_and_exports(tmp_path: Path) -> None:
    plan = planned(tmp_path, "official", {"rule": "last"}, grid={"lr": [1e-2, 1e-3]})
    store = open_store(str(tmp_path / "results.db"))
    store.register(plan.jobs, plan.datasets)
    (board,) = boards(load_runs(store))
    store.close()
    assert board.selected_on_test
    assert board.title.endswith("chosen on the test images")
    heads = export_text("csv", str(tmp_path / "results.db")).splitlines()[0]
    assert "chosen on the test images" in heads
    assert "chosen by val" not in heads


@pytest.mark.parametrize(
    ("selection", "cells", "title", "head"),
    [
        ({"rule": "best", "split": "val"}, "x", "checkpoints chosen on the test images", "on the test images"),
        ({"rule": "best", "split": "test"}, "x", "checkpoints chosen on the test images", "by val"),
        ({"rule": "best", "split": "train"}, "xy", "hyperparameters chosen on the test images", "on the test images"),
        ({"rule": "last", "split": "val"}, "xy", "hyperparameters chosen on the test images", "on the test images"),
        ({"rule": "last", "split": "val"}, "x", "val is the test split", "on the test images"),
    ],
    ids=["checkpoint, val is test", "checkpoint, split test", "cells, split train", "cells", "nothing chosen"],
)
def test_a_board_says_what_the_test_images_chose(selection: dict[str, str], cells: str, title: str, head: str) -> None:
    chosen = {**selection, "metric": "miou"}
    runs = [result("a", cell, 0, 0.5, 0.5, selection=chosen, selected_on_test=True) for cell in cells]
    (board,) = boards(runs)
    assert board.title.endswith(f", {title}")
    assert f"chosen {head}" in overview(board).columns


def test_a_board_without_it_says_nothing() -> None:
    board: Board = boards([result("a", "x", 0, 0.5, 0.5)])[0]
    assert board.seen_test == ""
    assert "chosen by val" in overview(board).columns
