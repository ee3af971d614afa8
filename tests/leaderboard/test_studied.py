"""What the studies reported stands beside ours: from a real database, and on the pages in a real browser."""

from __future__ import annotations

import html
import sys
from pathlib import Path

import pytest

import leaderboard.app
from bench.export import export_text
from harness.results import Store, open_store
from leaderboard.boards.board import Board, boards
from leaderboard.queries.load import load_gallery, load_runs
from leaderboard.site.export import write_site
from leaderboard.tables.references import load_references
from leaderboard.tables.reported import measured_tables, reported_grids
from tests.leaderboard.browsing import Server, Tab, needs_browser, rows
from tests.leaderboard.studied import CELLS, CHOSEN_EPOCH


@pytest.fixture
def store(studied: Path) -> Store:
    return open_store(str(studied), read_only=True)


def board_named(store: Store, suite: str) -> Board:
    (board,) = boards(load_runs(store, suite))
    return board


def test_each_cell_of_study_a_stands_beside_the_reported_one(store: Store) -> None:
    board = board_named(store, "fcn-lr-epochs")
    (table,) = reported_grids(board, load_references(), "miou")
    assert table.heads == ("", "epochs=50", "epochs=100", "epochs=150")
    shown = {row[0]: row[1:] for row in table.rows}
    reported = {"lr=0.001": (0.1177, 0.1184), "lr=0.0001": (0.2071, 0.2092)}
    ours = {(c.first.grid["lr"], c.first.grid["epochs"]): c.test("miou").mean for c in board.models[0].cells}
    assert len(ours) == CELLS
    for (lr, epochs), value in ours.items():
        theirs = reported[f"lr={lr:g}"][0 if epochs == 50 else 1]
        assert shown[f"lr={lr:g}"][0 if epochs == 50 else 1] == f"{theirs:.4f} → {value:.4f} ({value - theirs:+.4f})"
    assert shown["lr=0.0005"][0] == "0.1606 → –"  # a cell that was not run here


def test_study_d_s_logged_epochs_stand_beside_those_of_our_stored_curve(store: Store) -> None:
    board = board_named(store, "horse-report")
    (table,) = measured_tables(store, board, load_references())
    assert table.title == "By epoch: U-Net (study D), reported → U-Net, here"
    assert table.heads == ("epoch", "Loss on train", "IoU[horse] on val", "BIoU on val")
    assert len(table.rows) == 26
    # 15.649… is printed for epoch 1: a sum over 35 batches. Ours is a mean, and no other quantity is compared with it.
    assert table.rows[0] == ("1", "0.4471 ≁ → 1.0000", "0.5767 → 0.5100 (-0.0667)", "0.3088 → 0.0100 (-0.2988)")
    assert table.rows[1] == ("11", "0.0872 ≁ → –", "0.8837 → –", "0.6689 → –")
    best = next(row for row in table.rows if row[0].startswith("best"))
    assert best == (
        f"best: 47 → {CHOSEN_EPOCH}",
        "– → 0.0303",
        "0.9140 → 0.8300 (-0.0840)",
        "0.7450 → 0.3300 (-0.4150)",
    )


def test_study_c_s_thirty_printed_losses_stand_beside_ours(studied: Path, store: Store) -> None:
    board = board_named(store, "unet-drive")
    (table,) = measured_tables(store, board, load_references())
    assert "which images made a batch was not reported" in table.title
    assert table.heads == ("batch", "epochs=300", "epochs=600", "epochs=900")
    assert [row[0] for row in table.rows] == [str(n) for n in range(1, 11)]
    assert [cell for row in table.rows for cell in row[1:] if cell.startswith("–")] == []
    printed = [[float(cell.split()[0]) for cell in column] for column in list(zip(*table.rows, strict=True))[1:]]
    assert [round(sum(column) / 10, 3) for column in printed] == [0.111, 0.156, 0.187]
    assert table.rows[0][1:] == ("0.1136 → –", "0.1508 → 0.2500", "0.2331 → –")
    assert table.rows[9][2] == "0.1859 → 0.3400"
    text = export_text("markdown", str(studied), "unet-drive")
    assert "| 10 | 0.0965 → – | 0.1859 → 0.3400 | 0.1798 → – |" in text


def test_the_site_has_single_epochs_and_batches_too(store: Store, tmp_path: Path) -> None:
    write_site(store, tmp_path / "site", None, lambda line: None)
    text = "".join(html.unescape(page.read_text()) for page in (tmp_path / "site").glob("board-*.html"))
    assert "By epoch: U-Net (study D), reported → U-Net, here" in text
    assert r"0.1859 \u2192 0.3400" in text  # tables are JSON
    assert r"0.5767 \u2192 0.5100 (-0.0667)" in text


def test_an_exported_board_has_the_reported_grid(studied: Path) -> None:
    text = export_text("markdown", str(studied), "fcn-lr-epochs")
    assert "mIoU: FCN (study A), reported → FCN-8s (Adam), here" in text
    assert "| lr=0.0005 | 0.1606 → – | 0.1556 → – | 0.1433 → – |" in text


def test_pictures_of_every_cell_are_stored(store: Store) -> None:
    board = board_named(store, "fcn-lr-epochs")
    runs = [run.run_id for cell in board.models[0].cells for run in cell.runs]
    shown = load_gallery(store, board.data.test_manifest, runs)
    assert len(runs) == CELLS
    assert all(set(image.predictions) == set(runs) for image in shown)


def test_a_page_can_be_the_first_that_a_server_is_asked_for() -> None:
    # A folder of this name is Streamlit's older way: until the start page was seen, it ran its files instead.
    assert not Path(leaderboard.app.__path__[0], "pages").exists()


def test_no_file_of_the_app_hides_a_module_of_python() -> None:
    # Streamlit puts the app's folder first among Python's paths: with an html.py there the server does not start.
    names = {path.stem for path in Path(leaderboard.app.__path__[0]).iterdir()}
    assert not names & sys.stdlib_module_names


class TestInABrowser:
    pytestmark = needs_browser

    def test_the_board_shows_the_reported_grid(self, tab: Tab, server: Server, studied: Path, store: Store) -> None:
        board = board_named(store, "fcn-lr-epochs")
        page = tab.open(f"{server.show(studied)}/?board={board.board_id}")
        page.get_by_role("heading", name="Reported by others").wait_for()
        assert not any("reported" in row["model"] for row in rows(page))
        assert "0.1606 → –" in page.get_by_text("0.1606 → –").first.inner_text()
        page.locator("summary", has_text="HD: reported → here").click()
        of_distance = page.get_by_text("HD ≁: FCN (study A), reported → FCN-8s (Adam), here")
        of_distance.wait_for()

    def test_reported_scores_that_the_ranking_has_not_stand_beside_ours(
        self, tab: Tab, server: Server, studied: Path, store: Store
    ) -> None:
        board = board_named(store, "unet-drive")
        page = tab.open(f"{server.show(studied)}/?board={board.board_id}")
        page.get_by_text("Batch loss: U-Net (study C), reported → U-Net (study C), here").wait_for()
        assert page.get_by_text("0.1556 → 0.2950 (+0.1394)").count() == 1
        page.locator("summary", has_text="Loss of each test batch").click()
        page.get_by_text("0.1859 → 0.3400").wait_for()

    def test_reported_points_stand_over_our_curves(self, tab: Tab, server: Server, studied: Path, store: Store) -> None:
        board = board_named(store, "horse-report")
        page = tab.open(f"{server.show(studied)}/model?board={board.board_id}&curve=val_biou")
        page.get_by_text("U-Net (study D), reported").first.wait_for()
        assert page.locator("[data-testid=stException]").count() == 0
