"""Where a figure came from: code, packages and hardware, captured on the worker that ran."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

from harness.utils.version import __version__

PACKAGES = ("torch", "torchvision", "ray", "numpy", "scipy", "pillow", "sqlalchemy")


@cache
def code_state() -> dict[str, Any]:
    """The commit this project's own source is at, in full, and whether files differ from it.

    `commit` is None for an installed package, whose version then says it all.
    """
    root = Path(__file__).resolve().parents[2]
    # The repository of this file, not of whatever folder the shell stands in.
    if not (root / ".git").exists():
        return {"version": __version__, "commit": None, "dirty": None}
    commit = _git(root, "rev-parse", "HEAD")
    status = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"version": __version__, "commit": commit, "dirty": None if status is None else bool(status)}


def packages() -> dict[str, str]:
    """Versions of the packages that can move a figure; a package that is not installed is left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def hardware(gpus: Sequence[str] | None = None) -> dict[str, Any]:
    """The machine: processor, cores, memory in bytes, GPUs.

    Args:
        gpus: their names; None looks for them, after which this process uses the first.
    """
    torch = sys.modules.get("torch")
    if gpus is None:
        gpus = []
        if torch is not None and torch.cuda.is_available():
            gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory": psutil.virtual_memory().total,
        "gpus": list(gpus),
    }


def capture(threads: int, gpus: Sequence[str] | None = None) -> dict[str, Any]:
    """Everything above, for a run that used so many threads and such GPUs."""
    return {"code": code_state(), "packages": packages(), "hardware": hardware(gpus), "threads": threads}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(root: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
