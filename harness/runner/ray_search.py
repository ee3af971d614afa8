"""Hyperparameters found by search: Tune draws them, ASHA stops what falls behind, and val alone decides.

A trial trains in a child process as a job does, and is thrown away; what a search found is kept in the database, and
the winner is then trained as a full job. Trials are never rows of a leaderboard.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from ray import tune
from ray.tune import FailureConfig, RunConfig, Stopper, TuneConfig
from ray.tune.schedulers import AsyncHyperBandScheduler

from harness.config.expand import with_values
from harness.config.suite import Range, Search
from harness.errors import BenchError
from harness.metrics import higher_is_better
from harness.runner.plan import SearchTask
from harness.runner.ray_group import TaskGroup, placement
from harness.runner.ray_tune import STEP_S, TaskTrainable, start_ray, stop_ray
from harness.runner.scratch import scratch_folder
from harness.runner.searchers import SEARCHERS
from harness.runner.signals import stops_on_signal
from harness.tasks.messages import EpochDone
from harness.tasks.result import Result
from harness.tasks.task import Task

# What trials report their score as, whatever the metric is.
SCORE = "score"


class SearchTrial(TaskTrainable):
    """One trial: trains with the values it was given, and reports the best validation score after every epoch."""

    def setup(self, config: dict[str, Any]) -> None:
        """Put the drawn values into the job."""
        task: Task = config["task"]
        values = {name: config[name] for name in config["names"]}
        folder = task.files.local / uuid.uuid4().hex[:12]
        self._task = replace(task, job=with_values(task.job, values), folder=str(folder))
        self._process: TaskGroup | None = None
        self._best: float | None = None
        self._sign = 1 if higher_is_better(task.job.selection.metric) else -1

    def step(self) -> dict[str, Any]:
        """The child's next message; scores and epochs come out of it."""
        if self._process is None:
            self._process = TaskGroup(self._task)
        message = self._process.poll(STEP_S)
        report: dict[str, Any] = {"done": False}
        if isinstance(message, EpochDone):
            score = message.figures.get(f"val_{self._task.job.selection.metric}")
            if score is not None and (self._best is None or self._sign * score > self._sign * self._best):
                self._best = score
            if self._best is not None:
                report |= {SCORE: self._best, "epoch": message.epoch}
        if isinstance(message, Result):
            report |= {"done": True, "state": message.state, "reason": message.reason}
            if self._best is not None:
                report |= {SCORE: self._best}
            self._end()
        return report

    def cleanup(self) -> None:
        """End a trial that was stopped; nothing of it is kept."""
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None
        shutil.rmtree(self._task.folder, ignore_errors=True)


class _Stop(Stopper):
    """Ends every trial when the command was asked to stop."""

    asked = threading.Event()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Whether the command was asked to stop."""
        return self.asked.is_set()


class SearchStopped(Exception):
    """The command was asked to stop while it searched."""


def run_searches(
    searches: Sequence[SearchTask],
    keep: Callable[[SearchTask, dict[str, Any]], None],
    say: Callable[[str], None],
    address: str | None = None,
    cpus: int | None = None,
) -> None:
    """Do every search, one after another; Ray stays up for the trainings that follow.

    Args:
        searches: what is searched.
        keep: called with what was found as soon as a search ends.
        say: told of each search.
        address: an existing cluster.
        cpus: processors Ray may use on this machine.

    Raises:
        SearchStopped: Ctrl-C.
        BenchError: no trial of a search ended with a score.
    """
    try:
        start_ray(address, cpus, say)
        for wanted in searches:
            say(f"searching {wanted.title}: {wanted.search.trials} trials")
            found = _run(wanted)
            say(
                f"found    {wanted.title}: {', '.join(f'{k}={v:.4g}' for k, v in found['values'].items())} after "
                f"{found['trials']} trials and {found['hours']:.2g} hours, {found['stopped']} of them stopped early"
            )
            keep(wanted, found)
    except BaseException:
        stop_ray()
        raise


def _run(wanted: SearchTask) -> dict[str, Any]:
    search, job = wanted.search, wanted.task.job
    mode: Literal["max", "min"] = "max" if higher_is_better(job.selection.metric) else "min"
    storage = str(scratch_folder("search"))
    space = {"task": wanted.task, "names": list(search.space)} | {k: domain(v) for k, v in search.space.items()}
    try:
        _Stop.asked.clear()
        with stops_on_signal(_Stop.asked):
            results = tune.Tuner(
                tune.with_resources(SearchTrial, placement(job.resources)),
                param_space=space,
                tune_config=TuneConfig(
                    metric=SCORE,
                    mode=mode,
                    search_alg=SEARCHERS.get(search.searcher)(search, SCORE, mode),
                    scheduler=_scheduler(search, job.recipe.epochs or 0),
                    num_samples=search.trials,
                    time_budget_s=None if search.hours is None else search.hours * 3600,
                    reuse_actors=True,
                ),
                run_config=RunConfig(
                    name="search",
                    storage_path=storage,
                    failure_config=FailureConfig(max_failures=0),
                    stop=_Stop(),
                    verbose=0,
                ),
            ).fit()
        if _Stop.asked.is_set():
            raise SearchStopped
        return _summary(wanted, results, mode)
    finally:
        shutil.rmtree(storage, ignore_errors=True)
        shutil.rmtree(wanted.task.files.local, ignore_errors=True)


def domain(values: Range) -> Any:
    """A range of values as Ray Tune draws from it."""
    if values.uniform is not None:
        return tune.uniform(*values.uniform)
    if values.loguniform is not None:
        return tune.loguniform(*values.loguniform)
    if values.integers is not None:
        return tune.randint(values.integers[0], values.integers[1] + 1)
    return tune.choice(list(values.choice or ()))


def _scheduler(search: Search, epochs: int) -> Any:
    if search.scheduler == "none":
        return None
    return AsyncHyperBandScheduler(
        time_attr="epoch", max_t=max(epochs, search.grace), grace_period=search.grace, reduction_factor=search.reduction
    )


def _summary(wanted: SearchTask, results: Any, mode: str) -> dict[str, Any]:
    """The best values, and what finding them cost."""
    ended = [r for r in results if r.metrics and r.metrics.get(SCORE) is not None]
    if not ended:
        reasons = [r.metrics.get("reason", "") for r in results if r.metrics] or [str(e) for e in results.errors]
        raise BenchError(
            f"the search for {wanted.title} ended, and no trial had a score: {next(iter(filter(None, reasons)), '?')}"
        )
    sign = 1 if mode == "max" else -1
    best = max(ended, key=lambda r: sign * float(r.metrics[SCORE]))
    hours = sum(float(r.metrics.get("time_total_s", 0.0)) for r in results if r.metrics) / 3600
    resources, epochs = wanted.task.job.resources, wanted.task.job.recipe.epochs or 0
    return {
        "key": wanted.key,
        "values": {name: best.metrics["config"][name] for name in wanted.search.space},
        "score": float(best.metrics[SCORE]),
        "trials": len(results),
        "stopped": sum(1 for r in ended if r.metrics.get("state") != "ok" and r.metrics.get("epoch", epochs) < epochs),
        "hours": hours,
        "gpu_hours": hours * resources.gpus * resources.nodes,
        "cpu_hours": hours * resources.cpus * resources.world_size,
        "spec": wanted.search.model_dump(mode="json"),
    }
