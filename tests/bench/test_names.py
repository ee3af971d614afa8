"""Other packages that have the name of one of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import names
from tests.conftest import ROOT


def test_another_package_in_the_place_of_ours_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "harness").mkdir()
    (tmp_path / "harness" / "__init__.py").write_text("print('not ours')\n")
    # As a package's script is started: the other one stands in front on the path.
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.path.insert(0, {str(tmp_path)!r}); import bench.__main__"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=bare())
    assert done.returncode == 2
    assert done.stdout == "", "nothing of it ran"
    assert f"error: in place of segbench's package `harness`, Python finds {tmp_path / 'harness'}" in done.stderr
    assert "Traceback" not in done.stderr


def bare() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}


def test_the_doctor_names_packages_called_as_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = list(names.other_packages())
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").touch()
    (tmp_path / "leaderboard.py").write_text("")
    info = tmp_path / "bench_tools-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-tools\nVersion: 1.0\n")
    (info / "RECORD").write_text("bench/__init__.py,,\n")
    (info / "top_level.txt").write_text("bench\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    told = [line for line in names.other_packages() if line not in before]
    assert f"another package `bench` is at {tmp_path / 'bench'}" in told
    assert f"another package `leaderboard` is at {tmp_path / 'leaderboard.py'}" in told
    owned = [line for line in told if "installed by" in line]
    assert not owned or owned == ["`bench` is installed by bench-tools and segbench: files of one lie over the other's"]
