"""What scheduling costs: tiny jobs under Ray Tune as `bench run` starts them, against a bare loop and Tune's defaults.

Every job is the same: a network of two layers, one step on two generated images, its prediction and scores. The bare
loop runs it in one process, Tune's defaults start an actor for each; ours starts a child process for each in actors
that stay. The time until the first result (imports, Ray's start) does not count. Two further parts plan a suite of
which everything is done, and measure what a driver of very many jobs holds in memory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.history import Record, alone, record
from harness.config.suite import Suite
from harness.results import Store, open_store
from harness.runner import Driver, Outcome, Plan, Watcher, make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Result, now
from harness.tasks.task import Task

SLOTS = min(2, os.cpu_count() or 1)
PLUGIN = """NAME = "tiny"
STRIDE = 1
from torch import nn


def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, num_classes, 1))
"""

# In training it waits half a second for every batch.
WAITS = """NAME = "tiny"
STRIDE = 1
import time
from torch import nn


class Net(nn.Conv2d):
    def forward(self, x):
        if self.training:
            time.sleep(0.5)
        return super().forward(x)


def build(num_classes):
    return Net(3, num_classes, 1)
"""
STEPS_OF_A_MINUTE = 120
DATA = "pictures"

COMMAND = """
import atexit, runpy, sys
atexit.register(lambda: print("ray imported" if "ray" in sys.modules else "no ray"))
sys.argv = "bench run --suite tiny.yaml --plugin tiny.py --db results.db".split()
runpy.run_module("bench", run_name="__main__")
"""


class Clock(Watcher):
    """Notes when jobs end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def finished(self, task: Task, result: Result) -> None:
        """Note the time."""
        if result.state != "ok":
            sys.exit(f"a job failed: {result.reason}")
        self.ends.append(time.perf_counter())

    @property
    def per_job(self) -> float:
        """Seconds for a job after the first result, all slots together."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def suite_of(jobs: int, steps: int) -> Suite:
    """So many jobs of so many steps that differ in their seed."""
    return Suite.model_validate(
        {
            "name": "tiny",
            "datasets": [{"name": "folder", "params": {"path": DATA}}],
            "models": ["tiny"],
            "recipe": {"size": [16, 16], "iterations": steps, "batch_size": 2},
            "seeds": list(range(jobs)),
            "selection": {"rule": "last"},
            "resources": {"cpus": 1},
        }
    )


def two_images_each(folder: Path) -> None:
    """A data set with two images in each split."""
    generator = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    for split in ("train", "val", "test"):
        ids = [f"{split}{n}" for n in range(2)]
        (folder / f"{split}.txt").write_text("\n".join(ids))
        for image_id in ids:
            Image.fromarray(generator.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                folder / "images" / f"{image_id}.png"
            )
            Image.fromarray(generator.integers(0, 2, (32, 32), dtype=np.uint8)).save(
                folder / "masks" / f"{image_id}.png"
            )
    splits = {split: f"{split}.txt" for split in ("train", "val", "test")}
    definition = {"name": "pictures", "classes": ["ground", "thing"], "splits": splits}
    (folder / "dataset.yaml").write_text(json.dumps(definition))  # JSON is YAML


@contextmanager
def planned(jobs: int, steps: int = 1, plugin: str = PLUGIN) -> Iterator[tuple[Plan, Store]]:
    """A plan and a fresh database in a folder of their own, beside the suite's file."""
    from harness.models.registry import read_plugin

    with tempfile.TemporaryDirectory(prefix="segbench-scheduling-") as name:
        home = Path(name)
        (home / "tiny.py").write_text(plugin)
        here = Path.cwd()
        os.chdir(home)
        try:
            two_images_each(home / DATA)
            plugins = {"tiny": read_plugin(home / "tiny.py")}
            suite = suite_of(jobs, steps)
            fields = suite.model_dump(mode="json", exclude_defaults=True)
            (home / "tiny.yaml").write_text(json.dumps(fields))  # JSON is YAML
            plan = make_plan(suite, None, home / "data", Artifacts(home / "results.artifacts"), plugins)
            store = open_store(str(home / "results.db"))
            store.register(plan.jobs, plan.datasets)
            yield plan, store
            store.close()
        finally:
            os.chdir(here)


def bare_loop(jobs: int) -> Clock:
    """One process, one job after another."""
    from harness.runner.local import run_local

    with planned(jobs) as (plan, store):
        clock = Clock()
        run_local(Driver(store, plan.to_do, clock, Outcome(plan, store.name)), in_process=True)
    return clock


def ours(jobs: int) -> Clock:
    """As `bench run`."""
    from harness.runner.ray_tune import run_tune

    with planned(jobs) as (plan, store):
        clock = Clock()
        run_tune(Driver(store, plan.to_do, clock, Outcome(plan, store.name)), cpus=SLOTS)
    return clock


def tune_defaults(jobs: int) -> Clock:
    """The same tasks in the plainest program that Ray Tune's documentation shows."""
    from harness.runner.ray_tune import start_ray, stop_ray, tune

    def trainable(config: dict[str, Any]) -> None:
        from harness.runner.worker import run_task

        result = run_task(config["task"], lambda message: None)
        tune.report({"state": result.state})

    clock = Clock()

    class Ends(tune.Callback):
        """Notes when trials end."""

        def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            """Note the time."""
            clock.ends.append(time.perf_counter())

    with planned(jobs) as (plan, _):
        tasks = plan.train
        start_ray(None, SLOTS)
        tune.Tuner(
            trainable,
            param_space={"task": tune.grid_search(tasks)},
            run_config=tune.RunConfig(
                storage_path=tempfile.mkdtemp(prefix="segbench-defaults-"), callbacks=[Ends()], verbose=0
            ),
        ).fit()
        stop_ray()
    return clock


def records(quick: bool) -> list[Record]:
    """What a job costs beside the bare loop, ours and Tune's defaults in turns; and a finished suite run again."""
    jobs, defaults, repetitions, finished = (6, 3, 1, 50) if quick else (200, 20, 3, 10_000)
    mine, theirs = [], []
    for turn in range(repetitions):
        base = bare_loop(min(jobs, 100)).per_job / SLOTS  # what slots that cost nothing would reach
        both = [(mine, lambda: ours(jobs)), (theirs, lambda: tune_defaults(defaults))]
        for kept, way in both[:: 1 if turn % 2 else -1]:
            kept.append(1000 * max(1e-3, way().per_job - base))
    return [
        record(
            "scheduling.job", f"a tiny job in {SLOTS} slots, beyond the bare loop", "Ray Tune's defaults", "ms",
            mine, theirs,
        ),
        alone(
            "scheduling.rerun", f"a suite of {finished:,} finished jobs run again", "s",
            rerun_seconds(finished, repetitions),
        ),
    ]  # fmt: skip


def overhead(jobs: int, defaults: int) -> Table:
    """The three ways side by side."""
    loop = bare_loop(min(jobs, 100))
    mine, theirs = ours(jobs), tune_defaults(defaults)
    table = Table("way", "jobs", "slots", "ms a job", "over the bare loop", "")
    base = loop.per_job / SLOTS  # what slots that cost nothing would reach
    rows = (("bare loop, one process", loop, 1), ("ours", mine, SLOTS), ("Tune's defaults", theirs, SLOTS))
    gap = (theirs.per_job - base) / max(1e-6, mine.per_job - base)
    for name, clock, slots in rows:
        extra = f"{1000 * (clock.per_job - (loop.per_job if slots == 1 else base)):.1f} ms"
        ratio = f"{gap:.0f}× below the defaults" if clock is mine else ""
        table.add_row(name, str(len(clock.ends)), str(slots), f"{1000 * clock.per_job:.1f}", extra, ratio)
    return table


def rerun(jobs: int) -> str:
    """The whole command on a suite of which every job is done, in words."""
    seconds = ", ".join(f"{t:.1f}" for t in rerun_seconds(jobs))
    return f"{jobs:,} finished jobs: the command again takes {seconds} s (three runs), Ray not imported"


def rerun_seconds(jobs: int, repetitions: int = 3) -> list[float]:
    """Seconds of the whole command on a suite of which every job is done, some times: plan, board and all."""
    with planned(jobs) as (plan, store):
        finish(plan, store)
        store.close()
        times = []
        for _ in range(repetitions):
            began = time.perf_counter()
            done = subprocess.run([sys.executable, "-c", COMMAND], capture_output=True, text=True)
            times.append(time.perf_counter() - began)
            if done.returncode or "Nothing to do" not in done.stdout or "no ray" not in done.stdout:
                sys.exit(
                    f"a finished suite has nothing to do, and needs no Ray:\n{done.stdout[:500]}{done.stderr[:500]}"
                )
    return times


def finish(plan: Plan, store: Store) -> None:
    """Mark every job done: one is trained, the others get copies of its rows."""
    from sqlalchemy import insert, update

    from harness.results.schema import Evaluation, Run
    from harness.runner.isolate import run_isolated

    first = plan.train[0]
    attempt = store.claim(first.fingerprint) or 1
    result = run_isolated(replace(first, attempt=attempt), lambda message: None, lambda: False)
    store.save(result, first)
    with store.writing() as session:
        session.execute(update(Run).values(state="ok", attempt=1, finished=now()))
        runs = {run.fingerprint: run.id for run in session.query(Run)}
        (pattern,) = session.query(Evaluation).filter_by(split="test").all()
        values = {c.key: getattr(pattern, c.key) for c in Evaluation.__table__.columns if c.key != "id"}
        rows = [
            {**values, "run_id": runs[task.fingerprint], "score_fingerprint": task.score_fingerprint}
            for task in plan.train[1:]
        ]
        session.execute(insert(Evaluation), rows)


class Instant(Clock):
    """Counts only, and looks at the memory now and then."""

    def __init__(self, every: int) -> None:
        super().__init__()
        self.count, self.every = 0, every
        self.memory: list[float] = []

    def finished(self, task: Task, result: Result) -> None:
        """Nothing of the job is kept."""
        self.count += 1
        if self.count % self.every == 0:
            self.memory.append(psutil.Process().memory_info().rss / 1e9)


def memory(jobs: int) -> str:
    """Plan very many jobs and run them under Ray as trials that end at once: what the driver and Tune hold."""
    from harness.runner import ray_tune as engine

    class Ended(engine.TaskTrainable):
        """A trial whose network is trained already."""

        def step(self) -> dict[str, Any]:
            """Its result."""
            task = self._task
            result = Result(task.fingerprint, task.attempt, "ok", started=now(), finished=now())
            return {"message": result, "done": True}

    began = time.perf_counter()
    with planned(jobs) as (plan, store):
        watch, original = Instant(min(1000, jobs)), engine.TaskTrainable
        engine.TaskTrainable = Ended  # type: ignore[misc]
        try:
            engine.run_tune(Driver(store, plan.to_do, watch, Outcome(plan, store.name)), cpus=SLOTS)
        finally:
            engine.TaskTrainable = original  # type: ignore[misc]
    seconds = time.perf_counter() - began
    if watch.count != jobs:
        sys.exit(f"{watch.count} of {jobs} jobs ended")
    return (
        f"{jobs:,} jobs planned and run by one driver in {seconds:.0f} s, their trainings left out: "
        f"{watch.memory[0]:.2f} GB resident after the first {watch.every:,}, {max(watch.memory):.2f} GB at most"
    )


def minutes(per_slot: int) -> str:
    """Long jobs: the whole command, its start included, against bare loops in as many processes, theirs included.

    The networks wait instead of computing, so that every job takes the same minute however busy the machine is, and
    both can run at once. What Ray and the driver compute meanwhile would be taken from networks that compute: it is
    told too.
    """
    jobs = per_slot * SLOTS
    with planned(jobs, STEPS_OF_A_MINUTE, WAITS) as (plan, store):
        store.close()
        with ThreadPoolExecutor() as both:
            loops = both.submit(bare_loops, plan.train)
            time.sleep(30)  # the loops have started
            seconds, share = command()
        loop = loops.result()
    return (
        f"{jobs} jobs of a minute in {SLOTS} slots, starts included: {seconds:.1f} s as a command, "
        f"{loop:.1f} s in bare loops: {100 * (seconds / loop - 1):+.1f} %\n"
        f"Meanwhile the command's own processes took {100 * share:.1f} % of {SLOTS} processors"
    )


def bare_loops(tasks: list[Task]) -> float:
    """Run tasks in processes that are started for it; returns the seconds."""
    began = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(SLOTS) as pool:
        pool.map(in_loop, tasks, chunksize=1)
    return time.perf_counter() - began


def command() -> tuple[float, float]:
    """`bench run`: its seconds, and the share of the slots' processors that everything but its jobs took."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", COMMAND], stdout=subprocess.PIPE, text=True) as process:
        samples = []
        while process.poll() is None:
            samples.append((time.perf_counter(), own_cpu_seconds(psutil.Process(process.pid))))
            time.sleep(1)
        seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit("the command failed")
    (first, before), (last, after) = samples[60], samples[-10]
    return seconds, (after - before) / (last - first) / SLOTS


def own_cpu_seconds(process: psutil.Process) -> float:
    """What a process and those below it have taken, without the jobs, which all descend from a template."""
    with contextlib.suppress(psutil.Error):
        if any("harness.runner.template" in word for word in process.cmdline()):
            return 0.0
        own = process.cpu_times()
        return own.user + own.system + sum(map(own_cpu_seconds, process.children()))
    return 0.0


def in_loop(task: Task) -> float:
    """Run a task in this process; returns its seconds."""
    from harness.runner.worker import run_task

    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="segbench-scheduling-") as folder:
        result = run_task(replace(task, folder=folder), lambda message: None)
    if result.state != "ok":
        raise RuntimeError(result.traceback)
    return time.perf_counter() - began


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="tiny jobs of the comparison")
    parser.add_argument("--defaults", type=int, default=20, help="of them, under Tune's defaults")
    parser.add_argument("--finished", type=int, default=10_000, help="finished jobs that are planned again")
    parser.add_argument("--many", type=int, default=2_000, help="trials of the driver's memory")
    parser.add_argument(
        "--minutes", type=int, default=0, help="jobs a slot that take a minute each (11 minutes for 10)"
    )
    options = parser.parse_args()
    if options.minutes:
        print(minutes(options.minutes), flush=True)
        return
    print(rerun(options.finished), flush=True)
    print(memory(options.many), flush=True)
    Console(width=120).print(overhead(options.jobs, options.defaults))


if __name__ == "__main__":
    main()
