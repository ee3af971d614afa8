"""What is handed out: one job with everything that a process on any machine needs to do it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.config.job import Job
from harness.datasets import Dataset, dataset_class
from harness.models.registry import ModelEntry
from harness.tasks.artifacts import RunFiles

Kind = Literal["train", "rescore", "search trial", "time", "memory", "check"]


@dataclass(frozen=True)
class Rendezvous:
    """Where the processes of several machines that train one network meet."""

    address: str
    """`tcp://host:port` of the machine of rank 0."""
    first_rank: int
    """The rank of this machine's first process."""
    world_size: int
    """Processes on all machines."""


@dataclass(frozen=True)
class Task:
    """A job that has to be done."""

    job: Job
    model: ModelEntry
    fingerprint: str
    """The train fingerprint; names the row and the folder."""
    data_root: str
    """The folder of the data set's copy."""
    folder: str
    """Where checkpoints, label maps and the log go: a folder, or the URL of one in an object store."""
    kind: Kind = "train"
    """`train`: train and score. `rescore`: score the label maps that are kept, under the job's protocol.
    `search trial`: train and validate; nothing is scored or kept. `time`: time a training step and a prediction;
    `memory`: estimate the memory they need; `check`: check that the network keeps the contract; these keep nothing."""
    attempt: int = 1
    shorter: tuple[Task, ...] = ()
    """Jobs with fewer epochs that this training passes on its way; each has a result and a row of its own."""
    content: str = ""
    """SHA-256 over the files of all samples, which names the machine's cache of them; empty: no cache is used."""
    rendezvous: Rendezvous | None = None
    """Given where several machines train together."""

    parts: dict[str, Any] = field(default_factory=dict, repr=False)
    """What the train fingerprint was taken over, part by part."""
    cell: str = ""
    """The fingerprint without the seed."""
    score_fingerprint: str = ""
    manifest: str = ""
    """The key of the copy's row in the database."""
    selected_on_test: bool = False
    """Whether the checkpoint, or which cell stands for the model, is chosen on the scored images."""

    @property
    def first_rank(self) -> int:
        """The rank of this machine's first process; rank 0 validates, scores and writes."""
        return self.rendezvous.first_rank if self.rendezvous else 0

    @property
    def files(self) -> RunFiles:
        """The run's files, on this machine and where they are kept."""
        return RunFiles(self.folder)

    @property
    def dataset(self) -> Dataset:
        """The copy of the data set."""
        choice = self.job.dataset
        return dataset_class(choice.name, choice.params)(Path(self.data_root), choice.variant)

    def with_shorter(self) -> Iterator[Task]:
        """This task, and those whose trainings are part of it."""
        yield self
        yield from self.shorter
