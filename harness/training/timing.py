"""How long a piece of work takes on the device that it runs on."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call, up to the end of all that it has given to the GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    began = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began


def median_seconds(
    work: Callable[[], object], device: torch.device, *, long_s: float, enough_s: float, most: int
) -> float:
    """The median of a few calls after one that warms up, or that one where it was long.

    Args:
        work: what is timed.
        device: where it computes.
        long_s: a first call that takes longer than this is the only one.
        enough_s: calls that count take so long together,
        most: and are no more than this.
    """
    first = seconds_of(work, device)
    if first > long_s:
        return first
    spent: list[float] = []
    while not spent or (sum(spent) < enough_s and len(spent) < most):
        spent.append(seconds_of(work, device))
    return statistics.median(spent)
