"""Figures of models on several data sets: places, comparable figures, and what they tell of other data sets."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from harness.metrics.exact import Array
from leaderboard.boards.estimate import LEVEL
from leaderboard.stats.signs import signed_rank


@dataclass(frozen=True)
class PairClaim:
    """A model that is better than another on data sets like these."""

    better: str
    worse: str
    wins: int
    losses: int
    chance: float
    """Wilcoxon's p-value, corrected after Holm."""


def mid_places(signed: Array) -> Array:
    """(k, D) places of k models on each data set: ties share the mean of their places, and no figure is the last place.

    Args:
        signed: (k, D) figures, higher is better; NaN where there is none.
    """
    ranked = stats.rankdata(np.where(np.isnan(signed), np.inf, -signed), axis=0)
    return np.asarray(np.where(np.isnan(signed), len(signed), ranked))


def filled(signed: Array) -> Array:
    """(k, D) figures, where there is none the worst of the data set."""
    return np.asarray(np.where(np.isnan(signed), np.nanmin(signed, axis=0), signed))


def units_of(signed: Array) -> Array:
    """(D,) what brings the figures of each data set to unit standard deviation over models.

    A data set on which all have the same figure tells nothing and counts 0.
    """
    several = (~np.isnan(signed)).sum(axis=0) > 1
    found = np.ones(signed.shape[1])
    found[several] = np.nanstd(signed[:, several], axis=0, ddof=1)
    return np.asarray(np.divide(1.0, found, out=np.zeros_like(found), where=several & (found > 1e-12)))


@dataclass(frozen=True)
class NewPlaces:
    """Between which places each of k models stands on another data set, each for itself."""

    low: Array
    """(k,)"""
    high: Array
    """(k,)"""
    level: float
    """How often, at least."""


def new_places(places: Array, level: float = LEVEL) -> NewPlaces:
    """Between which places each model stands on another data set like these.

    If the data sets and the new one are exchangeable, its place is as likely the lowest, second lowest … of the D + 1:
    it lies between the l-th lowest and the l-th highest of the D in at least 1 - 2l / (D + 1) of all cases, whatever
    the distribution (conformal prediction: Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005; of
    ranks on leaderboards: Neuhof and Benjamini, Rank Intervals for Leaderboards, arXiv 2606.08679). l is the largest
    that holds the level; fewer than 39 data sets cannot hold 95 %, and then it is 1. For each model alone.

    Args:
        places: (k, D).
        level: of confidence.
    """
    count = places.shape[1]
    end = max(1, math.floor((1 - level) / 2 * (count + 1) + 1e-9))
    ordered = np.sort(places, axis=1)
    return NewPlaces(ordered[:, end - 1], ordered[:, count - end], 1 - 2 * end / (count + 1))


def holm_claims(values: Array, names: Sequence[str], level: float = LEVEL) -> list[PairClaim]:
    """The pairs of which one is better on data sets like these: Wilcoxon's signed-rank test, corrected after Holm.

    Benavoli, Corani and Mangili, Should We Really Use Post-Hoc Tests Based on Mean-Ranks?, JMLR 2016: whether two
    models differ must not depend on which others are compared. Holm, A Simple Sequentially Rejective Multiple Test
    Procedure, Scandinavian Journal of Statistics 1979.

    Args:
        values: (k, D) figures, higher is better, in one unit.
        names: of the models.
        level: at which all claims hold together.
    """
    pairs = list(itertools.combinations(range(len(values)), 2))
    found = [signed_rank(values[i] - values[j]) for i, j in pairs]
    chances = [1.0 if one.chance is None else one.chance for one in found]
    claims, corrected = [], 0.0
    for step, at in enumerate(sorted(range(len(pairs)), key=chances.__getitem__)):
        corrected = max(corrected, min(1.0, (len(pairs) - step) * chances[at]))
        if corrected > 1 - level:
            break
        (i, j), counts = pairs[at], found[at]
        # What Wilcoxon's test tells is the sign of the sum of ranks, which the mean of the ranks of differences has.
        differences = values[i] - values[j]
        if float(np.sign(differences) @ stats.rankdata(np.abs(differences))) < 0:
            i, j, counts = j, i, replace(counts, wins=counts.losses, losses=counts.wins)
        claims.append(PairClaim(names[i], names[j], counts.wins, counts.losses, corrected))
    return claims


def fewest_for_a_claim(models: int, level: float = LEVEL) -> int:
    """How many data sets it takes at least until any pair of models can be claimed: one better on all of them."""
    pairs = models * (models - 1) / 2
    return math.ceil(math.log2(2 * pairs / (1 - level)) - 1e-9)
