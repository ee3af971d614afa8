"""Fixtures: a real database with rows of every kind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Shared
from tests.leaderboard.browsing import Server, Tab, browsing, new_context, server_in
from tests.leaderboard.large import hostile_database, large_database
from tests.leaderboard.mixed import mixed_database
from tests.leaderboard.scored import scored_database
from tests.leaderboard.studied import studied_database


@pytest.fixture(scope="session")
def mixed(shapes_home: Path, shared_once: Shared) -> Path:
    """A real database in which rows differ in everything that must not be ranked together; read it, never write it."""

    def fill(folder: Path) -> None:
        mixed_database(folder, shapes_home / "data")

    return shared_once("mixed", fill) / "mixed.db"


@pytest.fixture(scope="session")
def studied(shapes_home: Path, shared_once: Shared) -> Path:
    """A real database whose suites carry the names of two studies; read it, never write it."""

    def fill(folder: Path) -> None:
        studied_database(folder, shapes_home / "data")

    return shared_once("studied", fill) / "studied.db"


@pytest.fixture(scope="session")
def scored(shapes_home: Path, shared_once: Shared) -> Path:
    """A small database of two networks, two cells and two seeds, made without training; read it, never write it."""

    def fill(folder: Path) -> None:
        scored_database(folder, shapes_home / "data")

    return shared_once("scored", fill) / "results.db"


@pytest.fixture
def copy(scored: Path, tmp_path: Path) -> Path:
    """The same, for a test that alters it."""
    return Path(shutil.copy(scored, tmp_path / "results.db"))


@pytest.fixture(scope="session")
def hostile(scored: Path, shared_once: Shared) -> Path:
    """A database in which every text tries to act in a page; read it, never write it."""
    return shared_once("hostile", lambda folder: _made(hostile_database(scored, folder))) / "hostile.db"


@pytest.fixture(scope="session")
def large(scored: Path, shared_once: Shared) -> Path:
    """A database of two hundred models with three seeds each; read it, never write it."""
    return shared_once("large", lambda folder: _made(large_database(scored, folder))) / "large.db"


def _made(place: Path) -> None:
    assert place.is_file()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser for all tests of a process."""
    with browsing() as opened:
        yield opened


@pytest.fixture(scope="session")
def context(browser: Any) -> Any:
    """One profile for all tabs of a process: what the pages are made of is fetched and compiled once."""
    return new_context(browser)


@pytest.fixture
def tab(context: Any) -> Iterator[Tab]:
    """A fresh tab in which nothing may fail."""
    opened = Tab(context)
    yield opened
    opened.close()
    assert opened.wrong == []


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The app, one process for all tests of a process."""
    with server_in(tmp_path_factory.mktemp("server")) as opened:
        yield opened
