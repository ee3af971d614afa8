"""What a plan would cost: epochs, images, and hours from one timed step of each network."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from harness.config.fingerprint import TRAINING_VERSION, digest
from harness.config.job import Job
from harness.datasets import Manifest
from harness.runner.devices import gpu_count
from harness.runner.isolate import run_isolated
from harness.runner.plan import Plan
from harness.tasks.task import Task
from harness.utils.json_cache import JsonCache

# A network whose step takes longer is not waited for.
TIME_LIMIT_S = 180.0

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
    problem: str = ""
    """Why the step could not be timed."""


def estimate(plan: Plan, timed: bool = True, tick: Tick = lambda what, done, total: None) -> list[Cost]:
    """The cost of what the plan has to train, a row for each network and data set.

    Args:
        plan: the plan; jobs that share a training are counted with it once.
        timed: time one step of each network, in a process of its own.
        tick: told how far that is.
    """
    rows: dict[tuple[str, str], Cost] = {}
    tasks: dict[tuple[str, str], list[Task]] = {}
    for task in plan.train:
        job = task.job
        key = (job.dataset.name, job.model.title)
        row = rows.setdefault(key, Cost(*key))
        tasks.setdefault(key, []).append(task)
        epochs, images, predicted = amounts(job, plan.datasets[task.manifest][2])
        row.trainings, row.epochs = row.trainings + 1, row.epochs + epochs
        row.images, row.predicted = row.images + images, row.predicted + predicted
    if timed:
        steps = _Steps()
        for done, (key, row) in enumerate(rows.items()):
            tick("Timing a step", done, len(rows))
            _add_times(row, tasks[key], plan, steps)
        tick("Timing a step", len(rows), len(rows))
        steps.save()
    return list(rows.values())


def amounts(job: Job, manifest: Manifest) -> tuple[int, int, int]:
    """Epochs, training images and predicted images of a training."""
    limit = job.images
    held = {split: len(files) if limit is None else min(limit, len(files)) for split, files in manifest.splits.items()}
    batch = min(job.recipe.batch_size, max(1, held["train"]))
    per_epoch = max(1, held["train"] // batch)
    if job.model.checkpoint is not None:
        return 0, 0, held["val"] + held["test"]
    iterations = job.recipe.iterations or (job.recipe.epochs or 0) * per_epoch
    epochs = -(-iterations // per_epoch)
    validations = -(-epochs // job.recipe.val_every)
    return epochs, iterations * batch, validations * held[job.selection.split] + held["val"] + held["test"]


def _add_times(row: Cost, tasks: Sequence[Task], plan: Plan, steps: _Steps) -> None:
    total = 0.0
    for task in tasks:
        found = steps.of(task)
        if isinstance(found, str):
            row.problem = found
            return
        train, predict = found
        _, images, predicted = amounts(task.job, plan.datasets[task.manifest][2])
        total += images * train + predicted * predict
        row.seconds_per_image = train
    row.seconds = total


class _Steps:
    """Timed steps, remembered in the user's cache by everything that decides them."""

    def __init__(self) -> None:
        self._known = JsonCache("steps.json")
        self._failed: dict[str, str] = {}

    def of(self, task: Task) -> tuple[float, float] | str:
        """Seconds an image of training and of prediction, or why they could not be had."""
        job = here(task.job)
        recipe = job.recipe.model_dump(mode="json", include={"size", "batch_size", "loss", "precision", "optimizer"})
        key = digest(
            {
                "model": [task.parts["model_source"], job.model.name, job.model.params, job.dataset.name],
                "recipe": recipe,
                "where": [platform.node(), job.resources.cpus, job.resources.gpus > 0, torch.__version__],
                "training_version": TRAINING_VERSION,
            }
        )
        if key in self._failed:
            return self._failed[key]
        if key not in self._known:
            with tempfile.TemporaryDirectory(prefix="segbench-step-") as folder:
                timing = replace(task, job=job, folder=folder, kind="time", shorter=())
                result = run_isolated(timing, lambda message: None, lambda: False)
            if result.state != "ok":
                self._failed[key] = result.reason
                return result.reason
            self._known.put(key, [result.times["train"], result.times["predict"]])
        train, predict = self._known.get(key)
        return train, predict

    def save(self) -> None:
        """Remember the steps for the next command."""
        self._known.save()


def here(job: Job) -> Job:
    """The job as it can be timed on this machine: without weights that would have to be fetched, on what is here."""
    params = {name: value for name, value in job.model.params.items() if name != "pretrained"}
    gpus = job.resources.gpus if gpu_count() else 0.0
    return job.model_copy(
        update={
            "model": job.model.model_copy(update={"params": params, "checkpoint": None, "start_from": None}),
            "resources": job.resources.model_copy(
                update={"gpus": gpus, "time_limit_s": TIME_LIMIT_S, "memory_gb": None}
            ),
        }
    )
