"""What answers a question about a board, on draws made by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from leaderboard.boards.board import Board
from leaderboard.stats.draws import BoardDraws
from leaderboard.stats.images import image_contrasts, image_interval
from leaderboard.stats.resampling import RunDraws, resamples
from leaderboard.stats.samples import ImageSample, SeedSample
from tests.leaderboard.made import board

COUNT, IMAGES = 40, 12


def run(seed: int, undefined: int = 0) -> RunDraws:
    """The draws of a run, undefined on the first resamples."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.5, 0.05, COUNT)
    scores[:undefined] = np.nan
    return RunDraws(scores, rng.normal(0, 0.01, IMAGES), rng.uniform(0, 1, IMAGES))


def draws(runs: Mapping[int, RunDraws], metric: str = "miou", groups: Sequence[str] = ()) -> BoardDraws:
    drawn = resamples([f"i{n:02}" for n in range(IMAGES)], groups, "m", COUNT)
    return BoardDraws(metric, drawn, runs, {}, "")


@pytest.mark.parametrize("metric", ["miou", "hd"])
def test_a_row_with_several_seeds_is_the_mean_of_its_checkpoints(metric: str) -> None:
    made = board({"A": [0.7, 0.5, 0.9], "B": [0.8, 0.8]}, metric=metric)
    runs = {r.run_id: run(r.run_id) for row in made.rows for r in row.cell.scored}
    sample = ImageSample(made, draws(runs, metric))
    a, b = (next(i for i, row in enumerate(made.rows) if row.model == model) for model in "AB")
    own, mean = (RunDraws.mean([runs[r.run_id] for r in made.rows[i].cell.scored]) for i in (a, b))
    figure = made.rows[a].cell.ranked_by(metric) - made.rows[b].cell.ranked_by(metric)
    expected = image_interval(figure, own.scores - mean.scores, own.influence - mean.influence)
    assert sample.difference(a, b) == expected
    sign = 1 if metric == "miou" else -1
    found = sample.contrasts([a, b])
    both = image_contrasts(
        sample.signed([a, b]),
        sign * np.stack([own.scores, mean.scores], axis=1),
        sign * np.stack([own.influence, mean.influence]),
    )
    np.testing.assert_array_equal(found.errors, both.errors)
    np.testing.assert_array_equal(found.of_pairs, both.of_pairs)
    np.testing.assert_array_equal(found.to_best, both.to_best)
    test = made.rows[a].cell.test(metric).mean
    assert test is not None
    assert sample.interval(a) == image_interval(test, own.scores, own.influence, share=metric == "miou")
    np.testing.assert_array_equal(sample.each(a), own.each)


def of_one_seed(undefined: int) -> tuple[Board, ImageSample, dict[int, RunDraws]]:
    made = board({"A": [0.8], "B": [0.5]})
    runs = {0: run(0, undefined), 1: run(1)}
    return made, ImageSample(made, draws(runs)), runs


def test_a_figure_may_be_undefined_on_one_resample_in_twenty_which_is_left_out() -> None:
    _, sample, runs = of_one_seed(2)
    assert sample.why_not == {}
    assert sample.interval(0) == image_interval(0.8, runs[0].scores[2:], runs[0].influence, share=True)
    between = runs[0].scores[2:] - runs[1].scores[2:]
    assert sample.difference(0, 1) == image_interval(0.8 - 0.5, between, runs[0].influence - runs[1].influence)
    found = sample.contrasts([0, 1])
    assert found.errors[0, 1] == pytest.approx(
        image_contrasts(
            np.array([0.8, 0.5]),
            np.stack([runs[0].scores[2:], runs[1].scores[2:]], axis=1),
            np.stack([runs[0].influence, runs[1].influence]),
        ).errors[0, 1]
    )
    assert not sample.contrasts([0]).better.any()
    assert sample.text == "40 resamples of 12 images"
    assert (sample.unit, sample.remarks) == ("image", ())


def test_where_it_is_undefined_on_more_the_row_is_not_compared() -> None:
    _, sample, _ = of_one_seed(3)
    assert sample.why_not == {0: "too few images hold the class"}
    assert sample.interval(0) is None
    assert sample.interval(1) is not None


def test_why_there_is_nothing_to_say() -> None:
    made = board({"A": [0.8], "B": [None]})
    for given, reason in (
        (None, "the statistics of the images were not read"),
        (BoardDraws("miou", None, {}, {}, "so it is"), "so it is"),
    ):
        sample = ImageSample(made, given)
        assert sample.remarks == (f"There are no intervals over images: {reason}.",)
        assert sample.why_not == {0: reason, 1: reason}
    lost = ImageSample(made, BoardDraws("miou", draws({}).drawn, {}, {0: "it cannot be read"}, ""))
    assert lost.why_not == {0: "it cannot be read", 1: "no seed has a figure"}


def test_groups_are_told() -> None:
    made = board({"A": [0.8]})
    many = ImageSample(made, draws({0: run(0)}, groups=[f"g{n % 11:02}" for n in range(IMAGES)]))
    assert (many.unit, many.remarks) == ("group", ())
    few = ImageSample(made, draws({0: run(0)}, groups=["g"] * IMAGES))
    assert few.unit == "image"
    assert "only 1 group" in few.remarks[0]
    assert few.remarks == (f"There are no intervals over images: {few.why_not[0]}.",)
    assert few.interval(0) is None
    np.testing.assert_array_equal(few.each(0), run(0).each)


def test_many_rare_classes_are_counted_and_some_are_named() -> None:
    made = board({"A": [0.8]})
    known = draws({0: run(0)})
    two = ImageSample(made, replace(known, rare=("cat", "dog")))
    assert two.remarks[0].startswith("Fewer than 10 of the scored images hold cat and dog: ")
    many = ImageSample(made, replace(known, rare=tuple(f"c{n}" for n in range(25))))
    assert "c19 and 5 more:" in many.remarks[0]
    assert "c20" not in many.remarks[0]


def test_seeds_say_what_they_can() -> None:
    none = SeedSample(board({"A": [0.8], "B": [None]}))
    assert none.remarks == ("One seed says nothing about the methods trained again.",)
    assert none.why_not == {0: "one seed says nothing about training again", 1: "no seed has a figure"}
    assert none.text == ""
    assert SeedSample(board({"A": [None]})).remarks == ()
    alone = SeedSample(board({"A": [0.8, 0.9]}))
    assert alone.text == "the pooled spread over seeds, 1 degrees of freedom"
    two = SeedSample(board({"A": [0.8, 0.9], "B": [0.7, 0.6]}))
    assert two.text == "the pooled spread over seeds, 2 degrees of freedom"
    assert two.between(0, 1) == pytest.approx(0.2)
    assert two.difference(0, 1).low < 0.2 < two.difference(0, 1).high
    distance = SeedSample(board({"A": [8.0, 9.0], "B": [10.0, 11.0]}, metric="hd"))
    assert distance.signed([0, 1]).tolist() == [-8.5, -10.5]
    assert distance.between(0, 1) == -2.0
    assert SeedSample(board({"A": [0.2, 0.4], "B": [0.0, 0.0]})).between(0, 1) == pytest.approx(0.3)


def test_rows_that_spread_otherwise_are_noted() -> None:
    rng = np.random.default_rng(0)
    rows = {f"m{i}": list(0.5 + 0.01 * rng.normal(size=4)) for i in range(5)}
    wild = SeedSample(board({**rows, "wild": [0.1, 0.9, 0.2, 0.8]}))
    (noted,) = wild.notes
    assert wild.board.rows[noted].model == "wild"
    assert "spread more than those of the other rows" in wild.notes[noted]
    assert SeedSample(board({**rows, "quiet": [0.3, 0.3, 0.3, 0.3]})).notes == {}
    uneven = {f"m{i}": [0.5 - s, 0.5, 0.5 + s] for i, s in enumerate((0.001, 0.002, 0.004, 0.008, 0.02, 0.03))}
    text = SeedSample(board(uneven)).text
    assert text.startswith("each row's spread over seeds, moderated by that of the others and never below the pooled")
