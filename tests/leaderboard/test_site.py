"""The static site: files alone, with the figures of the database, that ask nothing of anybody."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest

from bench.leaderboard import leaderboard
from harness.errors import BenchError
from harness.results import open_store
from leaderboard.boards.board import boards
from leaderboard.queries.load import load_runs
from leaderboard.site import write_site
from tests.leaderboard.browsing import Tab, exact, needs_browser, rows
from tests.leaderboard.test_app_safety import ACTING


@pytest.fixture(scope="module")
def site(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a real training, as the command writes it."""
    folder, said = tmp_path_factory.mktemp("site") / "out", io.StringIO()
    with contextlib.chdir(finished.parent), contextlib.redirect_stdout(said):
        leaderboard(db=str(finished), export=folder, published=False, data_dir=None, smoke=False)
    assert f"wrote {folder}: 1 board" in said.getvalue()
    return folder


def test_nothing_in_it_names_another_place(site: Path) -> None:
    for file in site.rglob("*"):
        if file.suffix in (".html", ".css") or file.name in ("site.js", "parts.js"):
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"(?:src|href|url\()\s*=?\s*['\"]?(?:https?:)?//", text), file.name


def test_a_folder_that_is_no_site_is_left_alone(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(BenchError, match="is no site of segbench"):
        write_site(open_store(str(finished), read_only=True), tmp_path, None, print)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_an_empty_database_has_nothing_to_write(tmp_path: Path) -> None:
    open_store(str(tmp_path / "empty.db")).close()
    with pytest.raises(BenchError, match="no board to write"):
        write_site(open_store(str(tmp_path / "empty.db"), read_only=True), tmp_path / "out", None, print)
    assert not (tmp_path / "out").exists()


class TestInABrowser:
    pytestmark = needs_browser

    def test_the_table_has_the_figures_of_the_database(self, tab: Tab, site: Path, finished: Path) -> None:
        tab.page.goto(f"file://{site / 'index.html'}")
        board = boards(load_runs(open_store(str(finished), read_only=True)))[0]
        shown = exact(tab.page)
        assert [row["model"] for row in shown] == [row.model for row in board.rows]
        for line, row in zip(shown, board.rows, strict=True):
            mean = row.cell.test("miou").mean
            assert mean is not None
            assert float(line["main"].split("\n")[0].split("[")[0]) == pytest.approx(100 * mean, rel=1e-9)
        assert tab.page.locator(".js-plotly-plot").count() > 0
        assert tab.outside == []

    @pytest.mark.long
    def test_its_address_keeps_the_order(self, tab: Tab, site: Path) -> None:
        page = tab.page
        page.goto(f"file://{site / 'index.html'}")
        page.locator("button[data-sort='model']").first.click()
        page.locator("button[data-sort='model']").first.click()
        before = rows(page)
        page.reload()
        assert rows(page) == before

    @pytest.mark.long
    def test_its_images_open_from_files(self, tab: Tab, site: Path) -> None:
        page = tab.page
        page.goto(f"file://{site / 'index.html'}")
        page.get_by_role("link", name="Images").click()
        shown = page.locator(".segbench-viewer[aria-busy=false]")
        shown.wait_for()
        first = shown.get_attribute("data-ready")
        assert first == rows(page, "Images")[0]["image"]
        page.get_by_role("button", name="Next image").click()
        page.locator(f".segbench-viewer[aria-busy=false]:not([data-ready='{first}'])").wait_for()
        assert page.locator(".segbench-viewer canvas").count() == 3
        assert tab.outside == []

    def test_no_hostile_text_acts(self, tab: Tab, hostile: Path, tmp_path: Path) -> None:
        write_site(open_store(str(hostile), read_only=True), tmp_path / "out", None, print)
        for file in sorted((tmp_path / "out").glob("*.html")):
            tab.page.goto(f"file://{file}")
            tab.page.wait_for_timeout(500)
            assert tab.page.evaluate(ACTING, "tracker.invalid") == []
            assert tab.page.locator("h1").is_visible()
        assert tab.outside == []
