"""What a task's own process does, from the seed to the result.

It never raises for what a network does: a failure becomes a result with its reason and traceback.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.config.job import Job
from harness.datasets import Dataset
from harness.datasets.cache import DecodedStore, NoCache, decoded_store
from harness.errors import ArtifactsError, BenchError, RunFailure
from harness.runner.score_split import SCORED_SPLITS, SplitScores, predict_and_score, rescore_split
from harness.scoring.keep import PREDICTIONS
from harness.scoring.samples import DecodedSamples, derived_seed
from harness.tasks import provenance
from harness.tasks.messages import Emit, EpochDone, Message, SharedResult, Stage
from harness.tasks.result import Result, State, now
from harness.tasks.task import Task
from harness.training.class_pixels import one_step, with_prepared_loss
from harness.training.distributed import ProcessGroup, process_group
from harness.training.loop import CHECKPOINTS, EPOCHS, RESUME, Interrupted, Progress, TrainingContext, train
from harness.training.network import build_network, load_weights, logit_channels, start_from
from harness.training.prefixes import Milestone, catch_up, reach
from harness.training.step_memory import estimated_memory
from harness.training.step_time import time_step
from harness.training.tensorboard import LOG_FOLDER, TrainingLog


def run_task(task: Task, emit: Emit, stopping: Callable[[], bool] = lambda: False) -> Result:
    """Do a task; every failure becomes its result."""
    return Worker(task, emit, stopping).run()


# Images that are scored where it is timed how long that takes.
TIMED_SCORES = 3


class Worker:
    """A task while it is being done: what is known of it so far belongs to its result, however it ends.

    Args:
        task: what to do.
        emit: told of stages, epochs and results of shorter jobs.
        stopping: asked whether to stop.
    """

    def __init__(self, task: Task, emit: Emit, stopping: Callable[[], bool]) -> None:
        self.task, self.emit, self.stopping = task, emit, stopping
        self._provenance: dict[str, Any] = {}
        self._parameters: int | None = None
        self._started, self._began = now(), time.monotonic()

    def run(self) -> Result:
        """Do it."""
        try:
            with deterministic(self.task.job):
                self._provenance = provenance.capture(self.task.job.resources.cpus)
                done = self._do()
        except Interrupted as stop:
            done = self._result(self.task, "interrupted", reason=str(stop))
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            done = self._failure(error)
        return self._finished(done)

    def _do(self) -> Result:
        if self.task.kind == "time":
            return self._result(self.task, "ok", times=self._step_times())
        if self.task.kind == "memory":
            used = estimated_memory(one_step(self.task), self._step_context)
            return self._result(self.task, "ok", times={"memory": float(used)})
        if self.task.kind == "rescore":
            return self._rescore()
        return self._train_and_score()

    def _result(self, task: Task, state: State, **facts: Any) -> Result:
        return Result(
            task.fingerprint,
            task.attempt,
            state,
            started=self._started,
            provenance=self._provenance,
            parameters=self._parameters,
            **facts,
        )

    def _finished(self, result: Result) -> Result:
        times = {**result.times, "total": time.monotonic() - self._began}
        return replace(result, finished=now(), times=times, provenance=self._provenance)

    def _failure(self, error: BaseException) -> Result:
        """Why the task failed."""
        out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
            isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
        )
        first = (str(error).strip().splitlines() or [""])[0]
        known = isinstance(error, RunFailure | BenchError)
        return self._result(
            self.task,
            "oom" if out_of_memory else "failed",
            reason=first if known else f"{type(error).__name__}: {first}".removesuffix(": "),
            error=type(error).__name__,
            traceback="".join(traceback.format_exception(error)),
        )

    # -- the kinds of tasks ------------------------------------------------------------------------

    def _step_times(self) -> dict[str, float]:
        """Seconds an image of training, of validation, and of the scoring at the end."""
        job, context = one_step(self.task), self._step_context()
        times = time_step(job, context)
        few = replace(self.task, job=job.model_copy(update={"images": TIMED_SCORES}))
        for split in SCORED_SPLITS:
            if held := context.dataset.ids(split, TIMED_SCORES):
                predict_and_score(few, context, split)  # files are read, kernels loaded
                scored = predict_and_score(few, context, split)
                times["score"] = (scored.predict_s + scored.evaluate_s) / len(held)
                break
        return times

    def _step_context(self) -> TrainingContext:
        """The network, and what a single step needs beside it."""
        task, dataset = self.task, self.task.dataset
        channels = logit_channels(task.job, dataset.info)
        model = build_network(task.model, task.job, channels)
        self._parameters = sum(p.numel() for p in model.parameters())
        return TrainingContext(
            model,
            task.model.stride,
            channels,
            dataset,
            DecodedSamples(dataset),
            task.files.local,
            backbone=task.model.backbone,
        )

    def _rescore(self) -> Result:
        """Score the label maps that are kept."""
        dataset, images = self.task.dataset, self.task.job.images
        splits = [rescore_split(self.task, split) for split in SCORED_SPLITS if dataset.ids(split, images)]
        return self._result(
            self.task,
            "ok",
            evaluations=[split.evaluation for split in splits],
            times={"evaluate": sum(split.evaluate_s for split in splits)},
        )

    def _train_and_score(self) -> Result:
        """Build, train, predict, score, and keep what others will want to see."""
        task, wanted = self.task, self.task.job.resources
        # Weights that are only scored need no one to train with.
        processes = 1 if task.job.model.checkpoint is not None else wanted.local_processes
        with process_group(processes, wanted.gpus > 0, self._assist, task.rendezvous) as group:
            if group.is_main:
                return self._lead(group)
            self._assist(group)  # the first process of another machine
            return self._result(task, "ok")

    def _assist(self, group: ProcessGroup) -> None:
        """What another process does: its part of every batch."""
        torch.manual_seed(derived_seed(self.task.job.seed, "init"))
        quiet = Worker(self.task, lambda message: None, lambda: False)
        with contextlib.suppress(Interrupted):  # rank 0 writes the checkpoint, and says so
            context = quiet.context(self.task.dataset, group)
            train(quiet.task.job, context)

    def _lead(self, group: ProcessGroup) -> Result:
        """What the task's own process does: all of it but the other processes' part of the training."""
        for one in self.task.with_shorter():  # what an attempt on another machine left in an object store
            one.files.fetch(CHECKPOINTS)
        context = self.context(self.task.dataset, group)
        task = self.task
        job, files = task.job, task.files
        self._parameters = sum(p.numel() for p in context.model.parameters())
        if job.model.checkpoint is not None:
            load_weights(context.model, Path(job.model.checkpoint))
            scored = self._scored(task, context, Progress())
            files.keep(PREDICTIONS)
            return scored
        progress = self._train(context)
        if task.kind == "search trial":
            return self._result(task, "ok")
        scored = self._scored(task, context, progress)
        if job.smoke:
            shutil.rmtree(context.folder)  # weights of a few steps are of no use, and can be gigabytes
        for name in (PREDICTIONS, LOG_FOLDER):
            files.keep(name)
        # Last: where something could not be kept, the next attempt has only that left to do.
        files.forget(f"{CHECKPOINTS}/{RESUME}")
        files.keep(CHECKPOINTS)
        return scored

    # -- training ----------------------------------------------------------------------------------

    def context(self, dataset: Dataset, group: ProcessGroup) -> TrainingContext:
        """The network, with the weights that its training starts from, and what it works with; the loss is prepared."""
        samples = DecodedSamples(dataset, self._decoded(dataset))
        task = with_prepared_loss(self.task, samples)
        if task is not self.task:
            self.task = task
            self._provenance["loss"] = task.job.recipe.loss.model_dump(mode="json")["terms"]
        if group.is_main:
            self.emit(Stage("building"))
        channels = logit_channels(task.job, dataset.info)
        model = build_network(task.model, task.job, channels, group)
        if task.job.model.start_from is not None:
            start_from(model, Path(task.job.model.start_from))
        folder = task.files.local / CHECKPOINTS
        return TrainingContext(
            model,
            task.model.stride,
            channels,
            dataset,
            samples,
            folder,
            emit=self.emit,
            stopping=self.stopping,
            keep_checkpoint=self._keep_checkpoint,
            group=group,
            backbone=task.model.backbone,
        )

    def _decoded(self, dataset: Dataset) -> DecodedStore | None:
        """The machine's cache of the decoded data, built by the first job that needs it; None if there is no room."""
        if not self.task.content:
            return None
        told = 0.0

        def tick(done: int, total: int) -> None:
            nonlocal told
            check_stop()
            if time.monotonic() - told > 1:
                told = time.monotonic()
                self.emit(Stage(f"decoding the data, {100 * done // total} %"))

        def check_stop() -> None:
            if self.stopping():
                raise Interrupted("stopped before the training began")

        try:
            return decoded_store(dataset, self.task.content, self.task.job.resources.cpus, tick, check_stop)
        except NoCache as reason:
            self._provenance["samples"] = f"decoded into the job's own memory: {reason}"
            return None

    def _train(self, context: TrainingContext) -> Progress:
        """Train, and hand in the results of shorter jobs on the way."""
        job = self.task.job
        milestones = [self._milestone(shorter, context) for shorter in self.task.shorter]
        with contextlib.ExitStack() as stack:
            if not job.smoke:
                log = stack.enter_context(contextlib.closing(TrainingLog(self.task.files.local)))
                context.emit = lambda message: self._log(log, message)
                context.draw_samples = lambda epoch: log.draw(job, context, epoch)
            self.emit(Stage("training"))
            catch_up(milestones, context)
            return train(job, context, lambda at, over: reach(milestones, context, at, over))

    def _log(self, log: TrainingLog, message: Message) -> None:
        self.emit(message)
        if isinstance(message, EpochDone):
            log.write(message)

    def _keep_checkpoint(self) -> str:
        try:
            self.task.files.keep(CHECKPOINTS, written_once=EPOCHS)
        except ArtifactsError as error:  # the next checkpoint may succeed; the end of the training insists
            self.emit(Stage(f"training; {error.message}"))
            return f"the checkpoint is only on this machine: {error.message}"
        return ""

    def _milestone(self, shorter: Task, context: TrainingContext) -> Milestone:
        """A shorter job inside this training: scored when it is reached, with a result of its own."""
        files = shorter.files
        folder = files.local / CHECKPOINTS

        def score(model: torch.nn.Module, progress: Progress) -> None:
            own = replace(context, model=model, ema=None, folder=folder)
            scored = self._scored(shorter, own, progress)
            result = self._finished(scored)
            for name in (PREDICTIONS, CHECKPOINTS):
                files.keep(name)
            files.release()
            self.emit(SharedResult(result))

        return Milestone(shorter.job, folder, score)

    # -- scoring -----------------------------------------------------------------------------------

    def _scored(self, task: Task, context: TrainingContext, progress: Progress) -> Result:
        """The result of a trained network: its scores, and how it was trained."""
        splits: list[SplitScores] = []
        for split in SCORED_SPLITS:
            if context.dataset.ids(split):
                self.emit(Stage(f"scoring {split}"))
                splits.append(predict_and_score(task, context, split))
        return self._result(
            task,
            "ok",
            times={
                "train": progress.seconds,
                "train_marginal": progress.seconds - progress.shared_seconds,
                "predict": sum(split.predict_s for split in splits),
                "evaluate": sum(split.evaluate_s for split in splits),
            },
            progress=training_summary(progress, task.job),
            curve=progress.curve,
            evaluations=[split.evaluation for split in splits],
            gallery=_last_gallery(splits),
            label_maps=[split.label_maps for split in splits if split.label_maps is not None],
        )


def _last_gallery(splits: Sequence[SplitScores]) -> list[Any]:
    return next((split.gallery for split in reversed(splits) if split.gallery), [])


def training_summary(progress: Progress, job: Job) -> dict[str, Any]:
    """What the row keeps of a training besides its curve."""
    chosen = progress.best_epoch if job.selection.rule == "best" else progress.epoch
    return {
        "epochs": progress.epoch,
        "iterations": progress.iteration,
        "accumulate": job.recipe.accumulate,
        "selected_epoch": chosen if chosen is not None else progress.epoch,
        "selection_score": progress.best_score,
    }


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
