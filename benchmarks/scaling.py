"""Images a second by processes: one network trained by one process, and data-parallel by two and more that share it.

Every row is a real job of `bench run --local` (generated images, U-Net of width 32 at 224×224), which trains the same
images in the same batches. On the CPU the processors are shared out: one process with all of them as threads, or as
many processes as processors with one thread each, joined by gloo. What larger batches give on a GPU: benchmarks/gpu.py.

    python benchmarks/scaling.py
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.history import Record, record

BATCH = 8
SUITE = {
    "name": "scaling",
    "title": "Scaling",
    "datasets": ["shapes"],
    "models": [{"name": "unet", "params": {"width": 32}}],
    "recipe": {"size": [224, 224], "epochs": 1, "batch_size": BATCH, "val_every": 1},
    "seeds": [0],
    "selection": {"rule": "last"},
}
# Validation and start are in a job's training time: two lengths are taken, and their difference counts.
SHORT, LONG = 1, 3


def main() -> None:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    cores = os.cpu_count() or 1
    shown = Table(title=f"U-Net (32), 224×224, {cores} processors")
    for column in ("processes", "threads each", "batch", "images/s", "of the first"):
        shown.add_column(column, justify="right")
    first = None
    for processes in (n for n in (1, 2, 4, 8, 16) if n <= cores):
        rate = images_a_second(processes, cores // processes)
        first = first or rate
        shown.add_row(str(processes), str(cores // processes), str(BATCH), f"{rate:.2f}", f"{rate / first:.2f}×")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(shown)
    console.print(f"load at the end {os.getloadavg()[0]:.1f}")


def records(quick: bool) -> list[Record]:
    """One process with all processors as threads, and as many processes as processors, in turns."""
    cores = os.cpu_count() or 1
    if cores < 2:
        return []
    one, many = [], []
    for turn in range(1 if quick else 3):
        both = [(one, (1, cores)), (many, (cores, 1))]
        for kept, setting in both[:: 1 if turn % 2 else -1]:
            kept.append(images_a_second(*setting))
    what = f"U-Net (32) at 224×224 trained by {cores} processes of one thread"
    return [record("scaling.processes", what, f"one process of {cores} threads", "images/s", many, one, rate=True)]


def images_a_second(processes: int, threads: int) -> float:
    """Training images a second of one job."""
    resources = {"cpus": threads, "processes": processes}
    with tempfile.TemporaryDirectory() as name:
        short, long = (trained(Path(name), epochs, resources) for epochs in (SHORT, LONG))
    return (LONG - SHORT) * (160 // BATCH * BATCH) / (long - short)


def trained(folder: Path, epochs: int, resources: dict[str, int]) -> float:
    """Seconds of the training of a job so many epochs long."""
    recipe = {**SUITE["recipe"], "epochs": epochs, "val_every": epochs}  # type: ignore[dict-item]
    (folder / "scaling.yaml").write_text(json.dumps({**SUITE, "recipe": recipe, "resources": resources}))
    command = [sys.executable, "-m", "bench", "run", "--suite", "scaling.yaml", "--local"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"bench run ended with {done.returncode}: {done.stderr[-500:]}")
    with sqlite3.connect(folder / "results.db") as connection:
        state, times, reason = connection.execute("select state, times, reason from runs order by id desc").fetchone()
    if state != "ok":
        raise SystemExit(f"the job ended as {state}: {reason}")
    return float(json.loads(times)["train"])


if __name__ == "__main__":
    main()
