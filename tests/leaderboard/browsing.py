"""Driving the pages in a real browser: one browser and one server for all tests of a process."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from bench.leaderboard import served_by
from tests.conftest import ROOT, serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium: install Debian's package chromium"),
]
HEALTH = "/_stcore/health"
# Without the last three the browser asks the network for things a closed machine refuses.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-quic",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
PAGES = ("", "compare", "images", "trade-offs", "overall", "model", "run")


# The app, on whichever database the file beside this script names: starting a server takes longer than most tests.
SCRIPT = """
import json, os, runpy
from pathlib import Path
os.environ.update(json.loads(Path(__file__).with_name("served.json").read_text()))
runpy.run_path({main!r})
"""


class Server:
    """The app as the command serves it, on one database after another."""

    def __init__(self, folder: Path, address: str) -> None:
        self.file = folder / "served.json"
        self.address = address

    def show(self, database: Path, data: Path | None = None) -> str:
        """Serve a database from now on; returns the address.

        Args:
            database: the file.
            data: where copies of data sets are looked for; beside the database where it is not said.
        """
        data = data or database.parent / "data"
        self.file.write_text(json.dumps({"SEGBENCH_DB": str(database), "SEGBENCH_DATA": str(data)}))
        return self.address


@contextlib.contextmanager
def server_in(folder: Path) -> Iterator[Server]:
    """The app, until the block ends.

    Args:
        folder: an empty folder.
    """
    script = folder / "main.py"
    script.write_text(SCRIPT.format(main=str(ROOT / "leaderboard" / "app" / "main.py")))
    with serving(served_by(script, "localhost", "{port}", browser=False), HEALTH) as address:
        yield Server(folder, f"http://{address}")


@contextlib.contextmanager
def browsing() -> Iterator[Any]:
    """A real browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


def new_context(browser: Any, **options: Any) -> Any:
    """A browser's profile of its own."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000}, accept_downloads=True, **options)
    context.set_default_timeout(60_000)
    return context


class Tab:
    """A tab that notes what it asks of other places, and what fails in it."""

    def __init__(self, context: Any) -> None:
        self.context = context
        self.page = context.new_page()
        self.outside: list[str] = []
        self.wrong: list[str] = []
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))

    def _note(self, request: Any) -> None:
        parts = urlsplit(request.url)
        # Streamlit looks for a host that frames it; that is its own, and not of a database.
        if parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("localhost", "127.0.0.1"):
            self.outside.append(request.url)

    def open(self, address: str) -> Any:
        """Open a page and wait until it is drawn."""
        self.page.goto(address)
        self.settle()
        return self.page

    def settle(self) -> None:
        """Wait until the script has run and the parts are drawn."""
        self.page.locator(".st-key-pages").wait_for(timeout=180_000)  # a new server first imports everything
        self.page.wait_for_function(
            """() => !document.querySelector('[data-testid=stStatusWidget]')
                && document.querySelector('.stApp')?.dataset.testScriptState === 'notRunning'"""
        )
        self.page.wait_for_timeout(150)
        self.page.wait_for_function("() => document.querySelector('.stApp')?.dataset.testScriptState === 'notRunning'")

    def close(self) -> None:
        """Close the tab, and those that were opened beside it."""
        for page in self.context.pages:
            page.close()


def rows(page: Any, name: str = "Ranking") -> list[dict[str, str]]:
    """The rows of a table: heading of the column -> text of the cell."""
    region = page.get_by_role("region", name=name, exact=True)
    region.locator("table").wait_for()
    found: list[dict[str, str]] = region.evaluate(
        """region => [...region.querySelectorAll('tbody tr[data-row]')].map(row => Object.fromEntries(
            [['row', row.dataset.row], ...[...row.querySelectorAll('[data-column]')].map(
                cell => [cell.dataset.column, cell.innerText.trim()])]))"""
    )
    return found


def exact(page: Any, name: str = "Ranking") -> list[dict[str, str]]:
    """The rows of a table at full precision."""
    page.get_by_role("button", name="Full precision").click()
    return rows(page, name)
