"""Records of measurements, and the file that keeps them: a line of JSON for each run of `python -m benchmarks`."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("history.jsonl")

# What the product is measured against: its versions are kept beside those of the product's own packages.
PEERS = (
    "torchmetrics", "monai", "medpy", "scikit-image", "surface-distance", "opencv-python-headless", "lightning",
    "segmentation-models-pytorch",
)  # fmt: skip


@dataclass(frozen=True)
class Record:
    """One comparison, or one figure without a peer.

    Attributes:
        name: dotted, part first: `evaluator.confusion.bincount`.
        what: what was measured, in words.
        peer: what it was measured against; empty without one.
        unit: of `ours` and `theirs`.
        ours: the median over repetitions.
        theirs: the peer's; None without one.
        ratio: how many times the product is ahead: the median over repetitions, of which each took turns.
        lowest: the lowest ratio of a repetition.
        highest: the highest.
        repetitions: how many there were.
    """

    name: str
    what: str
    peer: str
    unit: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    lowest: float | None = None
    highest: float | None = None
    repetitions: int = 1


def record(
    name: str, what: str, peer: str, unit: str, ours: Sequence[float], theirs: Sequence[float], *, rate: bool = False
) -> Record:
    """A comparison of repetitions in which both took turns.

    Args:
        name: of the record.
        what: in words.
        peer: who.
        unit: of both.
        ours: a figure for each repetition.
        theirs: likewise, in the same order.
        rate: more is better (images a second); else less is (seconds).
    """
    ratios = [a / b if rate else b / a for a, b in zip(ours, theirs, strict=True)]
    middle = statistics.median
    return Record(
        name, what, peer, unit, middle(ours), middle(theirs), middle(ratios), min(ratios), max(ratios), len(ratios)
    )


def alone(name: str, what: str, unit: str, ours: Sequence[float]) -> Record:
    """A figure without a peer."""
    return Record(name, what, "", unit, statistics.median(ours), repetitions=len(ours))


@dataclass(frozen=True)
class Entry:
    """One run of the benchmarks.

    Attributes:
        date: UTC.
        quick: whether it was cut short.
        commit: of the source; None outside of a repository.
        dirty: whether files differed from it.
        machine: processor, cores, bytes of memory, GPUs.
        packages: versions.
        load: of the machine before and after, by the system's mean over a minute.
        seconds: that all of it took.
        failed: parts that ended with an error, and its last line.
        records: what was measured.
    """

    date: str
    quick: bool
    commit: str | None
    dirty: bool | None
    machine: dict[str, Any]
    packages: dict[str, str]
    load: tuple[float, float]
    seconds: float
    failed: dict[str, str]
    records: list[Record] = field(default_factory=list)


def entry(records: list[Record], failed: dict[str, str], quick: bool, load_before: float, seconds: float) -> Entry:
    """What is known of this machine and source, around some records."""
    from harness.tasks.provenance import code_state, hardware, packages

    state, machine = code_state(), hardware()
    return Entry(
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        quick,
        state["commit"],
        state["dirty"],
        {key: machine[key] for key in ("processor", "cores", "memory", "gpus")},
        packages() | peers(),
        (round(load_before, 2), round(os.getloadavg()[0], 2)),
        round(seconds, 1),
        failed,
        records,
    )


def peers() -> dict[str, str]:
    """The versions of the peers that are installed."""
    found = {}
    for name in PEERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def append(new: Entry, path: Path = FILE) -> None:
    """Add a line to the history."""
    line = json.dumps(asdict(new), ensure_ascii=False, allow_nan=False)
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read(path: Path = FILE) -> list[Entry]:
    """The history, oldest first; empty where there is none.

    Raises:
        ValueError: a line cannot be read; names it.
    """
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            fields = json.loads(line)
            records = [Record(**one) for one in fields.pop("records")]
            found.append(Entry(**(fields | {"load": tuple(fields["load"])}), records=records))
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return found


def newest(history: Sequence[Entry]) -> dict[str, tuple[Record, Entry]]:
    """The newest record of each name and the run it is from; of a run that was not cut short, where there is one."""
    found: dict[str, tuple[Record, Entry]] = {}
    for one in sorted(history, key=lambda e: not e.quick):  # sorted is stable: by date within each kind
        found |= {measured.name: (measured, one) for measured in one.records}
    return found
