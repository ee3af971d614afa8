"""What Python has no words for: calls of the C library."""

from __future__ import annotations

import contextlib
import ctypes


def call_libc(name: str, *numbers: int) -> None:
    """Call a function of the C library; where it has none of that name, nothing happens."""
    with contextlib.suppress(OSError, AttributeError):
        getattr(ctypes.CDLL(None), name)(*numbers)
