"""Names -> data sets; where copies are looked for; the manifest of a copy, checked once."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from platformdirs import user_cache_path

from harness.datasets.base import SPLITS, Dataset, Manifest, Say
from harness.datasets.drive import Drive
from harness.datasets.horse import WeizmannHorse
from harness.datasets.shapes import Shapes
from harness.datasets.voc import Voc
from harness.errors import DataError, UnknownName

# (done, of how many)
Tick = Callable[[int, int], None]

_CLASSES: dict[str, type[Dataset]] = {cls.info.name: cls for cls in (Shapes, WeizmannHorse, Drive, Voc)}


def dataset_names() -> list[str]:
    """The data sets there are."""
    return list(_CLASSES)


def dataset_class(name: str) -> type[Dataset]:
    """The reader of a data set.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in _CLASSES:
        raise UnknownName.of("data set", name, _CLASSES, "bench datasets")
    return _CLASSES[name]


def data_dir(given: str | Path | None = None) -> Path:
    """The folder copies are looked for in: `--data-dir`, else BENCH_DATA, else ./data.

    Raises:
        DataError: a folder was named that does not exist.
    """
    named = given or os.environ.get("BENCH_DATA")
    if not named:
        return Path("data").resolve()
    path = Path(named).expanduser().resolve()
    if not path.is_dir():
        source = "--data-dir" if given else "BENCH_DATA"
        raise DataError(f"{source} {path}: there is no such folder")
    return path


def find_copy(name: str, folder: Path) -> Path | None:
    """The folder of a copy, or None. What the project makes itself stands in ./data, never beside a user's own."""
    cls = dataset_class(name)
    return cls.find(Path("data").resolve() if cls.generated else folder)


def open_dataset(name: str, variant: str | None, folder: Path, say: Say | None = None, obtain: bool = True) -> Dataset:
    """Open a copy, after downloading or making it where that is possible.

    Args:
        name: a data set.
        variant: a data variant; None takes the default.
        folder: the data folder.
        say: told, in a line, of anything that takes time.
        obtain: whether to download or make what is not there.

    Raises:
        DataError: no copy is there and none can be had.
    """
    cls = dataset_class(name)
    root = find_copy(name, folder)
    if cls.generated:
        folder = Path("data").resolve()
    if root is None:
        if not obtain:
            raise DataError(cls.not_found(folder), cls.how_to_get(folder))
        root = cls.obtain(folder, say or (lambda _: None))
    return cls(root, variant)


def manifest_of(dataset: Dataset, tick: Tick | None = None) -> Manifest:
    """The manifest of a copy, every sample of which has been decoded and checked once.

    Hashes are remembered by path, size and time of change in the user's cache, so that an unchanged copy costs
    one `stat` a file.

    Raises:
        DataError: samples are missing, corrupt or mismatched; names up to ten files.
    """
    wanted = {split: dataset.ids(split) for split in SPLITS}
    unique = list(dict.fromkeys(i for ids in wanted.values() for i in ids))
    memory = _Memory(dataset)
    done = 0
    entries, problems = {}, []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for image_id, (entry, problem) in zip(
            unique, pool.map(lambda i: _entry(dataset, i, memory), unique), strict=True
        ):
            entries[image_id] = entry
            problems += [problem] if problem else []
            done += 1
            if tick:
                tick(done, len(unique))
    memory.save()
    if problems:
        more = f"\n… and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError("\n".join(problems[:10]) + more, f"Mend or replace the copy at {dataset.root}.")
    return Manifest({split: {i: entries[i] for i in ids} for split, ids in wanted.items()})


def _entry(dataset: Dataset, image_id: str, memory: _Memory) -> tuple[list[tuple[str, int, str]], str | None]:
    """The manifest entry of one sample, and what is wrong with it."""
    files = dataset.files(image_id)
    found, fresh = [], False
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            return [], f"{path}: this file is missing"
        name = path.relative_to(dataset.root).as_posix()
        digest = memory.get(name, stat.st_size, stat.st_mtime_ns)
        if digest is None:
            fresh = True
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append((name, stat.st_size, digest))
    if fresh:
        try:
            dataset.read(image_id)
        except DataError as error:
            return [], error.message
        for path, (name, size, digest) in zip(files, found, strict=True):
            memory.put(name, size, path.stat().st_mtime_ns, digest)
    return found, None


class _Memory:
    """Hashes of files that were decoded and found sound, kept between commands."""

    def __init__(self, dataset: Dataset) -> None:
        key = hashlib.sha256(f"{type(dataset).__name__}:{dataset.root}".encode()).hexdigest()[:16]
        self.path = user_cache_path("segbench") / "manifests" / f"{dataset.info.name}-{key}.json"
        self._known: dict[str, list[int | str]] = {}
        self._changed = False
        # Nothing remembered, or not readable: everything is checked again.
        with contextlib.suppress(OSError, ValueError):
            self._known = json.loads(self.path.read_text())

    def get(self, name: str, size: int, mtime: int) -> str | None:
        entry = self._known.get(name)
        return str(entry[2]) if entry and entry[:2] == [size, mtime] else None

    def put(self, name: str, size: int, mtime: int, digest: str) -> None:
        self._known[name] = [size, mtime, digest]
        self._changed = True

    def save(self) -> None:
        """Write beside, then replace; a cache that cannot be written only costs time."""
        if not self._changed:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self.path.parent, delete=False) as file:
                json.dump(self._known, file)
            Path(file.name).replace(self.path)
        except OSError:
            return
