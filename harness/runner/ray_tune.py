"""Tasks as Ray Tune trials: Ray places and paces them; the database decides what is done.

Actors are reused between trials; inside its actor every task runs in a fresh child process. Tune's own state is
thrown away afterwards.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.runner.ray_token import ask_for_tokens, prepare_token, warning_of

ask_for_tokens()
# Read by Ray: no second progress display, no loggers of its own, no usage statistics, no state kept as it goes.
for _name, _value in {
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
}.items():
    os.environ.setdefault(_name, _value)

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray._private import worker as ray_worker  # noqa: E402
from ray.exceptions import AuthenticationError  # noqa: E402
from ray.tune import Callback, FailureConfig, RunConfig, Stopper, Trainable, TuneConfig  # noqa: E402
from ray.tune.execution.placement_groups import PlacementGroupFactory  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402
from ray.util.debug import disable_log_once_globally  # noqa: E402

from harness.config.job import Resources  # noqa: E402
from harness.errors import ClusterError  # noqa: E402
from harness.runner.driver import Driver  # noqa: E402
from harness.runner.plan import Say  # noqa: E402
from harness.runner.ray_group import TaskGroup, placement  # noqa: E402
from harness.runner.scratch import scratch_folder  # noqa: E402
from harness.runner.signals import stops_on_signal  # noqa: E402
from harness.tasks.messages import Message, SharedResult  # noqa: E402
from harness.tasks.result import Result  # noqa: E402
from harness.tasks.task import Task  # noqa: E402
from harness.utils.environment import for_workers  # noqa: E402
from harness.utils.libc import call_libc  # noqa: E402

# Seconds after which a step returns, with or without news: how fast a stop is noticed.
STEP_S = 1.0
# Seconds for which further news are waited for, once there are some.
GATHER_S = 0.25

# Tune keeps some 50 kB of every trial it has seen: a Tuner is given so many, then the next one goes on.
TRIALS_OF_A_TUNER = 1000

# What Ray has said once it remembers, for every trial anew: kilobytes each, of lines that go nowhere here.
disable_log_once_globally()

# The name of Ray's switch for what its driver prints of nodes' reports.
PRINTS_REPORTS = "_worker_logs_enabled"

# What starting Ray has changed in this process, and stopping it undoes.
_UNDONE_AT_STOP = contextlib.ExitStack()

# Tune copies its searcher, and a copy cannot hold a database: it finds the driver by this number.
_DRIVERS: dict[str, Driver] = {}


class TaskTrainable(Trainable):
    """A trial: one task, in a child process of this actor."""

    def setup(self, config: dict[str, Any]) -> None:
        """Remember the task; the child starts with the first step."""
        self._task: Task = config["task"]
        self._process: TaskGroup | None = None

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next task in the same actor."""
        self.cleanup()
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """The child's next message; a heartbeat after a second without one."""
        if self._process is None:
            self._process = TaskGroup(self._task)
        message = self._next_message(self._process)
        done = isinstance(message, Result)
        if done:
            self._process.close()
            self._process = None
        return {"message": message, "done": done}

    def _next_message(self, process: TaskGroup) -> Message | None:
        """The next result, or the latest of what only a display wants to know: Tune takes its time for each report."""
        latest, until = None, time.monotonic() + STEP_S
        while (left := until - time.monotonic()) > 0:
            message = process.poll(left)
            if message is None or isinstance(message, Result | SharedResult):
                return message or latest
            latest, until = message, min(until, time.monotonic() + GATHER_S) if latest is None else until
        return latest

    def cleanup(self) -> None:
        """Let a child that still runs write its checkpoint, then end it."""
        if self._process is None:
            return
        self._process.request_stop()
        while not isinstance(self._process.poll(STEP_S), Result):
            pass
        self._process.close()
        self._process = None

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: tasks keep their own checkpoints."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing: tasks keep their own checkpoints."""


class ClaimingSearcher(Searcher):
    """Hands Tune the driver's next task."""

    def __init__(self, key: str) -> None:
        super().__init__(metric=None, mode=None)
        self.key = key
        self.left = TRIALS_OF_A_TUNER

    def suggest(self, trial_id: str) -> Any:
        """The configuration of the next trial, None while nothing can be claimed, FINISHED at the end."""
        driver = _DRIVERS[self.key]
        if not self.left:
            return Searcher.FINISHED
        task = None
        with driver.stops_on_trouble():
            task = driver.next_task()
        if task is None:
            return None if driver.has_waiting or driver.is_running else Searcher.FINISHED
        self.left -= 1
        return {"task": task}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """Nothing: the callback takes the result."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the database is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the database is the state."""


class ResultCallback(Callback):
    """Passes what trials report to the driver, and takes it out of Tune's memory."""

    def __init__(self, key: str) -> None:
        self.key = key

    def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
        """One message of a trial."""
        message = result.pop("message", None)
        driver, task = _DRIVERS[self.key], trial.config["task"]
        if message is not None:
            with driver.stops_on_trouble():
                driver.take(task, message)

    def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        """A trial's actor or node is gone: networks' own failures come as results."""
        driver = _DRIVERS[self.key]
        with driver.stops_on_trouble():
            driver.lost(trial.config["task"], "the worker process or its node was lost")


class DriverStopper(Stopper):
    """Ends every trial when the driver was asked to stop."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Single trials end by themselves."""
        return False

    def stop_all(self) -> bool:
        """Whether the driver was asked to stop."""
        driver = _DRIVERS.get(self.key)
        return driver is not None and driver.stopping.is_set()


def run_tune(
    driver: Driver,
    address: str | None = None,
    cpus: int | None = None,
    say: Say = lambda line: None,
) -> None:
    """Run everything the driver hands out as trials of Ray Tune.

    Args:
        driver: hands out tasks and takes their results.
        address: an existing cluster; None starts Ray on this machine for the duration.
        cpus: processors Ray may use on this machine; None takes all.
        say: told of jobs for which there is no room.
    """
    key = uuid.uuid4().hex
    _DRIVERS[key] = driver
    try:
        with stops_on_signal(driver.stopping):
            start_ray(address, cpus, say)
            for line in _waits(driver.waiting_resources()):
                say(line)
            while driver.has_waiting:
                _fit(driver, key)
                if driver.has_waiting:
                    _give_back_memory()
    finally:
        stop_ray()
        del _DRIVERS[key]
        driver.close()


def _fit(driver: Driver, key: str) -> None:
    """One Tuner: as many trials as it should see."""
    storage = str(scratch_folder("tune"))
    try:
        tune.Tuner(
            tune.with_resources(TaskTrainable, _resources),
            tune_config=TuneConfig(
                search_alg=ClaimingSearcher(key),
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=_slots(driver) + 2,
            ),
            run_config=RunConfig(
                name="tasks",
                storage_path=storage,
                failure_config=FailureConfig(max_failures=0),
                callbacks=[ResultCallback(key)],
                stop=DriverStopper(key),
                verbose=0,
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _give_back_memory() -> None:
    """Free what a Tuner was made of.

    It is a ring of objects, and Python looks for rings rarely where a plan of very many jobs lives; glibc keeps what is
    freed in pieces, some kB for every trial, until it is told to give it back.
    """
    gc.collect()
    call_libc("malloc_trim", 0)


def probe() -> str:
    """Start Ray on this machine, run nothing, and say what it found."""
    try:
        start_ray(None, None)
        found = ray.cluster_resources()
    finally:
        stop_ray()
    return f"{ray.__version__} starts: {found.get('CPU', 0):g} CPU, {found.get('GPU', 0):g} GPU"


def start_ray(address: str | None, cpus: int | None, say: Say = lambda line: None) -> None:
    """Start or join Ray, unless a search before has; it is silent until `stop_ray`.

    Args:
        address: an existing cluster; None starts Ray on this machine.
        cpus: processors Ray may use on this machine; None takes all.
        say: told who can run code where a cluster is joined.

    Raises:
        ClusterError: it cannot be started or joined.
    """
    _UNDONE_AT_STOP.enter_context(_quiet())
    if ray.is_initialized():
        return
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if address:
        _check_address(address)
        say(warning_of(address))
        # The code of this very checkout travels to every node; suites and single-file networks travel in the tasks.
        package = Path(__file__).resolve().parents[1]
        excluded = ["**/__pycache__", "**/*.pyc"]
        runtime = {"py_modules": [str(package)], "env_vars": for_workers(), "excludes": excluded}
        options |= {"address": address, "runtime_env": runtime}
    else:
        # By Ray's own default everything else on the machine would go first: jobs are as --local starts them.
        os.environ.setdefault("RAY_worker_niceness", "0")
        # Else Ray starts workers beforehand and lets us wait for them, for ever where one is killed before it is ready.
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
        # "local" always starts afresh: an address left over from a dead cluster would be tried first.
        options |= {"address": "local", "num_cpus": cpus, "include_dashboard": False}
    prepare_token(create=not address)
    try:
        ray.init(**options)
    except AuthenticationError as error:
        stop_ray()
        raise ClusterError(
            f"Ray's token is not here, or is not the one of the cluster{f' at {address}' if address else ''}",
            "Copy ~/.ray/auth_token from its head node. For a cluster that has none: RAY_AUTH_MODE=disabled; then "
            "whoever reaches its ports can run code as you.",
        ) from error
    except (ConnectionError, RuntimeError, ValueError) as error:
        stop_ray()
        first = str(error).strip().splitlines()[0]
        raise ClusterError(f"Ray could not be started{f' at {address}' if address else ''}: {first}") from error
    except OSError as error:
        stop_ray()
        raise ClusterError(
            f"Ray could not be started: {error}",
            "Its sockets lie in the folder for temporary files: let TMPDIR name a short one with room, or use --local.",
        ) from error


def stop_ray() -> None:
    """Leave or end Ray."""
    ray.shutdown()
    _UNDONE_AT_STOP.close()


def _check_address(address: str) -> None:
    """Ask the host first: Ray itself would try for minutes.

    Raises:
        ClusterError: nobody answers there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # `auto` and the like
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ClusterError(
            f"--address {address}: no Ray cluster answers there ({error.strerror or error})",
            "`ray status` on the head node shows its address; without --address Ray starts on this machine.",
        ) from error


def _resources(config: dict[str, Any]) -> PlacementGroupFactory:
    return placement(config["task"].job.resources)


def _waits(wanted: Sequence[Resources]) -> Iterator[str]:
    """A line for each kind of job for which the cluster has no room at all, now: it waits until nodes join."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for resources in dict.fromkeys(wanted):
        bundle, count = placement(resources).bundles[0], resources.nodes
        fits = sum(min(int(node.get(k, 0) // v) for k, v in bundle.items() if v) for node in nodes)
        if fits < count:
            asked = ", ".join(f"{v / 1e9:g} GB of memory" if k == "memory" else f"{v:g} {k}" for k, v in bundle.items())
            times = f"{count} times {asked}" if count > 1 else f"{asked} on one node"
            yield f"waiting  for nodes: jobs ask for {times}, which the cluster does not have now"


def _slots(driver: Driver) -> int:
    """How many of the smallest waiting jobs the cluster holds at once."""
    total = ray.cluster_resources()
    jobs = driver.waiting_resources()
    by_cpu = total.get("CPU", 1) / min(r.cpus * r.world_size for r in jobs)
    smallest = min(r.gpus * r.nodes for r in jobs)
    by_gpu = total.get("GPU", 0) / smallest if smallest else by_cpu
    return max(1, int(min(by_cpu, by_gpu)))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's own lines off, at their sources; what anybody else prints goes where it should.

    Two things write: Python's logger `ray`, and a thread of the driver that prints what nodes report (a lost worker, a
    dead node), whatever `log_to_driver` says. It has no public switch; this one is Ray's own, for its debugger. Both
    tell what the rows of the database tell as well. One line is left alone: where a cluster's head is gone, Ray ends
    this process from C++, and the line it writes to standard error is the only reason that is ever given.
    """
    logger = logging.getLogger("ray")
    before = logger.level, getattr(ray_worker, PRINTS_REPORTS, True)
    logger.setLevel(logging.CRITICAL)
    setattr(ray_worker, PRINTS_REPORTS, False)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        setattr(ray_worker, PRINTS_REPORTS, before[1])
