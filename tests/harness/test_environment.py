"""Environment variables: one list, one prefix."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.datasets.cache import caches_folder, limit_bytes
from harness.datasets.library import data_dir
from harness.errors import DataError
from harness.utils.environment import VARIABLES, for_workers, setting
from tests.conftest import ROOT, run_bench


def test_a_variable_that_is_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert setting("SEGBENCH_DATA") is None
    monkeypatch.setenv("SEGBENCH_DATA", "")
    assert setting("SEGBENCH_DATA") is None
    monkeypatch.setenv("SEGBENCH_DATA", "/data")
    assert setting("SEGBENCH_DATA") == "/data"


def test_a_variable_that_is_not_in_the_list_cannot_be_read() -> None:
    with pytest.raises(KeyError):
        setting("SEGBENCH_NO_SUCH_THING")


def test_settings_are_obeyed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "caches"))
    monkeypatch.setenv("SEGBENCH_CACHE_GB", "2")
    monkeypatch.setenv("SEGBENCH_DATA", str(tmp_path))
    assert caches_folder() == tmp_path / "caches" / "decoded"
    assert limit_bytes() == 2e9
    assert data_dir() == tmp_path
    monkeypatch.setenv("SEGBENCH_DATA", str(tmp_path / "none"))
    with pytest.raises(DataError, match=r"SEGBENCH_DATA .*none: there is no such folder"):
        data_dir()
    done = run_bench("why", "1", "--db", "none.db", cwd=tmp_path, check=False, **{"SEGBENCH_DEBUG": "1"})
    assert "Traceback" in done.stderr


def test_workers_are_told_what_they_need_and_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGBENCH_PASS", raising=False)  # the tests' own
    assert for_workers() == {}
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", "/fast")
    monkeypatch.setenv("SEGBENCH_CACHE_GB", "5")
    monkeypatch.setenv("SEGBENCH_DB", "postgresql://me:secret@host/results")
    monkeypatch.setenv("SEGBENCH_DATA", "/here/only")
    assert for_workers() == {"SEGBENCH_CACHE_DIR": "/fast", "SEGBENCH_CACHE_GB": "5"}


def test_the_page_lists_every_variable() -> None:
    page = (ROOT / "docs" / "environment.md").read_text()
    rows = [f"| `{v.name}` | {v.about} | {'yes' if v.for_workers else ''} |" for v in VARIABLES.values()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == [re.sub(" +", " ", row) for row in rows]


def test_nothing_else_of_this_prefix_is_read_or_named() -> None:
    rooms = ("bench", "harness", "leaderboard", "benchmarks", "docs")
    files = [path for room in rooms for path in (ROOT / room).rglob("*") if path.suffix in (".py", ".md")]
    named = {name for path in files for name in re.findall(r"\b(?:SEG)?BENCH_[A-Z_]+", path.read_text())}
    assert named <= VARIABLES.keys()
