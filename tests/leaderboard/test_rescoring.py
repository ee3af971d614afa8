"""Statistics as the database keeps them, and kept label maps scored under another protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.datasets.shapes import Shapes
from harness.metrics import Evaluator, Protocol
from harness.results import open_store
from leaderboard.boards.board import boards
from leaderboard.queries.load import load_runs
from leaderboard.stats.draws import board_draws, stored_protocol, stored_tables
from leaderboard.stats.image_sums import image_sums
from leaderboard.stats.rescoring import conventions_anew, rescored
from leaderboard.stats.significance import significance
from leaderboard.stats.stability import rank_stability
from tests.leaderboard.mixed import spoiled


def test_stored_statistics_give_the_boards_figures(mixed: Path) -> None:
    store = open_store(str(mixed), read_only=True)
    for metric in ("miou", "hd95", "dice[disk]"):
        board = next(b for b in boards(load_runs(store), metric) if len(b.rows) > 5)
        protocol, tables = stored_protocol(store, board), stored_tables(store, board)
        assert protocol.hash == board.protocol_hash
        for row in board.rows:
            for run in row.cell.scored:
                if (figure := run.test.get(metric)) is not None:
                    assert image_sums(tables(run.run_id), board.data.classes, protocol, metric).score() == figure
    with pytest.raises(ValueError, match="no statistics"):
        tables(10**6)
    # Three images were scored of each run: too few.
    found = significance(board, "images", board_draws(board, protocol, tables))
    assert "say nothing of other images" in found.remarks[0]
    store.close()


def test_kept_label_maps_are_scored_under_another_protocol(mixed: Path, shapes_home: Path) -> None:
    store = open_store(str(mixed), read_only=True)
    board = next(b for b in boards(load_runs(store), "biou") if len(b.rows) > 5)
    protocol, tables = stored_protocol(store, board), stored_tables(store, board)
    shapes = Shapes(shapes_home / "data" / Shapes.folders[0])
    anew = rescored(store, board, shapes, protocol, tables)
    assert [one.convention.name for one in anew] == ["void masked"]
    assert anew[0].protocol == protocol.model_copy(update={"void": "mask"})
    assert [c.name for c in conventions_anew("hd95")] == ["void filled", "void masked", "HD95 pooled"]
    assert conventions_anew("miou") == ()
    place = next(i for i, row in enumerate(board.rows) if row.model == "Elsewhere")
    evaluator = Evaluator(6, protocol=Protocol(void="mask"))
    for name in shapes.ids("test"):
        evaluator.update(spoiled(shapes, name, 0.05), shapes.truth(name)[0], name)
    expected = evaluator.compute().values["biou"]
    orders = rank_stability(board, protocol, tables, anew[:1]).groups
    figures = [figure for group in orders for figure in group.orders[-1].figures]
    assert figures[place] == pytest.approx(expected, abs=1e-12)
    # The other rows kept no label maps.
    assert {figure for i, figure in enumerate(figures) if i != place} == {None}
    assert "cannot be scored" in orders[0].orders[-1].reason
    store.close()
