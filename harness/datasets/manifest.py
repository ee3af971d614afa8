"""The manifest of a copy, every file of which was opened and found sound once."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor

from harness.datasets.base import SPLITS, CountTick, Dataset, Manifest
from harness.datasets.checkup import check_lists, check_void, look
from harness.errors import DataError
from harness.utils.json_cache import JsonCache


def manifest_of(dataset: Dataset, tick: CountTick | None = None) -> Manifest:
    """The manifest of a copy, every sample of which has been decoded and checked once, as `bench check-data` does.

    Hashes are remembered by path, size, times of change and inode in the user's cache, so that an unchanged copy costs
    one `stat` a file.

    Raises:
        DataError: samples are missing, corrupt or mismatched, or an image is in two splits; names up to ten.
    """
    wanted = {split: dataset.ids(split) for split in SPLITS}
    unique = list(dict.fromkeys(i for ids in wanted.values() for i in ids))
    memory = _Memory(dataset)
    done = 0
    entries: dict[str, list[tuple[str, int, str]]] = {}
    findings = (*check_lists(dataset), *check_void(dataset))
    problems = [finding.message for finding in findings if finding.severity == "error"]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for image_id, (entry, found) in zip(
            unique, pool.map(lambda i: _entry(dataset, i, memory), unique), strict=True
        ):
            entries[image_id] = entry
            problems += found
            done += 1
            if tick:
                tick(done, len(unique))
    memory.save()
    problems += _same_files(wanted, entries)
    if problems:
        more = f"\n… and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError(
            "\n".join(problems[:10]) + more,
            f"Repair or replace the copy at {dataset.root}; `bench check-data` says everything that is wrong.",
        )
    return Manifest({split: {i: entries[i] for i in ids} for split, ids in wanted.items()})


def _same_files(wanted: dict[str, list[str]], entries: dict[str, list[tuple[str, int, str]]]) -> list[str]:
    """Training images that are scored as well, under another id."""
    trained = {entries[i][0][2]: i for i in wanted["train"] if entries[i]}
    return [
        f"{entries[i][0][0]}: the same image is in train, as {trained[entries[i][0][2]]}"
        for i in dict.fromkeys([*wanted["val"], *wanted["test"]])
        if entries[i] and trained.get(entries[i][0][2], i) != i
    ]


def _entry(dataset: Dataset, image_id: str, memory: _Memory) -> tuple[list[tuple[str, int, str]], list[str]]:
    """The manifest entry of one sample, and what is wrong with it."""
    files = dataset.files(image_id)
    found, fresh = [], False
    for path in files:
        try:
            stat = path.stat()
        except OSError:
            return [], [f"{path}: this file is missing"]
        name = dataset.file_name(path)
        digest = memory.get(name, stat)
        if digest is None:
            fresh = True
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        found.append((name, stat.st_size, digest))
    if fresh:
        wrong = [finding.message for finding in look(dataset, image_id).findings if finding.severity == "error"]
        if wrong:
            return [], wrong
        for path, (name, _, digest) in zip(files, found, strict=True):
            memory.put(name, path.stat(), digest)
    return found, []


class _Memory:
    """Hashes of files that were decoded and found sound, kept between commands."""

    def __init__(self, dataset: Dataset) -> None:
        key = hashlib.sha256(f"{type(dataset).__name__}:{dataset.root}:{dataset.reading()}".encode()).hexdigest()[:16]
        self._known = JsonCache(f"manifests/{dataset.info.name}-{key}.json")

    def get(self, name: str, stat: os.stat_result) -> str | None:
        entry = self._known.get(name)
        return str(entry[-1]) if isinstance(entry, list) and entry[:-1] == _state(stat) else None

    def put(self, name: str, stat: os.stat_result, digest: str) -> None:
        self._known.put(name, [*_state(stat), digest])

    def save(self) -> None:
        """Remember the hashes for the next command."""
        self._known.save()


def _state(stat: os.stat_result) -> list[int]:
    """What changes when a file does: its time of change of content can be set back, that of its entry cannot."""
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
