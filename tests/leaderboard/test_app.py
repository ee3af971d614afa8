"""The board in a real browser: what stands on the page is what stands in the database, and a link carries the view."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.results import open_store
from leaderboard.boards.board import Board, boards
from leaderboard.queries.load import load_runs
from leaderboard.stats.significance import default_question, significance
from tests.leaderboard.browsing import Server, Tab, exact, needs_browser, new_context, rows

pytestmark = needs_browser


def stored(place: Path, suite: str | None = None) -> Board:
    """The first board of a database, as it is read without the pages."""
    return boards(load_runs(open_store(str(place), read_only=True), suite))[0]


@pytest.fixture
def at(finished: Path, server: Server) -> str:
    """The app on the database of a real training."""
    return server.show(finished)


@pytest.fixture
def mixed_at(mixed: Path, server: Server) -> str:
    """The app on rows of every kind."""
    return server.show(mixed)


def test_the_figures_on_the_page_are_those_in_the_database(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(at), stored(finished)
    assert default_question(board) == "seeds"
    said = significance(board, "seeds")
    assert page.get_by_role("heading", level=1).inner_text() == said.groups[0].verdict
    intervals = [row.interval for row in said.rows if row.interval]
    for interval, line in zip(intervals, rows(page), strict=True):
        assert f"[{100 * interval.low:.1f}, {100 * interval.high:.1f}]".replace("-", "−") in line["main"]
    shown = exact(page)
    assert [row["model"] for row in shown] == [row.model for row in board.rows]
    for line, row in zip(shown, board.rows, strict=True):
        for column, metric, factor in (("main", "miou", 100), ("metric-biou", "biou", 100), ("metric-hd", "hd", 1)):
            mean = row.cell.test(metric).mean
            assert mean is not None
            assert float(line[column].split("\n")[0].split("[")[0]) == pytest.approx(factor * mean, rel=1e-9)
        assert line["seeds"] == "2 of 2"
        assert line["row"] == row.cell.first.cell[:12]


def test_the_other_question_has_intervals_over_images(tab: Tab, at: str) -> None:
    page = tab.open(f"{at}/?ask=images")
    page.get_by_text("2,000 resamples of").first.wait_for()
    tab.settle()
    page.get_by_role("button", name="How was this computed?").click()
    page.get_by_text("These checkpoints on other images like these").wait_for()


def test_a_click_on_a_heading_sorts_and_the_link_keeps_it(tab: Tab, mixed_at: str) -> None:
    page = tab.open(mixed_at)
    page.locator("button[data-sort='model']").click()
    page.wait_for_url(re.compile("sort=model"))
    sorted_here = [row["model"] for row in rows(page)]
    page.locator("button[data-sort='model']").click()
    page.wait_for_url(re.compile(r"sort=model%3Adown|sort=model:down"))
    assert [row["model"] for row in rows(page)] != sorted_here
    other = tab.context.new_page()
    other.goto(page.url)
    other.locator("th[data-column=model][aria-sort=descending]").wait_for()
    assert [row["model"] for row in rows(other)] == [row["model"] for row in rows(page)]


def test_search_and_filters_narrow_the_table_and_the_link_keeps_them(tab: Tab, mixed_at: str) -> None:
    page = tab.open(mixed_at)
    everything = len(rows(page))
    page.get_by_placeholder("Search models").fill("pspnet")
    page.wait_for_url(re.compile("find=pspnet"))
    assert {row["model"].split()[0] for row in rows(page)} == {"PSPNet"}
    page.get_by_role("button", name="ImageNet", exact=True).click()
    page.wait_for_url(re.compile("only="))
    narrowed = rows(page)
    assert 0 < len(narrowed) < everything
    other = tab.context.new_page()
    other.goto(page.url)
    other.locator("button[aria-pressed=true]", has_text="ImageNet").wait_for()
    assert rows(other) == narrowed
    page.get_by_placeholder("Search models").fill("nothing like this")
    page.get_by_role("button", name="Show all rows").click()
    assert len(rows(page)) == everything


def test_the_back_button_takes_back_what_was_chosen(tab: Tab, at: str) -> None:
    page = tab.open(at)
    page.get_by_role("combobox", name="Ranked by").click()
    page.get_by_role("option", name="Dice %", exact=True).click()
    page.wait_for_url(re.compile("by=dice"))
    page.locator("th[data-column=main]", has_text="Dice").wait_for()
    page.go_back()
    page.locator("th[data-column=main]", has_text="mIoU").wait_for()
    page.go_forward()
    page.locator("th[data-column=main]", has_text="Dice").wait_for()


@pytest.mark.long
def test_the_view_survives_a_change_of_page(tab: Tab, at: str) -> None:
    page = tab.open(f"{at}/?by=dice")
    page.get_by_role("link", name="Trade-offs").click()
    page.get_by_role("heading", name="Dice % against what it costs").wait_for()
    assert "by=dice" in page.url
    page.get_by_role("link", name="Leaderboard").click()
    page.locator("th[data-column=main]", has_text="Dice").wait_for()


UNKNOWN = {
    "?board=0123456789ab&by=splendour&rows=0123456789ab&ask=nobody": (
        "the board 0123456789ab", "the score splendour", "1 row of another board (0123456789ab)", "ask=nobody",
    ),
    "images?image=nowhere&class=99": ("the image nowhere", "the class 99"),
    "model?model=0123456789ab": ("the model 0123456789ab",),
    "run?run=0123456789abcdef": ("the run 0123456789abcdef",),
    "trade-offs?cost=beauty": ("the cost beauty",),
}  # fmt: skip


@pytest.mark.parametrize("links", [list(UNKNOWN)[:1], pytest.param(list(UNKNOWN)[1:], marks=pytest.mark.long)])
def test_a_link_that_names_something_unknown_says_so(tab: Tab, at: str, links: list[str]) -> None:
    for link in links:
        page = tab.open(f"{at}/{link}")
        for text in UNKNOWN[link]:
            page.locator(".notice.warning", has_text=text).wait_for()
        assert page.locator("[data-testid=stException]").count() == 0


def test_picked_rows_are_compared(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(at), stored(finished)
    for row in board.rows:
        page.get_by_role("checkbox", name=f"Compare {row.model}").check()
        tab.settle()
    assert all(row.cell.first.cell[:12] in page.url for row in board.rows)
    page.get_by_role("button", name=f"Compare {len(board.rows)} rows").click()
    page.wait_for_url(re.compile("/compare"))
    line = rows(page, "Differences")[0]
    first, second = (row.cell.test("miou").mean for row in board.rows)
    assert first is not None
    assert second is not None
    assert float(line["value"].replace("−", "-")) == pytest.approx(100 * (first - second), abs=0.051)


def test_downloads_hold_the_figures_of_the_database(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(at), stored(finished)
    means = [row.cell.test("miou").mean for row in board.rows]
    page.get_by_role("button", name="Download").click()

    def given(kind: str) -> str:
        with page.expect_download() as waited:
            page.get_by_role("button", name=kind, exact=True).click()
        return Path(waited.value.path()).read_text()

    assert [float(line["miou mean"]) for line in csv.DictReader(io.StringIO(given("CSV")))] == means
    assert [row["metrics"]["miou"]["mean"] for row in json.loads(given("JSON"))] == means
    for kind in ("Markdown", "LaTeX"):
        text = given(kind)
        assert all(row.model in text for row in board.rows), kind


def test_groups_that_are_never_ranked_together_stand_apart(tab: Tab, mixed_at: str, mixed: Path) -> None:
    page, board = tab.open(mixed_at), stored(mixed)
    rows(page)
    heads = page.locator("tr.group .fold").all_inner_texts()
    assert len(heads) == len(board.groups) > 5
    for head, group in zip(heads, board.groups, strict=True):
        assert group.heading.lower() in head.lower()
        assert f"{len(group.rows)} row" in head
    shown = [row["model"] for row in rows(page)]
    marks = {"leaky": "†", "Elsewhere": "‡"}
    assert shown == [row.model + marks.get(row.model, "") for row in board.rows]
    fold = page.locator("tr.group .fold").first
    fold.click()
    assert fold.get_attribute("aria-expanded") == "false"
    assert len(rows(page)) == len(board.rows) - len(board.groups[0].rows)


def test_a_model_with_failed_seeds_says_so_once_and_leads_to_their_reasons(tab: Tab, mixed_at: str) -> None:
    page = tab.open(mixed_at)
    rows(page)
    cell = page.locator("td[data-column=seeds]", has_text="1 of 3")
    assert cell.count() == 1
    assert cell.get_attribute("title") == "2 failed"
    assert page.get_by_text("2 failed").count() == 0  # no note repeats it
    cell.locator("xpath=..").get_by_role("link").click()
    page.get_by_role("heading", name="PSPNet", exact=True).wait_for()
    of_model = [row for row in rows(page, "Runs") if row["state"] == "failed"]
    assert [row["reason"] for row in of_model] == ["the loss is not finite"] * 2


def test_a_model_without_a_figure_says_why(tab: Tab, server: Server, one_failed: tuple[Path, str]) -> None:
    place, reason = one_failed
    page = tab.open(server.show(place))
    without = [row for row in stored(place).rows if row.rank is None]
    rows(page)
    cells = page.locator("td.reason").all()
    assert len(cells) == len(without) == 1  # it stands once, though several cells failed
    assert all(reason in cell.inner_text() for cell in cells)
    cells[0].get_by_role("link", name="log").click()
    page.get_by_role("heading", name=re.compile(r"^Run \d+: FCN")).wait_for()
    page.locator(".notice.error", has_text=reason).wait_for()
    page.get_by_text("Traceback (most recent call last)").wait_for()


@pytest.fixture(scope="module")
def one_failed(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A database in which every run of a model has failed."""
    import shutil
    import sqlite3

    place = Path(shutil.copy(scored, tmp_path_factory.mktemp("failed") / "results.db"))
    reason = "the loss is not finite after 312 iterations"
    connection = sqlite3.connect(place)
    of_model = "(SELECT e.id FROM evaluations e JOIN runs r ON r.id = e.run_id WHERE r.model = 'FCN')"
    for table in ("scores", "image_scores"):
        connection.execute(f"DELETE FROM {table} WHERE evaluation_id IN {of_model}")
    connection.execute(f"DELETE FROM evaluations WHERE id IN {of_model}")
    connection.execute(
        "UPDATE runs SET state = 'failed', reason = ?, traceback = 'Traceback (most recent call last): x' "
        "WHERE model = 'FCN'",
        (reason,),
    )
    connection.commit()
    connection.close()
    return place, reason


def test_classes_cells_and_conventions_open_below_the_table(tab: Tab, at: str, finished: Path) -> None:
    page, board = tab.open(at), stored(finished)
    page.get_by_text("Class by class").click()
    tab.settle()
    assert [row["class"] for row in rows(page, "Class by class")] == list(board.data.classes)
    page.get_by_text("Every cell of every grid").click()
    tab.settle()
    cells = rows(page, "Every cell")
    assert len(cells) == 4
    assert sum(row["chosen"] == "✓" for row in cells) == 2
    page.get_by_text("Would other conventions of scoring change the order?").click()
    tab.settle()
    assert {"image level", "absent classes 0"} <= {row["name"] for row in rows(page, "Order under other conventions")}


def test_a_phone_shows_rank_model_and_score(browser: Any, at: str) -> None:
    tab = Tab(new_context(browser))
    tab.page.set_viewport_size({"width": 390, "height": 844})
    page = tab.open(at)
    rows(page)
    visible = page.locator("thead th:visible").evaluate_all("heads => heads.map(head => head.dataset.column)")
    assert {"rank", "model", "main"} <= set(visible)
    assert "metric-hd" not in visible
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.get_by_role("link", name="Images").count() == 1
    tab.context.close()
    assert tab.wrong == []
