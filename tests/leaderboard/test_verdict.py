"""What is said of a group of rows, word for word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leaderboard.boards.board import boards
from leaderboard.boards.estimate import Interval
from leaderboard.boards.searched import search_cost, searched_facts
from leaderboard.stats.significance import RowSignificance, names_of_rows, significance
from leaderboard.stats.verdict import difference_text, figure_text, verdict
from tests.leaderboard.made import board
from tests.leaderboard.test_tables import result


def row(name: str, place: int | None, figure: float | None = 0.5, like: bool | None = None) -> RowSignificance:
    why = "one seed" if like is None else ""
    return RowSignificance(name, name, place, figure, None, figure, 1, 1, why, like_leader=like)


def test_figures_and_differences_as_one_says_them() -> None:
    assert figure_text("miou", 0.6934) == "69.3 % mIoU"
    assert figure_text("hd", 41.2) == "41.20 px HD"
    assert difference_text("miou", 0.061) == "+6.1 points mIoU"
    assert difference_text("miou", -0.061, Interval(-0.08, -0.045)) == "-6.1 points mIoU [-8.0, -4.5]"
    assert difference_text("hd", -2.3) == "-2.30 px HD"
    assert difference_text("hd", 2.3, Interval(1.0, 3.5)) == "+2.30 px HD [1.00, 3.50]"


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("A", 1)], "A is the only row with a figure: 50.0 % mIoU."),
        ([row("A", 1, 0.0)], "A is the only row with a figure: 0.0 % mIoU."),
        ([row("A", 1, 0.0, like=True), row("B", 1, 0.0, like=True)], "A and B share the first place: 0.0 % mIoU."),
        ([row("A", 1), row("B", None, None)], "A is the only row with a figure: 50.0 % mIoU."),
        (
            [row("A", 1), row("B", 2, 0.4)],
            "A is first: 50.0 % mIoU. Nothing says whether the differences mean anything: one seed.",
        ),
        ([row("A", 1, like=True), row("B", 2, 0.4, like=False)], "A leads: 50.0 % mIoU. B is worse."),
        (
            [row("A", 1, like=True), row("B", 2, 0.4, like=False), row("C", 3, 0.3, like=False)],
            "A leads: 50.0 % mIoU. Every other row is worse.",
        ),
        (
            [row("A", 1, like=True), row("B", 2, 0.4, like=True), row("C", 3, 0.3, like=False)],
            "A leads: 50.0 % mIoU. B cannot be told apart from it.",
        ),
        (
            [row("A", 1, like=True), row("B", 1, like=True), row("C", 3, 0.3, like=True)],
            "A and B share the first place: 50.0 % mIoU. C cannot be told apart from them.",
        ),
        (
            [row("A", 1, like=True), row("B", 1, like=True), row("C", 3, 0.3, like=False)],
            "A and B share the first place: 50.0 % mIoU.",
        ),
        (
            [row("A", 1), row("B", 2, 0.4, like=True), row("C", 3, 0.3, like=False)],
            "A is first with 50.0 % mIoU, but is not compared: one seed. B leads: 40.0 % mIoU. C is worse.",
        ),
        (
            [row("A", 1, like=True), row("B", 2, 0.4, like=False), row("C", 3, 0.3)],
            "A leads: 50.0 % mIoU. B is worse. C is not compared.",
        ),
        (
            [row("A", 1, like=True), row("B", 2, 0.4, like=False), row("C", 3, 0.3), row("D", 4, 0.2)],
            "A leads: 50.0 % mIoU. B is worse. C and D are not compared.",
        ),
        (
            [row("A", 1, like=True), *(row(name, 2, 0.4, like=True) for name in "BCD")],
            "A leads: 50.0 % mIoU. B, C and D cannot be told apart from it.",
        ),
        (
            [row("A", 1, like=True), *(row(name, 2, 0.4, like=True) for name in "BCDE")],
            "A leads: 50.0 % mIoU. B, C and 2 more cannot be told apart from it.",
        ),
    ],
)
def test_verdicts(rows: list[RowSignificance], said: str) -> None:
    assert verdict("miou", rows) == said


def test_nothing_is_said_where_no_row_has_a_figure() -> None:
    assert "figure" in verdict("miou", [row("A", None, None)])
    assert verdict("miou", []) == verdict("miou", [row("A", None, None)])


def test_a_row_has_its_hyperparameters_in_its_name_only_where_its_model_has_several() -> None:
    runs = [result("a", "x", 0, None, 0.5), result("a", "xx", 0, None, 0.6), result("b", "y", 0, None, 0.4)]
    (made,) = boards(runs)
    assert names_of_rows(made.rows) == ["a (lr=2)", "a (lr=1)", "b"]
    bare = [replace(run, grid={}) for run in runs]
    assert names_of_rows(boards(bare)[0].rows) == ["a", "a", "b"]


def test_a_board_s_smallest_difference_is_that_of_its_widest_group() -> None:
    made = board(
        {"A": [0.7, 0.71], "B": [0.6, 0.62], "C": [0.5, 0.51], "D": [0.9, 0.91], "E": [0.8, 0.82]}, apart=["D", "E"]
    )
    found = significance(made, "seeds")
    assert sorted(len(group.rows) for group in found.groups) == [2, 3]
    (wide,) = [group for group in found.groups if len(group.rows) == 3]
    assert found.resolvable == wide.resolvable
    assert found.resolvable != next(group for group in found.groups if len(group.rows) == 2).resolvable


def test_what_a_search_has_cost() -> None:
    found = {"trials": 20, "stopped": 13, "hours": 3.2, "gpu_hours": 3.2, "cpu_hours": 12.8, "other": 1}
    assert search_cost(found) == ("20 trials (13 stopped early), 3.20 hours: 3.20 GPU hours, 12.80 processor hours")
    del found["hours"]
    assert search_cost(found) == "20 trials (13 stopped early), 3.20 GPU hours, 12.80 processor hours"
    assert searched_facts(found) == {"trials": 20, "stopped": 13, "gpu_hours": 3.2, "cpu_hours": 12.8}
    assert searched_facts(None) is None
