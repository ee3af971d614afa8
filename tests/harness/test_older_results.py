"""Databases that earlier versions made: they open, and nothing in them is trained or scored again."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, rows, run_bench

OLD = ROOT / "tests" / "databases" / "version_2"


def unpack_old(folder: Path) -> None:
    """Put the old database, its data and its suites into a folder."""
    for path in OLD.iterdir():
        if path.is_dir():
            shutil.copytree(path, folder / path.name)
        elif path.suffix != ".gz":
            shutil.copy(path, folder)
    (folder / "results.db").write_bytes(gzip.decompress((OLD / "results.db.gz").read_bytes()))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A working folder with the old database."""
    unpack_old(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["every.yaml", "--plugin", "one_file.py"], 32),
        (["shorter.yaml"], 4),
        (["shorter.yaml", "--set", "protocol.void=mask"], 4),
        (["shorter.yaml", "--smoke"], 2),
        (["searched.yaml"], 2),
    ],
    ids=["every network", "shared training", "another protocol", "smoke", "search"],
)
def test_what_an_earlier_version_trained_is_not_trained_again(
    old: Path, plugin_site: Path, words: list[str], jobs: int
) -> None:
    before = rows(old, "select id, fingerprint, state, attempt from runs order by id")
    done = run_bench("run", "--suite", *words, "--data-dir", ".", "--local", cwd=old, PYTHONPATH=str(plugin_site))
    assert f"Nothing to do: all {jobs} jobs" in done.stdout
    assert rows(old, "select id, fingerprint, state, attempt from runs order by id") == before


@pytest.mark.slow
def test_its_figures_are_sound_and_its_runs_up_to_date(old: Path, plugin_site: Path) -> None:
    checked = run_bench("db", "check", "--no-artifacts", cwd=old)
    assert "0 problem(s)" in checked.stdout
    ids = rows(old, "select max(id) from runs where model_origin != 'predictions' group by model_name")
    for (run,) in ids[:: max(1, len(ids) // 4)]:
        told = run_bench("why", str(run), "--data-dir", ".", cwd=old, PYTHONPATH=str(plugin_site))
        assert "Up to date" in told.stdout, told.stdout
