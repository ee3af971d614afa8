"""Whom a running row belongs to: a command that is alive.

A command says now and then that it is alive. On its own machine more is known: whether its process is there, by number
and time of start. Containers that share a name have namespaces of their own, where a number says nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from functools import cache
from pathlib import Path

import psutil

# A row whose command has been silent for so long belongs to nobody, where nothing better is known.
LEASE_S = 120.0
# Seconds by which a process's time of start may seem to move when the clock is set.
START_TOLERANCE_S = 5.0


@cache
def _namespace() -> str:
    """What tells the process numbers of this machine, since it was started, and of this container from any others."""
    found = []
    with contextlib.suppress(OSError):
        found.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with contextlib.suppress(OSError):
        found.append(str(Path("/proc/self/ns/pid").readlink()))
    return hashlib.sha256(" ".join(found).encode()).hexdigest()[:12] if found else ""


def this_driver() -> str:
    """What the rows of this process are marked with."""
    started = psutil.Process().create_time()
    return f"{socket.gethostname()}:{os.getpid()}:{started:.2f}:{_namespace()}"


def is_gone(driver: str | None, heartbeat: float | None, now: float) -> bool:
    """Whether nobody works on a running row any more.

    Args:
        driver: what it is marked with.
        heartbeat: when that command last said it is alive, in seconds since 1970.
        now: the same by the same clock.
    """
    if driver is None or heartbeat is None:
        return True
    mark = driver.split(":")
    if len(mark) == 4 and (mark[0], mark[3]) == (socket.gethostname(), _namespace()):
        return not _lives(int(mark[1]), float(mark[2]))
    return now - heartbeat > LEASE_S


def _lives(number: int, started: float) -> bool:
    try:
        process = psutil.Process(number)
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < START_TOLERANCE_S
    except psutil.NoSuchProcess:
        return False
    except psutil.Error:
        return True
