"""What the template process loads, so that its children start with everything there."""

import torch
import torch._dynamo
import torch.optim

from harness.metrics import has_kernels
from harness.utils.libc import call_libc


def keep_freed_memory() -> None:
    """Let glibc keep what training frees instead of giving it back to the kernel after every step.

    Fetching the same pages again for every activation cost about a fifth of a small network's training time here.
    Where the C library has no `mallopt`, nothing changes.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    call_libc("mallopt", mmap_threshold, 32 * 1024**2)  # glibc's largest
    call_libc("mallopt", trim_threshold, 2**31 - 1)
    call_libc("mallopt", top_pad, 64 * 1024**2)


keep_freed_memory()
has_kernels()  # compiled here once, or read from the cache, never in a job's own time
# The pool of a template must not be copied into its children half-started.
torch.set_num_threads(1)
