"""Where this machine keeps what takes room and can be made or fetched again."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path


def caches_home() -> Path:
    """BENCH_CACHE_DIR, else the user's cache folder."""
    return Path(os.environ.get("BENCH_CACHE_DIR") or user_cache_path("segbench"))
