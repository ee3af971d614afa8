"""No text of a database acts in a page, and everybody can use the pages: counted in a real browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.leaderboard.browsing import PAGES, Server, Tab, needs_browser, new_context, rows
from tests.leaderboard.large import HOST

pytestmark = needs_browser

# Elements that a text made, in the page and in the parts that the browser draws: none may be there.
ACTING = """host => {
    const found = [];
    const walk = root => {
        for (const one of root.querySelectorAll('*')) {
            if (one.shadowRoot) walk(one.shadowRoot);
            const places = ['href', 'src', 'action', 'xlink:href', 'srcset'].map(name => one.getAttribute(name) || '');
            if (places.some(place => place.includes(host) || place.startsWith('mailto:'))) found.push(one.outerHTML);
            if (one.getAttributeNames().some(name => name.startsWith('on'))) found.push(one.outerHTML);
            if (/katex/.test(one.getAttribute('class') || '')) found.push(one.outerHTML);
            if (one.localName === 'style' && one.textContent.includes('body{display:none}')) found.push(one.outerHTML);
        }
    };
    walk(document);
    return found.map(text => text.slice(0, 200));
}"""


# All pages take a minute: some stand for the others until the long tests run.
EVERY = pytest.param(PAGES, id="every", marks=pytest.mark.long)


@pytest.mark.parametrize("paths", [pytest.param(("", "run?run=1"), id="two"), EVERY])
def test_no_text_of_a_database_acts(tab: Tab, server: Server, hostile: Path, paths: tuple[str, ...]) -> None:
    address = server.show(hostile)
    for path in paths:
        page = tab.open(f"{address}/{path}")
        page.get_by_role("heading", level=1).first.wait_for()
        is_shown_as_it_is(page, path)
        open_everything(tab, [*FOLDED, *(["What has changed"] if paths == PAGES else [])])
        assert page.evaluate(ACTING, "tracker.invalid") == [], path
        assert tab.outside == [], path
        assert page.locator("[data-testid=stException]").count() == 0, path
        # The body itself has no height: what stands in it has.
        assert page.get_by_role("heading", level=1).first.is_visible(), path


# What has changed is asked of a process of its own, which takes its time.
FOLDED = ("Class by class", "Every cell of every grid", "Would other conventions", "Log")


def open_everything(tab: Tab, folded: Sequence[str]) -> None:
    """Open what is folded on a page, and go over what answers the pointer."""
    page = tab.page
    for text in folded:
        closed = page.locator("summary", has_text=text)
        if closed.count():
            closed.first.click()
            tab.settle()
    for name in ("How was this computed?", "Download", "Columns"):
        button = page.get_by_role("button", name=name)
        if button.count():
            button.first.click()
            page.wait_for_timeout(200)
            page.keyboard.press("Escape")
    for box in page.get_by_role("combobox").all()[:4]:
        box.click()
        page.wait_for_timeout(150)
        page.keyboard.press("Escape")
    for mark in page.locator(".js-plotly-plot .point").all()[:2]:
        mark.hover(force=True)
    page.wait_for_timeout(400)


def test_the_search_for_acting_texts_finds_one(tab: Tab) -> None:
    tab.page.set_content("<h1>x</h1><a href='https://tracker.invalid/a'>a</a><style>body{display:none}</style>")
    assert len(tab.page.evaluate(ACTING, "tracker.invalid")) == 2
    assert not tab.page.get_by_role("heading", level=1, include_hidden=True).first.is_visible()


def is_shown_as_it_is(page: Any, path: str) -> None:
    """That the hostile texts stand on a page, letter by letter: else it shows nothing that none acts."""
    if path == "":
        assert f"U-N![i]({HOST}/md.png)" in rows(page)[0]["model"]
    elif path == "run?run=1":
        page.locator(".notice.error", has_text="<script>alert(1)</script>").first.wait_for()
        assert f"<img src={HOST}/img.png onerror=alert(1)>" in page.locator(".stCode").first.inner_text()


def axe() -> str:
    """The source of axe-core; skips where the package is not there."""
    package = pytest.importorskip("axe_core_python", reason="axe-core-python is not installed")
    return (Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.long)])
@pytest.mark.parametrize("paths", [pytest.param(("run",), id="one"), EVERY])
def test_axe_finds_nothing_serious(
    browser: Any, server: Server, finished: Path, paths: tuple[str, ...], scheme: str
) -> None:
    source, address = axe(), server.show(finished)
    tab = Tab(new_context(browser, color_scheme=scheme))
    found = {}
    for path in paths:
        page = tab.open(f"{address}/{path}")
        page.get_by_role("heading", level=1).first.wait_for()
        page.wait_for_timeout(600)
        page.evaluate(source)
        found[path] = page.evaluate(
            """() => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa']}).then(result => result.violations
                .filter(one => ['serious', 'critical'].includes(one.impact))
                .map(one => [one.id, one.nodes.slice(0, 3).map(node => node.html.slice(0, 200))]))"""
        )
    tab.context.close()
    assert found == {path: [] for path in paths}
