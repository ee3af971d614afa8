"""Decoded samples in memory-mapped files, made once on a machine and shared by every job there.

A cache is called by what is in it: the files' hashes and the reader. It is built beside its place, under a lock, and
moved there whole; pages of it that several jobs read are in memory once. Images and the masks of each split are files
of their own, so that the process of a network can be given those it may see. They are read-only, and one that is not
what was written is made anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from harness.datasets.base import SPLITS, CountTick, Dataset, Sample, open_header
from harness.errors import BenchError
from harness.utils.caches import caches_home
from harness.utils.environment import setting
from harness.utils.files import new_folder, remove_leftovers
from harness.utils.json_cache import JsonCache
from harness.utils.parallel import in_order

# Raised whenever the file's layout or a reader's output changes.
LAYOUT_VERSION = 2
IMAGES, MASKS, INDEX, USED = "images.bin", "masks-{}.bin", "index.json", "used"
# All caches together may take so much; SEGBENCH_CACHE_GB sets another limit, 0 turns them off.
LIMIT_GB = 100.0
# What a build leaves free on the disk, as a share of it.
KEEP_FREE = 0.05


class NoCache(Exception):
    """There is no room for the cache; the message says what was wanted and what there is."""


class DecodedStore:
    """A finished cache, opened for reading.

    Args:
        folder: of the cache.
        splits: whose masks are opened; the images of all splits always are.
    """

    def __init__(self, folder: Path, splits: Sequence[str] = SPLITS) -> None:
        self.folder = folder
        self.splits = tuple(splits)
        index = json.loads((folder / INDEX).read_text())
        # id -> offset, height, width; and for each split: id -> offset, whether there is a valid region.
        self._images: dict[str, list[int]] = index["images"]
        self._masks: dict[str, dict[str, list[int]]] = {split: index["masks"][split] for split in splits}
        self._files = {path.name: _opened(path) for path in self.files}

    @property
    def files(self) -> list[Path]:
        """The files that are opened."""
        return [self.folder / name for name in (IMAGES, *(MASKS.format(split) for split in self.splits))]

    def __len__(self) -> int:
        return len(self._images)

    def __contains__(self, image_id: str) -> bool:
        return image_id in self._images

    def image(self, image_id: str) -> NDArray[np.uint8]:
        """An image (H, W, 3) as a view into the file."""
        offset, height, width = self._images[image_id]
        found: NDArray[np.uint8] = self._files[IMAGES][offset : offset + 3 * height * width]
        return found.reshape(height, width, 3)

    def get(self, image_id: str) -> Sample:
        """A sample as views into the files.

        Raises:
            KeyError: its mask is in none of the splits that are open.
        """
        _, height, width = self._images[image_id]
        split = next((split for split in self.splits if image_id in self._masks[split]), None)
        if split is None:
            raise KeyError(f"the mask of {image_id} is not open here")
        offset, has_valid = self._masks[split][image_id]
        data, pixels = self._files[MASKS.format(split)], height * width
        mask = data[offset : offset + pixels].reshape(height, width)
        valid: NDArray[np.bool_] | None = None
        if has_valid:
            valid = data[offset + pixels : offset + 2 * pixels].view(np.bool_).reshape(height, width)
        return Sample(self.image(image_id), mask, valid)


def _opened(path: Path) -> NDArray[np.uint8]:
    if not path.stat().st_size:  # a split without an image
        return np.zeros(0, dtype=np.uint8)
    # Copy-on-write: what a transform would change by mistake, it changes for itself alone.
    return np.memmap(path, dtype=np.uint8, mode="c")


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
    if not is_sound(folder):
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
        if is_sound(folder):
            return
        ids = list(dict.fromkeys(i for split in SPLITS for i in dataset.ids(split)))
        remove_leftovers(folder)  # of a build that was killed: the lock is ours
        make_room(expected_bytes(dataset, ids), folder.parent)
        with new_folder(folder, overwrite=True) as new:
            _write(dataset, ids, new, threads, tick)
        _remember(folder)
    finally:
        lock.release()


def is_sound(folder: Path) -> bool:
    """Whether a cache is there and holds what was written: its files are hashed again when they may have changed."""
    try:
        index = json.loads((folder / INDEX).read_text())
        if _memory().get(str(folder)) == _state(folder):
            return True
        if index.pop("sha256") != _index_digest(index):
            return False
        for name, digest in index["files"].items():
            with (folder / name).open("rb") as file:
                if file_digest(file, "sha256").hexdigest() != digest:
                    return False
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    _remember(folder)
    return True


def _memory() -> JsonCache:
    """Which caches were sound when they were last looked at, by the state of their files."""
    return JsonCache("decoded.json")


def _remember(folder: Path) -> None:
    memory = _memory()
    memory.put(str(folder), _state(folder))
    memory.save()


def _state(folder: Path) -> list[list[Any]]:
    """What changes when a file does, also where somebody sets its time of change back."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name != USED:
            stat = path.stat()
            found.append([path.name, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino])
    return found


def _write(dataset: Dataset, ids: Sequence[str], folder: Path, threads: int, tick: CountTick) -> None:
    """Write the files of a new cache, then forbid to write them."""
    of_split = {split: set(dataset.ids(split)) for split in SPLITS}
    images: dict[str, list[int]] = {}
    masks: dict[str, dict[str, list[int]]] = {split: {} for split in SPLITS}
    with contextlib.ExitStack() as stack:
        pictures = _HashedFile(stack.enter_context((folder / IMAGES).open("wb")))
        labels = {s: _HashedFile(stack.enter_context((folder / MASKS.format(s)).open("wb"))) for s in SPLITS}
        for done, (image_id, sample) in enumerate(zip(ids, in_order(dataset.read, ids, threads), strict=True)):
            images[image_id] = [pictures.write(sample.image), *sample.mask.shape]
            for split in SPLITS:
                if image_id in of_split[split]:
                    masks[split][image_id] = [labels[split].write(sample.mask), int(sample.valid is not None)]
                    if sample.valid is not None:
                        labels[split].write(sample.valid)
            tick(done + 1, len(ids))
    files = {IMAGES: pictures.digest} | {MASKS.format(split): file.digest for split, file in labels.items()}
    (folder / USED).touch()
    index = {"images": images, "masks": masks, "files": files}
    (folder / INDEX).write_text(json.dumps(index | {"sha256": _index_digest(index)}))
    for name in (*files, INDEX):
        (folder / name).chmod(0o444)


def _index_digest(index: dict[str, Any]) -> str:
    return sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


class _HashedFile:
    """A file that arrays are appended to, and the SHA-256 of what is in it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self._offset = file, sha256(), 0

    def write(self, array: NDArray[Any]) -> int:
        """Append an array's bytes; returns where they begin."""
        data, offset = np.ascontiguousarray(array).tobytes(), self._offset
        self._file.write(data)
        self._hash.update(data)
        self._offset += len(data)
        return offset

    @property
    def digest(self) -> str:
        return self._hash.hexdigest()


def expected_bytes(dataset: Dataset, ids: Sequence[str]) -> int:
    """About what the decoded samples take, from the images' headers."""
    total = 0
    for image_id in ids:
        with open_header(dataset.files(image_id).image) as image:
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
    sizes = {path: sum(file.stat().st_size for file in path.glob("*.bin")) for path in others}
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
