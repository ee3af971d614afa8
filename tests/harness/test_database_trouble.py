"""Two commands on one database, a full disk, a folder that cannot be written, a network file system."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from harness.results import network_file_system
from tests.conftest import TINY, rows, run_bench


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_two_commands_share_the_jobs_and_none_is_doubled(home: Path, kind: str, request: pytest.FixtureRequest) -> None:
    db = str(home / "results.db") if kind == "sqlite" else str(request.getfixturevalue("postgres_url"))
    words = [sys.executable, "-m", "bench", "run", "--suite", str(TINY), "--local", "--smoke", "--seeds", "0-4"]
    both = [
        subprocess.Popen([*words, "--db", db], cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    from harness.results import open_store
    from leaderboard.queries.load import load_runs

    store = open_store(db, read_only=True)
    results = load_runs(store)
    assert len(results) == 10
    assert {r.state for r in results} == {"ok"}
    with store.session() as session:
        from harness.results.schema import Run

        assert {run.attempt for run in session.query(Run)} == {1}, "none was done twice"
    store.engine.dispose()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own that is soon full."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(place)], capture_output=True)
    if made.returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("how", [["--local"], []], ids=["local", "ray"])
def test_a_full_disk_is_one_clear_error_and_the_database_stays_sound(
    small_disk: Path, home: Path, how: list[str]
) -> None:
    db = small_disk / "results.db"
    # The database alone is on the small disk: artifacts beside it go elsewhere through a link.
    (home / "artifacts").mkdir()
    (small_disk / "results.artifacts").symlink_to(home / "artifacts")
    words = ("run", "--suite", TINY, "--seeds", "0-20", "--models", "U-Net", "--smoke", "--db", db)
    done = run_bench(*words, *how, cwd=home, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "full" in done.stderr or "No space left" in done.stderr or "disk I/O" in done.stderr
    assert str(db) in done.stderr
    assert "Traceback" not in done.stderr
    assert rows(db, "pragma integrity_check") == [("ok",)]
    finished = rows(db, "select id from runs where state = 'ok'")
    assert len(finished) >= 1
    scored = rows(db, "select count(distinct run_id) from evaluations")
    assert scored == [(len(finished),)], "no run is half there"


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_refused(home: Path) -> None:
    home.chmod(0o555)
    try:
        done = run_bench("run", "--suite", TINY, "--local", cwd=home, check=False)
    finally:
        home.chmod(0o755)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


@pytest.mark.parametrize(("kind", "warned"), [("nfs4", True), ("ext4", False), ("cifs", True), ("tmpfs", False)])
def test_a_network_file_system_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, warned: bool
) -> None:
    mounts = [SimpleNamespace(mountpoint="/", fstype="ext4"), SimpleNamespace(mountpoint=str(tmp_path), fstype=kind)]
    monkeypatch.setattr(psutil, "disk_partitions", lambda all: mounts)
    assert (network_file_system(tmp_path / "results.db") is not None) == warned
    assert network_file_system(Path("/elsewhere/results.db")) is None
