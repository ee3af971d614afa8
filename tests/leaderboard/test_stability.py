"""Whether an order survives other conventions: against fold, and worked by hand."""

from __future__ import annotations

import json

import pytest
from scipy import stats

from harness.metrics import Protocol, fold
from leaderboard.stats.stability import Convention, Rescored, conventions, rank_stability
from tests.leaderboard.made import CLASSES, board, table

TABLES = [table(seed) for seed in (0, 1, 2, 4)]
MODELS = ("A", "B", "C", "D")


def test_each_convention_gives_folds_figures_and_their_order() -> None:
    figures = [fold(t, len(CLASSES), Protocol()).values["miou"] for t in TABLES]
    made = board(dict(zip(MODELS, ([f] for f in figures), strict=True)))
    found = rank_stability(made, Protocol(), TABLES.__getitem__)
    (group,) = found.groups
    names = [order.name for order in group.orders]
    assert names == ["image level", "target classes only", "absent classes 0", "absent classes 1"]
    by_model = [row.model for row in made.rows]
    for order, protocol in zip(
        group.orders,
        (Protocol(level="image"), Protocol(mean_over="target"), Protocol(absent="zero"), Protocol(absent="one")),
        strict=True,
    ):
        expected = [fold(TABLES[MODELS.index(m)], len(CLASSES), protocol).values["miou"] for m in by_model]
        assert order.figures == pytest.approx(expected, abs=1e-12)
        ranks = stats.rankdata([-f for f in expected], method="min").astype(int).tolist()
        assert list(order.places) == ranks
        assert list(order.moved) == [before - after for before, after in zip(group.places, ranks, strict=True)]
        before = [row.cell.ranked_by("miou") for row in made.rows]
        assert order.tau == pytest.approx(stats.kendalltau(before, expected).statistic)
        assert order.leader_stays == (ranks[0] == 1)
    json.dumps(found.record())


def test_the_verdict_names_conventions_that_move_rows() -> None:
    # The board says A before B; scored, B is better: every convention turns the order around.
    good, bad = TABLES[0], TABLES[3]
    assert fold(good, 5, Protocol()).values["miou"] > fold(bad, 5, Protocol()).values["miou"]  # type: ignore[operator]
    made = board({"A": [0.9], "B": [0.8]})
    (group,) = rank_stability(made, Protocol(), [bad, good].__getitem__).groups
    assert all(order.moved == (-1, 1) for order in group.orders)
    assert {order.tau for order in group.orders} == {-1.0}
    assert "The order changes under 4 of 4 other conventions" in group.verdict
    assert "A is not first under 4" in group.verdict
    (same,) = rank_stability(made, Protocol(), [good, bad].__getitem__).groups
    assert same.verdict == "The order is the same under all 4 other conventions."


def test_conventions_are_those_that_move_the_metric_and_differ_from_the_protocol() -> None:
    names = {m: [c.name for c in conventions(m, Protocol())] for m in ("hd", "hd[cat]", "biou", "f1", "nsd", "auc")}
    assert names["hd"] == ["both present", "false alarms ignored", "fraction of the diagonal", "background counts"]
    assert names["hd[cat]"] == ["both present", "false alarms ignored", "fraction of the diagonal"]
    assert names["biou"] == ["image level", "background counts"]
    assert "F1 as mmseg" in names["f1"]
    assert names["nsd"] == ["both present", "false alarms ignored", "background counts"]
    assert names["auc"] == []
    assert "data-set level" in [c.name for c in conventions("miou", Protocol(level="image"))]


def test_a_row_with_failed_seeds_is_placed_by_its_worst_under_every_convention() -> None:
    made = board({"A": [0.9, 0.2], "B": [0.5]}, failed={"A": 1})
    tables = [TABLES[0], TABLES[3], None, TABLES[1]]
    (group,) = rank_stability(made, Protocol(), tables.__getitem__).groups  # type: ignore[arg-type]
    place = group.rows.index("A")
    expected = [fold(t, 5, Protocol(level="image")).values["miou"] for t in TABLES]
    assert group.orders[0].figures[place] == pytest.approx(min(expected[0], expected[3]))  # type: ignore[type-var]


def test_label_maps_that_were_scored_anew_join_in() -> None:
    masked = Protocol(void="mask")
    anew = [table(seed, protocol=masked) for seed in (0, 4)]
    made = board({"A": [0.7], "B": [0.6]}, metric="biou")
    convention = Convention("void masked", "void belongs to no class", {"void": "mask"})
    extra = [Rescored(convention, masked, anew.__getitem__)]
    (group,) = rank_stability(made, Protocol(), [TABLES[0], TABLES[3]].__getitem__, extra).groups
    order = group.orders[-1]
    assert order.name == "void masked"
    assert order.figures == pytest.approx([fold(t, 5, masked).values["biou"] for t in anew])
    plain = [fold(t, 5, Protocol()).values["biou"] for t in (TABLES[0], TABLES[3])]
    assert order.figures != pytest.approx(plain)


def test_statistics_that_cannot_be_read_and_metrics_without_conventions_say_so() -> None:
    made = board({"A": [0.9], "B": [0.8]})

    def read(run: int) -> None:
        raise ValueError("statistics of format 1")

    (group,) = rank_stability(made, Protocol(), read).groups  # type: ignore[arg-type]
    assert {order.reason for order in group.orders} == {"statistics of format 1"}
    assert group.verdict == "There is nothing to compare."
    unknown = board({"A": [0.9], "B": [0.8]}, metric="iou[cart]")
    (group,) = rank_stability(unknown, Protocol(), TABLES.__getitem__).groups
    assert "iou[cart]" in group.orders[0].reason
