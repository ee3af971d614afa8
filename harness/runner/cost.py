"""What a plan would cost: epochs, images, and hours and memory from one step of each network."""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from harness.config.fingerprint import TRAINING_VERSION, digest
from harness.config.job import Job, Resources
from harness.datasets import Manifest
from harness.runner.devices import gpu_count
from harness.runner.isolate import run_isolated
from harness.runner.plan import Plan
from harness.tasks.task import Task
from harness.utils.json_cache import JsonCache

# A network whose step takes longer is not waited for.
TIME_LIMIT_S = 180.0

# Raised when what is timed changes.
STEP_VERSION = 2

# (what, done, of how many)
Tick = Callable[[str, int, int], None]


@dataclass
class Cost:
    """What the trainings of one network on one data set cost."""

    dataset: str
    model: str
    trainings: int = 0
    epochs: int = 0
    images: int = 0
    """Training images, each counted once an epoch."""
    predicted: int = 0
    """Images that are predicted: validation and test."""
    seconds_per_image: float | None = None
    """Of training; None where it was not or could not be timed."""
    seconds: float | None = None
    """Of one slot, everything together; None as above."""
    memory: int | None = None
    """Bytes that one GPU needs at the peak; None where they are not known."""
    measured: bool = False
    """Whether the memory was measured on a GPU here; else it is estimated."""
    memory_limit: float | None = None
    """GB of the GPUs that the suite is meant for; None where it does not say."""
    problem: str = ""
    """Why the step could not be timed."""


def estimate(plan: Plan, timed: bool = True, tick: Tick = lambda what, done, total: None) -> list[Cost]:
    """The cost of what the plan has to train, a row for each network and data set.

    Args:
        plan: the plan; jobs that share a training are counted with it once.
        timed: time one step of each network and find out its memory, in a process of its own.
        tick: told how far that is.
    """
    rows: dict[tuple[str, str], Cost] = {}
    tasks: dict[tuple[str, str], list[Task]] = {}
    for task in plan.train:
        job = task.job
        key = (job.dataset.name, job.model.title)
        row = rows.setdefault(key, Cost(*key))
        tasks.setdefault(key, []).append(task)
        amount = amounts(job, plan.datasets[task.manifest][2])
        row.trainings, row.epochs = row.trainings + 1, row.epochs + amount.epochs
        row.images, row.predicted = row.images + amount.images, row.predicted + amount.validated + amount.scored
    if timed:
        steps = _Steps()
        for done, (key, row) in enumerate(rows.items()):
            tick("Timing a step", done, len(rows))
            _add_memory(row, tasks[key], steps)
            _add_times(row, tasks[key], plan, steps)
        tick("Timing a step", len(rows), len(rows))
        steps.save()
    return list(rows.values())


@dataclass(frozen=True)
class Amounts:
    """How much of everything a training takes."""

    epochs: int
    images: int
    """Training images, each counted once an epoch."""
    validated: int
    """Images predicted and scored by the validations, each counted every time."""
    scored: int
    """Images predicted, scored and kept at the end."""


def amounts(job: Job, manifest: Manifest) -> Amounts:
    """What one training takes; weights that are only scored take no epoch."""
    limit = job.images
    held = {split: len(files) if limit is None else min(limit, len(files)) for split, files in manifest.splits.items()}
    batch = min(job.recipe.batch_size, max(1, held["train"]))
    per_epoch = max(1, held["train"] // batch)
    scored = held["val"] + held["test"]
    if job.model.checkpoint is not None:
        return Amounts(0, 0, 0, scored)
    iterations = job.recipe.iterations or (job.recipe.epochs or 0) * per_epoch
    epochs = -(-iterations // per_epoch)
    validations = -(-epochs // job.recipe.val_every)
    return Amounts(epochs, iterations * batch, validations * held[job.selection.split], scored)


def _add_times(row: Cost, tasks: Sequence[Task], plan: Plan, steps: _Steps) -> None:
    total = 0.0
    for task in tasks:
        found = steps.of(task, "time")
        if isinstance(found, str):
            row.problem = found
            return
        amount = amounts(task.job, plan.datasets[task.manifest][2])
        total += amount.images * found["train"] / _side_by_side(task.job.resources)
        total += amount.validated * found.get("validate", 0.0) + amount.scored * found.get("score", 0.0)
        row.seconds_per_image = found["train"]
    row.seconds = total


def _side_by_side(wanted: Resources) -> int:
    """Processes that share a training's batches at the same time; without GPUs as many as have processors here."""
    if wanted.gpus and gpu_count():
        return wanted.world_size
    return max(1, min(wanted.world_size, (os.cpu_count() or 1) // wanted.cpus))


def _add_memory(row: Cost, tasks: Sequence[Task], steps: _Steps) -> None:
    """The memory of the job that needs most: cells may differ in batch and size."""
    row.measured = bool(tasks[0].job.resources.gpus and gpu_count())
    found = [steps.of(task, "time" if row.measured else "memory") for task in tasks]
    row.memory = max((int(one["memory"]) for one in found if not isinstance(one, str)), default=None)
    row.memory_limit = tasks[0].job.resources.gpu_memory_gb


# Fields of a recipe that do not move how long a step takes.
_NOT_TIMED = {"name", "description", "epochs", "iterations", "schedule", "checkpoint_every", "val_every"}


class _Steps:
    """What single steps have shown, remembered in the user's cache by everything that decides it."""

    def __init__(self) -> None:
        self._known = JsonCache("steps.json")
        self._failed: dict[str, str] = {}

    def of(self, task: Task, kind: Literal["time", "memory"]) -> dict[str, float] | str:
        """Seconds an image of training, validation and scoring, or bytes at the peak; or why they are not known."""
        job = here(task.job)
        recipe = job.recipe.model_dump(
            mode="json",
            exclude=_NOT_TIMED,
        )
        # A grid of learning rates is timed once.
        recipe["optimizer"] = job.recipe.optimizer.name
        key = digest(
            {
                "kind": kind,
                "version": STEP_VERSION,
                "model": [task.parts["model_source"], job.model.name, job.model.params],
                "data": [job.dataset.name, job.dataset.variant, job.selection.split, job.selection.metric],
                "protocol": job.protocol_hash,
                "recipe": recipe,
                "where": [platform.node(), job.resources.cpus, job.resources.gpus > 0, torch.__version__],
                "processes": job.resources.world_size,
                "training_version": TRAINING_VERSION,
            }
        )
        if key in self._failed:
            return self._failed[key]
        if key not in self._known:
            with tempfile.TemporaryDirectory(prefix="segbench-step-") as folder:
                step = replace(task, job=job, folder=folder, kind=kind, shorter=())
                result = run_isolated(step, lambda message: None, lambda: False)
            if result.state != "ok":
                self._failed[key] = result.reason
                return result.reason
            self._known.put(key, result.times)
        found: dict[str, float] = self._known.get(key)
        return found

    def save(self) -> None:
        """Remember the steps for the next command."""
        self._known.save()


def here(job: Job) -> Job:
    """The job as a step of it can be taken on this machine: without weights that would have to be fetched."""
    params = {name: value for name, value in job.model.params.items() if name != "pretrained"}
    wanted = job.resources
    update: dict[str, Any] = {"time_limit_s": TIME_LIMIT_S, "memory_gb": None}
    if not gpu_count():
        # As many processes share a batch as on the GPUs that are not here.
        update |= {"gpus": 0.0, "processes": wanted.local_processes}
    return job.model_copy(
        update={
            "model": job.model.model_copy(update={"params": params, "checkpoint": None, "start_from": None}),
            "resources": wanted.model_copy(update=update),
        }
    )
