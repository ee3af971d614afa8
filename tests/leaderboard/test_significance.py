"""What the statistics say of whole boards: verdicts, places, failures, groups, both questions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import special, stats

from harness.metrics import Protocol, StatisticsTable, fold
from leaderboard.boards.board import Board, boards
from leaderboard.stats.comparison import against, compare, image_claim
from leaderboard.stats.draws import BoardDraws, board_draws
from leaderboard.stats.images import effective_freedom
from leaderboard.stats.permutation import FEW, contributions, permuted
from leaderboard.stats.samples import ImageSample
from leaderboard.stats.significance import default_question, significance
from tests.leaderboard.made import CLASSES, board, table

TABLES = {seed: table(seed) for seed in (0, 1, 2, 3, 4, 9)}


def of_tables(chosen: dict[str, list[int]], failed: dict[str, int] | None = None) -> tuple[Board, BoardDraws]:
    """A board of the figures that tables have, and its draws."""
    figures = {s: fold(t, len(CLASSES), Protocol()).values["miou"] for s, t in TABLES.items()}
    made = board({model: [figures[s] for s in seeds] for model, seeds in chosen.items()}, failed=failed)
    order = [seed for model, seeds in chosen.items() for seed in [*seeds, *[None] * (failed or {}).get(model, 0)]]
    return made, board_draws(made, Protocol(), lambda run: TABLES[order[run]], count=500)  # type: ignore[index]


def test_seeds_tell_who_leads_and_who_cannot_be_told_apart() -> None:
    made = board(
        {"DeepLabV3+": [0.70, 0.71, 0.72], "PSPNet": [0.695, 0.70, 0.715], "FCN": [0.50, 0.51, 0.52]},
    )
    found = significance(made, "seeds")
    assert found.question == "seeds"
    assert found.asks.startswith("These methods trained again")
    assert found.sample == "the pooled spread over seeds, 6 degrees of freedom"
    (group,) = found.groups
    assert group.verdict == (
        "DeepLabV3+ has the highest mIoU, 71.0 %. PSPNet cannot be told apart from it over trainings with other seeds."
    )
    assert [row.may_be_best for row in group.rows] == [True, True, False]
    assert [row.places for row in group.rows] == [(1, 2), (1, 2), (3, 3)]
    assert [(row.ended, row.seeds) for row in group.rows] == [(3, 3)] * 3
    assert group.rows[1].gap == pytest.approx(-0.0066667, abs=1e-6)
    assert 0 in group.rows[1].gap_interval  # type: ignore[operator]
    assert group.rows[2].gap_interval.high == 0  # type: ignore[union-attr]
    assert found.resolvable == pytest.approx(4.339 / 2**0.5 * 0.01 * (2 / 3) ** 0.5, rel=0.1)
    assert json.loads(json.dumps(found.record()))["groups"][0]["leader"] == "DeepLabV3+"


def test_of_distances_lower_is_better() -> None:
    made = board({"A": [20.0, 21.0, 22.0], "B": [40.0, 41.0, 42.0]}, metric="hd")
    first, second = significance(made, "seeds").rows
    assert (first.name, first.may_be_best, second.may_be_best) == ("A", True, False)
    assert (first.gap, second.gap) == (-20.0, 20.0)
    assert second.gap_interval.low == 0  # type: ignore[union-attr]
    assert second.gap_interval.high > 20  # type: ignore[union-attr]
    assert significance(made, "seeds").groups[0].verdict == (
        "A has the lowest HD, 21.00 px; B scores higher over trainings with other seeds."
    )


def test_one_seed_says_nothing_of_training_again() -> None:
    made = board({"A": [0.8], "B": [0.2]})
    assert default_question(made) == "images"
    found = significance(made, "seeds")
    assert found.remarks == ("One seed says nothing about the methods trained again.",)
    assert [(row.interval, row.may_be_best, row.places) for row in found.rows] == [(None, None, None)] * 2
    assert "Nothing says whether the differences mean anything" in found.groups[0].verdict
    assert found.resolvable is None


def test_a_row_with_one_seed_is_not_compared_with_rows_of_more() -> None:
    made = board({"A": [0.8], "B": [0.5, 0.51], "C": [0.3, 0.31]})
    assert default_question(made) == "seeds"
    found = significance(made, "seeds")
    assert found.groups[0].leader == "B"
    # A may stand anywhere: nothing says that it is better than B.
    assert [row.places for row in found.rows] == [None, (1, 2), (2, 3)]
    assert "A is first with 80.0 % mIoU, but is not compared: one seed" in found.groups[0].verdict
    assert "Of the others B has the highest mIoU, 50.5 %; C scores lower" in found.groups[0].verdict


def test_failed_seeds_place_a_row_no_higher_than_the_worst_that_ended_and_nothing_is_claimed_of_it() -> None:
    rows = {"Fails": [0.90, 0.60, 0.75], "Solid": [0.70, 0.701, 0.702], "Weak": [0.55, 0.551, 0.552]}
    made = board(rows, failed={"Fails": 1})
    first, second, third = significance(made, "seeds").rows
    assert (first.name, second.name) == ("Solid", "Fails")
    assert second.figure == pytest.approx(0.75)
    assert second.placed_by == 0.60
    assert (second.ended, second.seeds) == (3, 4)
    # Nobody knows what the failed seed would have been: its worst limits its place, and is no mean to be tested.
    assert second.places == (2, 3)
    assert (second.may_be_best, second.like_leader, second.gap_interval) == (None, None, None)
    assert second.interval is not None
    assert second.note.startswith("1 of 4 seeds failed: placed by the worst that ended, and not compared")
    assert [first.places, third.places] == [(1, 2), (2, 3)]
    silent = compare(made, "seeds", 0, 1)
    assert (silent.interval, silent.better) == (None, None)
    assert silent.verdict.endswith("1 of 4 seeds failed: placed by the worst that ended, and not compared.")
    assert [d.interval is None for d in against(made, "seeds", 0)] == [True, False]
    # Without the failure it leads.
    assert significance(board(rows), "seeds").rows[0].may_be_best


def test_a_failure_of_the_best_row_leaves_it_first_and_nothing_said_of_it() -> None:
    made = board({"Fails": [0.90, 0.91], "Solid": [0.70, 0.71], "Weak": [0.5, 0.51]}, failed={"Fails": 1})
    found = significance(made, "seeds")
    first = found.rows[0]
    assert (first.name, first.may_be_best, first.places) == ("Fails", None, (1, 3))
    assert found.groups[0].verdict.startswith(
        "Fails is first with 90.0 % mIoU, but is not compared: 1 of 3 seeds failed"
    )


def test_equal_rows_are_called_better_than_one_whose_seed_failed_no_more_often_than_by_chance() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(100):
        a, b, c = rng.normal(0.5, 0.01, (3, 5))
        made = board({"A": list(a[:4]), "B": list(b), "C": list(c)}, failed={"A": 1})
        wrong += any(row.name != "A" and row.places[0] > 1 for row in significance(made, "seeds").rows)  # type: ignore[index]
        (lost,) = (row for row in significance(made, "seeds").rows if row.name == "A")
        assert lost.places is not None
        assert lost.places[1] == 3, "no row is said to be worse or better than it"
    assert wrong <= 12


def test_groups_are_ranked_each_in_itself() -> None:
    made = board(
        {"A": [0.5, 0.51], "Pretrained": [0.8, 0.81], "B": [0.4, 0.41], "Other": [0.6, 0.61]},
        apart=("Pretrained", "Other"),
    )
    found = significance(made, "seeds")
    assert [[row.name for row in group.rows] for group in found.groups] == [["A", "B"], ["Pretrained", "Other"]]
    assert [row.places for row in found.rows] == [(1, 1), (2, 2)] * 2
    assert found.sample.endswith("4 degrees of freedom")  # the spread is that of the whole board


def test_one_row_alone_and_rows_without_a_figure() -> None:
    alone = significance(board({"A": [0.5, 0.6], "B": [None]}), "seeds")
    assert alone.groups[0].verdict == "A is the only row with a figure: 55.0 % mIoU."
    assert alone.rows[1].note == "no seed has a figure"
    assert [row.places for row in alone.rows] == [(1, 1), None]
    none = significance(board({"A": [None]}), "images", None)
    assert none.groups[0].verdict == "No row has a figure."


def test_equal_rows_share_the_first_place() -> None:
    made = board({"A": [0.5, 0.6], "B": [0.5, 0.6], "C": [0.1, 0.2]})
    assert significance(made, "seeds").groups[0].verdict.startswith("A and B share the highest mIoU, 55.0 %.")


def test_many_rows_that_cannot_be_told_apart_are_counted() -> None:
    made = board({f"M{i}": [0.5 - i / 1000, 0.6 - i / 1000] for i in range(6)})
    assert (
        significance(made, "seeds")
        .groups[0]
        .verdict.endswith("M1, M2 and 3 more cannot be told apart from it over trainings with other seeds.")
    )


def test_of_few_images_nothing_is_claimed_that_a_permutation_test_does_not_find() -> None:
    made, draws = of_tables({"A": [0], "B": [1], "C": [9]})
    runs = [draws.of_run[row.cell.scored[0].run_id] for row in made.rows]
    assert draws.fold is not None
    parts = np.stack([run.parts for run in runs])  # type: ignore[misc]
    test = permuted(contributions(parts, draws.fold), 0.95)
    sample = ImageSample(made, draws)
    found = sample.contrasts(range(3))
    alone = ImageSample(made, replace(draws, fold=None)).contrasts(range(3))
    np.testing.assert_array_equal(found.of_pairs, np.maximum(alone.of_pairs, test.of_pairs))
    np.testing.assert_array_equal(found.to_best, np.maximum(alone.to_best, test.to_best[:, None]))
    np.testing.assert_array_equal(found.to_baseline, np.maximum(alone.to_baseline, test.to_baseline[:, None]))
    assert (found.better <= alone.better).all()
    # Of 50 images or more nothing is permuted.
    assert FEW == 50
    many = replace(draws, of_run={n: replace(run, parts=None) for n, run in draws.of_run.items()})
    np.testing.assert_array_equal(ImageSample(made, many).contrasts(range(3)).of_pairs, alone.of_pairs)


def test_images_answer_the_other_question() -> None:
    made, draws = of_tables({"Good": [0], "Good too": [1], "Bad": [9]})
    found = significance(made, "images", draws)
    assert found.asks.startswith("These checkpoints on other images")
    assert found.sample == "500 resamples of 29 images"  # one of the thirty has no scored pixel
    for row in found.rows:
        assert row.interval is not None
        assert row.figure in row.interval
        assert row.interval.high - row.interval.low < 0.3
    assert found.rows[0].may_be_best
    assert found.resolvable is not None
    assert found == significance(made, "images", of_tables({"Good": [0], "Good too": [1], "Bad": [9]})[1])


def test_the_mean_over_seeds_is_resampled() -> None:
    made, draws = of_tables({"A": [0, 1], "B": [2, 3]})
    row = significance(made, "images", draws).rows[0]
    runs = [draws.of_run[i] for i in ([0, 1] if row.name == "A" else [2, 3])]
    spread = np.mean([run.scores for run in runs], axis=0).std(ddof=1)
    assert row.interval is not None
    assert row.figure is not None
    low, middle, high = special.logit([row.interval.low, row.figure, row.interval.high])
    half = (high - low) / 2 * row.figure * (1 - row.figure)
    freedom = effective_freedom(np.mean([run.influence for run in runs], axis=0))
    assert half >= stats.t.ppf(0.975, freedom) * spread
    assert half == pytest.approx(stats.t.ppf(0.975, freedom) * spread, rel=0.2)
    assert middle == pytest.approx((high + low) / 2)


def test_where_seeds_failed_images_claim_nothing_either() -> None:
    made, draws = of_tables({"Fails": [0, 9], "Other": [1], "Third": [2]}, failed={"Fails": 1})
    rows = {row.name: row for row in significance(made, "images", draws).rows}
    lost = rows["Fails"]
    assert lost.interval is not None
    assert (lost.may_be_best, lost.gap) == (None, None)
    assert lost.places == (lost.place, 3)
    assert all(rows[name].places[1] == 3 or rows[name].places[0] == 1 for name in ("Other", "Third"))  # type: ignore[index]


def test_why_there_are_no_intervals_over_images() -> None:
    made = board({"A": [0.5], "B": [0.4]})
    few = board_draws(made, Protocol(), lambda run: TABLES[run].subset(TABLES[run].ids[:5]))
    assert "5 images say nothing of other images" in significance(made, "images", few).remarks[0]
    batches = board({"A": [0.5], "B": [0.4]}, metric="batch_loss")
    assert "batches" in significance(batches, "images", board_draws(batches, Protocol(), TABLES.__getitem__)).remarks[0]
    unknown = board({"A": [0.5], "B": [0.4]}, metric="iou[cart]")
    found = significance(unknown, "images", board_draws(unknown, Protocol(), TABLES.__getitem__))
    assert "there is no metric 'iou[cart]'" in found.remarks[0]
    absent = board({"A": [0.5], "B": [0.4]}, metric="iou[horse]")
    lost = significance(absent, "images", board_draws(absent, Protocol(), TABLES.__getitem__, 50))
    assert {row.note for row in lost.rows} == {"too few images hold the class"}


def test_runs_whose_statistics_are_lost_or_of_other_images_are_not_compared() -> None:
    made = board({"A": [0.5], "B": [0.4], "C": [0.3]})

    def read(run: int) -> StatisticsTable:
        if run == 1:
            raise ValueError("it has no statistics")
        return TABLES[0] if run == 0 else TABLES[2].subset(TABLES[2].ids[:20])

    found = significance(made, "images", board_draws(made, Protocol(), read, 50))
    assert [row.note for row in found.rows] == ["", "it has no statistics", "its statistics are of other images"]
    assert found.rows[0].interval is not None
    assert found.rows[0].may_be_best is None  # nothing is left to compare it with


def test_of_few_groups_nothing_is_claimed_and_the_headline_says_why() -> None:
    made = board({"A": [0.5], "B": [0.4]})
    grouped = {n: replace(t, groups=tuple(f"g{i % 4}" for i in range(len(t.ids)))) for n, t in TABLES.items()}
    draws = board_draws(made, Protocol(), grouped.__getitem__, 50)
    found = significance(made, "images", draws)
    assert [(row.interval, row.places, row.may_be_best) for row in found.rows] == [(None, None, None)] * 2
    assert found.groups[0].verdict == (
        "A is first: 50.0 % mIoU. Nothing says whether the differences mean anything: the images are of only 4 groups "
        "(patients, drives, cities), and fewer than 10 say nothing of others."
    )
    assert found.resolvable is None
    # What happened on these images can still be counted, but not tested.
    claim = image_claim(made, 0, 1, draws)
    assert claim is not None
    assert (claim.counts.count, claim.counts.chance) == (29, None)
    assert "Wilcoxon" not in claim.verdict


def test_classes_that_few_images_hold_are_named() -> None:
    made = board({"A": [0.5], "B": [0.4]})
    held = {c: len({i for i, t, *_ in TABLES[0].confusion.tolist() if CLASSES[t] == c}) for c in CLASSES}
    assert held["horse"] == 0, "a class that is nowhere has no figure at all"
    assert min(held["background"], held["cat"], held["dog"], held["cow"]) >= 10
    assert significance(made, "images", board_draws(made, Protocol(), TABLES.__getitem__, 50)).remarks == ()
    # Of the images without cows, and of nine with: of these nine, cows are in nine, and something else is rare or not.
    holding = {TABLES[0].ids[i] for i, t, *_ in TABLES[0].confusion.tolist() if CLASSES[t] == "cow"}
    nine = set(sorted(holding)[:9])
    kept = [i for i in TABLES[0].ids if i not in holding or i in nine]

    def remarks(metric: str) -> tuple[str, ...]:
        one = board({"A": [0.5], "B": [0.4]}, metric=metric)
        draws = board_draws(one, Protocol(), lambda run: TABLES[run].subset(kept), 50)
        return significance(one, "images", draws).remarks

    (said,) = remarks("miou")
    assert said.startswith("Fewer than 10 of the scored images hold ")
    assert "cow" in said
    assert "horse" not in said
    assert "cow" in remarks("iou[cow]")[0]
    assert remarks("iou[background]") == remarks("pa") == ()


def test_two_rows_compared_over_seeds() -> None:
    made = board({"A": [0.70, 0.71, 0.72], "B": [0.50, 0.51, 0.52], "C": [0.3]})
    found = compare(made, "seeds", 0, 1)
    assert found.value == pytest.approx(0.2)
    assert found.better is True
    assert found.verdict == "A is better than B: +20.0 points mIoU [17.7, 22.3]."
    back = compare(made, "seeds", 1, 0)
    assert (back.better, back.value) == (False, pytest.approx(-0.2))
    silent = compare(made, "seeds", 0, 2)
    assert silent.interval is None
    assert silent.verdict.endswith(
        "Nothing says whether that means anything: one seed says nothing about training again."
    )


def test_a_baseline_is_compared_with_every_row_of_its_group() -> None:
    made = board(
        {"A": [0.70, 0.71, 0.72], "B": [0.50, 0.51, 0.52], "C": [0.69, 0.70, 0.72], "P": [0.9, 0.91]}, apart=("P",)
    )
    found = against(made, "seeds", 1)
    assert [(d.row, d.other) for d in found] == [("A", "C"), ("B", "C")]
    assert [d.better for d in found] == [None, False]
    wide, single = found[0].interval, compare(made, "seeds", 0, 1).interval
    assert wide is not None
    assert single is not None
    assert wide.high - wide.low > single.high - single.low  # all of them hold together


def test_differences_over_images_are_paired() -> None:
    made, draws = of_tables({"A": [0], "B": [1], "C": [9]})
    found = compare(made, "images", 0, 1, draws)
    rows = [made.rows[i].cell.first.run_id for i in (0, 1)]
    a, b = (draws.of_run[i] for i in rows)
    paired = (a.scores - b.scores).std(ddof=1)
    unpaired = np.hypot(a.scores.std(ddof=1), b.scores.std(ddof=1))
    assert paired < 0.9 * unpaired
    assert found.interval is not None
    half = (found.interval.high - found.interval.low) / 2
    assert half == pytest.approx(stats.t.ppf(0.975, effective_freedom(a.influence - b.influence)) * paired, rel=0.2)
    claim = image_claim(made, 0, 1, draws)
    assert claim is not None
    assert claim.counts.count == 29
    assert claim.verdict.startswith(f"{made.rows[0].model} is better than {made.rows[1].model} on ")
    assert image_claim(board({"A": [0.1], "B": [None]}), 0, 1, draws) is None


# ---- both: trained again, on other images ------------------------------------------------------------------------


def test_the_board_answers_for_trainings_and_images_at_once_from_three_seeds_a_row_on() -> None:
    three = {"A": [0.5, 0.51, 0.52], "B": [0.4, 0.41, 0.42]}
    assert default_question(board(three)) == "both"
    assert default_question(board({**three, "C": [0.3, 0.31]})) == "seeds"
    assert default_question(board({**three, "C": [None]})) == "both"
    assert default_question(board(three, failed={"A": 1})) == "both"
    # Too few images, or a metric that is no function of sums over images: the seeds still answer.
    few = board(three)
    runs = [replace(run, n_images=9) for row in few.rows for run in row.cell.runs]
    assert default_question(boards(runs, "miou")[0]) == "seeds"
    assert default_question(board(three, metric="batch_loss")) == "seeds"


def test_both_errors_add_up_in_quadrature() -> None:
    made, draws = of_tables({"Good": [0, 1, 2], "Bad": [3, 4, 9]})
    both, images, seeds = (significance(made, q, draws) for q in ("both", "images", "seeds"))  # type: ignore[arg-type]
    assert both.asks.startswith("These methods trained again, on other images")
    assert both.sample == f"{images.sample}; {seeds.sample}"
    for one, of_images, of_seeds in zip(both.rows, images.rows, seeds.rows, strict=True):
        assert one.figure is not None
        for end in ("low", "high"):
            parts = [getattr(part.interval, end) - one.figure for part in (of_images, of_seeds)]
            assert abs(getattr(one.interval, end) - one.figure) == pytest.approx(np.hypot(*parts))
    pair, of_images, of_seeds = (compare(made, q, 0, 1, draws) for q in ("both", "images", "seeds"))  # type: ignore[arg-type]
    halves = [one.interval.high - one.value for one in (pair, of_images, of_seeds)]  # type: ignore[union-attr, operator]
    assert halves[0] == pytest.approx(np.hypot(*halves[1:]))


def test_nothing_is_claimed_of_both_that_either_does_not_find() -> None:
    # Far apart on these images, but of one seed each nothing is known of other trainings.
    made, draws = of_tables({"Good": [0], "Bad": [9]})
    assert {row.note for row in significance(made, "both", draws).rows} == {
        "one seed says nothing about training again"
    }
    # Seeds tell them apart, images are not there.
    made = board({"A": [0.9, 0.91, 0.92], "B": [0.1, 0.11, 0.12]})
    assert significance(made, "seeds").rows[1].may_be_best is False
    found = significance(made, "both", None)
    assert [row.places for row in found.rows] == [None, None]
    assert found.rows[0].note == "the statistics of the images were not read"


def test_a_claim_of_both_says_what_it_extends_to() -> None:
    made, draws = of_tables({"Good": [0, 0, 0], "Bad": [4, 4, 4]})
    found = significance(made, "both", draws)
    assert found.groups[0].verdict.endswith("over other trainings, on images like these 29.") or (
        "cannot be told apart from it over other trainings, on images like these 29." in found.groups[0].verdict
    )
