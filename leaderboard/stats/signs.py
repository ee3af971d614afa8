"""Claims about single images: on how many one row is better than another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from harness.metrics.exact import Array


@dataclass(frozen=True)
class SignedRank:
    """A paired comparison of scores, image by image."""

    wins: int
    losses: int
    ties: int
    chance: float | None
    """Two-sided p-value of Wilcoxon's signed-rank test: how likely differences so one-sided are where neither row is
    better; None where all are ties."""

    @property
    def count(self) -> int:
        """How many images have both scores."""
        return self.wins + self.losses + self.ties


def signed_rank(differences: Array) -> SignedRank:
    """Count wins and losses, and test them (Wilcoxon, Individual Comparisons by Ranking Methods, 1945).

    Args:
        differences: of each image, above 0 where the first row is better; NaN where one of them has no score.
    """
    defined = differences[~np.isnan(differences)]
    wins, losses = int((defined > 0).sum()), int((defined < 0).sum())
    chance = float(stats.wilcoxon(defined).pvalue) if wins + losses else None
    return SignedRank(wins, losses, len(defined) - wins - losses, chance)
