"""Ceilings on boards: one note where all rows share one, else one for each input size; and each row its own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from harness.results import open_store
from leaderboard.boards.board import Board, boards
from leaderboard.boards.notes import ceiling_notes
from leaderboard.queries.load import Ceiling, ScoredRun, load_runs
from leaderboard.shown.about import state_facts
from leaderboard.shown.ranking import TableData, ranking
from leaderboard.stats.significance import significance
from leaderboard.tables.table import overview, records
from tests.conftest import run_bench
from tests.leaderboard.test_tables import result

SMALL = Ceiling("96×96 (resize)", {"miou": 0.961, "biou": 0.8782})
LARGE = Ceiling("224×224 (resize)", {"miou": 0.9924, "biou": None})
WHOLE = Ceiling("the image's own size (whole)", {"miou": 1.0, "biou": 1.0})
OF_SMALL = "network that is perfect at 96×96 (resize) would score mIoU 0.9610, BIoU 0.8782."
OF_LARGE = "network that is perfect at 224×224 (resize) would score mIoU 0.9924, BIoU –."


def run(model: str, ceiling: Ceiling | None, cell: str = "x", val: float | None = 0.5) -> ScoredRun:
    return result(model, cell, 0, val, 0.5, ceiling=ceiling)


def board_of(*runs: ScoredRun) -> Board:
    (board,) = boards(runs)
    return board


def ranked(board: Board) -> TableData:
    return ranking(board, significance(board, "seeds"), {}, [], lambda kind, id: "")


def test_rows_of_one_ceiling_have_one_note() -> None:
    board = board_of(run("a", SMALL), run("b", SMALL))
    assert ceiling_notes(board) == [f"A {OF_SMALL}"]
    assert f"A {OF_SMALL}" in overview(board, ["pa"]).notes, "whatever the columns are"
    assert ceiling_notes(board_of(run("a", None))) == []


def test_rows_of_several_input_sizes_are_named() -> None:
    board = board_of(run("a", SMALL), run("b", LARGE), run("c", LARGE), run("d", WHOLE), run("e", None))
    assert sorted(ceiling_notes(board)) == [
        f"a: a {OF_SMALL}",
        f"b, c: a {OF_LARGE}",
        "d: a network that is perfect at the image's own size (whole) would score 1: its input size costs nothing.",
    ]


def test_a_grid_of_sizes_names_its_cells() -> None:
    """Without val each cell has a row."""
    board = board_of(run("a", SMALL, "x", None), run("a", LARGE, "xx", None), run("b", LARGE, "y", None))
    assert sorted(ceiling_notes(board)) == [f"a lr=1: a {OF_SMALL}", f"a lr=2, b: a {OF_LARGE}"]


def test_label_maps_from_elsewhere_do_not_share_the_ceiling_of_the_others() -> None:
    board = board_of(run("a", SMALL), run("elsewhere", None))
    assert ceiling_notes(board) == [f"a: a {OF_SMALL}"]


def test_each_row_has_its_own_in_the_ranking_in_exports_and_on_its_page() -> None:
    board = board_of(run("a", SMALL), run("b", LARGE), run("c", None))
    table = ranked(board)
    assert "ceiling" in [column["id"] for column in table["columns"]]
    cells = {row["name"]: row["cells"]["ceiling"] for row in table["rows"]}
    assert {name: (cell["t"], cell["v"]) for name, cell in cells.items()} == {
        "a": ("96.1", 0.961),
        "b": ("99.2", 0.9924),
        "c": ("–", None),
    }
    assert cells["a"]["title"] == f"A {OF_SMALL}"
    assert {r["model"]: r["ceiling"] for r in records(board)} == {
        "a": {"input": "96×96 (resize)", "scores": {"miou": 0.961, "biou": 0.8782}},
        "b": {"input": "224×224 (resize)", "scores": {"miou": 0.9924, "biou": None}},
        "c": None,
    }
    assert ("Ceiling", f"A {OF_SMALL}") in state_facts(run("a", SMALL))
    assert "Ceiling" not in dict(state_facts(run("c", None)))


def test_there_is_no_column_where_no_row_has_a_ceiling_of_the_metric_that_ranks() -> None:
    for board in (board_of(run("a", None)), replace(board_of(run("a", SMALL)), metric="hd")):
        assert "ceiling" not in [column["id"] for column in ranked(board)["columns"]]


def test_a_real_run_shows_it_in_every_way_out(finished: Path, tmp_path: Path) -> None:
    store = open_store(str(finished), read_only=True)
    ceilings = {r.ceiling.input: r.ceiling.scores["miou"] for r in load_runs(store) if r.ceiling is not None}
    store.close()
    ((size, miou),) = ceilings.items()
    assert size == "32×32 (resize)"
    for form in ("markdown", "latex", "html"):
        text = run_bench("export", form, "--db", finished, cwd=tmp_path).stdout
        assert f"would score mIoU {miou:.4f}, BIoU" in text, form
    found = json.loads(run_bench("export", "json", "--db", finished, cwd=tmp_path).stdout)
    assert {row["ceiling"]["scores"]["miou"] for row in found} == {miou}
    run_bench("leaderboard", "--export", tmp_path / "site", "--db", finished, cwd=tmp_path)
    pages = [path.read_text() for path in (tmp_path / "site").rglob("*.html")]
    assert any(f"would score mIoU {miou:.4f}, BIoU" in page for page in pages)
