"""Columns of numbers as few bytes: each in the smallest type, its bytes by significance, compressed by what is best.

A packed file is a head (JSON that names the columns) and the columns one after another. It is the same for the same
values, and holds no objects: reading it runs nothing.
"""

from __future__ import annotations

import json
import lzma
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGIC = b"segbench-columns\n"
# Bytes that the columns of one file may have unpacked; a made-up file could else fill the memory.
LARGEST = 2**31
# LZMA takes ten times as long to read as deflate: it has to be this much smaller.
_WORTH = 0.85

_TYPES = ("<u1", "<i1", "<u2", "<i2", "<u4", "<i4", "<i8", "<f8")
_INTEGERS = _TYPES[:-1]
_FILTERS: list[dict[str, Any]] = [
    {"id": lzma.FILTER_LZMA2, "dict_size": 2**20, "lc": 3, "lp": 0, "pb": 0, "nice_len": 64}
]
# What damaged bytes raise.
_DAMAGED = (zlib.error, lzma.LZMAError, TypeError, KeyError, IndexError, AttributeError, ValueError, RecursionError)
_CODINGS = ("stored", "deflate", "lzma")


@dataclass(frozen=True)
class _Column:
    """What the head says of a column."""

    name: str
    type: int
    """Which of `_TYPES`."""
    length: int
    coding: int
    """Which of `_CODINGS`."""
    size: int
    """Bytes in the file."""


def pack(columns: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> bytes:
    """One-dimensional columns of whole or floating-point numbers as a file.

    Args:
        columns: by name; whole numbers take the smallest type that holds them.
        facts: more to keep in the head, as JSON.
    """
    head, parts = [], []
    for name, values in columns.items():
        column = _narrow(values)
        coding, data = _smallest(_by_significance(column))
        head.append([name, _TYPES.index(column.dtype.str.replace("|", "<")), len(column), coding, len(data)])
        parts.append(data)
    said = zlib.compress(json.dumps({"columns": head, **facts}, separators=(",", ":")).encode(), 9)
    return b"".join([MAGIC, len(said).to_bytes(4, "little"), said, *parts])


def unpack(data: bytes, most: int = LARGEST) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """The columns and facts that `pack` was given; whole numbers are int64.

    Args:
        data: what `pack` gave.
        most: bytes that the columns may have unpacked; nothing is unpacked before that is known.

    Raises:
        ValueError: the bytes are something else or damaged, or the columns larger.
    """
    if not data.startswith(MAGIC):
        raise ValueError("these are no packed columns")
    try:
        place = len(MAGIC) + 4
        end = place + int.from_bytes(data[len(MAGIC) : place], "little")
        facts = json.loads(_inflated(data[place:end], 2**24))
        found: dict[str, NDArray[Any]] = {}
        head = [_Column(*one) for one in facts.pop("columns")]
        if any(min(one.length, one.size) < 0 for one in head) or sum(8 * one.length for one in head) > most:
            raise ValueError("too many values")
        for column in head:
            kind = np.dtype(_TYPES[column.type])
            start, end = end, end + column.size
            raw = _decoded(column, data[start:end], column.length * kind.itemsize)
            planes = np.frombuffer(raw, dtype=np.uint8).reshape(kind.itemsize, column.length)
            values = np.ascontiguousarray(planes.T).view(kind).reshape(column.length)
            found[column.name] = values.astype(np.float64 if kind.kind == "f" else np.int64)
        if end != len(data):
            raise ValueError("bytes are missing or left over")
    except _DAMAGED as error:
        raise ValueError(f"damaged columns: {error}") from None
    return found, facts


def _narrow(values: NDArray[Any]) -> NDArray[Any]:
    if values.dtype.kind == "f":
        return values.astype("<f8")
    low, high = (int(values.min()), int(values.max())) if len(values) else (0, 0)
    fitting = (kind for kind in _INTEGERS if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fitting))


def _by_significance(column: NDArray[Any]) -> bytes:
    """The lowest bytes of all values, then the next ones: alike stands beside alike."""
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), -1).T.tobytes() if len(column) else b""


def _smallest(data: bytes) -> tuple[int, bytes]:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    deflated = deflate.compress(data) + deflate.flush()
    packed = lzma.compress(data, lzma.FORMAT_RAW, filters=_FILTERS)
    if len(packed) < _WORTH * min(len(deflated), len(data)):
        return 2, packed
    return (1, deflated) if len(deflated) < len(data) else (0, data)


def _decoded(column: _Column, data: bytes, size: int) -> bytes:
    coding = _CODINGS[column.coding]
    if coding == "deflate":
        found = _inflated(data, size, raw=True)
    elif coding == "lzma":
        found = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=_FILTERS).decompress(data, max(size, 1))
    else:
        found = data
    if len(found) != size:
        raise ValueError(f"{column.name} has {len(found)} bytes, not {size}")
    return found


def _inflated(data: bytes, limit: int, raw: bool = False) -> bytes:
    # One byte more than may come: a longer stream is noticed and not unpacked.
    return zlib.decompressobj(-15 if raw else 15).decompress(data, limit + 1)
