"""How large the generated database of `benchmarks/leaderboard.py` is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """How large the database is."""

    models: int = 200
    datasets: int = 3
    seeds: int = 3
    images: int = 1449
    gallery: int = 100

    @property
    def runs(self) -> int:
        """How many runs it has."""
        return self.models * self.datasets * self.seeds
