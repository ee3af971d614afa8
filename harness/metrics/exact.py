"""Arithmetic that no order of the images can move by a bit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def mean(values: Sequence[float] | Array) -> float | None:
    """The exactly rounded mean of the defined values; None if there is none."""
    return number(exact_mean(values))


def exact_mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN, summed without rounding error; NaN if there is none."""
    defined = [float(v) for v in values if not math.isnan(v)]
    return math.fsum(defined) / len(defined) if defined else math.nan


def number(value: float) -> float | None:
    """A float for a record: None stands for NaN."""
    return None if math.isnan(value) else float(value)


def divide(numerator: Any, denominator: Any) -> Array:
    """Element-wise division; NaN where the denominator is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        top, bottom = np.asarray(numerator, dtype=np.float64), np.asarray(denominator, dtype=np.float64)
        return np.asarray(np.where(bottom == 0, np.nan, top / bottom), dtype=np.float64)


def total(values: Array) -> Array:
    """The sum along the last axis; of one row, which is a score, rounded once; of many, which are resamples, fast."""
    return np.asarray(math.fsum(values) if values.ndim == 1 else values.sum(axis=-1), dtype=np.float64)


def defined_mean(values: Array) -> Array:
    """The mean along the last axis of what is not NaN, as `total` adds; NaN of nothing."""
    defined = ~np.isnan(values)
    return divide(total(np.where(defined, values, 0.0)), defined.sum(axis=-1))
