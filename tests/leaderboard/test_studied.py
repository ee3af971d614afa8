"""What the studies reported stands beside ours: from a real database, and on the pages in a real browser."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import leaderboard.app
from bench.export import export_text
from harness.results import Store, open_store
from leaderboard.boards import Board, boards
from leaderboard.queries import load_curves, load_gallery, load_runs
from leaderboard.references import load_references
from leaderboard.reported import compared_runs, epoch_table, reported_grids
from tests.conftest import serving
from tests.leaderboard.studied import CELLS, CHOSEN_EPOCH
from tests.leaderboard.test_app import CHROMIUM, HEALTH, page

__all__ = ["page"]  # the fixture
in_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: install Debian's package chromium")


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


def test_study_d_s_epochs_stand_beside_those_of_our_stored_curve(store: Store) -> None:
    board = board_named(store, "horse-report")
    references = load_references()
    table = epoch_table(board, references, load_curves(store, list(compared_runs(board, references))))
    assert table is not None
    assert table.heads == ("reported → here", "epoch", "IoU[horse] on val", "BIoU on val")
    assert [row[1:] for row in table.rows] == [
        ("1", "0.5760 → 0.5100 (-0.0660)", "0.3100 → 0.0100 (-0.3000)"),
        ("20", "0.9040 → 0.7000 (-0.2040)", "0.7170 → 0.2000 (-0.5170)"),
        (f"best: 47 → {CHOSEN_EPOCH}", "0.9140 → 0.8300 (-0.0840)", "0.7450 → 0.3300 (-0.4150)"),
    ]


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


@pytest.fixture(scope="module")
def address(studied: Path) -> Iterator[str]:
    """The real command, serving the database of the studies."""
    words = ["-m", "bench", "leaderboard", "--db", str(studied), "--port", "{port}", "--no-browser"]
    with serving(words, HEALTH) as served:
        yield f"http://{served}"


@in_browser
@pytest.mark.slow
def test_the_ranking_page_shows_the_grid_of_the_score_that_is_chosen(page: object, address: str) -> None:
    page.goto(address)  # type: ignore[attr-defined]
    table = page.locator(".reported table").first  # type: ignore[attr-defined]
    table.wait_for()
    assert "0.1606 → –" in table.inner_text()
    page.get_by_role("combobox", name="Reported score").click()  # type: ignore[attr-defined]
    page.get_by_role("option", name="HD", exact=True).click()  # type: ignore[attr-defined]
    page.get_by_text("HD ≁: FCN (study A), reported → FCN-8s (Adam), here").wait_for()  # type: ignore[attr-defined]
    assert "(+" not in page.locator(".reported table").first.inner_text()  # type: ignore[attr-defined]


@in_browser
@pytest.mark.slow
def test_the_gallery_shows_the_chosen_cell_and_every_cell_on_demand(page: object, address: str) -> None:
    page.goto(f"{address}/gallery")  # type: ignore[attr-defined]
    captions = page.get_by_text("prediction: FCN-8s (Adam)")  # type: ignore[attr-defined]
    captions.first.wait_for()
    page.wait_for_timeout(1500)  # type: ignore[attr-defined]
    assert len(set(captions.all_inner_texts())) == 1
    page.get_by_text("All cells, not only the chosen ones").click()  # type: ignore[attr-defined]
    page.get_by_text("prediction: FCN-8s (Adam) lr=0.001, epochs=50").wait_for()  # type: ignore[attr-defined]
    page.wait_for_timeout(1500)  # type: ignore[attr-defined]
    shown = [text.removeprefix("prediction: FCN-8s (Adam) ") for text in captions.all_inner_texts()]
    assert shown == [f"lr={lr}, epochs={epochs}" for lr in ("0.0001", "0.001") for epochs in (50, 100)]
    assert len(shown) == CELLS


@in_browser
@pytest.mark.slow
def test_reported_points_are_stars_over_our_curves(page: object, address: str) -> None:
    page.goto(f"{address}/curves")  # type: ignore[attr-defined]
    page.get_by_role("combobox", name="Board").click()  # type: ignore[attr-defined]
    page.get_by_role("option", name="suite horse-report").click()  # type: ignore[attr-defined]
    page.get_by_text("By epoch: reported → here").wait_for()  # type: ignore[attr-defined]
    assert "best: 47 → 33" in page.locator(".reported table").inner_text()  # type: ignore[attr-defined]
    page.get_by_role("combobox", name="Curves").click()  # type: ignore[attr-defined]
    page.get_by_role("option", name="val_biou", exact=True).click()  # type: ignore[attr-defined]
    page.get_by_text("U-Net (study D), reported").wait_for()  # type: ignore[attr-defined]
    assert page.locator("[data-testid=stException]").count() == 0  # type: ignore[attr-defined]
