"""What using and training a network costs, with the machine that it was measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from leaderboard.queries.load import ScoredRun
from leaderboard.shown.text import NONE, large, lasting, three_digits, weight


@dataclass(frozen=True)
class Cost:
    """The costs of a row: of any of its runs what does not depend on the seed, of training the mean."""

    parameters: float | None = None
    flops: float | None = None
    latency: float | None = None
    throughput: float | None = None
    memory: float | None = None
    training: float | None = None
    of_flops: str = ""
    """The input that FLOPs are for."""
    of_latency: str = ""
    """Batch, precision, input and hardware."""
    of_throughput: str = ""
    of_memory: str = ""
    of_training: str = ""
    """The hardware of the training."""

    def value(self, name: str) -> float | None:
        """One of the figures; None where it is not known, or where text stands instead of a number."""
        found: float | None = getattr(self, name)
        return found


@dataclass(frozen=True)
class Kind:
    """One kind of cost, as a column and as an axis."""

    name: str
    title: str
    help: str
    write: Any
    usual: bool
    by_machine: bool = False
    """Whether figures are only compared on the same machine."""
    factor: float = 1.0
    """What a stored figure is multiplied by on an axis."""
    axis: str = ""
    sign: int = 1
    """1: less is better; -1: more is."""

    def value(self, cost: Cost) -> float | None:
        """The figure, in the unit of the axis."""
        found = cost.value(self.name)
        return None if found is None else found * self.factor

    def cell(self, cost: Cost) -> dict[str, Any]:
        """A cell of the table component; figures of different machines are never sorted among one another."""
        found = cost.value(self.name)
        if found is None:
            return {"t": NONE, "v": None}
        said = self.said(cost)
        key = said if self.by_machine else ""
        return {"t": self.write(found), "f": f"{found:.12g}", "v": found, "k": key, "title": said}

    def said(self, cost: Cost) -> str:
        """What a figure was measured with; figures of different machines are only compared on the same one."""
        return str(getattr(cost, f"of_{self.name}", ""))


COSTS = (
    Kind("parameters", "Params", "Parameters of the network.", large, True, axis="parameters, million", factor=1e-6),
    Kind(
        "flops",
        "FLOPs",
        "Floating-point operations of one forward pass at the input size (point at a figure to see it).",
        large,
        True,
        axis="GFLOPs of a forward pass",
        factor=1e-9,
    ),
    Kind(
        "latency",
        "Latency",
        "Milliseconds of one forward pass; point at a figure to see batch, precision and machine. Figures of different "
        "machines are sorted machine by machine.",
        lambda v: f"{three_digits(v)} ms",
        True,
        by_machine=True,
        axis="latency, ms",
    ),
    Kind(
        "throughput",
        "Images/s",
        "Images a second; batch, precision and machine as with the latency.",
        three_digits,
        False,
        by_machine=True,
        axis="images a second",
        sign=-1,
    ),
    Kind(
        "memory",
        "Memory",
        "Peak memory of training and scoring; point at a figure to see of what.",
        weight,
        False,
        by_machine=True,
        axis="peak memory, GB",
        factor=1e-9,
    ),
    Kind(
        "training",
        "Training",
        "Time of one training, mean over seeds; point at a figure to see the machine.",
        lasting,
        True,
        by_machine=True,
        axis="hours of training",
        factor=1 / 3600,
    ),
)


def cost_of(runs: Sequence[ScoredRun]) -> Cost:
    """The costs of runs that differ in nothing but the seed."""
    measured: Mapping[str, Any] = next((run.cost for run in runs if run.cost), {})
    times = [seconds for run in runs if (seconds := _number(run.times.get("train"))) is not None]
    first = next((run for run in runs if run.times), runs[0])
    return Cost(
        parameters=next((float(run.parameters) for run in runs if run.parameters is not None), None),
        flops=_number(measured.get("flops")),
        latency=_number(measured.get("latency_ms")),
        throughput=_number(measured.get("throughput")),
        memory=_number(measured.get("peak_memory")),
        training=sum(times) / len(times) if times else None,
        of_flops=f"one image of {_size(measured)}" if _size(measured) else "",
        of_latency=_with(measured, "batch 1"),
        of_throughput=_with(measured, f"batch {measured.get('batch', '?')}"),
        of_memory=", ".join(filter(None, (str(measured.get("peak_memory_of") or ""), _machine(measured)))),
        of_training=hardware(first.provenance),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _size(measured: Mapping[str, Any]) -> str:
    height, width = measured.get("height"), measured.get("width")
    return f"{height} × {width}" if height and width else ""


def _with(measured: Mapping[str, Any], batch: str) -> str:
    """What a time was measured with, in a line."""
    parts = (batch, str(measured.get("precision") or ""), _size(measured), _machine(measured))
    return ", ".join(part for part in parts if part)


def _machine(measured: Mapping[str, Any]) -> str:
    """The hardware; of a processor with its threads, which decide as much."""
    name = str(measured.get("hardware") or "")
    threads = measured.get("threads")
    return f"{name}, {threads} threads" if name and threads and measured.get("device") == "cpu" else name


def hardware(provenance: Mapping[str, Any]) -> str:
    """The machine that a run was done on: its GPUs, or its processor and cores."""
    machine = provenance.get("hardware")
    if not isinstance(machine, Mapping):
        return ""
    gpus = machine.get("gpus")
    if isinstance(gpus, list) and gpus:
        return ", ".join(map(str, gpus))
    cores = machine.get("cores")
    return f"{machine.get('processor') or 'processor'}, {cores} cores" if cores else str(machine.get("processor") or "")
