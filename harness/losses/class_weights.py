"""Weights of classes from how often they are there: what a suite can name instead of numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

Rule = Literal["median_frequency", "inverse_frequency", "log_frequency"]
ClassWeights = tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...]


@dataclass(frozen=True)
class ClassPixels:
    """How often each class is there in the images of a split, void left out."""

    pixels: Sequence[int]
    """For each class its pixels."""
    around: Sequence[int]
    """For each class the pixels, of any class, of the images that hold it."""


def weights_by(rule: Rule, counts: ClassPixels) -> ClassWeights:
    """The weight of each class; 0 for a class without a pixel, of which nothing can be learned.

    With n_c the pixels of class c, N those of all classes, K the number of classes:

    - `median_frequency`: f_c = n_c / pixels of the images that hold c; weight median(f) / f_c over the classes that are
      there (Eigen and Fergus, ICCV 2015, section 6.3.2, as SegNet uses it).
    - `inverse_frequency`: N / (K · n_c), K counting the classes that are there: the mean weight of a pixel is 1.
    - `log_frequency`: 1 / ln(1.02 + n_c / N), between 1.4 and 50.5 (Paszke et al., ENet, 2016, section 5.2).
    """
    return _RULES[rule](counts)


def _median_frequency(counts: ClassPixels) -> ClassWeights:
    shares = [own / around if own else 0.0 for own, around in zip(counts.pixels, counts.around, strict=True)]
    middle = statistics.median([share for share in shares if share] or [0.0])
    return tuple(middle / share if share else 0.0 for share in shares)


def _inverse_frequency(counts: ClassPixels) -> ClassWeights:
    total, there = sum(counts.pixels), sum(own > 0 for own in counts.pixels)
    return tuple(total / (there * own) if own else 0.0 for own in counts.pixels)


def _log_frequency(counts: ClassPixels) -> ClassWeights:
    total = sum(counts.pixels)
    return tuple(1 / math.log(1.02 + own / total) if own else 0.0 for own in counts.pixels)


_RULES: Mapping[Rule, Callable[[ClassPixels], ClassWeights]] = {
    "median_frequency": _median_frequency,
    "inverse_frequency": _inverse_frequency,
    "log_frequency": _log_frequency,
}


def wrong_number(field: str, weights: Sequence[float], classes: Sequence[str]) -> str | None:
    """Why weights do not fit some classes; None if they do."""
    if len(weights) == len(classes):
        return None
    named = ", ".join(classes[:6]) + (", …" if len(classes) > 6 else "")
    return f"{field} has {len(weights)} weights for {len(classes)} classes ({named})"
