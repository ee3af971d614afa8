"""Job: one training, fully resolved, with its seed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from harness.config.grid import grid_text
from harness.config.recipe import Recipe
from harness.metrics.protocol import Protocol
from harness.utils.options import Strict
from harness.utils.pretraining import data_set_names
from harness.utils.yaml_file import validate

# A job's processors are left to the machine: in a suite `auto`.
AUTO_CPUS = 0


def _processors(value: object) -> object:
    return AUTO_CPUS if value == "auto" else value


def _named(value: object) -> tuple[str, ...] | None:
    return None if value is None else data_set_names(value)


class DatasetChoice(Strict):
    """A data set and the variant that says which images train."""

    name: str
    variant: str | None = None
    """None: the data set's default variant."""
    params: dict[str, Any] = Field(default_factory=dict)


class TrainedRun(Strict):
    """A run of the results database, whose weights another training starts from."""

    model: str
    """The label of its row."""
    trained_on: dict[str, str] = Field(min_length=1)
    """Data set that is trained on now -> the one that the run was trained on."""
    suite: str | None = None
    """Of the run; None: this one."""
    seed: int | None = None
    """Of the run; None: the job's own."""


class ModelChoice(Strict):
    """A network and its parameters."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None
    """What the board calls it; None: the name with its parameters."""
    recipe: dict[str, Any] = Field(default_factory=dict)
    """Fields of the recipe that are this network's own, on top of the suite's."""
    resources: dict[str, Any] = Field(default_factory=dict)
    """Fields of the resources that are this network's own, on top of the suite's."""
    checkpoint: str | None = None
    """A file with weights that are scored as they are: nothing is trained."""
    start_from: str | None = None
    """A file with weights that the training starts from, as far as names and shapes agree: FCN-16s from FCN-32s."""
    start_from_run: TrainedRun | None = None
    """A run of the database in place of that file: the weights it was scored with. A planned job has the file."""
    label_map: tuple[int, ...] | None = None
    """With a checkpoint that was trained on other classes: for each of its classes the data set's."""
    pretrained_on: Annotated[tuple[str, ...] | None, BeforeValidator(_named)] = None
    """What the weights of `checkpoint`, of `start_from` or of a network of another package were trained on: names of
    data sets, or `none`. It is shown and keeps rankings apart; nothing that is computed depends on it."""

    @model_validator(mode="after")
    def _one_start(self) -> ModelChoice:
        if self.start_from_run is not None and (self.start_from is not None or self.checkpoint is not None):
            raise ValueError("start_from_run: leave start_from and checkpoint out beside it")
        return self

    @property
    def title(self) -> str:
        """The label, or the name with its parameters; and the checkpoint that is scored."""
        params = ", ".join(f"{k}={v}" for k, v in sorted(self.params.items()))
        title = self.label or (f"{self.name} ({params})" if params else self.name)
        return f"{title} [{Path(self.checkpoint).name}]" if self.checkpoint else title


class Selection(Strict):
    """Which checkpoint, and which hyperparameters, stand for a model."""

    rule: Literal["best", "last"] = "best"
    split: Literal["train", "val", "test"] = "val"
    metric: str = "miou"
    protocol: dict[str, Any] | None = None
    """The conventions of that figure, where it is not the suite's protocol that chooses: a training whose checkpoint
    was chosen by one protocol is then scored by another without being trained again."""


class Resources(Strict):
    """What one trial takes. `cpus` sets torch's threads, and so belongs to the fingerprint."""

    cpus: Annotated[int, BeforeValidator(_processors)] = Field(1, ge=AUTO_CPUS)
    """`auto` (0): as many as let the suite's jobs be done first on the machine that plans, by measurement."""
    gpus: float = Field(0.0, ge=0)
    gpu_memory_gb: float | None = Field(None, gt=0)
    """Memory of the GPUs that the suite is meant for: `bench run --dry-run` warns of networks that need more."""
    memory_gb: float | None = Field(None, gt=0)
    """Resident memory above which the trial is stopped and recorded as out of memory."""
    time_limit_s: float | None = Field(None, gt=0)
    """Wall-clock seconds after which the trial is stopped and recorded as timed out."""
    processes: int = Field(1, ge=1)
    """Processes that train data-parallel, each with `cpus` processors: with several GPUs one for each, by itself."""
    nodes: int = Field(1, ge=1)
    """Machines of a Ray cluster that train together; each has `gpus`, `processes` and `memory_gb` as they are said."""
    oom_retries: int = Field(0, ge=0)
    """How often a job that ran out of memory is tried again, each time with its batches in twice as many parts."""

    @property
    def local_processes(self) -> int:
        """Processes that train together on one machine."""
        return max(self.processes, int(self.gpus))

    @property
    def world_size(self) -> int:
        """Processes that train together, on all machines."""
        return self.nodes * self.local_processes

    @model_validator(mode="after")
    def _whole_gpus(self) -> Resources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError("gpus: give a fraction below 1, or a whole number")
        if self.gpus > 0 and self.processes not in (1, max(1, int(self.gpus))):
            raise ValueError("processes: with GPUs there is one process for each GPU; leave this field out")
        return self


class Job(Strict):
    """One cell of a suite, fully resolved."""

    suite: str
    dataset: DatasetChoice
    model: ModelChoice
    recipe: Recipe
    seed: int
    selection: Selection
    protocol: Protocol
    resources: Resources
    grid: dict[str, Any]
    """The grid's values in this cell: what the board shows as hyperparameters."""
    images: int | None = None
    """Train on, validate and score only so many images of each split; None: all."""
    smoke: bool = False
    """A few steps that only show that all parts work: no weights are kept, and the scores are ranked apart."""
    search: dict[str, Any] | None = None
    """How its hyperparameters were found, where they were searched; the board keeps such rows apart."""

    @classmethod
    def from_stored(cls, config: Mapping[str, Any]) -> Job:
        """The job of a database's row.

        Raises:
            SuiteError: it names a loss, say, of a package that is no longer installed.
        """
        return validate(cls, config, None, "the stored job")

    @property
    def protocol_hash(self) -> str:
        """The hash of what its scores are scored under: only those of the same hash are ranked together."""
        return self.protocol.hash_of(self.smoke, self.images)

    @property
    def validation(self) -> Protocol:
        """The conventions by which val chooses."""
        own = self.selection.protocol
        return self.protocol if own is None else Protocol.model_validate({"name": "validation"} | own)

    @property
    def stored_protocol(self) -> dict[str, Any]:
        """What the database keeps of it."""
        return self.protocol.stored(self.smoke, self.images)

    @property
    def title(self) -> str:
        """A short name for messages: model on data set, hyperparameters, seed."""
        parts = (self.model.title, "on", self.dataset.name, grid_text(self.grid, " "), f"seed={self.seed}")
        return " ".join(filter(None, parts))
