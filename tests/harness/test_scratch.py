"""Folders for files that come and go are gone after a kill, and nobody else's is touched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness.runner import scratch
from tests.conftest import ROOT

MAKE = (
    "import os; from harness.runner.scratch import scratch_folder; f = scratch_folder(); (f / 'big').write_text('x'); "
)


@pytest.fixture(autouse=True)
def own_temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def python(code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_what_a_killed_command_left_goes_with_the_next(own_temporary: Path) -> None:
    mine = scratch.scratch_folder("mine")
    killed = python(MAKE + "print(f, flush=True); os.kill(os.getpid(), 9)")
    assert killed.returncode == -signal.SIGKILL
    left = Path(killed.stdout.strip())
    assert (left / "big").exists()
    for name, owner in (("segbench-no-owner", None), ("segbench-odd", "x" * 2000), ("other", "a:1:2:3")):
        (own_temporary / name).mkdir()
        if owner is not None:
            (own_temporary / name / scratch.OWNER).write_text(owner)
    (own_temporary / "segbench-elsewhere").mkdir()
    (own_temporary / "segbench-elsewhere" / scratch.OWNER).write_text("another-machine:1:0.00:abcdef")
    outside = own_temporary.parent / "outside"
    outside.mkdir()
    (outside / scratch.OWNER).write_text((left / scratch.OWNER).read_text())
    (own_temporary / "segbench-link").symlink_to(outside)
    (left / "out").symlink_to(outside)
    following = python(MAKE + "print(f, flush=True)")
    assert following.returncode == 0, following.stderr
    assert not left.exists()
    assert (outside / scratch.OWNER).exists()
    kept = {"segbench-no-owner", "segbench-odd", "other", "segbench-elsewhere", "segbench-link", mine.name}
    assert {p.name for p in own_temporary.iterdir()} == kept | {Path(following.stdout.strip()).name}
