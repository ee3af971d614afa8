"""What a trained network's forward pass costs on the device that it is on: operations, latency, throughput, memory."""

from __future__ import annotations

import contextlib
import copy
import random
import resource
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness.config.recipe import Recipe
from harness.scoring.predict import forward
from harness.tasks.inference_cost import InferenceCost
from harness.training.timing import median_seconds, seconds_of

# Seconds for which latency and throughput are timed, each, and the most passes that count.
ENOUGH_S, MOST_PASSES = 1.0, 20


def inference_cost(model: nn.Module, recipe: Recipe, channels: int, stride: int, goes_on: bool = True) -> InferenceCost:
    """Measure a network; no random number is touched.

    Where a pass takes longer than `ENOUGH_S`, the first counts and is the only one, and batches are as large as can be
    timed in that time: it takes a moment also on a processor.

    Args:
        model: the network, where its predictions are made.
        recipe: says size, batch and precision.
        channels: K of the logits.
        stride: the network's stride.
        goes_on: whether more is done with the network: then a copy is measured, whatever its forward changes in it. It
            takes memory, which a network that is done with must not need.
    """
    device = next(model.parameters()).device
    height, width = recipe.size
    memory, memory_of = peak_memory(device)
    known = InferenceCost(
        height=height,
        width=width,
        precision=recipe.precision,
        channels_last=_is_channels_last(model),
        threads=torch.get_num_threads(),
        peak_memory=memory,
        peak_memory_of=memory_of,
    )
    try:
        with same_random_numbers(device), torch.inference_mode():
            one = (copy.deepcopy(model) if goes_on else model).eval()
            images = torch.zeros((recipe.batch_size, 3, height, width), dtype=torch.uint8, device=device)
            images += torch.arange(256, dtype=torch.uint8, device=device).repeat(width // 256 + 1)[:width]

            def passes(batch: int) -> Callable[[], object]:
                return lambda: forward(one, images[:batch], recipe, channels, stride)

            flops, first = _operations(passes(1), device)
            latency = first if first > ENOUGH_S else _median_seconds(passes(1), device)
            batch = max(1, min(recipe.batch_size, int(ENOUGH_S / latency)))
            whole = latency if batch == 1 else _median_seconds(passes(batch), device)
    except Exception as error:  # noqa: BLE001 (a stranger's network may raise anything; its scores stand)
        return replace(known, problem=f"{type(error).__name__}: {error}"[:200])
    finally:
        if device.type == "cuda":
            torch.cuda.empty_cache()
    return replace(known, flops=flops, latency_ms=1e3 * latency, throughput=batch / whole, batch=batch)


def _operations(work: Callable[[], object], device: torch.device) -> tuple[int | None, float]:
    """Floating-point operations of a pass, and the seconds of one that warms up."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops() or None, seconds_of(work, device)


def _median_seconds(work: Callable[[], object], device: torch.device) -> float:
    """The median of passes that take `ENOUGH_S` together, or `MOST_PASSES`, after one that does not count."""
    return median_seconds(work, device, long_s=ENOUGH_S, enough_s=ENOUGH_S, most=MOST_PASSES)


def peak_memory(device: torch.device) -> tuple[int, str]:
    """Bytes at the peak so far, and what they are of."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device), "the GPU's allocator"
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "resident set of the network's process"


def _is_channels_last(model: nn.Module) -> bool:
    """Whether some weight of a convolution lies so, and could lie otherwise."""
    return any(
        p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous()
        for p in model.parameters()
        if p.ndim == 4
    )


@contextlib.contextmanager
def same_random_numbers(device: torch.device) -> Iterator[None]:
    """Afterwards every generator is where it was."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (strangers' networks may use it)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
