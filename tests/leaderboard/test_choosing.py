"""Which run counts, which cell stands for a model, and what a board is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from leaderboard.boards.board import Board, Cell, boards
from leaderboard.queries.records import ScoredRun, Withdrawn
from tests.leaderboard.test_tables import DATA, result

GONE = Withdrawn("withdrawn", "why", "me", "now", None)


def run(seed: int = 0, test: float = 0.5, val: float | None = 0.5, **changes: Any) -> ScoredRun:
    return replace(result("a", "x", seed, val, test), **changes)


def board(*runs: ScoredRun) -> Board:
    (made,) = boards(runs)
    return made


# -- cells -----------------------------------------------------------------------------------------------


def test_only_runs_that_ended_well_and_stand_count() -> None:
    good, failed, gone = run(0), run(1, state="failed"), run(2, withdrawn=GONE)
    unscored, broken = run(3, test=0.0, state="ok"), run(4, state="ok", problem="damaged")
    unscored = replace(unscored, test={})
    cell = Cell((good, failed, gone, unscored))
    assert cell.scored == (good,)
    assert cell.failed == 1
    assert Cell((good, broken)).failed == 1
    assert Cell((good, replace(failed, withdrawn=GONE), replace(broken, withdrawn=GONE))).failed == 0
    assert Cell((good, run(1, state="pending"), run(2, state="running"))).failed == 0
    assert not cell.withdrawn
    assert Cell((gone, gone)).withdrawn
    assert cell.states == {"ok": 3, "failed": 1}
    assert Cell((run(3), run(1))).seeds == [1, 3]


def test_the_first_sound_run_speaks_for_the_cell() -> None:
    broken, good = run(0, problem="damaged"), run(1)
    assert Cell((broken, good)).first is good
    assert Cell((broken,)).first is broken


def test_what_is_missing_is_told_once() -> None:
    runs = (
        run(0), run(1, state="pending"), run(2, state="pending"), run(3, state="failed"), run(4, withdrawn=GONE),
        run(5, problem="damaged"), run(6, state="failed", withdrawn=GONE), run(7, problem="damaged", withdrawn=GONE),
    )  # fmt: skip
    assert Cell(runs).incomplete() == "1 failed, 1 not sound, 2 pending, 3 withdrawn"
    assert Cell(runs[:1]).incomplete() == ""


def test_a_row_without_a_figure_has_no_place_and_comes_last() -> None:
    failed = replace(run(0, state="failed"), test={}, val={})
    made = board(failed, replace(run(), model="b", model_name="b"), replace(failed, model="c", model_name="c"))
    assert [(row.model, row.rank) for row in made.rows] == [("b", 1), ("a", None), ("c", None)]
    assert Cell((failed,)).ranked_by("miou") is None


# -- which cell stands -----------------------------------------------------------------------------------


def cells(*figures: tuple[float | None, float], metric: str = "miou", by: str = "miou") -> list[float]:
    """The test figures of the rows of one model, given val and test figures of its cells."""
    chosen = {"rule": "best", "split": "val", "metric": by}
    runs = [
        replace(result("a", "x" * (i + 1), 0, None, test, selection=chosen), val={} if val is None else {by: val})
        for i, (val, test) in enumerate(figures)
    ]
    return [row.cell.test(metric).mean or 0.0 for row in board(*runs).rows]


def test_val_chooses_and_a_cell_without_val_is_not_chosen() -> None:
    assert cells((0.5, 0.9), (0.6, 0.1)) == [0.1]
    assert cells((None, 0.9), (0.2, 0.1)) == [0.1]
    assert cells((None, 0.9), (None, 0.1)) == [0.9, 0.1]
    assert cells((9.0, 0.9), (3.0, 0.1), by="hd") == [0.1]
    assert cells((0.5, 0.2), (0.5, 0.3)) == [0.2], "the first of equals"


def test_a_metric_that_is_not_installed_chooses_nothing() -> None:
    assert cells((0.5, 0.9), (0.6, 0.1), by="strange") == [0.9, 0.1]


def test_val_is_averaged_over_seeds() -> None:
    one = [result("a", "x", 0, 0.9, 0.1), result("a", "x", 1, 0.1, 0.1)]
    two = [result("a", "xx", 0, 0.6, 0.2), result("a", "xx", 1, 0.6, 0.2)]
    assert [row.cell.first.cell for row in board(*one, *two).rows] == ["xx"]


def test_other_parameters_or_origins_are_other_models() -> None:
    changes: list[dict[str, Any]] = [{}, {"params": {"w": 8}}, {"origin": "file"}, {"params": {"w": 8, "depth": 2}}]
    made = board(*(run(run_id=i, **change) for i, change in enumerate(changes)))
    assert len(made.rows) == 4
    assert len(made.models) == 4
    same = board(run(0, params={"a": 1, "b": 2}), run(1, params={"b": 2, "a": 1}))
    assert len(same.rows) == 1


def test_each_model_is_counted_once_where_nothing_could_choose() -> None:
    runs = [replace(result("a", cell, 0, None, 0.5), run_id=i) for i, cell in enumerate(("x", "xx"))]
    made = board(*runs, replace(result("b", "y", 0, None, 0.4), run_id=9))
    assert [row.model for row in made.rows] == ["a", "a", "b"]
    assert [row.model for row in made.models] == ["a", "b"]


# -- boards ----------------------------------------------------------------------------------------------


def test_full_boards_come_before_smoke_ones_and_by_name() -> None:
    other = replace(DATA, name="c", title="C")
    runs = [
        run(smoke=True, suite="a", protocol_hash="1" * 64), run(suite="z"), run(suite="b"),
        run(suite="b", data=other), run(suite="b", selected_on_test=True),
    ]  # fmt: skip
    found = [(b.smoke, b.suite, b.data.name, b.selected_on_test) for b in boards(runs)]
    assert found == [
        (False, "b", "c", False),
        (False, "b", "d", False),
        (False, "b", "d", True),
        (False, "z", "d", False),
        (True, "a", "d", False),
    ]


def test_a_board_is_ranked_by_what_is_asked_or_by_the_data_set_s_own() -> None:
    assert board(run()).metric == "miou"
    assert board(run(data=replace(DATA, foreground=1))).metric == "iou[horse]"
    (made,) = boards([run(), replace(run(), model="b", model_name="b", test={"miou": 0.1, "hd": 1.0})], "hd")
    assert (made.metric, made.rows[0].model) == ("hd", "b")


def test_a_sound_run_speaks_for_the_board() -> None:
    broken = run(0, problem="damaged", protocol_name="broken")
    assert board(broken, run(1)).protocol_name == "standard"
    assert board(broken).protocol_name == "broken"


@pytest.mark.parametrize(
    ("val", "seen", "rule", "split", "by"),
    [
        (0, False, "best", "val", None),
        (0, True, "best", "val", None),
        (5, False, "best", "val", "val"),
        (5, True, "best", "val", "the test images"),
        (5, True, "best", "test", "val"),
        (5, True, "last", "test", "the test images"),
    ],
)
def test_by_which_images_hyperparameters_were_chosen(val: int, seen: bool, rule: str, split: str, by: str) -> None:
    chosen = {"rule": rule, "split": split, "metric": "miou"}
    data = replace(DATA, counts={"train": 1, "val": val, "test": 2})
    assert board(run(selection=chosen, selected_on_test=seen, data=data)).chosen_by == by


def test_a_trained_run_says_what_selected() -> None:
    outside = run(selection={"rule": "last", "split": "val", "metric": "miou"}, scores_from="label maps")
    trained = replace(run(), model="b", model_name="b")
    assert board(outside, trained).selection["rule"] == "best"
    assert board(outside).selection["rule"] == "last"


def test_keys_and_titles_tell_boards_apart() -> None:
    plain, seen = board(run()), board(run(selected_on_test=True))
    assert plain.key == "s/d-tttttt/pppppp"
    assert seen.key == "s/d-tttttt/pppppp-apart"
    assert plain.title.endswith("protocol standard")
    assert plain.variant == "v"
    assert "(v)" in plain.title
    assert plain.board_id != seen.board_id
    assert plain.apart == ""
    wide = replace(DATA, classes=("a", "b", "c", "d", "e"), test_manifest="u" * 64)
    four = replace(DATA, classes=("a", "b", "c", "d"))
    apart = {len(b.data.classes): b.apart for b in boards([run(data=wide), run(data=four)])}
    assert apart[5] == "5 classes: a, b, c, …, test images uuuuuu"
    assert apart[4] == "4 classes: a, b, c, d, test images tttttt"
    other = replace(DATA, test_manifest="u" * 64)
    three = boards(
        [run(), run(data=other), run(data=replace(other, classes=("background", "cow"), scored_as="1" * 64))]
    )
    assert sorted(b.apart for b in three) == [
        "2 classes: background, cow, test images uuuuuu",
        "2 classes: background, horse, test images tttttt",
        "2 classes: background, horse, test images uuuuuu",
    ]
    labels = boards([run(data=replace(DATA, scored_as=n * 64)) for n in "12"])
    assert [b.apart for b in labels] == ["labels 111111, protocol pppppp", "labels 222222, protocol pppppp"]
    assert labels[0].key == "s/d-tttttt-111111/pppppp"


def test_groups_have_a_heading_where_there_are_several() -> None:
    alone = board(run())
    assert [group.heading for group in alone.groups] == [""]
    two = board(run(), replace(run(), model="b", model_name="b", pretrained_on=("COCO",)))
    assert [len(group.rows) for group in two.groups] == [1, 1]
    assert len({group.heading for group in two.groups} - {""}) == 2
    assert [row.rank for row in two.rows] == [1, 1]
