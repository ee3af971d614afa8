"""Seeds that failed count: a row cannot be placed above its worst seed that ended."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.load import load_suite
from harness.datasets import manifest_of
from harness.datasets.shapes import Shapes
from harness.results import open_store
from harness.runner.plan import make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Result
from leaderboard.boards.board import Board, boards
from leaderboard.exports.text import csv_tables
from leaderboard.queries.load import load_runs
from leaderboard.tables.table import overview, records
from tests.conftest import TINY
from tests.leaderboard.mixed import result as returned
from tests.leaderboard.test_tables import result


def board_with(home: Path, wrong: dict[tuple[str, int], float | str | None], metric: str = "miou") -> Board:
    """The board of a real database: for each model and seed the share of wrong pixels, a state, or nothing yet."""
    shapes = Shapes(home / "data" / Shapes.folders[0])
    suite = load_suite(str(TINY), ["seeds=[0,1,2]"])
    tasks = make_plan(suite, None, home / "data", Artifacts("artifacts")).train
    store, manifest = open_store("results.db"), manifest_of(shapes)
    store.register(tasks, {manifest.hash: (shapes.info, shapes.variant, manifest)})
    for task in tasks:
        came = wrong[task.job.model.title, task.job.seed]
        if came is None:
            continue
        attempt = store.claim(task.fingerprint) or 0
        if isinstance(came, str):
            store.save(Result(task.fingerprint, attempt, came, "it ended badly"), task)  # type: ignore[arg-type]
        else:
            store.save(returned(task, shapes, attempt, came), task)
    (board,) = boards(load_runs(store), metric)
    store.close()
    return board


EVEN = {("FCN", seed): 0.2 for seed in range(3)}


@pytest.mark.parametrize("state", ["failed", "oom", "timeout"])
def test_a_lucky_seed_does_not_place_a_row_whose_other_seeds_failed(home: Path, state: str) -> None:
    # Mean of those that ended: 0.175 wrong, better than 0.2; the worst of them: 0.25.
    board = board_with(home, {**EVEN, ("U-Net", 0): 0.1, ("U-Net", 1): 0.25, ("U-Net", 2): state})
    assert [(row.model, row.rank) for row in board.rows] == [("FCN", 1), ("U-Net", 2)]
    better, worse = board.rows
    assert worse.cell.test("miou").mean > better.cell.test("miou").mean, "the figure itself is not touched"
    assert worse.cell.ranked_by("miou") == min(run.test["miou"] for run in worse.cell.scored)
    table = overview(board)
    assert [row[-1] for row in table.text_rows()] == ["3", "2 of 3"]
    assert "U-Net: only 2 of 3 seeds ended; the worst of them ranks it" in table.notes
    found = {r["model"]: (r["rank"], r["n_runs"], r["n_seeds"]) for r in records(board)}
    assert found == {"FCN": (1, 3, 3), "U-Net": (2, 2, 3)}
    assert csv_tables([(board, table)]).splitlines()[2].endswith(",2,3")


def test_the_worst_of_a_distance_is_the_largest(home: Path) -> None:
    board = board_with(home, {**EVEN, ("U-Net", 0): 0.01, ("U-Net", 1): 0.5, ("U-Net", 2): "failed"}, "hd")
    row = next(row for row in board.rows if row.model == "U-Net")
    assert row.cell.ranked_by("hd") == max(run.test["hd"] for run in row.cell.scored)
    assert row.cell.ranked_by("hd") > row.cell.test("hd").mean


def test_seeds_that_are_not_done_yet_are_told_and_do_not_count(home: Path) -> None:
    board = board_with(home, {**EVEN, ("U-Net", 0): 0.1, ("U-Net", 1): 0.25, ("U-Net", 2): None})
    assert [(row.model, row.rank) for row in board.rows] == [("U-Net", 1), ("FCN", 2)]
    table = overview(board)
    assert [row[-1] for row in table.text_rows()] == ["2 of 3", "3"]
    assert table.notes == ("U-Net: 1 pending",)


def test_where_every_seed_ended_the_mean_ranks() -> None:
    runs = [result("a", "x", 0, 0.5, 0.9), result("a", "x", 1, 0.5, 0.3), result("b", "y", 0, 0.5, 0.5)]
    assert [row.model for row in boards(runs)[0].rows] == ["a", "b"]
    lost = replace(result("a", "x", 2, None, 0.0), state="failed", test={}, val={})
    assert [row.model for row in boards([*runs, lost])[0].rows] == ["b", "a"]
