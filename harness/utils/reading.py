"""Texts that others wrote: read from regular files alone, up to a size that such a text may have."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# Bytes of a text that people write: a suite, a definition, a list, a network's source.
LONGEST = 16 * 1024**2


class CannotRead(ValueError):
    """Why a file is not read, in words that go after its name."""


def read_text(path: Path, limit: int = LONGEST) -> str:
    """The text of a file (UTF-8, with or without a mark in front); every line ends in a line feed.

    Args:
        path: a regular file: reading a pipe or a device might never end.
        limit: bytes that it may have.

    Raises:
        CannotRead: it is not there or no such file, is longer, or is no UTF-8.
    """
    try:
        # Opening a pipe for reading waits for a writer, unless it is told not to.
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise CannotRead("is no regular file")
            data = file.read(limit + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, CannotRead):
            raise
        raise CannotRead(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:
        raise CannotRead(f"is longer than {limit:,} bytes")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise CannotRead(f"is no UTF-8 (line {line})") from error
