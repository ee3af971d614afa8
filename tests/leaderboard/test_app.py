"""The app in a real browser: what stands on the page is what stands in the database."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.export import export_text
from tests.conftest import serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: install Debian's package chromium"),
]
HEALTH = "/_stcore/health"
# Without the last three the browser asks the network for things a closed machine refuses.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@pytest.fixture(scope="module")
def address(finished: Path) -> Iterator[str]:
    """The real command, serving the finished database."""
    words = ["-m", "bench", "leaderboard", "--db", str(finished), "--port", "{port}", "--no-browser"]
    with serving(words, HEALTH) as served:
        yield f"http://{served}"


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[object]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1500, "height": 1100})
        opened.set_default_timeout(60_000)
        yield opened
        browser.close()


def test_the_ranked_scores_on_the_page_are_those_in_the_database(page: object, address: str, finished: Path) -> None:
    page.goto(address)  # type: ignore[attr-defined]
    cells = page.locator('td[data-column="miou"]')  # type: ignore[attr-defined]
    cells.first.wait_for()
    rows = json.loads(export_text("json", str(finished)))
    expected = [f"{r['metrics']['miou']['mean']:.4f} ± {r['metrics']['miou']['std']:.4f}" for r in rows]
    assert cells.all_inner_texts()[: len(expected)] == expected
    models = page.locator('td[data-column="model"]').all_inner_texts()  # type: ignore[attr-defined]
    assert models[: len(rows)] == [r["model"] for r in rows]


def test_the_ablation_shows_every_cell(page: object, address: str) -> None:
    page.goto(address)  # type: ignore[attr-defined]
    page.get_by_role("tab", name="Ablation: all cells").click()  # type: ignore[attr-defined]
    shown = page.locator('td[data-column="hyperparameters"]')  # type: ignore[attr-defined]
    shown.first.wait_for()
    assert shown.count() == 4
    assert set(shown.all_inner_texts()) == {"lr=0.01", "lr=0.02"}


def test_a_filter_narrows_the_board(page: object, address: str) -> None:
    page.goto(address)  # type: ignore[attr-defined]
    page.locator('td[data-column="miou"]').first.wait_for()  # type: ignore[attr-defined]
    box = page.get_by_role("combobox", name="Models")  # type: ignore[attr-defined]
    box.click()
    page.get_by_role("option", name="FCN", exact=True).click()  # type: ignore[attr-defined]
    page.wait_for_function(  # type: ignore[attr-defined]
        """() => [...document.querySelectorAll('td[data-column="model"]')].every(e => e.innerText === 'FCN')"""
    )


@pytest.fixture(scope="module")
def mixed_address(mixed: Path) -> Iterator[str]:
    """The real command, serving the database with rows of every kind."""
    with serving(["-m", "bench", "leaderboard", "--db", str(mixed), "--port", "{port}", "--no-browser"], HEALTH) as at:
        yield f"http://{at}"


def ranked(page: object) -> list[list[str]]:
    """Headings and rows (rank, model) of the first table on the page, as they stand there."""
    page.locator('td[data-column="miou"]').first.wait_for()  # type: ignore[attr-defined]
    return page.locator(".board").first.evaluate(  # type: ignore[attr-defined,no-any-return]
        """board => [...board.querySelectorAll('tbody tr')].map(
            row => [...row.children].slice(0, 2).map(cell => cell.innerText.trim()))"""
    )


def test_groups_that_are_never_ranked_together_stand_one_below_the_other(
    page: object, mixed_address: str, mixed: Path
) -> None:
    page.goto(mixed_address)  # type: ignore[attr-defined]
    expected: list[list[str]] = []
    for row in json.loads(export_text("json", str(mixed), "mixed")):
        heading = [row["group"][0].upper() + row["group"][1:]]
        expected += [heading] if heading not in expected else []
        mark = {"leaky": " †", "Elsewhere": " ‡"}.get(row["model"], "")
        expected.append([str(row["rank"]), row["model"] + mark])
    assert ranked(page) == expected
    assert sum(len(line) == 1 for line in expected) == 7
    assert page.locator('td[data-column="pretrained on"]').first.inner_text() == "from scratch"  # type: ignore[attr-defined]
    assert page.get_by_text("1 of 3 seeds ended").count() == 1  # type: ignore[attr-defined]


def test_a_fact_that_keeps_rows_apart_is_a_filter(page: object, mixed_address: str) -> None:
    page.goto(mixed_address)  # type: ignore[attr-defined]
    page.get_by_role("combobox", name="Pretrained on").click()  # type: ignore[attr-defined]
    page.get_by_role("option", name="ImageNet", exact=True).click()  # type: ignore[attr-defined]
    page.get_by_text("All rows: pretrained on ImageNet").wait_for()  # type: ignore[attr-defined]
    assert [rank for rank, _ in ranked(page)] == ["1", "2", "3"]
    assert {model for _, model in ranked(page)} == {"announced", "DeepLabV3+", "PSPNet"}


@pytest.mark.parametrize(
    ("path", "heading", "content"),
    [
        ("gallery", "Gallery", "img"),
        ("curves", "Learning curves", ".js-plotly-plot"),
        ("runs", "Runs", "[data-testid=stDataFrame]"),
    ],
)
def test_every_page_shows_its_content_and_no_error(
    page: object, address: str, path: str, heading: str, content: str
) -> None:
    page.goto(f"{address}/{path}")  # type: ignore[attr-defined]
    page.get_by_role("heading", name=heading, exact=True).wait_for()  # type: ignore[attr-defined]
    page.locator(content).first.wait_for()  # type: ignore[attr-defined]
    assert page.locator("[data-testid=stException]").count() == 0  # type: ignore[attr-defined]


def test_the_gallery_shows_the_same_images_for_every_model(page: object, address: str) -> None:
    page.goto(f"{address}/gallery")  # type: ignore[attr-defined]
    captions = page.get_by_text("prediction:")  # type: ignore[attr-defined]
    captions.first.wait_for()
    page.wait_for_timeout(1500)  # type: ignore[attr-defined]
    assert captions.count() == 2 * 4
    assert page.get_by_text("error:").count() == 2 * 4  # type: ignore[attr-defined]
