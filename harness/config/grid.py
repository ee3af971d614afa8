"""A cell's hyperparameters as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def grid_text(grid: Mapping[str, Any], separator: str = ", ") -> str:
    """`lr=0.01, epochs=50`; empty where there is no grid."""
    return separator.join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in grid.items())
