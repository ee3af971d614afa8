"""Starting CUDA in the process of a network."""

from __future__ import annotations

import torch

from harness.errors import BenchError
from harness.utils.text import plain_line


def start_cuda() -> None:
    """Start CUDA, so that a failure is told as what it is.

    Raises:
        BenchError: it does not start; with what to try.
    """
    try:
        torch.cuda.init()
    except (AssertionError, RuntimeError) as error:  # the first from a build without CUDA
        raise BenchError(
            f"CUDA does not start in the process of this network: {plain_line(str(error))}",
            "Where `bench doctor` sees the GPU, it is the isolation that holds CUDA: try SEGBENCH_ISOLATION=off.",
        ) from error
