"""An archive that a stranger wrote, unpacked into a private folder: plain files only, within limits."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.errors import BenchError
from harness.scoring.evaluate import CHECKSUMS
from harness.utils.text import plain_line

_MEGABYTE = 1_000_000
_CHUNK = 1 << 20
# What tarfile reads in one piece besides files: headers with long names.
_LARGEST_HEADER = 1 << 20
_ENTRY = re.compile(r"([0-9a-f]{64})  (.+)")


@dataclass(frozen=True)
class ArchiveLimits:
    """How much an archive may hold. Honest ones stay far below."""

    total_bytes: int = 50_000 * _MEGABYTE
    member_bytes: int = 20_000 * _MEGABYTE
    members: int = 1_000_000
    name_bytes: int = 1000
    depth: int = 16


@dataclass(frozen=True)
class Unpacked:
    """What was in an archive."""

    folder: Path
    sums: dict[str, str]
    """Name below the archive's folder -> SHA-256 of what was unpacked."""
    problems: tuple[str, ...]
    """Where that is not what its SHA256SUMS says, a line each."""


def unpack(archive: Path, folder: Path, limits: ArchiveLimits | None = None) -> Unpacked:
    """Unpack an archive into an empty folder, and compare every file with the checksums that are in it.

    Nothing but regular files is made, nothing outside the folder, and nothing that is there is written over.

    Raises:
        BenchError: it is no bundle, is damaged, or holds what no bundle holds; names it.
    """
    limits = limits or ArchiveLimits()
    sums: dict[str, str] = {}
    try:
        with archive.open("rb") as file, gzip.GzipFile(fileobj=file, mode="rb") as packed:
            reader = _Capped(packed, limits.total_bytes, archive)
            with tarfile.open(fileobj=reader, mode="r:", errors="strict") as tar:
                tops = set()
                while (member := tar.next()) is not None:
                    vars(tar)["members"].clear()  # each is looked at once, and is not kept
                    top, _, name = member.name.partition("/")
                    tops.add(top)
                    _refuse(member, name, sums, tops, limits, archive)
                    sums[name] = _write(tar, member, folder / name, archive)
    except BenchError:
        raise
    except OSError as error:
        raise BenchError(f"{archive}: cannot be unpacked: {plain_line(str(error.strerror or error))}") from error
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, RecursionError) as error:
        raise BenchError(f"{archive}: is no bundle, or is damaged: {plain_line(str(error))}") from error
    return Unpacked(folder, sums, tuple(_compare(folder, sums, archive)))


class _Capped(io.RawIOBase):
    """The unpacked archive, of which no more is read than is allowed, and nothing large in one piece."""

    def __init__(self, packed: gzip.GzipFile, most: int, archive: Path) -> None:
        self._packed, self._most, self._archive = packed, most, archive

    def read(self, size: int = -1) -> bytes:
        """Some bytes."""
        if size < 0 or size > max(_CHUNK, _LARGEST_HEADER):
            raise BenchError(f"{self._archive}: has a header of {size:,} bytes: no bundle has that")
        self._check(self._packed.tell() + size)
        return self._packed.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go forward."""
        if whence != io.SEEK_SET:
            raise ValueError("the archive contradicts itself")
        self._check(offset)
        return self._packed.seek(offset)

    def tell(self) -> int:
        """Where it is."""
        return self._packed.tell()

    def _check(self, offset: int) -> None:
        if offset > self._most:
            raise BenchError(
                f"{self._archive}: unpacks to more than {self._most / _MEGABYTE:,.0f} MB", "Raise --limit."
            )


def _refuse(
    member: tarfile.TarInfo, name: str, sums: dict[str, str], tops: set[str], limits: ArchiveLimits, archive: Path
) -> None:
    """Refuse what no bundle holds.

    Raises:
        BenchError: names it.
    """
    shown = f"{archive}: {plain_line(member.name)!r}"
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or member.issparse():
        raise BenchError(f"{shown} is no regular file: no bundle holds links, folders or devices")
    parts = member.name.split("/")
    odd = any(part in ("", ".", "..") or "\\" in part or not _plain(part) for part in parts)
    if odd or not name or len(parts) > limits.depth or len(member.name.encode()) > limits.name_bytes:
        raise BenchError(f"{shown} is no plain path in one folder")
    if len(tops) > 1:
        raise BenchError(f"{shown} is in another folder than what stands before it")
    if name in sums:
        raise BenchError(f"{shown} is there twice")
    if len(sums) >= limits.members:
        raise BenchError(f"{archive}: has more than {limits.members:,} files")
    if not 0 <= member.size <= limits.member_bytes:
        raise BenchError(f"{shown} has {member.size:,} bytes: no bundle has that")


def _plain(part: str) -> bool:
    return plain_line(part) == part and len(part.encode("utf-8", "surrogatepass")) <= 255


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, archive: Path) -> str:
    """Write a member to a place where nothing is; returns the SHA-256 of what was written."""
    source: IO[bytes] | None = tar.extractfile(member)
    if source is None:
        raise ValueError(f"{member.name} cannot be read")
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), member.size
    with target.open("xb") as file:
        while left:
            chunk = source.read(min(left, _CHUNK))
            if not chunk:
                raise ValueError("it ends too early")
            file.write(chunk)
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()


def _compare(folder: Path, sums: dict[str, str], archive: Path) -> list[str]:
    """Where the files are not those that the archive's list of checksums names."""
    if CHECKSUMS not in sums:
        raise BenchError(f"{archive}: is no bundle: it has no {CHECKSUMS}")
    listed: dict[str, str] = {}
    for line in (folder / CHECKSUMS).read_text(encoding="utf-8", errors="replace").split("\n"):
        if line:
            match = _ENTRY.fullmatch(line)
            if match is None or match[2] in listed:
                raise BenchError(f"{archive}: its {CHECKSUMS} is no list of checksums: {plain_line(line)!r}")
            listed[match[2]] = match[1]
    problems = [f"{plain_line(name)} is missing" for name in listed if name not in sums]
    problems += [f"{plain_line(name)} is not in {CHECKSUMS}" for name in sums if name not in listed | {CHECKSUMS: ""}]
    changed = [name for name, digest in listed.items() if name in sums and sums[name] != digest]
    return [*problems, *(f"{plain_line(name)} is not what its checksum says" for name in changed)]
