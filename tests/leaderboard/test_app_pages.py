"""The pages beside the board in a real browser: images, comparisons, costs, models, runs."""

from __future__ import annotations

import io
import re
import shutil
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.datasets.shapes import Shapes
from harness.results import open_store
from leaderboard.boards.board import Board, boards
from leaderboard.queries.load import load_image_scores, load_runs
from leaderboard.shown.names import row_names
from tests.leaderboard.browsing import PAGES, Server, Tab, needs_browser, rows

pytestmark = needs_browser


def stored(place: Path, suite: str | None = None) -> Board:
    """The first board of a database, as it is read without the pages."""
    return boards(load_runs(open_store(str(place), read_only=True), suite))[0]


@pytest.fixture
def at(finished: Path, server: Server) -> str:
    """The app on a real training with its artifacts and the data."""
    return server.show(finished)


@pytest.fixture
def copies_at(finished: Path, tmp_path: Path, server: Server) -> str:
    """The same database alone: no artifacts, no data."""
    place = Path(shutil.copy(finished, tmp_path / "results.db"))
    connection = sqlite3.connect(place)
    connection.execute("DELETE FROM meta WHERE key = 'artifacts'")
    connection.commit()
    connection.close()
    return server.show(place)


@pytest.fixture
def studied_at(studied: Path, server: Server) -> str:
    """The app on two studies."""
    return server.show(studied)


def test_every_page_is_drawn_without_an_error(tab: Tab, at: str) -> None:
    for path in PAGES:
        page = tab.open(f"{at}/{path}")
        page.get_by_role("heading", level=1).first.wait_for()
        assert page.locator("[data-testid=stException]").count() == 0, path
        assert page.locator(".notice.error").count() == 0, path
        assert tab.outside == [], path


# ---- images ------------------------------------------------------------------------------------------------------


def viewer(page: Any) -> Any:
    """The image viewer, when its image is drawn."""
    found = page.locator(".segbench-viewer[aria-busy=false]")
    found.wait_for()
    return found


def pixels(page: Any, panel: int) -> np.ndarray:
    """What is drawn on a panel, (H, W, 4)."""
    size, values = (
        page.locator(".segbench-viewer canvas")
        .nth(panel)
        .evaluate(
            """canvas => [[canvas.height, canvas.width],
            [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]]"""
        )
    )
    return np.array(values, dtype=np.uint8).reshape(*size, 4)


def test_every_scored_image_is_listed_with_the_stored_scores_worst_first(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(f"{at}/images"), stored(finished)
    runs = [min(row.cell.scored, key=lambda run: run.seed).run_id for row in board.rows[:2]]
    scores = load_image_scores(open_store(str(finished), read_only=True), runs, "miou", board.protocol_hash)
    order = np.argsort(np.nanmean(scores.figures.astype(float), axis=0), kind="stable")
    shown = rows(page, "Images")
    assert [row["image"] for row in shown] == [scores.ids[i] for i in order][: len(shown)]
    for line, i in list(zip(shown, order, strict=False))[:5]:
        assert float(line["model-0"]) == pytest.approx(100 * float(scores.figures[0, i]), abs=0.051)
        assert float(line["model-1"]) == pytest.approx(100 * float(scores.figures[1, i]), abs=0.051)
    assert viewer(page).get_attribute("data-ready") == shown[0]["image"]


def test_a_label_map_is_drawn_as_it_was_scored(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(f"{at}/images?way=mask&outline=no"), stored(finished)
    image = viewer(page).get_attribute("data-ready")
    run = min(board.rows[0].cell.scored, key=lambda one: one.seed)
    store = open_store(str(finished), read_only=True)
    file = store.artifacts.run(run.fingerprint).local / "predictions" / "test" / f"{image}.png"
    labels = np.asarray(Image.open(file))
    palette = np.array([*board.data.palette], dtype=np.uint8)
    assert (pixels(page, 1)[..., :3] == palette[labels]).all()
    page.get_by_text("Label maps at full size, as they were scored.").wait_for()
    page.get_by_text("from your copy of the data set").wait_for()


@pytest.mark.long
def test_the_error_map_tells_missed_and_false_alarms_apart(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(f"{at}/images?way=errors&outline=no&opacity=1"), stored(finished)
    image = str(viewer(page).get_attribute("data-ready"))
    run = min(board.rows[0].cell.scored, key=lambda one: one.seed)
    local = open_store(str(finished), read_only=True).artifacts.run(run.fingerprint).local
    guess = np.asarray(Image.open(local / "predictions" / "test" / f"{image}.png"))
    truth = Shapes(finished.parent / "data" / Shapes.folders[0]).truth(image)[0]
    drawn = pixels(page, 1)[..., :3]
    scored = truth != 255
    colours = {
        (0, 114, 178): scored & (guess != truth) & (guess == 0),
        (230, 159, 0): scored & (guess != truth) & (truth == 0),
        (204, 121, 167): scored & (guess != truth) & (guess != 0) & (truth != 0),
    }
    for colour, where in colours.items():
        assert ((drawn == colour).all(axis=-1) == where).all()
    legend = page.locator(".segbench-viewer .legend").inner_text()
    assert "missed" in legend
    assert "false alarm" in legend


@pytest.mark.long
def test_all_panels_zoom_and_move_together_and_stay_so_for_the_next_image(tab: Tab, at: str) -> None:
    page = tab.open(f"{at}/images")
    shown = viewer(page)
    first = shown.get_attribute("data-ready")
    page.get_by_role("button", name="Zoom in").click()
    page.locator(".segbench-viewer .frame").first.press("ArrowRight")
    moved = page.locator(".segbench-viewer canvas").evaluate_all("all => all.map(one => one.style.transform)")
    assert len(moved) == 3
    assert len(set(moved)) == 1
    assert "scale(1.6)" in moved[0]
    page.get_by_role("button", name="Next image").click()
    page.wait_for_url(re.compile("image="))
    tab.settle()
    page.locator(f".segbench-viewer[aria-busy=false]:not([data-ready='{first}'])").wait_for()
    after = page.locator(".segbench-viewer canvas").first.evaluate("one => one.style.transform")
    assert "scale(1.6)" in after
    page.locator(".segbench-viewer .frame").first.press("0")
    assert "scale(1)" in page.locator(".segbench-viewer canvas").nth(1).evaluate("one => one.style.transform")


@pytest.mark.long
def test_a_link_carries_image_mode_outline_and_palette(tab: Tab, at: str) -> None:
    page = tab.open(f"{at}/images")
    viewer(page)
    page.get_by_role("radio", name="Errors").click()
    page.wait_for_url(re.compile("way=errors"))
    page.get_by_label("True outline").uncheck()
    page.wait_for_url(re.compile("outline=no"))
    page.get_by_label("Colours").select_option("clear")
    page.wait_for_url(re.compile("palette=clear"))
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    page.wait_for_url(re.compile("image="))
    tab.settle()
    image = viewer(page).get_attribute("data-ready")
    other = tab.context.new_page()
    other.goto(page.url)
    other.locator(f".segbench-viewer[data-ready='{image}'][aria-busy=false]").wait_for()
    assert other.get_by_role("radio", name="Errors").get_attribute("aria-checked") == "true"
    assert not other.get_by_label("True outline").is_checked()
    assert other.get_by_label("Colours").input_value() == "clear"


@pytest.mark.long
def test_a_class_narrows_scores_and_images(tab: Tab, at: str, finished: Path) -> None:
    board = stored(finished)
    page = tab.open(f"{at}/images?class=1")
    viewer(page)
    page.get_by_text(f"IoU[{board.data.classes[1]}] % of each").first.wait_for()
    assert all(0 <= float(row["size"].rstrip(" %")) <= 100 for row in rows(page, "Images"))


@pytest.mark.long
def test_a_click_in_the_scatter_opens_the_image(tab: Tab, at: str) -> None:
    page = tab.open(f"{at}/images?order=name")
    before = viewer(page).get_attribute("data-ready")
    points = page.locator(".st-key-scatter .scatterlayer .trace").nth(1).locator("path.point")
    points.nth(3).wait_for()
    box = points.nth(3).bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.wait_for_url(re.compile("image="))
    page.locator(f".segbench-viewer[aria-busy=false]:not([data-ready='{before}'])").wait_for()


def test_without_artifacts_the_small_copies_are_shown_and_the_page_says_so(tab: Tab, copies_at: str) -> None:
    page = tab.open(f"{copies_at}/images")
    viewer(page)
    page.get_by_text("Label maps: small copies from the database").wait_for()
    page.get_by_text("Photograph and truth: small copies from the database").wait_for()


@pytest.mark.long
def test_every_cell_of_a_grid_is_shown(tab: Tab, studied_at: str, studied: Path) -> None:
    board = stored(studied, "fcn-lr-epochs")
    page = tab.open(f"{studied_at}/images?board={board.board_id}&cells=all")
    viewer(page)
    titles = page.locator(".segbench-viewer figcaption b").all_inner_texts()
    assert titles[0] == "Truth"
    assert len(titles) == 1 + sum(len(row.cells) for row in board.models)
    assert any("lr=0.0001" in title and "epochs=100" in title for title in titles)


# ---- comparisons, costs ------------------------------------------------------------------------------------------


def test_a_comparison_lists_differences_classes_confusions_and_settings(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(f"{at}/compare"), stored(finished)
    first, second = (row.cell.test("miou").mean for row in board.rows[:2])
    assert first is not None
    assert second is not None
    line = rows(page, "Differences")[0]
    assert float(line["value"].replace("−", "-")) == pytest.approx(100 * (first - second), abs=0.051)
    better, same, worse = map(int, line["wins"].split(" : "))
    assert better + same + worse == max(run.n_images for run in board.rows[0].cell.scored)
    settings = {row["field"] for row in rows(page, "Settings that differ")}
    assert "model.name" in settings
    assert not any(name.startswith("recipe.epochs") for name in settings)
    page.locator(".st-key-classes .js-plotly-plot").wait_for()
    page.locator(".st-key-confusion .js-plotly-plot").wait_for()
    page.get_by_role("button", name="See the images on which they differ most").click()
    page.wait_for_url(re.compile("images.*order=disagreement"))


def test_costs_are_drawn_and_listed(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(f"{at}/trade-offs"), stored(finished)
    page.locator(".js-plotly-plot").first.wait_for()
    page.get_by_text("The same as a table").first.click()
    listed = {row["name"]: row["cost"] for row in rows(page, "Scores and costs")}
    names = row_names(board)
    for row in board.rows:
        assert float(listed[names[id(row)]]) == pytest.approx((row.cell.first.parameters or 0) / 1e6, rel=2e-3)


@pytest.mark.long
def test_a_grid_is_a_heat_map_with_the_reported_one_beside_it(tab: Tab, studied_at: str, studied: Path) -> None:
    board = stored(studied, "fcn-lr-epochs")
    page = tab.open(f"{studied_at}/trade-offs?board={board.board_id}")
    page.locator(".st-key-grid-0 .js-plotly-plot").wait_for()
    texts = page.locator(".st-key-grid-0 .heatmap-label").all_text_contents()
    means = {f"{100 * mean:.1f}" for cell in board.rows[0].cells if (mean := cell.test("miou").mean) is not None}
    assert set(texts) == means
    page.locator(".st-key-grid-0-reported .js-plotly-plot").wait_for()


# ---- one model, one run ------------------------------------------------------------------------------------------


def test_a_model_has_a_page_of_its_own(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(at), stored(finished)
    page.get_by_role("region", name="Ranking").get_by_role("link", name="FCN").click()
    page.get_by_role("heading", name="FCN", exact=True).wait_for()
    assert "model=" in page.url
    placing = rows(page, "On every board")[0]
    row = next(row for row in board.rows if row.model == "FCN")
    assert placing["place"] == f"{row.rank} of {len(board.rows)}"
    assert len(rows(page, "Runs")) == sum(len(cell.runs) for cell in row.cells)


def test_a_run_says_how_to_get_its_figure_again_and_hands_out_its_label_maps(tab: Tab, at: str, finished: Path) -> None:
    run = stored(finished).rows[0].cell.scored[0]
    page = tab.open(f"{at}/run?run={run.fingerprint[:16]}")
    page.get_by_role("heading", name=f"Run {run.run_id}: {run.model}, seed {run.seed}").wait_for()
    command = page.locator(".stCode", has_text="bench run").inner_text()
    assert f"--suite {run.suite} --models {run.model_name}" in command
    assert f"lr={run.grid['lr']:g}" in command
    with page.expect_download() as waited:
        page.get_by_role("button", name="Label maps (ZIP)").click()
    with zipfile.ZipFile(io.BytesIO(Path(waited.value.path()).read_bytes())) as archive:
        names = archive.namelist()
    assert sum(name.endswith(".png") for name in names) == run.n_images
    assert "SHA256SUMS" in names
    page.get_by_text("Log", exact=True).click()
    page.get_by_text("The end of").wait_for()


@pytest.mark.long
def test_a_run_says_what_has_changed_since(tab: Tab, at: str, finished: Path) -> None:
    run = stored(finished).rows[0].cell.scored[0]
    page = tab.open(f"{at}/run?run={run.run_id}")  # its number is understood, too
    page.get_by_role("heading", name=re.compile(f"^Run {run.run_id}:")).wait_for()
    page.get_by_text("What has changed since?").click()
    page.get_by_text("Up to date: trained today").wait_for()
