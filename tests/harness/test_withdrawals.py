"""Runs are withdrawn and put back: marked and unranked meanwhile, everything on record, nothing trained again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from bench.export import export_text
from bench.status import ranges
from harness.config.load import load_suite
from harness.errors import BenchError
from harness.results import Store, open_store
from harness.results.withdrawals import restore, withdraw, withdrawn_runs, words_on
from harness.runner.plan import make_plan
from leaderboard.boards.board import boards
from leaderboard.queries.load import load_runs
from leaderboard.tables.table import overview
from tests.conftest import TINY, Bench, run_bench


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A database of one's own: U-Net with two learning rates and two seeds, and another network."""
    return Path(shutil.copy(finished, tmp_path / "results.db"))


@pytest.fixture
def store(place: Path) -> Store:
    return open_store(str(place))


def test_a_withdrawn_row_is_shown_with_its_reason_and_ranked_no_more(store: Store, place: Path) -> None:
    (board,) = boards(load_runs(store))
    best, second = board.rows
    runs = [run.run_id for cell in best.cells for run in cell.runs]
    spare = second.cell.first.run_id
    withdraw(store, runs, "trained on a broken copy", "A. Author", replaced_by=spare)
    (board,) = boards(load_runs(store))
    # Nothing of the model is left that could choose among its two cells.
    assert [(row.model, row.rank) for row in board.rows] == [(second.model, 1), (best.model, None), (best.model, None)]
    table = overview(board)
    assert table.rows[1][1] == f"{best.model} ✗"
    assert table.run_texts()[1] == "0 of 2"
    said = f"withdrawn by A. Author on {words_on(store, runs[0])[0].at[:10]}: trained on a broken copy; replaced by run"
    assert any(note.startswith(f"{best.model}, run {runs[0]} (seed 0): {said} {spare}") for note in table.notes)
    for kind, sign in (("csv", "✗"), ("markdown", "✗"), ("latex", r"\ensuremath{\times}")):
        assert f"{best.model} {sign}" in export_text(kind, str(place)), kind
    row, _ = [r for r in json.loads(export_text("json", str(place))) if r["model"] == best.model]
    assert (row["rank"], row["ranked_by"], row["metrics"]["miou"]["mean"]) == (None, None, None)
    assert {w["run"] for w in row["withdrawn"]} == set(row["runs"])
    assert row["withdrawn"][0]["why"] == "trained on a broken copy"


def test_one_withdrawn_seed_leaves_the_mean_of_the_others(store: Store) -> None:
    (board,) = boards(load_runs(store))
    cell = board.rows[0].cell
    withdraw(store, [cell.runs[0].run_id], "the machine was faulty")
    (board,) = boards(load_runs(store))
    row = next(row for row in board.rows if row.model == cell.first.model)
    (left,) = [one for one in row.cells if one.first.cell == cell.first.cell]
    assert left.test("miou").mean == cell.runs[1].test["miou"]
    assert row.rank is not None
    assert left.incomplete() == "1 withdrawn"
    assert any("the machine was faulty" in note for note in overview(board).notes)


def test_what_is_taken_back_counts_again_and_both_words_stay(store: Store) -> None:
    before = [(row.model, row.rank) for row in boards(load_runs(store))[0].rows]
    withdraw(store, [1, 2], "by mistake", "me")
    assert set(withdrawn_runs(store)) == {1, 2}
    restore(store, [1, 2], "they were sound", "you")
    assert [(row.model, row.rank) for row in boards(load_runs(store))[0].rows] == before
    assert [(w.action, w.why, w.who) for w in words_on(store, 1)] == [
        ("withdrawn", "by mistake", "me"), ("restored", "they were sound", "you"),
    ]  # fmt: skip
    assert withdrawn_runs(store) == {}


@pytest.mark.parametrize(
    ("runs", "why", "by", "message"),
    [
        ([1, 99], "x", None, "there is no run 99"),
        ([1], "  ", None, "a reason is needed"),
        ([1], "x", 1, "cannot correct itself"),
        ([1], "x", 99, "there is no run 99"),
        ([1], "x", 3, "that run is withdrawn itself"),
        ([1, 3], "x", None, "run 3 is withdrawn already"),
    ],
)
def test_a_mistake_writes_nothing(store: Store, runs: list[int], why: str, by: int | None, message: str) -> None:
    withdraw(store, [3], "first")
    with pytest.raises(BenchError, match=message):
        withdraw(store, runs, why, replaced_by=by)
    assert set(withdrawn_runs(store)) == {3}
    with pytest.raises(BenchError, match="run 1 is not withdrawn"):
        restore(store, [3, 1], "x")
    assert set(withdrawn_runs(store)) == {3}


def test_what_is_withdrawn_is_not_done_again(store: Store, shapes_home: Path) -> None:
    suite = load_suite(str(TINY), ["grid.lr=[1e-2, 2e-2]"])

    def planned() -> tuple[int, list[str]]:
        plan = make_plan(suite, store, shapes_home / "data", store.artifacts)
        return len(plan.to_do), plan.notes

    assert planned()[0] == 0
    withdraw(store, [1], "a broken copy", "me")
    to_do, notes = planned()
    assert to_do == 0
    assert any(note.startswith("Not done again: run 1 (") and "a broken copy" in note for note in notes)
    assert any("`bench withdraw 1 --restore --why …` puts it back" in note for note in notes)


def test_the_commands_say_it(place: Path) -> None:
    home = place.parent
    done = run_bench("withdraw", "1", "2", "--why", "a broken copy", "--replaced-by", "3", "--who", "me", cwd=home)
    assert "run 1: withdrawn by me on" in done.stdout
    status = run_bench("status", cwd=home).stdout
    assert "ok, withdrawn" in status
    assert "1–2" in status
    assert "Withdrawn: shown, not ranked" in status
    assert "a broken copy; replaced by run 3" in run_bench("why", "1", cwd=home).stdout.replace("\n", " ")
    wrong = run_bench("withdraw", "1", "--restore", "--why", "x", "--replaced-by", "3", cwd=home, check=False)
    assert (wrong.returncode, "cannot go with --restore" in wrong.stderr) == (2, True)


def test_withdrawing_makes_no_database(bench: Bench, home: Path) -> None:
    done = bench("withdraw", "1", "--why", "x", check=False)
    assert (done.returncode, "there is no results database" in done.stderr) == (2, True)
    assert not (home / "results.db").exists()


def test_numbers_in_short() -> None:
    assert ranges([7, 1, 2, 3, 9, 10]) == "1–3, 7, 9–10"
