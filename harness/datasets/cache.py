"""Decoded samples in a memory-mapped file, made once on a machine and shared by every job there.

A cache is called by what is in it: the files' hashes and the reader. It is built beside its place, under a lock, and
moved there whole; pages of it that several jobs read are in memory once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.base import CountTick, Dataset, Sample
from harness.errors import BenchError
from harness.utils.caches import caches_home
from harness.utils.environment import setting
from harness.utils.files import new_folder, remove_leftovers
from harness.utils.parallel import in_order

# Raised whenever the file's layout or a reader's output changes.
LAYOUT_VERSION = 1
SAMPLES, INDEX, USED = "samples.bin", "index.json", "used"
# All caches together may take so much; SEGBENCH_CACHE_GB sets another limit, 0 turns them off.
LIMIT_GB = 100.0
# What a build leaves free on the disk, as a share of it.
KEEP_FREE = 0.05


class NoCache(Exception):
    """There is no room for the cache; the message says what was wanted and what there is."""


@dataclass(frozen=True)
class _Place:
    """Where a sample lies in the file: image (H, W, 3), mask (H, W), and the valid region (H, W) where there is one."""

    offset: int
    height: int
    width: int
    has_valid: bool

    @property
    def bytes(self) -> int:
        return self.height * self.width * (5 if self.has_valid else 4)


class DecodedStore:
    """A finished cache, opened for reading.

    Args:
        folder: of the cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = json.loads((folder / INDEX).read_text())
        self._places = {image_id: _Place(*place) for image_id, place in index.items()}
        # Copy-on-write: what a transform would change by mistake, it changes for itself alone.
        self._data = np.memmap(folder / SAMPLES, dtype=np.uint8, mode="c")

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._places

    def get(self, image_id: str) -> Sample:
        """A sample as views into the file."""
        place = self._places[image_id]
        pixels = place.height * place.width
        start = place.offset
        image = self._data[start : start + 3 * pixels].reshape(place.height, place.width, 3)
        mask = self._data[start + 3 * pixels : start + 4 * pixels].reshape(place.height, place.width)
        valid: NDArray[np.bool_] | None = None
        if place.has_valid:
            flags = self._data[start + 4 * pixels : start + 5 * pixels].view(np.bool_)
            valid = flags.reshape(place.height, place.width)
        return Sample(image, mask, valid)


def caches_folder() -> Path:
    """Where decoded data are."""
    return caches_home() / "decoded"


def limit_bytes() -> float:
    """What all caches together may take.

    Raises:
        BenchError: SEGBENCH_CACHE_GB is no number.
    """
    given = setting("SEGBENCH_CACHE_GB")
    try:
        return float(given or LIMIT_GB) * 1e9
    except ValueError as error:
        raise BenchError(f"SEGBENCH_CACHE_GB={given}: write gigabytes, such as 50; 0 turns the cache off") from error


def decoded_store(
    dataset: Dataset,
    content: str,
    threads: int,
    tick: CountTick = lambda done, total: None,
    waiting: Callable[[], None] = lambda: None,
) -> DecodedStore:
    """Open the cache of a data set, after building it where nobody has.

    Args:
        dataset: the copy.
        content: SHA-256 over the files of all its samples.
        threads: samples decoded at once.
        tick: told how many are decoded, of how many.
        waiting: called about once a second while another job builds it; may raise.

    Raises:
        NoCache: there is no room.
    """
    name = sha256(f"{LAYOUT_VERSION}:{dataset.info.name}:{dataset.reading()}:{content}".encode()).hexdigest()[:24]
    folder = caches_folder() / f"{dataset.info.name}-{name}"
    if not (folder / INDEX).exists():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            _build_once(dataset, folder, threads, tick, waiting)
        except OSError as error:
            raise NoCache(f"{folder.parent}: {error.strerror or error}") from error
    with contextlib.suppress(OSError):  # a cache that only others may write is as good
        os.utime(folder / USED)
    return DecodedStore(folder)


def _build_once(dataset: Dataset, folder: Path, threads: int, tick: CountTick, waiting: Callable[[], None]) -> None:
    """Build under a lock; whoever comes second finds it built."""
    lock = FileLock(f"{folder}.lock")
    while True:
        try:
            lock.acquire(timeout=1)
            break
        except Timeout:
            waiting()
    try:
        if (folder / INDEX).exists():
            return
        ids = list(dict.fromkeys(i for split in ("train", "val", "test") for i in dataset.ids(split)))
        remove_leftovers(folder)  # of a build that was killed: the lock is ours
        make_room(expected_bytes(dataset, ids), folder.parent)
        with new_folder(folder) as new:
            _write(dataset, ids, new, threads, tick)
    finally:
        lock.release()


def _write(dataset: Dataset, ids: Sequence[str], folder: Path, threads: int, tick: CountTick) -> None:
    index: dict[str, list[int | bool]] = {}
    offset = 0
    with (folder / SAMPLES).open("wb") as file:
        for done, (image_id, sample) in enumerate(zip(ids, in_order(dataset.read, ids, threads), strict=True)):
            height, width = sample.mask.shape
            place = _Place(offset, height, width, sample.valid is not None)
            for part in (sample.image, sample.mask, sample.valid):
                if part is not None:
                    file.write(np.ascontiguousarray(part).tobytes())
            index[image_id] = [place.offset, place.height, place.width, place.has_valid]
            offset += place.bytes
            tick(done + 1, len(ids))
    (folder / USED).touch()
    (folder / INDEX).write_text(json.dumps(index))


def expected_bytes(dataset: Dataset, ids: Sequence[str]) -> int:
    """About what the decoded samples take, from the images' headers."""
    total = 0
    for image_id in ids:
        with Image.open(dataset.files(image_id).image) as image:
            total += image.width * image.height * (5 if dataset.files(image_id).valid else 4)
    return total


def make_room(wanted: int, parent: Path) -> None:
    """Remove the caches used longest ago until another fits.

    Raises:
        NoCache: it does not fit into the limit or onto the disk, whatever is removed.
    """
    limit = limit_bytes()
    disk = shutil.disk_usage(parent)
    others = sorted((path for path in parent.iterdir() if (path / INDEX).exists()), key=_last_use)
    sizes = {path: (path / SAMPLES).stat().st_size for path in others}
    room = min(limit, disk.free - KEEP_FREE * disk.total + sum(sizes.values()))
    if wanted > room:
        raise NoCache(
            f"decoded, the data take {wanted / 1e9:.2f} GB; {max(0.0, room) / 1e9:.2f} GB may be used at {parent} "
            f"(SEGBENCH_CACHE_DIR names another place, SEGBENCH_CACHE_GB another limit)"
        )
    held, free = sum(sizes.values()), disk.free - KEEP_FREE * disk.total
    for path in others:
        if held + wanted <= limit and wanted <= free:
            return
        # A job that has it open keeps what it has mapped.
        shutil.rmtree(path, ignore_errors=True)
        held, free = held - sizes[path], free + sizes[path]


def _last_use(folder: Path) -> float:
    try:
        return (folder / USED).stat().st_mtime
    except OSError:
        return time.time()
