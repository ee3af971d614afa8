"""What this machine has, found without starting Ray."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path


@cache
def gpu_count() -> int:
    """GPUs that torch can use here."""
    # CUDA must not be initialised in the process that later starts workers: NVML is asked instead.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    return torch.cuda.device_count()


# Where one of these is, a processor computes in bf16, or oneDNN does it for it at the speed of fp32.
BF16_FLAGS = {"avx512bw", "avx_ne_convert", "bf16"}


def imitates_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this processor computes bf16 and fp16 by plain loops: tens to hundreds of times slower than fp32.

    False where the system does not say what the processor can do. Asks no torch, which takes seconds to import.
    """
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.lower().startswith(("flags", "features"))), None)
    return flags is not None and not BF16_FLAGS & set(flags.split())
