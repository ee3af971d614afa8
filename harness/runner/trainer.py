"""Whatever is done with a job's network: it is built, trained, and gives logits. The only place where its code runs.

What becomes of the logits, and every score, is the worker's: see harness.runner.worker. A worker has a `Trainer` in a
process of its own (harness.runner.trainer_process), or in its own process for a debugger.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from harness.config.job import Job
from harness.datasets import Dataset
from harness.datasets.cache import DecodedStore
from harness.scoring.batch_loss import batch_logits
from harness.scoring.predict import predictions
from harness.scoring.samples import DecodedSamples, derived_seed
from harness.tasks.checkpoint_files import CHECKPOINTS
from harness.tasks.inference_cost import InferenceCost
from harness.tasks.messages import CheckDone, Emit, EpochDone, Message, Stage
from harness.tasks.task import Task
from harness.training.conformance import Subject, run_check
from harness.training.distributed import ProcessGroup, process_group
from harness.training.inference_cost import inference_cost, peak_memory
from harness.training.loop import Interrupted, Progress, TrainingContext, train
from harness.training.network import build_network, load_weights, logit_channels, start_from
from harness.training.prefixes import Milestone, catch_up, reach
from harness.training.step_memory import estimated_memory
from harness.training.step_time import time_step
from harness.training.tensorboard import TrainingLog


@dataclass(frozen=True)
class Built:
    """What a network says of itself once it is there."""

    parameters: int
    gpus: list[str]
    """Names of the GPUs that its process sees."""


@dataclass(frozen=True)
class TrainingEvents:
    """What a worker does while its network trains."""

    emit: Emit
    """Told of stages and epochs."""
    keep_checkpoint: Callable[[], str]
    """Called after a checkpoint has been written; returns why only this machine has it, where that is so."""
    milestone: Callable[[int, Progress], None]
    """Called when a shorter job is over, with its place among the task's: its network answers until this returns."""


class NetworkHandle(Protocol):
    """What a worker asks of a network, wherever it is."""

    def build(self, task: Task, store: DecodedStore | None) -> Built:
        """Build it, with the weights that it starts from."""

    def assist(self) -> None:
        """Train as one of several machines that is not the first."""

    def train(self, events: TrainingEvents) -> Progress:
        """Train it; afterwards it has the selected weights."""

    def logits(self, split: str, limit: int | None) -> Iterator[tuple[str, Tensor]]:
        """The logits (K, H, W) of each image of a split, in order, on the CPU."""

    def batch_logits(self, split: str, limit: int | None) -> Iterator[Tensor]:
        """The logits (N, K, h, w) of each batch of a split on the network's own input, on the CPU."""

    def inference_cost(self) -> InferenceCost:
        """What a forward pass of the trained network costs, measured where it is."""

    def step_times(self) -> dict[str, float]:
        """Seconds an image of training and of validation, for a network that is timed."""

    def step_memory(self) -> int:
        """Bytes that a training needs at its peak, for a network that is estimated."""

    def check(self, name: str) -> CheckDone:
        """One of `conformance.CHECKS`, of a network that is checked; it need not be built."""


class Trainer:
    """A network in this process; to be used as a context.

    Args:
        task: says which network, and its job.
        dataset: the copy of the data.
        stopping: asked whether to stop.
    """

    def __init__(self, task: Task, dataset: Dataset, stopping: Callable[[], bool]) -> None:
        self.task, self.dataset, self.stopping = task, dataset, stopping
        self._stack = contextlib.ExitStack()
        self._store: DecodedStore | None = None
        self._context: TrainingContext | None = None
        self._answers: torch.nn.Module | None = None
        self._cost: InferenceCost | None = None

    def __enter__(self) -> Trainer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What another process of the group failed with is told by leaving the group's context with the error.
        self._stack.__exit__(kind, error, trace)

    def build(self, task: Task, store: DecodedStore | None) -> Built:
        """Build the network of a task that is prepared: of several processes, all start here."""
        self.task, self._store = task, store
        wanted = task.job.resources
        if task.kind in ("time", "memory"):
            self._context = self._new_context(ProcessGroup())
        else:
            # Weights that are only scored need no one to train with.
            processes = 1 if task.job.model.checkpoint is not None else wanted.local_processes
            group = self._stack.enter_context(process_group(processes, wanted.gpus > 0, self._assist, task.rendezvous))
            self._context = self._new_context(group)
        model = self._context.model
        if task.job.model.checkpoint is not None:
            load_weights(model, Path(task.job.model.checkpoint))
        gpus = []
        if wanted.gpus > 0:
            gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        return Built(sum(p.numel() for p in model.parameters()), gpus)

    def assist(self) -> None:
        """Train as the first process of another machine than the first."""
        self._train_silently(self._built)

    def _assist(self, group: ProcessGroup) -> None:
        """What another process of this machine does: its part of every batch."""
        torch.manual_seed(derived_seed(self.task.job.seed, "init"))
        self._train_silently(self._new_context(group))

    def _train_silently(self, context: TrainingContext) -> None:
        with contextlib.suppress(Interrupted):  # rank 0 writes the checkpoint, and says so
            train(self.task.job, context)

    @property
    def _built(self) -> TrainingContext:
        if self._context is None:
            raise RuntimeError("the network has not been built")
        return self._context

    def _new_context(self, group: ProcessGroup) -> TrainingContext:
        """The network, with the weights that its training starts from, and what it works with."""
        task = self.task
        channels = logit_channels(task.job, self.dataset.info)
        model = build_network(task.model, task.job, channels, group)
        if task.job.model.start_from is not None:
            start_from(model, Path(task.job.model.start_from))
        return TrainingContext(
            model,
            task.model.stride,
            channels,
            self.dataset,
            DecodedSamples(self.dataset, self._store),
            task.files.local / CHECKPOINTS,
            stopping=self.stopping,
            group=group,
            backbone=task.model.backbone,
        )

    # -- training ----------------------------------------------------------------------------------

    def train(self, events: TrainingEvents) -> Progress:
        """Train, and stop at shorter jobs on the way."""
        context, job = self._built, self.task.job
        context.emit, context.keep_checkpoint = events.emit, events.keep_checkpoint
        milestones = [
            self._milestone(place, shorter, events.milestone) for place, shorter in enumerate(self.task.shorter)
        ]
        with contextlib.ExitStack() as stack:
            if not job.smoke:
                log = stack.enter_context(contextlib.closing(TrainingLog(self.task.files.local)))
                context.emit = lambda message: _logged(log, events.emit, message)
                context.draw_samples = lambda epoch: log.draw(job, context, epoch)
            events.emit(Stage("training"))
            catch_up(milestones, context)
            return train(job, context, lambda at, over: reach(milestones, context, at, over))

    def _milestone(self, place: int, shorter: Task, ended: Callable[[int, Progress], None]) -> Milestone:
        """A shorter job inside this training: its network answers while its worker scores it."""

        def score(model: torch.nn.Module, progress: Progress) -> None:
            self._answers = model
            try:
                ended(place, progress)
            finally:
                self._answers = None

        return Milestone(shorter.job, shorter.files.local / CHECKPOINTS, score)

    # -- logits ------------------------------------------------------------------------------------

    def logits(self, split: str, limit: int | None) -> Iterator[tuple[str, Tensor]]:
        """The logits (K, H, W) of each image of a split at its original resolution."""
        context, recipe = self._built, self.task.job.recipe
        ids, model = self.dataset.ids(split, limit), self._answers or context.model
        for image_id, logits in predictions(model, context.samples, ids, recipe, context.channels, context.stride):
            yield image_id, logits.cpu()

    def batch_logits(self, split: str, limit: int | None) -> Iterator[Tensor]:
        """The logits (N, K, h, w) of each batch of a split."""
        context, recipe = self._built, self.task.job.recipe
        ids, model = self.dataset.ids(split, limit), self._answers or context.model
        for logits in batch_logits(model, context.samples, ids, recipe, context.channels, context.stride):
            yield logits.cpu()

    def inference_cost(self) -> InferenceCost:
        """What a forward pass costs, measured once; memory is what it was until now."""
        context = self._built
        if self._cost is None:
            goes_on = self._answers is not None  # the training of a longer job
            recipe = self.task.job.recipe
            self._cost = inference_cost(context.model, recipe, context.channels, context.stride, goes_on)
        memory, memory_of = peak_memory(context.device)
        return replace(self._cost, peak_memory=memory, peak_memory_of=memory_of)

    # -- estimates ---------------------------------------------------------------------------------

    def step_times(self) -> dict[str, float]:
        """Seconds an image; the weights are changed."""
        return time_step(self.task.job, self._built)

    def step_memory(self) -> int:
        """Bytes at a training's peak."""
        return estimated_memory(self.task.job, lambda: self._built)

    def check(self, name: str) -> CheckDone:
        """One check, on networks of its own."""
        entry, params = self.task.model, self.task.job.model.params
        subject = Subject(lambda classes: entry.load()(classes, **params), entry.stride, entry.size)
        return run_check(name, subject, entry.origin.removeprefix("file "))


def _logged(log: TrainingLog, emit: Emit, message: Message) -> None:
    emit(message)
    if isinstance(message, EpochDone):
        log.write(message)


@contextlib.contextmanager
def deterministic(job: Job) -> Iterator[None]:
    """Threads and every seed as the job says, and back afterwards (which matters in-process)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(job.resources.cpus)
    random.seed(job.seed)
    np.random.seed(job.seed % 2**32)  # noqa: NPY002 (strangers' networks may use the global generator)
    torch.manual_seed(derived_seed(job.seed, "init"))
    if job.recipe.deterministic:
        # cuBLAS is only deterministic with a workspace of its own.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)
