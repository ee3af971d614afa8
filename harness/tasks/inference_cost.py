"""What it costs to use a network, as its process has measured it, and as the database keeps it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class InferenceCost:
    """What one forward pass of a network costs, from images of the recipe's size to logits.

    What could not be measured is None, and `problem` says why.
    """

    height: int
    width: int
    """Of the input."""
    precision: str
    """`fp32`, `bf16` or `fp16`, as the recipe predicts."""
    channels_last: bool
    """Whether the weights lie in memory channel by channel or pixel by pixel."""
    threads: int
    flops: int | None = None
    """Floating-point operations for one image; a multiplication and an addition are two."""
    latency_ms: float | None = None
    """Milliseconds for one image, the median."""
    throughput: float | None = None
    """Images a second in batches of `batch`, by the median."""
    batch: int | None = None
    """The recipe's batch, or as much of it as can be timed in a moment."""
    peak_memory: int | None = None
    """Bytes at the peak of training and scoring."""
    peak_memory_of: str = ""
    """What they are of: the allocator of a GPU, or the resident set of the network's process."""
    problem: str = ""


def cost_record(
    measured: InferenceCost | None, parameters: int | None, train_seconds: float, hardware: dict[str, Any], on_gpu: bool
) -> dict[str, Any]:
    """What the row of a run keeps.

    Args:
        measured: by the network's process; None where it could not be asked.
        parameters: of the network.
        train_seconds: what its training took.
        hardware: of the run's provenance.
        on_gpu: whether it ran on a GPU.
    """
    gpus, cores = hardware.get("gpus") or [], os.cpu_count() or 1
    return {
        **({} if measured is None else asdict(measured)),
        "parameters": parameters,
        "train_seconds": train_seconds,
        "device": "cuda" if on_gpu else "cpu",
        "hardware": gpus[0] if on_gpu and gpus else hardware.get("processor", ""),
        "load": round(os.getloadavg()[0] / cores, 2),
    }
