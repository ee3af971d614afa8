"""What goes into a training unit and what comes out of it: plain records, without torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.config.suite import Job
from harness.datasets import Dataset, dataset_class
from harness.models.registry import ModelEntry
from harness.tasks.artifacts import RunFiles


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class Meeting:
    """How the processes of several machines that train one network find each other."""

    address: str
    """`tcp://host:port` of rank 0's machine."""
    first: int
    """The rank of this machine's first process; 0 leads."""
    count: int
    """Processes on all machines."""


@dataclass(frozen=True)
class Unit:
    """One piece of work: train and score a job, or only rescore what it predicted before."""

    job: Job
    model: ModelEntry
    fingerprint: str
    """The train fingerprint; names the unit's folder."""
    data_root: str
    folder: str
    """Where checkpoints, predictions and the log go: a folder, or the URL of one in an object store."""
    attempt: int = 1
    shares: tuple[Unit, ...] = ()
    """Shorter jobs that are beginnings of this training; each is scored on the way and has a record of its own."""
    content: str = ""
    """SHA-256 over the files of all samples, by which the machine's cache of them is known; empty: none is used."""
    rescore: bool = False
    """Score the label maps that are kept, under the job's protocol; train nothing."""
    trial: bool = False
    """A trial of a search: train and validate alone; nothing is scored or kept."""
    meeting: Meeting | None = None
    """Given where several machines train together."""
    timed: bool = False
    """Only time a training step and a prediction; nothing is kept."""

    @property
    def first_rank(self) -> int:
        """Of this machine's processes; that of rank 0 scores and writes, the others only train."""
        return self.meeting.first if self.meeting else 0

    @property
    def files(self) -> RunFiles:
        """The unit's files, on this machine and where they are kept."""
        return RunFiles(self.folder)

    @property
    def reader(self) -> Dataset:
        """The copy of the data set that the unit works on."""
        choice = self.job.dataset
        return dataset_class(choice.name, choice.params)(Path(self.data_root), choice.variant)


@dataclass
class Record:
    """What a unit returns; everything a row of the database needs."""

    fingerprint: str
    attempt: int
    state: str
    """ok, failed, oom, timeout or interrupted."""
    reason: str = ""
    """One line; empty if ok."""
    error: str = ""
    """The exception's type."""
    traceback: str = ""
    started: str = ""
    finished: str = ""
    times: dict[str, float] = field(default_factory=dict)
    """Seconds: train, predict, evaluate, total."""
    progress: dict[str, Any] = field(default_factory=dict)
    """Epochs, iterations, best epoch."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """For each scored split: `split`, `scores`, `statistics` (bytes)."""
    gallery: list[dict[str, Any]] = field(default_factory=list)
    """`image_id`, `image` (JPEG), `target` and `prediction` (PNG), all small."""
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    """Trainable and frozen parameters of the network."""
