"""Downloads: resumed where they broke off, verified, unpacked beside their place and moved there in one step."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import socket
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from filelock import FileLock, Timeout

from harness.datasets.base import Dataset, Say, Tick
from harness.errors import DataError
from harness.utils.files import move, scratch_beside

CHUNK = 1024 * 1024
TIMEOUT_S = 30
# Where a firewall drops packets, a download would hang for minutes: the host is asked first.
CONNECT_S = 5
DOWNLOADS = ".downloads"


@dataclass(frozen=True)
class Archive:
    """A file to fetch and unpack."""

    url: str
    md5: str

    @property
    def name(self) -> str:
        """The last part of its address."""
        return Path(urllib.parse.urlsplit(self.url).path).name


def fetch_archives(
    cls: type[Dataset],
    archives: Sequence[Archive],
    inside: str,
    data_dir: Path,
    say: Say,
    tick: Tick | None,
    folder: str | None = None,
) -> Path:
    """Download and unpack a data set.

    Args:
        cls: the data set; names the folder and what to do where it cannot be had.
        archives: all of them are unpacked over one another.
        inside: the folder in them that holds the copy.
        data_dir: the data folder.
        say: told what is fetched.
        tick: told how far it is, in bytes.
        folder: where it goes under the data folder; None takes the data set's first.

    Returns:
        The folder of the copy.

    Raises:
        DataError: says what failed, and what to do. What was fetched so far is kept, and continued the next time.
    """
    place = folder or cls.folders[0]
    target, parts = data_dir / place, data_dir / DOWNLOADS / place.replace("/", "-")
    try:
        for archive in archives:
            check_host(archive.url)
        with _alone(parts, say) as waited:
            if waited and target.exists():
                return target.resolve()
            files = []
            for archive in archives:
                say(f"Downloading {archive.name} from {urllib.parse.urlsplit(archive.url).hostname}")
                files.append(fetch(archive, parts, tick))
            say(f"Unpacking {cls.info.title} to {target}")
            target.parent.mkdir(parents=True, exist_ok=True)
            with scratch_beside(target) as scratch:
                for file in files:
                    unpack(file, scratch / target.name)
                move(scratch / target.name / inside, target)
            shutil.rmtree(parts, ignore_errors=True)
    except (OSError, HTTPException, DataError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise DataError(
            f"{cls.not_found(data_dir)}\nThe download was not possible either: {error}", cls.how_to_get(data_dir)
        ) from error
    return target.resolve()


@contextlib.contextmanager
def _alone(parts: Path, say: Say) -> Iterator[bool]:
    """Have the parts of a download for this command alone; says whether another one had to be waited for."""
    parts.mkdir(parents=True, exist_ok=True)
    path = parts.parent.with_name(f".{parts.name}.lock")
    lock, waited = FileLock(path), False
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waited = True
        say("waiting  another command downloads it")
        lock.acquire()
    try:
        yield waited
    finally:
        path.unlink(missing_ok=True)  # who waits for it makes a new one
        lock.release()
        with contextlib.suppress(OSError):  # another data set's parts are there
            parts.parent.rmdir()


def check_host(url: str) -> None:
    """Find out quickly whether a host can be reached.

    Raises:
        DataError: it cannot.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https"):
        return
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
    except OSError as error:
        raise DataError(f"no connection to {parts.hostname} ({error})") from error


def fetch(archive: Archive, folder: Path, tick: Tick | None = None) -> Path:
    """Download one file, beginning where an earlier attempt broke off, and verify it.

    Args:
        archive: what to fetch.
        folder: where it goes; an unfinished file is `NAME.part` there.
        tick: told how far it is, in bytes.

    Raises:
        DataError: the server refuses, or the checksum differs; a file with another checksum is removed.
        OSError: the connection broke or the disk is full; what came so far is kept.
    """
    final = folder / archive.name
    if final.exists() and _md5(final) == archive.md5:
        return final
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{archive.name}.part"
    have = partial.stat().st_size if partial.exists() else 0
    total = 0
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            if have and answer.status != 206:  # a server that cannot continue sends everything
                have = 0
            total = have + int(answer.headers.get("Content-Length") or 0)
            with partial.open("ab" if have else "wb") as file:
                while chunk := answer.read(CHUNK):
                    file.write(chunk)
                    have += len(chunk)
                    if tick:
                        tick(f"Downloading {archive.name}", have, max(have, total))
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing is left to send
            raise DataError(f"{archive.url}: the server says {error.code} {error.reason}") from error
    if have < total:
        raise DataError(f"{archive.url}: the connection broke; run the command again to continue")
    found = _md5(partial)
    if found != archive.md5:
        partial.unlink()
        raise DataError(f"{archive.url}: the file has MD5 {found}, expected {archive.md5}; it was removed")
    move(partial, final)
    return final


def unpack(file: Path, folder: Path) -> None:
    """Unpack a tar or zip archive; names that lead out of the folder are refused."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            archive.extractall(folder)
        return
    with tarfile.open(file) as archive:
        archive.extractall(folder, filter="data")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
