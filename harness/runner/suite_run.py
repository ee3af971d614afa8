"""A suite from its file to finished rows: what `harness.run` and `bench run` do."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from harness.config.expand import Smoke
from harness.config.load import load_suite
from harness.config.suite import Suite
from harness.config.trials import with_trials
from harness.datasets import data_dir as data_folder
from harness.datasets.cache import NoCache, decoded_store
from harness.errors import ArtifactsError, SuiteError
from harness.models.registry import ModelEntry, read_plugin
from harness.results import Store, beside, network_file_system, open_existing, open_store
from harness.results.extra_metrics import add_missing_metrics
from harness.runner.devices import gpu_count
from harness.runner.driver import Driver, Outcome
from harness.runner.machine import Machine
from harness.runner.plan import Plan, make_plan
from harness.runner.watcher import Watcher
from harness.tasks.artifacts import Artifacts
from harness.tasks.record import forget_record, read_record

Backend = Literal["ray", "local", "in-process"]


@dataclass(frozen=True)
class RunOptions:
    """Where and how a suite is run. None of it moves a figure."""

    db: str | None = None
    """The results database, a path or a URL; None: ./results.db."""
    data_dir: str | Path | None = None
    """Where data sets are; None: SEGBENCH_DATA, else ./data."""
    artifacts: str | None = None
    """Where checkpoints and label maps go, a folder or a URL; None: beside the database."""
    plugins: Sequence[str | Path | ModelEntry] = ()
    """Networks from single files."""
    smoke: bool = False
    """A few steps of every job, ranked apart."""
    backend: Backend = "ray"
    """`ray`: Ray Tune. `local`: one job after another, each in a process of its own. `in-process`: one after another in
    this very process, for a debugger; limits of time and memory do not hold there."""
    address: str | None = None
    """An existing Ray cluster; None starts Ray on this machine."""
    cpus: int | None = None
    """Processors that Ray may use on this machine; None: all."""

    def entries(self) -> dict[str, ModelEntry]:
        """The networks from single files, by name."""
        read = [p if isinstance(p, ModelEntry) else read_plugin(Path(p)) for p in self.plugins]
        return {entry.name: entry for entry in read}


def plan(
    suite: Suite | str | Path,
    options: RunOptions | None = None,
    watcher: Watcher | None = None,
    *,
    overrides: Iterable[str] = (),
    obtain: bool = False,
    tune: int | None = None,
) -> Plan:
    """What of a suite has to be trained or scored, and what is done; nothing is run or written.

    Args:
        suite: a suite, its name, or its file.
        options: where and how it would be run.
        watcher: told of downloads and of the data check.
        overrides: `key=value` pairs for a suite's name or file, as `bench run --set` takes them.
        obtain: download or make data sets that are not there.
        tune: search each network's hyperparameters on val with so many trials, as `run` does.

    Raises:
        BenchError: a name does not exist, or data are missing or unsound.
    """
    options, watcher = options or RunOptions(), watcher or Watcher()
    wanted = _suite(suite, overrides, tune, options)
    store = open_existing(options.db)
    try:
        return _planned(wanted, options, store, _artifacts(store, options), watcher, obtain)
    finally:
        if store:
            store.close()


def run(
    suite: Suite | str | Path,
    options: RunOptions | None = None,
    watcher: Watcher | None = None,
    *,
    overrides: Iterable[str] = (),
    tune: int | None = None,
) -> Outcome:
    """Train and score every job of a suite that is not done yet. Prints nothing.

    Ctrl-C and SIGTERM end it with checkpoints; the same call then continues.

    Args:
        suite: a suite, its name, or its file.
        options: where and how it is run.
        watcher: told of everything that happens.
        overrides: `key=value` pairs for a suite's name or file, as `bench run --set` takes them.
        tune: search each network's hyperparameters on val first, with so many trials, over the suite's own space or
            a decade down and up from the learning rate and the weight decay of its recipe. The winner is trained
            beside the network as the suite gives it, as a row of its own.

    Raises:
        BenchError: a name does not exist, data are missing or unsound, jobs ask for what is not there, or the database
            cannot be used. A job that fails is no error: it is in the outcome, and a row of the database.
    """
    options, watcher = options or RunOptions(), watcher or Watcher()
    suite = _suite(suite, overrides, tune, options)
    store = open_existing(options.db)
    try:
        place = _artifacts(store, options)
        if store:
            store.release_stale()
        todo = _planned(suite, options, store, place, watcher, obtain=True)
        if todo.to_do:
            _check_resources(todo, options)
            place.check()
        # Made only now: a mistake that ends the command leaves no empty database behind.
        store = store or open_store(options.db)
        if options.artifacts:
            store.keep_artifacts_at(place)
        if todo.searches:
            if not _search(todo, store, options, watcher):
                return Outcome(todo, store.name, interrupted=True)
            todo = _planned(suite, options, store, place, watcher, obtain=False)
        store.register(todo.jobs, todo.datasets)
        if _take_in_finished(todo, store, watcher):
            todo = _planned(suite, options, store, place, watcher, obtain=False)
        _warn_of_network(store, watcher)
        _add_metrics(todo, store, watcher)
        if not todo.to_do:
            return Outcome(todo, store.name)
        return _execute(todo, store, options, watcher)
    finally:
        if store:
            store.close()


def _suite(suite: Suite | str | Path, overrides: Iterable[str], tune: int | None, options: RunOptions) -> Suite:
    """The suite to run, with the search that `tune` asks for.

    Raises:
        SuiteError: it cannot be read, or there is nothing to search with.
    """
    loaded = suite if isinstance(suite, Suite) else load_suite(str(suite), overrides)
    if tune is None:
        return loaded
    searched = with_trials(loaded, tune)
    if options.smoke:
        raise SuiteError("tune: a smoke run trains too little for a search", "Leave one of --smoke and --tune out.")
    if options.backend != "ray":
        raise SuiteError("tune: a search needs Ray", "Leave --local and --in-process out, or --tune.")
    if all(model.checkpoint is not None for model in loaded.models):
        raise SuiteError("tune: weights that are only scored have nothing to search", "Leave --tune out.")
    return searched


def _planned(
    suite: Suite, options: RunOptions, store: Store | None, place: Artifacts, watcher: Watcher, obtain: bool
) -> Plan:
    return make_plan(
        suite,
        store,
        data_folder(options.data_dir),
        place,
        options.entries(),
        Smoke() if options.smoke else None,
        say=watcher.say,
        tick=watcher.progress,
        obtain=obtain,
        machine=Machine(watcher.say, options.cpus),
    )


def _artifacts(store: Store | None, options: RunOptions) -> Artifacts:
    """Where checkpoints and label maps go: as asked for, as the database remembers, or beside it.

    Raises:
        ArtifactsError: the database has label maps in another place.
    """
    given = Artifacts.named(options.artifacts) if options.artifacts else None
    if store is None:
        return given or beside(Path(options.db or "results.db"))
    known = store.artifacts
    if given is None or given.location == known.location:
        return known
    if store.kept():
        raise ArtifactsError(
            f"{store.name}: its label maps are kept at {known.location}",
            f"Leave --artifacts out. Or copy them, then run `bench db artifacts {options.artifacts}`.",
        )
    return given


def _take_in_finished(todo: Plan, store: Store, watcher: Watcher) -> int:
    """Write results that an earlier command's tasks have finished and the database does not have; returns how many."""
    tasks = [one for task in todo.train for one in task.with_shorter()]
    begun = store.attempts([task.fingerprint for task in tasks])
    count = 0
    for task in tasks:
        if not begun.get(task.fingerprint):
            continue
        result = read_record(task.files)
        if result is None or result.fingerprint != task.fingerprint:
            continue
        attempt = store.claim(task.fingerprint)
        if attempt is not None:
            store.save(replace(result, attempt=attempt), task)
            forget_record(task.files)
            count += 1
    if count:
        watcher.say(f"Taken in: {count} finished job(s) that an earlier command could not write down")
    return count


def _add_metrics(todo: Plan, store: Store, watcher: Watcher) -> None:
    """Give finished jobs the scores of metrics that were installed since."""
    added = add_missing_metrics(store, [task.fingerprint for task in todo.done])
    if added:
        watcher.say(f"Added to finished jobs, from their stored statistics: {', '.join(added)}")


def _search(todo: Plan, store: Store, options: RunOptions, watcher: Watcher) -> bool:
    """Do the searches that the plan needs; returns whether they were not stopped.

    Raises:
        SuiteError: Ray was left out.
    """
    if options.backend != "ray":
        raise SuiteError("a search needs Ray", "Leave --local out, or --set search=null.")
    from harness.runner.ray_search import SearchStopped, run_searches

    _prepare_caches(todo, watcher)
    try:
        run_searches(
            todo.searches,
            lambda search, found: store.save_search_result(search.key, found),
            watcher.say,
            options.address,
            options.cpus,
        )
    except SearchStopped:
        return False
    return True


def _execute(todo: Plan, store: Store, options: RunOptions, watcher: Watcher) -> Outcome:
    """Run what the plan says is left."""
    watcher.begins(todo, store.name)
    try:
        if not options.address:
            _prepare_caches(todo, watcher)
        driver = Driver(store, todo.to_do, watcher, Outcome(todo, store.name))
        if options.backend != "ray" or not todo.train:
            from harness.runner.local import run_local

            run_local(driver, options.backend == "in-process")
        else:
            from harness.runner.ray_tune import run_tune

            run_tune(driver, options.address, options.cpus, watcher.say)
    finally:
        watcher.ends()
    return driver.outcome


def _prepare_caches(todo: Plan, watcher: Watcher) -> None:
    """Decode the data once, before jobs start that would otherwise wait for one another."""
    for content, task in {task.content: task for task in todo.train if task.content}.items():
        dataset = task.dataset
        tick = partial(watcher.progress, f"Decoding {dataset.info.title}")
        try:
            decoded_store(dataset, content, os.cpu_count() or 1, tick)
        except NoCache as reason:
            watcher.say(f"Every job decodes {dataset.info.title} for itself: {reason}")


def _warn_of_network(store: Store, watcher: Watcher) -> None:
    """Say it where the database is on a file system whose locks SQLite cannot trust."""
    kind = network_file_system(store.path) if store.path else None
    if kind:
        watcher.say(
            f"warning: {store.path} is on a network file system ({kind}), where SQLite can be damaged by two writers. "
            "Keep it on a local disk, or use PostgreSQL: --db postgresql+psycopg://…"
        )


def _check_resources(todo: Plan, options: RunOptions) -> None:
    """Refuse jobs that this machine could never start; a cluster is asked by Ray itself.

    Raises:
        SuiteError: says what is asked for, what is there, and how to ask for less.
    """
    wanted = [task.job.resources for task in todo.train]
    name = todo.suite.name
    if options.backend != "ray" and any(r.nodes > 1 for r in wanted):
        raise SuiteError(
            f"suite {name}: a job needs several machines, and that needs Ray",
            "Leave --local out, or --set resources.nodes=1.",
        )
    if options.address:
        return
    gpus = max((r.gpus * r.nodes for r in wanted), default=0)
    cpus = max((r.cpus * r.world_size for r in wanted), default=0)
    have = options.cpus or os.cpu_count() or 1
    if gpus and gpu_count() < gpus:
        raise SuiteError(
            f"suite {name}: a job asks for {gpus:g} GPU(s), this machine has {gpu_count()}",
            "Train on the CPU with --set resources.gpus=0, try every part with --smoke, or name a Ray cluster "
            "with --address.",
        )
    if cpus > have and options.backend == "ray":
        raise SuiteError(
            f"suite {name}: a job asks for {cpus} processors, and this machine has {have}",
            f"Ask for fewer with --set resources.cpus={have}.",
        )
