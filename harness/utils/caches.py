"""Where this machine keeps what takes room and can be made or fetched again."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path

from harness.utils.environment import setting


def caches_home() -> Path:
    """SEGBENCH_CACHE_DIR, else the user's cache folder."""
    return Path(setting("SEGBENCH_CACHE_DIR") or user_cache_path("segbench"))
