"""What is said of a group of rows, word for word."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leaderboard.boards.board import boards
from leaderboard.boards.estimate import Interval
from leaderboard.boards.searched import search_cost, searched_facts
from leaderboard.stats.significance import RowSignificance, names_of_rows, significance
from leaderboard.stats.verdict import Scope, difference_text, figure_text, verdict
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


SEEDS = Scope(checkpoints=False, to="over trainings with other seeds")
IMAGES = Scope(checkpoints=True, to="on images like these 20")
A, B, C = row("A", 1, like=True), row("B", 2, 0.4, like=False), row("C", 3, 0.3, like=False)
B_LIKE, C_SILENT = replace(B, like_leader=True), row("C", 3, 0.3)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("A", 1)], "A is the only row with a figure: 50.0 % mIoU."),
        ([row("A", 1, 0.0)], "A is the only row with a figure: 0.0 % mIoU."),
        ([row("A", 1, 0.0, like=True), row("B", 1, 0.0, like=True)], "A and B share the highest mIoU, 0.0 %."),
        ([row("A", 1), row("B", None, None)], "A is the only row with a figure: 50.0 % mIoU."),
        (
            [row("A", 1), row("B", 2, 0.4)],
            "A is first: 50.0 % mIoU. Nothing says whether the differences mean anything: one seed.",
        ),
        ([A, B], "A has the highest mIoU, 50.0 %; B scores lower over trainings with other seeds."),
        ([A, B, C], "A has the highest mIoU, 50.0 %; the other two score lower over trainings with other seeds."),
        (
            [A, *(replace(B, name=f"B{n}") for n in range(11))],
            "A has the highest mIoU, 50.0 %; the other 11 score lower over trainings with other seeds.",
        ),
        (
            [A, B_LIKE, C],
            "A has the highest mIoU, 50.0 %. B cannot be told apart from it over trainings with other seeds.",
        ),
        (
            [A, replace(A, name="B"), replace(C, like_leader=True)],
            "A and B share the highest mIoU, 50.0 %. C cannot be told apart from them over trainings with other seeds.",
        ),
        ([A, replace(A, name="B"), C], "A and B share the highest mIoU, 50.0 %."),
        (
            [row("A", 1), replace(B, like_leader=True), C],
            "A is first with 50.0 % mIoU, but is not compared: one seed. Of the others B has the highest mIoU, 40.0 %; "
            "C scores lower over trainings with other seeds.",
        ),
        (
            [A, B, C_SILENT],
            "A has the highest mIoU, 50.0 %; B scores lower over trainings with other seeds. C is not compared.",
        ),
        (
            [A, B, C_SILENT, row("D", 4, 0.2)],
            "A has the highest mIoU, 50.0 %; B scores lower over trainings with other seeds. C and D are not compared.",
        ),
        (
            [A, *(replace(B_LIKE, name=name) for name in "BCD")],
            "A has the highest mIoU, 50.0 %. B, C and D cannot be told apart from it over trainings with other seeds.",
        ),
        (
            [A, *(replace(B_LIKE, name=name) for name in "BCDE")],
            "A has the highest mIoU, 50.0 %. B, C and 2 more cannot be told apart from it over trainings with other "
            "seeds.",
        ),
    ],
)
def test_verdicts(rows: list[RowSignificance], said: str) -> None:
    assert verdict("miou", rows, SEEDS) == said


def test_where_checkpoints_were_compared_nothing_is_said_of_methods() -> None:
    once = "One training each: whether that holds for another, nothing says."
    six = [A, *(replace(B, name=f"B{n}") for n in range(5))]
    assert verdict("miou", six, IMAGES) == (
        f"The checkpoint A has the highest mIoU, 50.0 %; the other five score lower on images like these 20. {once}"
    )
    assert verdict("miou", [A, B_LIKE], IMAGES) == (
        f"The checkpoint A has the highest mIoU, 50.0 %. B cannot be told apart from it on images like these 20. {once}"
    )
    assert verdict("miou", [A, replace(A, name="B"), C], IMAGES) == (
        f"The checkpoints A and B share the highest mIoU, 50.0 %. {once}"
    )
    assert verdict("miou", [row("Z", 1), replace(A, place=2), replace(B, place=3)], IMAGES) == (
        "Z is first with 50.0 % mIoU, but is not compared: one seed. Of the others the checkpoint A has the highest "
        f"mIoU, 50.0 %; B scores lower on images like these 20. {once}"
    )
    # Means over several checkpoints each.
    assert verdict("miou", [replace(A, ended=3), replace(B, ended=3)], IMAGES) == (
        "The checkpoints of A have the highest mIoU, 50.0 %; B scores lower on images like these 20. "
        "Whether that holds for other trainings, this does not say."
    )
    # Nothing is added where nothing is claimed.
    assert "training" not in verdict("miou", [row("A", 1), row("B", 2)], IMAGES)


def test_of_distances_and_losses_the_lowest_is_the_best() -> None:
    far = [row("A", 1, 21.0, like=True), row("B", 2, 41.0, like=False)]
    assert verdict("hd", far, SEEDS) == (
        "A has the lowest HD, 21.00 px; B scores higher over trainings with other seeds."
    )
    assert verdict("loss", far, SEEDS).startswith("A has the lowest Loss, 21.0000; B scores higher")


def test_nothing_is_said_where_no_row_has_a_figure() -> None:
    assert "figure" in verdict("miou", [row("A", None, None)], SEEDS)
    assert verdict("miou", [], IMAGES) == verdict("miou", [row("A", None, None)], SEEDS)


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
    assert searched_facts(found) == {"trials": 20, "stopped": 13, "hours": 3.2, "gpu_hours": 3.2, "cpu_hours": 12.8}
    assert searched_facts(None) is None
