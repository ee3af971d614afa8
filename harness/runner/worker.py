"""What a task's own process does, from the seed to the result.

It never loads a stranger's code: the network is in a process of its own, which trains and gives logits. What they are
worth is found out here, where the truth is. It never raises for what a network does: a failure becomes a result with
its reason and traceback.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from harness.config.job import Job
from harness.datasets import Dataset
from harness.datasets.base import SPLITS
from harness.datasets.cache import DecodedStore, NoCache, decoded_store
from harness.errors import ArtifactsError
from harness.runner.sandbox import sandbox_of
from harness.runner.score_split import SCORED_SPLITS, SplitScores, predict_and_score, rescore_split
from harness.runner.trainer import Built, NetworkHandle, Trainer, TrainingEvents, deterministic
from harness.runner.trainer_process import TrainerFailed, TrainerProcess, failure
from harness.scoring.ceiling import SPLIT, ceiling
from harness.scoring.keep import PREDICTIONS
from harness.scoring.samples import DecodedSamples
from harness.tasks import provenance
from harness.tasks.checkpoint_files import CHECKPOINTS, EPOCHS
from harness.tasks.inference_cost import cost_record
from harness.tasks.messages import Emit, SharedResult, Stage
from harness.tasks.record import forget_record, keep_record
from harness.tasks.result import Evaluation, Result, State, now
from harness.tasks.task import Task
from harness.tasks.wire import BadMessage
from harness.training.class_pixels import one_step, with_prepared_loss
from harness.training.conformance import CHECKS
from harness.training.loop import RESUME, Interrupted, Progress
from harness.training.tensorboard import LOG_FOLDER

# Images that are scored where it is timed how long that takes.
TIMED_SCORES = 3

# The file that is locked by whoever works in a run's folder, and how long one that is ending is waited for.
IN_USE, ENDING_S = ".in-use", 60.0

Opened = Callable[[Dataset], AbstractContextManager[NetworkHandle]]


def run_task(task: Task, emit: Emit, stopping: Callable[[], bool] = lambda: False) -> Result:
    """Do a task with its network in this very process; every failure becomes its result."""
    return Worker(task, emit, stopping, lambda dataset: Trainer(task, dataset, stopping)).run()


class Worker:
    """A task while it is being done: what is known of it so far belongs to its result, however it ends.

    Args:
        task: what to do.
        emit: told of stages, epochs and results of shorter jobs.
        stopping: asked whether to stop.
        network: opens the task's network, given the copy of the data.
        scratch: a folder for files that come and go, of a network in a process of its own.
    """

    def __init__(
        self, task: Task, emit: Emit, stopping: Callable[[], bool], network: Opened, scratch: Path | None = None
    ) -> None:
        self.task, self.emit, self.stopping = task, emit, stopping
        self._open, self._scratch = network, scratch
        self._provenance: dict[str, Any] = {}
        self._parameters: int | None = None
        self._locks: list[FileLock] = []
        self._started, self._began = now(), time.monotonic()

    def run(self) -> Result:
        """Do it."""
        try:
            done = self._do()
        except Interrupted as stop:
            done = self._result(self.task, "interrupted", reason=str(stop))
        except TrainerFailed as failed:
            state: State = "oom" if failed.state == "oom" else "failed"
            told = {"reason": failed.reason, "error": failed.error, "traceback": failed.trace}
            done = self._result(self.task, state, **told)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                raise
            done = self._result(self.task, **failure(error))
        finally:
            for lock in self._locks:
                lock.release()
        return self._finished(done)

    def _do(self) -> Result:
        dataset = self.task.dataset
        if self.task.kind == "rescore":
            self._note_provenance([])
            with deterministic(self.task.job):
                return self._rescore(dataset)
        # The network's process is forked first: this one must have no thread then.
        with self._open(dataset) as network, deterministic(self.task.job):
            if self.task.kind in ("time", "memory"):
                return self._estimate(network, dataset)
            if self.task.kind == "check":
                return self._check(network, dataset)
            if self.task.first_rank:
                self._prepare(network, dataset)
                network.assist()
                return self._result(self.task, "ok")
            return self._train_and_score(network, dataset)

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

    def _note_provenance(self, gpus: list[str]) -> None:
        self._provenance |= provenance.capture(self.task.job.resources.cpus, gpus)

    # -- the kinds of tasks ------------------------------------------------------------------------

    def _estimate(self, network: NetworkHandle, dataset: Dataset) -> Result:
        """Seconds an image of training, of validation, and of the scoring at the end; or the memory of a step."""
        self.task = replace(self.task, job=one_step(self.task))
        self._confined(network, dataset, None)
        self._take_in(network.build(self.task, None))
        if self.task.kind == "memory":
            return self._result(self.task, "ok", times={"memory": float(network.step_memory())})
        times = network.step_times()
        few = replace(self.task, job=self.task.job.model_copy(update={"images": TIMED_SCORES}))
        samples = DecodedSamples(dataset)
        for split in SCORED_SPLITS:
            if held := dataset.ids(split, TIMED_SCORES):
                predict_and_score(few, samples, network, split)  # files are read, kernels loaded
                scored = predict_and_score(few, samples, network, split)
                times["score"] = (scored.predict_s + scored.evaluate_s) / len(held)
                break
        return self._result(self.task, "ok", times=times)

    def _check(self, network: NetworkHandle, dataset: Dataset) -> Result:
        """Check after check, each told of as soon as it is done: one that kills the process is the last."""
        self._confined(network, dataset, None)
        for check in CHECKS:
            self.emit(Stage(check.name))
            done = network.check(check.name)
            self.emit(done)
            if check is CHECKS[0] and done.state == "failed":
                break  # all others would fail by the same, and say something else
        return self._result(self.task, "ok")

    def _rescore(self, dataset: Dataset) -> Result:
        """Score the label maps that are kept."""
        images = self.task.job.images
        splits = [rescore_split(self.task, split) for split in SCORED_SPLITS if dataset.ids(split, images)]
        return self._result(
            self.task,
            "ok",
            evaluations=[self._with_ceiling(self.task, dataset, split.evaluation) for split in splits],
            times={"evaluate": sum(split.evaluate_s for split in splits)},
        )

    def _train_and_score(self, network: NetworkHandle, dataset: Dataset) -> Result:
        """Build, train, predict, score, and keep what others will want to see."""
        self._wait_for_folders()
        for one in self.task.with_shorter():  # what an attempt on another machine left in an object store
            one.files.fetch(CHECKPOINTS)
        samples = self._prepare(network, dataset)
        task = self.task
        job, files = task.job, task.files
        if job.model.checkpoint is not None:
            scored = self._scored(task, network, samples, Progress())
            files.keep(PREDICTIONS)
            return scored
        progress = self._train(network, samples)
        if task.kind == "search trial":
            return self._result(task, "ok")
        scored = self._finished(self._scored(task, network, samples, progress))
        if job.smoke:
            shutil.rmtree(files.local / CHECKPOINTS)  # weights of a few steps are of no use, and can be gigabytes
        for name in (PREDICTIONS, LOG_FOLDER):
            files.keep(name)
        # Before the checkpoint goes: whatever becomes of the driver and its database, the result stays.
        keep_record(files, scored)
        # Last: where something could not be kept, the next attempt has only that left to do.
        files.forget(f"{CHECKPOINTS}/{RESUME}")
        files.keep(CHECKPOINTS)
        return scored

    # -- training ----------------------------------------------------------------------------------

    def _prepare(self, network: NetworkHandle, dataset: Dataset) -> DecodedSamples:
        """Have the data decoded and the loss prepared, confine the network's process, and have it built."""
        store = self._decoded(dataset)
        samples = DecodedSamples(dataset, store)
        task = with_prepared_loss(self.task, samples)
        if task is not self.task:
            self.task = task
            self._provenance["loss"] = task.job.recipe.loss.model_dump(mode="json")["terms"]
        if not task.first_rank:
            forget_record(task.files)  # of an attempt whose result was lost
            self.emit(Stage("building"))
        own = None
        if store is not None:
            # The masks that train and choose; those that are scored are for this process alone.
            wanted = {"train", task.job.selection.split}
            own = DecodedStore(store.folder, [split for split in SPLITS if split in wanted])
        self._confined(network, dataset, own)
        self._take_in(network.build(task, own))
        return samples

    def _wait_for_folders(self) -> None:
        """Have the run's folders for this process alone: one of a command that was killed may just be ending.

        Raises:
            ArtifactsError: another process goes on working there.
        """
        for one in self.task.with_shorter():
            folder = one.files.local
            folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(folder / IN_USE)
            try:
                lock.acquire(timeout=ENDING_S)
            except Timeout as error:
                raise ArtifactsError(f"{folder}: another process works there") from error
            self._locks.append(lock)  # until this process ends, however it does

    def _confined(self, network: NetworkHandle, dataset: Dataset, store: DecodedStore | None) -> None:
        if isinstance(network, TrainerProcess) and self._scratch is not None:
            self._provenance["isolation"] = network.confine(sandbox_of(self.task, dataset, store, self._scratch))
        else:
            self._provenance["isolation"] = {"landlock": 0, "why": "the network ran in the process that scored it"}

    def _take_in(self, built: Built) -> None:
        self._parameters = built.parameters
        self._note_provenance(built.gpus)

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

    def _train(self, network: NetworkHandle, samples: DecodedSamples) -> Progress:
        """Train, and hand in the results of shorter jobs on the way."""

        def milestone(place: int, progress: Progress) -> None:
            shorter = self.task.shorter[place]
            result = self._finished(self._scored(shorter, network, samples, progress))
            for name in (PREDICTIONS, CHECKPOINTS):
                shorter.files.keep(name)
            keep_record(shorter.files, result)
            shorter.files.release()
            self.emit(SharedResult(result))

        return network.train(TrainingEvents(self.emit, self._keep_checkpoint, milestone))

    def _keep_checkpoint(self) -> str:
        try:
            self.task.files.keep(CHECKPOINTS, written_once=EPOCHS)
        except ArtifactsError as error:  # the next checkpoint may succeed; the end of the training insists
            self.emit(Stage(f"training; {error.message}"))
            return f"the checkpoint is only on this machine: {error.message}"
        return ""

    # -- scoring -----------------------------------------------------------------------------------

    def _scored(self, task: Task, network: NetworkHandle, samples: DecodedSamples, progress: Progress) -> Result:
        """The result of a trained network: its scores, and how it was trained."""
        splits: list[SplitScores] = []
        for split in SCORED_SPLITS:
            if samples.dataset.ids(split):
                self.emit(Stage(f"scoring {split}"))
                splits.append(predict_and_score(task, samples, network, split))
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
            evaluations=[self._with_ceiling(task, samples.dataset, split.evaluation) for split in splits],
            gallery=_last_gallery(splits),
            label_maps=[split.label_maps for split in splits if split.label_maps is not None],
            cost=self._cost(task, network, progress),
        )

    @staticmethod
    def _with_ceiling(task: Task, dataset: Dataset, scored: Evaluation) -> Evaluation:
        """The scores of the test images with those of a network that is perfect at its input size beside them."""
        if scored.split != SPLIT:
            return scored
        return replace(scored, ceiling=ceiling(task.job, dataset, task.manifest, task.job.resources.cpus))

    def _cost(self, task: Task, network: NetworkHandle, progress: Progress) -> dict[str, Any]:
        """What using the network costs, now that everything of it is scored; nothing of a smoke run."""
        if task.job.smoke:
            return {}
        measured = None
        with contextlib.suppress(TrainerFailed, BadMessage):  # the scores stand; a training that goes on says it
            measured = network.inference_cost()
        hardware = self._provenance.get("hardware", {})
        return cost_record(measured, self._parameters, progress.seconds, hardware, task.job.resources.gpus > 0)


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
