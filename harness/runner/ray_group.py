"""The processes of a task on all the machines that its trial was given: usually one process, in this very actor.

A trial that spans machines gets all of them at once, as one placement group. It has them all or waits without holding
any, so that waiting trials cannot block one another.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import replace
from typing import Any

import ray
from ray.tune.execution.placement_groups import PlacementGroupFactory
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from harness.config.job import Resources
from harness.runner.isolate import TaskProcess, run_isolated
from harness.tasks.messages import Message
from harness.tasks.result import Result
from harness.tasks.task import Rendezvous, Task

# Seconds that the other machines' own results are waited for when the training has ended badly.
RESULTS_S = 10.0
# What a process reports whose peers are gone: the reason is theirs.
CONNECTION_LOST = ("RuntimeError", "DistBackendError", "DistNetworkError", "DistStoreError", "PeerFailed")


def placement(wanted: Resources) -> PlacementGroupFactory:
    """What a trial takes: on one node, or as much on each of several."""
    bundle = {"CPU": float(wanted.cpus * wanted.local_processes)} | ({"GPU": wanted.gpus} if wanted.gpus else {})
    if wanted.memory_gb is not None:
        bundle["memory"] = wanted.memory_gb * 1e9
    return PlacementGroupFactory([bundle] * wanted.nodes, strategy="SPREAD" if wanted.nodes > 1 else "PACK")


class _OtherMachine:
    """Another machine's part of a task; an actor."""

    def run(self, task: Task) -> Result:
        """Train with the others to the end."""
        return run_isolated(task, lambda message: None, lambda: False)


class TaskGroup:
    """A task in processes of its own, on one machine or several; used as `TaskProcess` is.

    Args:
        task: what to do.
    """

    def __init__(self, task: Task) -> None:
        self._actors: list[Any] = []
        self._results: list[Any] = []
        wanted = task.job.resources
        if wanted.nodes > 1 and task.kind != "rescore" and task.job.model.checkpoint is None:
            rendezvous = Rendezvous(_free_address(), 0, wanted.world_size)
            task = replace(task, rendezvous=rendezvous)
            self._start_others(task, rendezvous)
        self._process = TaskProcess(task)

    def _start_others(self, task: Task, rendezvous: Rendezvous) -> None:
        """Start the other machines' part."""
        wanted = task.job.resources
        bundle = placement(wanted).bundles[0]
        group: Any = get_current_placement_group()
        for node in range(1, wanted.nodes):
            place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node)
            first_rank = node * wanted.local_processes
            own = replace(task, rendezvous=replace(rendezvous, first_rank=first_rank))
            actor: Any = (
                ray.remote(_OtherMachine)
                .options(num_cpus=bundle["CPU"], num_gpus=bundle.get("GPU", 0), scheduling_strategy=place)
                .remote()
            )
            self._actors.append(actor)
            self._results.append(actor.run.remote(own))

    def poll(self, timeout: float) -> Message | None:
        """The next message, or None after `timeout` seconds without one; the last one is the result.

        Raises:
            RayActorError: another machine is gone.
        """
        failed = self._failure_elsewhere(0)
        if failed is not None:
            return failed
        message = self._process.poll(timeout)
        if isinstance(message, Result) and message.state == "failed" and message.error in CONNECTION_LOST:
            return self._failure_elsewhere(RESULTS_S) or message
        return message

    def _failure_elsewhere(self, timeout: float) -> Result | None:
        """The result of another machine that could not go on."""
        if not self._results:
            return None
        ended, self._results = ray.wait(self._results, num_returns=len(self._results), timeout=timeout)
        for result in ray.get(ended):
            if result.state != "ok":
                failed: Result = replace(result, reason=f"on another machine: {result.reason}")
                return failed
        return None

    def request_stop(self) -> None:
        """Ask for a checkpoint and the end; the other machines are told by the training itself."""
        self._process.request_stop()

    def close(self) -> None:
        """End everything that was started."""
        self._process.close()
        for actor in self._actors:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(actor)


def _free_address() -> str:
    """A port of this node at which the processes can meet."""
    host = ray.util.get_node_ip_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
