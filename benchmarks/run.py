"""The parts of `python -m benchmarks`, each in a process of its own."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.history import Record

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Part:
    """One script of this folder, whose function `records(quick)` measures.

    Attributes:
        module: its file.
        about: what it measures, in words.
        quick: whether `--quick` takes it.
    """

    module: str
    about: str
    quick: bool = True


PARTS = {
    "evaluator": Part("evaluator", "the evaluator against NumPy, OpenCV, MedPy, MONAI, cKDTree, DAVIS"),
    "end-to-end": Part("end_to_end", "`bench score` of PASCAL VOC against a script with torchmetrics and MONAI"),
    "pipeline": Part("pipeline", "batches of training images against torchvision's reference"),
    "training": Part("training", "training steps against a bare loop, torchvision's, Lightning with smp"),
    "scheduling": Part("scheduling", "the cost of a job against a bare loop and Ray Tune's defaults"),
    "board": Part("leaderboard", "the first table of the board on a large database, against reading everything"),
    "scaling": Part("scaling", "one training by one process and by several", quick=False),
    "steps": Part("step_profile", "shares of a training step", quick=False),
}


def there(name: str) -> bool:
    """Whether a part's script is in this folder and can be run from here."""
    path = HERE / f"{PARTS[name].module}.py"
    return path.exists() and "\ndef records(" in path.read_text(encoding="utf-8")


def chosen(only: Sequence[str], quick: bool) -> list[str]:
    """The parts to run, in order.

    Raises:
        ValueError: a part does not exist.
    """
    for name in only:
        if name not in PARTS:
            raise ValueError(f"there is no part {name!r}; the parts are {', '.join(PARTS)}")
        if not there(name):
            raise ValueError(
                f"{name}: benchmarks/{PARTS[name].module}.py is not there, or has no function records(quick)"
            )
    return [
        name for name, part in PARTS.items() if (name in only if only else there(name) and (part.quick or not quick))
    ]


def measure(name: str, quick: bool) -> list[Record]:
    """The records of a part, in this process."""
    module = importlib.import_module(f"benchmarks.{PARTS[name].module}")
    return list(module.records(quick))


def in_child(name: str, quick: bool) -> list[Record] | str:
    """The records of a part, measured in a process of its own; or the last line of what went wrong.

    What it prints is shown as it comes.
    """
    with tempfile.TemporaryDirectory(prefix="segbench-benchmarks-") as folder:
        output = Path(folder) / "records.json"
        command = [sys.executable, "-m", "benchmarks", "--part", name, "--output", str(output)]
        command += ["--quick"] if quick else []
        done = subprocess.run(command, cwd=HERE.parent, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode == 0 and output.exists():
            return [Record(**one) for one in json.loads(output.read_text(encoding="utf-8"))]
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        return lines[-1] if lines else f"ended with {done.returncode}"


def write(records: Sequence[Record], output: Path) -> None:
    """Hand records to the process that asked for them."""
    output.write_text(json.dumps([asdict(one) for one in records]), encoding="utf-8")


def figure(value: float | None) -> str:
    """A figure with three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def times(value: float | None) -> str:
    """A ratio: `16×`, `1.02×`."""
    if value is None:
        return ""
    return f"{value:.0f}×" if value >= 20 else f"{value:.1f}×" if value >= 2 else f"{value:.2f}×"


def spread(one: Record) -> str:
    """The lowest and the highest ratio of a repetition."""
    return "" if one.ratio is None else f"{times(one.lowest)} to {times(one.highest)}"


def show(records: Sequence[Record], console: Console) -> None:
    """Print records as a table."""
    table = Table(title="Ratios above 1 mean that the product is ahead.", title_justify="left")
    for heading in ("what", "against", "unit"):
        table.add_column(heading)
    for heading in ("ours", "theirs", "ratio", "lowest to highest", "repetitions"):
        table.add_column(heading, justify="right")
    for one in records:
        table.add_row(
            one.what, one.peer, one.unit, figure(one.ours), figure(one.theirs), times(one.ratio), spread(one),
            str(one.repetitions),
        )  # fmt: skip
    console.print(table)
