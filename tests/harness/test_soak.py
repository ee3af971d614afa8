"""Random kills of everything that a command starts: benchmarks/soak.py in small."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("backend", "kills"), [("local", 10), ("ray", 4)])
def test_whatever_is_killed_nothing_is_lost_or_done_twice(backend: str, kills: int) -> None:
    words = ["--jobs", "6", "--kills", str(kills), "--every", "2", "--minutes", "10", "--backends", backend]
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="soak-", dir="/tmp") as folder:
        done = subprocess.run(
            [sys.executable, str(ROOT / "benchmarks" / "soak.py"), *words],
            capture_output=True,
            text=True,
            env={**os.environ, "TMPDIR": folder},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Nothing lost, nothing twice, the same bits, nothing left over." in done.stdout
        assert not list(Path(folder).iterdir()), "no folder of anybody's is left"
