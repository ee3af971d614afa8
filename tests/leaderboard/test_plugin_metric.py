"""A metric of another package stands beside ours: intervals, the order of images, and other conventions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.metrics import Protocol, ScoredImages, fold
from harness.metrics.metric import METRICS
from harness.results import open_store
from leaderboard.queries.load import load_image_scores, load_runs, load_statistics
from leaderboard.stats.draws import board_draws
from leaderboard.stats.significance import significance
from leaderboard.stats.stability import rank_stability
from tests.leaderboard.made import CLASSES, board, table
from tests.plugin_package.segbench_example import volume

TABLES = [table(seed) for seed in (0, 1, 9)]


@pytest.fixture(autouse=True)
def _installed() -> Iterator[None]:
    METRICS.register("vs")(volume.METRIC)
    yield
    METRICS.forget("vs")


def test_it_has_intervals_over_images() -> None:
    figures = [fold(one, len(CLASSES), Protocol()).values["vs"] for one in TABLES]
    made = board(dict(zip("ABC", ([f] for f in figures), strict=True)), metric="vs")
    draws = board_draws(made, Protocol(), TABLES.__getitem__, 400)
    assert not draws.left_out
    for row in significance(made, "images", draws).rows:
        assert row.interval is not None
        assert row.figure in row.interval
        assert 0 < row.interval.high - row.interval.low < 0.5


def test_single_images_have_it_and_can_be_ordered_by_it(scored: Path) -> None:
    store = open_store(str(scored), read_only=True)
    run = next(r for r in load_runs(store) if r.run_id == 3)
    statistics = load_statistics(store, 3, run.protocol_hash)
    classes = run.data.classes
    counts = ScoredImages(statistics, len(classes), Protocol()).counts
    with np.errstate(invalid="ignore"):
        each = 1 - np.abs(counts.row - counts.column) / (counts.row + counts.column)
    for metric, expected in (("vs", np.nanmean(each, axis=1)), ("vs[disk]", each[:, classes.index("disk")])):
        found = load_image_scores(store, [3], metric)
        assert found.ids == statistics.ids
        np.testing.assert_allclose(found.figures[0], expected, rtol=1e-6)
    store.close()


def test_its_order_is_tried_under_the_conventions_that_move_it() -> None:
    made = board({"A": [0.9], "B": [0.8], "C": [0.7]}, metric="vs")
    (group,) = rank_stability(made, Protocol(), TABLES.__getitem__).groups
    (order,) = group.orders
    assert order.name == "image level"
    image = Protocol(level="image")
    assert list(order.figures) == [fold(one, len(CLASSES), image).values["vs"] for one in TABLES]


def test_one_that_fails_on_a_run_leaves_that_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(images: ScoredImages) -> None:
        raise RuntimeError("not today")

    made = board({"A": [0.9], "B": [0.8]}, metric="vs")
    monkeypatch.setitem(METRICS._items, "vs", type(volume.METRIC)("vs", "VS", "Fails.", sums=fails))  # type: ignore[arg-type]
    draws = board_draws(made, Protocol(), TABLES.__getitem__, 50)
    assert set(draws.left_out.values()) == {"vs cannot be computed: not today"}
