"""A unit's processes on all the machines that its trial was given: usually one, in this very actor.

A trial that spans machines gets all of them at once, as one placement group: it either has them or waits without
holding any, so that waiting trials cannot block one another.
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

from harness.config.suite import Resources
from harness.runner.isolate import Message, UnitProcess, run_isolated
from harness.tasks.records import Meeting, Record, Unit

# Seconds that the other machines' own words are waited for when the training has ended badly.
WORDS_S = 10.0
# What a process reports whose peers are gone: the reason is theirs.
CONNECTION_LOST = ("RuntimeError", "DistBackendError", "DistNetworkError", "DistStoreError", "HelperFailed")


def placement(wanted: Resources) -> PlacementGroupFactory:
    """What a trial takes: on one node, or as much on each of several."""
    bundle = {"CPU": float(wanted.cpus * wanted.local_ranks)} | ({"GPU": wanted.gpus} if wanted.gpus else {})
    if wanted.memory_gb is not None:
        bundle["memory"] = wanted.memory_gb * 1e9
    return PlacementGroupFactory([bundle] * wanted.nodes, strategy="SPREAD" if wanted.nodes > 1 else "PACK")


class _Helper:
    """Another machine's part of a unit; an actor."""

    def run(self, unit: Unit) -> Record:
        """Train with the others to the end."""
        return run_isolated(unit, lambda message: None, lambda: False)


class UnitGroup:
    """A unit in processes of its own; used as `UnitProcess` is.

    Args:
        unit: the work.
    """

    def __init__(self, unit: Unit) -> None:
        self._helpers: list[Any] = []
        self._words: list[Any] = []
        wanted = unit.job.resources
        if wanted.nodes > 1 and not unit.rescore and unit.job.model.checkpoint is None:
            meeting = Meeting(_free_address(), 0, wanted.ranks)
            unit = replace(unit, meeting=meeting)
            self._call_helpers(unit, meeting)
        self._process = UnitProcess(unit)

    def _call_helpers(self, unit: Unit, meeting: Meeting) -> None:
        """Start the other machines' part."""
        wanted = unit.job.resources
        bundle = placement(wanted).bundles[0]
        group: Any = get_current_placement_group()
        for node in range(1, wanted.nodes):
            place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=node)
            own = replace(unit, meeting=replace(meeting, first=node * wanted.local_ranks))
            helper: Any = (
                ray.remote(_Helper)
                .options(num_cpus=bundle["CPU"], num_gpus=bundle.get("GPU", 0), scheduling_strategy=place)
                .remote()
            )
            self._helpers.append(helper)
            self._words.append(helper.run.remote(own))

    def poll(self, timeout: float) -> Message | None:
        """The next message, or None after `timeout` seconds without one; the last one is the record.

        Raises:
            RayActorError: another machine is gone.
        """
        failed = self._failed_helper(0)
        if failed is not None:
            return {"kind": "record", "record": failed}
        message = self._process.poll(timeout)
        if message is not None and message["kind"] == "record":
            record: Record = message["record"]
            if record.state == "failed" and record.error in CONNECTION_LOST:
                failed = self._failed_helper(WORDS_S)
                return message if failed is None else {"kind": "record", "record": failed}
        return message

    def _failed_helper(self, timeout: float) -> Record | None:
        """The record of another machine that could not go on."""
        if not self._words:
            return None
        ended, self._words = ray.wait(self._words, num_returns=len(self._words), timeout=timeout)
        for record in ray.get(ended):
            if record.state != "ok":
                failed: Record = replace(record, reason=f"on another machine: {record.reason}")
                return failed
        return None

    def request_stop(self) -> None:
        """Ask for a checkpoint and the end; the other machines are told by the training itself."""
        self._process.request_stop()

    def close(self) -> None:
        """End everything that was started."""
        self._process.close()
        for helper in self._helpers:
            with contextlib.suppress(ray.exceptions.RayError):
                ray.kill(helper)


def _free_address() -> str:
    """A port of this node at which the processes can meet."""
    host = ray.util.get_node_ip_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"
