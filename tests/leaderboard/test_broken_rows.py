"""A row that is not sound is one marked row: nothing raises, and the other rows stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import DatabaseError
from harness.results import Store, open_store
from leaderboard.boards.board import Board, boards
from leaderboard.queries.load import (
    ScoredRun,
    list_boards,
    live_status,
    load_board,
    load_curves,
    load_gallery,
    load_image_scores,
    load_run,
    load_runs,
    load_statistics,
    version_key,
)
from leaderboard.tables.table import ablation, overview, per_class, records
from tests.leaderboard.scored import alter

OF_RUN = "UPDATE runs SET {} WHERE id = 1"
OF_EVALUATION = "UPDATE evaluations SET {} WHERE run_id = 1 AND split = 'test'"
OF_SCORE = (
    "UPDATE scores SET {} WHERE metric = 'miou' AND class_index = -1 AND evaluation_id ="
    " (SELECT id FROM evaluations WHERE run_id = 1 AND split = 'test')"
)

BROKEN = {
    "its data set is gone": OF_RUN.format(f"manifest = '{'0' * 64}'"),
    "hyperparameters that are no JSON": OF_RUN.format("grid = '{'"),
    "hyperparameters in a list": OF_RUN.format("grid = '[1]'"),
    "parameters that are a text": OF_RUN.format("""model_params = '"a"'"""),
    "a selection without a metric": OF_RUN.format("""selection = '{"rule": "best", "split": "val"}'"""),
    "a time that is a text": OF_RUN.format("""times = '{"train": "long"}'"""),
    "a time without end": OF_RUN.format("""times = '{"train": 1e999}'"""),
    "NaN in JSON": OF_RUN.format("""progress = '{"epochs": NaN}'"""),
    "JSON without a bottom": OF_RUN.format(f"progress = '{'[' * 100_000}'"),
    "JSON in bytes": OF_RUN.format("provenance = x'ff00'"),
    "a cost that is a number": OF_RUN.format("cost = '7'"),
    "pretraining that is a number": OF_RUN.format("""provenance = '{"pretrained_on": 3}'"""),
    "a search without trials": OF_RUN.format("search = '{}'"),
    "parts that are no JSON": OF_RUN.format("parts = '}'"),
    "a state that nobody knows": OF_RUN.format("state = 'splendid'"),
    "a seed that is a text": OF_RUN.format("seed = 'first'"),
    "a number of parameters without end": OF_RUN.format("parameters = 9e999"),
    "a label of bytes": OF_RUN.format("model = x'00ff'"),
    "an end that is no time": OF_RUN.format("finished = 'yesterday'"),
    "a choice that is neither yes nor no": OF_RUN.format("selected_on_test = 'perhaps'"),
    "a score that is a text": OF_SCORE.format("value = 'high'"),
    "a score without end": OF_SCORE.format("value = 9e999"),
    "a score of bytes": OF_SCORE.format("value = x'00'"),
    "a score of a class that is not there": OF_SCORE.format("class_index = 99"),
    "a loss without end": OF_EVALUATION.format("loss = 9e999"),
    "images that cannot be counted": OF_EVALUATION.format("n_images = 'many'"),
    "a ceiling that is no JSON": OF_EVALUATION.format("ceiling = '{'"),
    "a ceiling without scores": OF_EVALUATION.format("""ceiling = '{"input": "8×8"}'"""),
    "a ceiling above 1": OF_EVALUATION.format("""ceiling = '{"input": "8×8", "scores": {"miou": 1.5}}'"""),
    "a protocol that is no JSON": OF_EVALUATION.format("protocol = '{'"),
}


def shown(store: Store) -> Iterator[Board]:
    """Every board, read alone, with everything that is made of it."""
    for summary in list_boards(store):
        own = load_board(store, summary.board_id)
        assert [r.run_id for r in own] == [r.run_id for r in load_board(store, summary.board_id, ["miou", "hd"])]
        for metric in (None, "miou", "biou"):
            (board,) = boards(own, metric)
            for table in (overview(board), ablation(board), per_class(board, "iou")):
                table.text_rows()
            records(board)
            yield board


@pytest.mark.parametrize("statement", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_row_is_one_marked_row(scored: Path, copy: Path, statement: str) -> None:
    sound = {r.run_id: r for r in load_runs(open_store(str(scored), read_only=True))}
    alter(copy, statement)
    store = open_store(str(copy), read_only=True)
    runs = load_runs(store)
    assert len(runs) == len(sound)
    (marked,) = [r for r in runs if r.problem]
    assert marked.run_id == 1
    assert (marked.test, marked.val, marked.n_images) == ({}, {}, 0)
    assert [r for r in runs if not r.problem] == [r for number, r in sound.items() if number != 1]
    notes = [note for board in shown(store) for note in overview(board).notes]
    assert any("1 not sound" in note for note in notes)
    ids = list(sound)
    assert sum(live_status(store)["tiny"].values()) == len(ids)
    assert version_key(store)
    assert len(load_curves(store, ids)) == len(load_curves(open_store(str(scored), read_only=True), ids))
    assert load_gallery(store, sound[2].data.test_manifest, ids)
    load_image_scores(store, ids, "miou")
    assert load_run(store, 1).problems


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE datasets SET classes = '7'", "classes: input should be a valid list"),
        ("UPDATE datasets SET classes = '[1, 2]'", "classes.0: input should be a valid string"),
        ("UPDATE datasets SET classes = '[]'", "classes: list should have at least 1 item"),
        ("UPDATE datasets SET palette = '[[0, 0]]'", "palette.0: list should have at least 3 items"),
        ("UPDATE datasets SET palette = '[[0, 0, 900]]'", "palette.0.2: input should be less than or equal to 255"),
        ("UPDATE datasets SET palette = '[]'", "palette: has fewer colours than there are classes"),
        ("UPDATE datasets SET foreground = 70", "foreground: there is no class 70"),
        ("""UPDATE datasets SET counts = '{"test": -1}'""", "counts.test"),
        ("UPDATE datasets SET title = x'ff'", "title"),
    ],
)
def test_a_broken_data_set_marks_its_rows_and_says_why(copy: Path, statement: str, problem: str) -> None:
    alter(copy, statement)
    store = open_store(str(copy), read_only=True)
    runs = load_runs(store)
    assert len(runs) == 8
    assert all(problem in run.problem for run in runs), runs[0].problem
    assert {row.rank for board in shown(store) for row in board.rows} == {None}


def test_text_that_is_no_utf8_is_read_with_marks(copy: Path) -> None:
    alter(copy, OF_RUN.format("model = cast(x'61ff62' AS TEXT)"))
    store = open_store(str(copy), read_only=True)
    assert {r.model for r in load_runs(store)} == {"a�b", "U-Net", "FCN"}
    # The setting that reads so is gone again.
    with pytest.raises(DatabaseError, match="UTF-8"), store.session() as session:
        session.connection().exec_driver_sql("SELECT model FROM runs").all()


def test_a_planned_run_whose_job_cannot_be_read_stands_with_its_suite(copy: Path) -> None:
    alter(
        copy,
        "DELETE FROM scores WHERE evaluation_id IN (SELECT id FROM evaluations WHERE run_id = 1)",
        "DELETE FROM evaluations WHERE run_id = 1",
        OF_RUN.format("state = 'pending', config = '{'"),
    )
    store = open_store(str(copy), read_only=True)
    (summary,) = list_boards(store)
    assert summary.states == {"ok": 7, "pending": 1}
    (marked,) = [r for r in load_board(store, summary.board_id) if r.problem]
    assert "the protocol of its job cannot be read" in marked.problem
    assert load_run(store, 1).config == {}


def test_scores_of_images_that_cannot_be_read_are_told_of(copy: Path) -> None:
    alter(copy, "UPDATE evaluations SET statistics = x'00', image_list = 'gone' WHERE run_id = 1")
    store = open_store(str(copy), read_only=True)
    found = load_image_scores(store, [1, 2], "miou")
    assert found.runs == (2,)
    assert "cannot be read" in found.problems[1]
    with pytest.raises(DatabaseError, match="statistics of run 1 cannot be read"):
        load_statistics(store, 1, load_runs(store)[0].protocol_hash)


def test_a_row_that_is_not_sound_counts_as_a_seed_that_failed(copy: Path) -> None:
    store = open_store(str(copy), read_only=True)
    cell = next(row.cell for row in boards(load_runs(store))[0].rows if 1 in {r.run_id for r in row.cell.runs})
    worst = min(r.test["miou"] or 0 for r in cell.runs if r.run_id != 1)
    alter(copy, OF_RUN.format("grid = '{'"))
    after = [row for row in boards(load_runs(store), "miou")[0].rows if row.model == cell.first.model]
    assert {row.cell.ranked_by("miou") for row in after} >= {worst}


def everything(runs: list[ScoredRun]) -> dict[int, ScoredRun]:
    return {run.run_id: run for run in runs}


def test_a_board_read_alone_is_the_board_among_all(scored: Path) -> None:
    store = open_store(str(scored), read_only=True)
    (summary,) = list_boards(store)
    assert (summary.runs, summary.states) == (8, {"ok": 8})
    every = load_runs(store)
    assert everything(load_board(store, summary.board_id)) == everything(every)
    assert boards(every)[0].board_id == summary.board_id
    assert summary.newest == max(r.finished or "" for r in every)
    some = load_board(store, summary.board_id, ["biou", "iou[disk]"])
    selecting = every[0].selection["metric"]
    label = summary.data.classes[1]
    assert set(some[0].val) == {"loss", selecting}
    assert set(some[0].test) == {"loss", "biou", summary.data.headline} | ({"iou[disk]"} if label == "disk" else set())
    for run in some:
        assert run.test.items() <= everything(every)[run.run_id].test.items()
    assert load_board(store, "0" * 12) == []


def test_the_key_changes_with_what_is_shown_and_not_with_signs_of_life(copy: Path) -> None:
    store = open_store(str(copy), read_only=True)
    keys = [version_key(store)]
    alter(copy, OF_RUN.format("heartbeat = 1.0, driver = 'somewhere'"))
    assert version_key(store) == keys[0]
    for statement in (
        OF_RUN.format("state = 'failed'"),
        OF_RUN.format("finished = '2999-01-01T00:00:00+00:00'"),
        OF_RUN.format("attempt = attempt + 1"),
        "DELETE FROM scores WHERE metric = 'miou'",
        "DELETE FROM suite_entries WHERE run_id = 1",
        "INSERT INTO withdrawals VALUES (1, 1, 'withdrawn', 'wrong data', 'me', '2026-01-01T00:00:00+00:00', NULL)",
    ):
        alter(copy, statement)
        keys.append(version_key(store))
    assert len(set(keys)) == len(keys)


def test_a_withdrawn_run_is_marked_and_counts_no_more_until_it_is_restored(copy: Path) -> None:
    said = "INSERT INTO withdrawals VALUES ({}, 1, '{}', 'wrong data', 'me', '2026-01-01T00:00:00+00:00', 2)"
    alter(copy, said.format(1, "withdrawn"))
    store = open_store(str(copy), read_only=True)
    (withdrawn,) = [r for r in load_runs(store) if r.withdrawn]
    assert withdrawn.run_id == 1
    assert withdrawn.withdrawn is not None
    assert (withdrawn.withdrawn.why, withdrawn.withdrawn.replaced_by) == ("wrong data", 2)
    board = boards(load_runs(store))[0]
    assert all(1 not in {r.run_id for r in cell.scored} for row in board.rows for cell in row.cells)
    alter(copy, said.format(2, "restored"))
    assert not [r for r in load_runs(store) if r.withdrawn]
    assert [line.action for line in load_run(store, 1).withdrawals] == ["withdrawn", "restored"]


def test_one_run_has_everything(scored: Path) -> None:
    store = open_store(str(scored), read_only=True)
    detail = load_run(store, 1)
    assert detail.problems == ()
    assert detail.config["dataset"]["name"] == "shapes"
    assert {e.split for e in detail.evaluations} == {"val", "test"}
    assert all(e.protocol["name"] == e.protocol_name for e in detail.evaluations)
    assert {a.split for a in detail.artifacts} == {"test"}
    assert detail.run == everything(load_runs(store))[1]
    with pytest.raises(DatabaseError, match="there is no run 99"):
        load_run(store, 99)
