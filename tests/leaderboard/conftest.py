"""Fixtures: a real database with rows of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Shared
from tests.leaderboard.mixed import mixed_database
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
