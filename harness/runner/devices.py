"""What this machine has, found without starting Ray."""

from __future__ import annotations

import os
from functools import cache


@cache
def gpu_count() -> int:
    """GPUs that torch can use here."""
    # CUDA must not be initialised in the process that later starts workers: NVML is asked instead.
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    import torch

    return torch.cuda.device_count()
