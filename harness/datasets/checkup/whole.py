"""The checkup of a whole copy."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import cpu_count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import SPLITS, CountTick, Dataset, Manifest
from harness.datasets.checkup.findings import Finding
from harness.datasets.checkup.lists import check_lists
from harness.datasets.checkup.repeats import nearly_repeated, repeated
from harness.datasets.checkup.sample import Seen, look
from harness.datasets.checkup.void import check_void


@dataclass
class Checkup:
    """What was found, and the facts of a copy."""

    dataset: Dataset
    findings: list[Finding] = field(default_factory=list)
    manifest: Manifest | None = None
    """None where files are missing or broken."""
    images: dict[str, int] = field(default_factory=dict)
    """Images of each split."""
    pixels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Split -> pixels of each label (256)."""
    holding: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Split -> images that hold each label (256)."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(height, width) -> images."""

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a run."""
        return [finding for finding in self.findings if finding.severity == "error"]


def check(dataset: Dataset, tick: CountTick = lambda done, total: None) -> Checkup:
    """Open every file of a copy and compare what is in them.

    Args:
        dataset: the copy.
        tick: told how many samples are done, of how many.
    """
    result = Checkup(dataset, [*check_lists(dataset), *check_void(dataset)])
    wanted = {split: list(dict.fromkeys(dataset.ids(split))) for split in SPLITS}
    unique = list(dict.fromkeys(i for ids in wanted.values() for i in ids))
    result.images = {split: len(ids) for split, ids in wanted.items()}
    seen: dict[str, Seen] = {}
    with ThreadPoolExecutor(max_workers=min(8, cpu_count() or 1)) as pool:
        for done, (image_id, one) in enumerate(zip(unique, pool.map(lambda i: look(dataset, i), unique), strict=True)):
            seen[image_id] = one
            result.findings += one.findings
            result.sizes[one.size] += one.counts is not None
            tick(done + 1, len(unique))
    result.findings += _strays(dataset, unique)
    result.findings += repeated(seen, wanted)
    result.findings += nearly_repeated(seen, wanted)
    for split, ids in wanted.items():
        counts = [c for i in ids if (c := seen[i].counts) is not None]
        result.pixels[split] = np.sum(counts, axis=0, dtype=np.int64) if counts else np.zeros(256, dtype=np.int64)
        result.holding[split] = (
            np.sum([c > 0 for c in counts], axis=0, dtype=np.int64) if counts else np.zeros(256, dtype=np.int64)
        )
    result.findings += _balance(result)
    if not any(not one.files for one in seen.values()):
        result.manifest = Manifest({s: {i: list(seen[i].files) for i in ids} for s, ids in wanted.items()})
    return result


def _strays(dataset: Dataset, ids: Sequence[str]) -> list[Finding]:
    """Files beside those of the samples that no list names."""
    folders: dict[tuple[Path, str], set[Path]] = defaultdict(set)
    for image_id in ids:
        for path in dataset.files(image_id):
            folders[path.parent, path.suffix].add(path)
    found = []
    for (folder, ending), known in folders.items():
        if not folder.is_dir():
            continue
        extra = sorted(p for p in folder.iterdir() if p.suffix == ending and p not in known)
        if extra:
            text = ", ".join(p.name for p in extra[:3]) + (", …" if len(extra) > 3 else "")
            message = f"{folder}: {len(extra)} file(s) belong to no listed sample: {text}"
            found.append(Finding("unlisted files", message, "warning"))
    return found


def _balance(result: Checkup) -> list[Finding]:
    """Classes that cannot be learned or cannot be scored."""
    found: list[Finding] = []
    if not result.sizes.total():
        return found  # nothing could be opened, which is said already
    for label, name in enumerate(result.dataset.info.classes):
        held = {split: int(result.holding[split][label]) for split in SPLITS}
        if not any(held.values()):
            found.append(Finding("absent class", f"{name}: in no image of any split", "warning"))
        elif held["test"] and not held["train"] and result.images["train"]:
            found.append(
                Finding("untrained class", f"{name}: in {held['test']} test image(s), in no training image", "warning")
            )
    return found
