"""Landlock: a Linux process gives up what it will not need of files, TCP and signals, for good and for its children.

The kernel's interface: https://docs.kernel.org/userspace-api/landlock.html. Nothing here needs root. Where the kernel
has no Landlock, `version` is 0.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

# Numbers of the system calls, the same on every processor.
_CREATE, _ADD, _RESTRICT = 444, 445, 446
_PATH_BENEATH = 1
_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE = 1 << 14
_READ = _EXECUTE | _READ_FILE | _READ_DIR
# What may be done to a file; the other rights are those of folders.
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP = 0b11
_SCOPES = 0b11  # abstract Unix sockets, signals


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def _call(number: int, *arguments: object) -> int:
    """A system call.

    Raises:
        OSError: the kernel refused it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    done: int = libc.syscall(number, *arguments)
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


@cache
def version() -> int:
    """The version of Landlock that the kernel has; 0 for none."""
    if not sys.platform.startswith("linux"):
        return 0
    with contextlib.suppress(OSError):
        return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return 0


def no_new_privileges() -> bool:
    """Give up what setuid programs would give; returns whether the kernel did it."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None).prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def restrict(readable: Iterable[Path], writable: Iterable[Path], tcp: bool) -> None:
    """Leave this process, which has one thread, these files and folders with all that is below them, and no others.

    Args:
        readable: to read and execute; what does not exist is passed over.
        writable: to read, write, create and remove.
        tcp: whether TCP connections stay allowed, where the kernel can forbid them (version 4).

    Raises:
        OSError: the kernel has no Landlock, or refused.
    """
    has = version()
    handled = _rights(has)
    ruleset = _Ruleset(handled, 0 if tcp or has < 4 else _TCP, _SCOPES if has >= 6 else 0)
    size = 24 if has >= 6 else 16 if has >= 4 else 8
    number = _call(_CREATE, ctypes.byref(ruleset), ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path in dict.fromkeys(readable):
            _allow(number, path, _READ)
        for path in dict.fromkeys(writable):
            _allow(number, path, handled)
        no_new_privileges()
        _call(_RESTRICT, number, ctypes.c_uint32(0))
    finally:
        os.close(number)


def _rights(has: int) -> int:
    """Every right over files that a version knows, but that of commands to devices, which GPUs need."""
    known = 13 + (has >= 2) + (has >= 3)
    return (1 << known) - 1


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_A_FILE
        rule = _PathBeneath(rights & _rights(version()), place)
        _call(_ADD, ruleset, ctypes.c_int(_PATH_BENEATH), ctypes.byref(rule), ctypes.c_uint32(0))
    finally:
        os.close(place)
