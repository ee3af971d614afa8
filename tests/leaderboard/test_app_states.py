"""Databases that are empty, going on, damaged or large, in a real browser."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.leaderboard import served_by
from harness.results import open_store
from leaderboard.boards.board import boards
from leaderboard.queries.load import load_runs
from tests.leaderboard.browsing import PAGES, Server, Tab, needs_browser, rows

pytestmark = needs_browser


def test_an_empty_database_says_how_to_fill_it(tab: Tab, server: Server, tmp_path: Path) -> None:
    place = tmp_path / "results.db"
    open_store(str(place)).close()
    address = server.show(place)
    page = tab.open(f"{address}/run")  # said before any page begins
    page.get_by_text("This database holds no run yet.").wait_for()
    page.locator(".stCode", has_text="bench run --suite demo").wait_for()
    assert page.locator("[data-testid=stException]").count() == 0


def test_a_run_that_ends_appears_without_a_reload(tab: Tab, server: Server, scored: Path, tmp_path: Path) -> None:
    place = Path(shutil.copy(scored, tmp_path / "results.db"))
    board = boards(load_runs(open_store(str(place), read_only=True)))[0]
    number = board.rows[0].cell.scored[0].run_id
    write(place, f"UPDATE runs SET state = 'running' WHERE id = {number}")
    address = server.show(place)
    page = tab.open(address)
    page.locator(".notice.info", has_text="1 running").wait_for()
    before = rows(page)
    assert any("1 of 2" in row["seeds"] for row in before)
    write(place, "UPDATE runs SET state = 'ok' WHERE state = 'running'")
    page.wait_for_function("() => !document.querySelector('.notice.info')", timeout=40_000)
    tab.settle()
    assert all(row["seeds"] == "2 of 2" for row in rows(page))


def test_the_curve_of_a_running_job_grows_on_its_page(tab: Tab, server: Server, scored: Path, tmp_path: Path) -> None:
    place = Path(shutil.copy(scored, tmp_path / "results.db"))
    board = boards(load_runs(open_store(str(place), read_only=True)))[0]
    number = board.rows[0].cell.scored[0].run_id
    connection = sqlite3.connect(place)
    connection.execute("UPDATE runs SET state = 'running' WHERE id = ?", [number])
    connection.execute("DELETE FROM curves WHERE run_id = ?", [number])
    connection.commit()
    connection.close()
    page = tab.open(f"{server.show(place)}/run?board={board.board_id}&run={number}")
    page.get_by_text("No epoch has ended yet.").wait_for()
    write(place, f"INSERT INTO curves (run_id, name, epoch, value) VALUES ({number}, 'train_loss', 1, 0.5)")
    page.locator(".js-plotly-plot").first.wait_for(timeout=40_000)
    assert page.get_by_text("No epoch has ended yet.").count() == 0


def write(place: Path, statement: str) -> None:
    """Change a database as another process does."""
    connection = sqlite3.connect(place)
    assert connection.execute(statement).rowcount == 1
    connection.commit()
    connection.close()


@pytest.mark.long
def test_damaged_rows_leave_every_page_standing(tab: Tab, server: Server, scored: Path, tmp_path: Path) -> None:
    place = Path(shutil.copy(scored, tmp_path / "results.db"))
    for statement in (
        "UPDATE runs SET grid = '{' WHERE id = 1",
        "UPDATE evaluations SET statistics = x'00' WHERE run_id = 2 AND split = 'test'",
        "UPDATE image_scores SET figures = x'00' WHERE rowid = (SELECT min(rowid) FROM image_scores)",
        "UPDATE gallery_predictions SET prediction = x'89504e47' WHERE run_id = 3",
    ):
        connection = sqlite3.connect(place)
        connection.execute(statement)
        connection.commit()
        connection.close()
    address = server.show(place)
    for path in (*PAGES, "run?run=1", "run?run=2"):
        page = tab.open(f"{address}/{path}")
        page.get_by_role("heading", level=1).first.wait_for()
        assert page.locator("[data-testid=stException]").count() == 0, path


def test_a_database_that_goes_away_is_an_error_in_words(tab: Tab, server: Server, scored: Path, tmp_path: Path) -> None:
    place = Path(shutil.copy(scored, tmp_path / "results.db"))
    address = server.show(place)
    place.write_bytes(b"this is no database" * 100)
    tab.page.goto(address)
    tab.page.locator(".notice.error", has_text="The database cannot be").wait_for()
    assert tab.page.locator("[data-testid=stException]").count() == 0


@pytest.mark.long
def test_two_hundred_models_are_a_page_that_can_be_used(tab: Tab, server: Server, large: Path) -> None:
    address = server.show(large)
    page = tab.open(address)
    shown = rows(page)
    assert len(shown) == 100
    nodes = page.evaluate(
        """() => { let all = 0; const walk = root => { for (const one of root.querySelectorAll('*'))
            { all += 1; if (one.shadowRoot) walk(one.shadowRoot); } }; walk(document); return all; }"""
    )
    assert nodes < 4_000
    page.get_by_role("button", name="Show 100 more rows").click()
    assert len(rows(page)) == 200
    page.get_by_placeholder("Search models").fill("model 17")
    assert [row["model"] for row in rows(page)]
    assert all("17" in row["model"] for row in rows(page))


@pytest.mark.long
def test_two_hundred_models_leave_every_page_standing(tab: Tab, server: Server, large: Path) -> None:
    address = server.show(large)
    for path in PAGES[1:]:
        page = tab.open(f"{address}/{path}")
        page.get_by_role("heading", level=1).first.wait_for()
        assert page.locator("[data-testid=stException]").count() == 0


def test_streamlit_advertises_nothing_over_the_pages() -> None:
    skills = pytest.importorskip("streamlit.web.skills")
    words = served_by(Path("main.py"), "localhost", "1", browser=True)
    options = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
    code = "import sys, json; from streamlit import config; from streamlit.web import skills\n"
    code += (
        "[config.set_option(k, {'true': True, 'false': False}.get(v, v)) for k, v in json.loads(sys.argv[1]).items()]\n"
    )
    code += "print(skills.nudge_suppression_reason())"
    done = subprocess.run([sys.executable, "-c", code, json.dumps(options)], capture_output=True, text=True)
    assert done.stdout.strip() == "welcome_hidden", (done.stderr, skills)
