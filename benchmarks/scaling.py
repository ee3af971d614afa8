"""Images a second by processes: one network trained by one process, and data-parallel by two and more that share it.

Every row is a real job of `bench run --local` (generated images, U-Net of width 32 at 224×224), which trains the same
images in the same batches. On the CPU the processors are shared out: one process with all of them as threads, or as
many processes as processors with one thread each, joined by gloo. On a GPU the batch grows instead, up to the memory.

    python benchmarks/scaling.py
    python benchmarks/scaling.py --gpu
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

SUITE = {
    "name": "scaling",
    "title": "Scaling",
    "datasets": ["shapes"],
    "models": [{"name": "unet", "params": {"width": 32}}],
    "recipe": {"size": [224, 224], "epochs": 1, "batch_size": 8, "val_every": 1},
    "seeds": [0],
    "selection": {"rule": "last"},
}
# Validation and start are in a job's training time: two lengths are taken, and their difference counts.
SHORT, LONG = 1, 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpu", action="store_true", help="batch sizes on one GPU instead of processes")
    asked = parser.parse_args()
    cores = os.cpu_count() or 1
    shown = Table(title="U-Net (32), 224×224" + (", one GPU" if asked.gpu else f", {cores} processors"))
    for column in ("processes", "threads each", "batch", "images/s", "of the first"):
        shown.add_column(column, justify="right")
    counts = [n for n in (1, 2, 4, 8, 16) if n <= cores]
    rows = [(1, 4, 2**k) for k in range(2, 9)] if asked.gpu else [(n, cores // n, 8) for n in counts]
    first = None
    for processes, threads, batch in rows:
        rate = images_a_second(processes, threads, batch, asked.gpu)
        if rate is None:
            shown.add_row(str(processes), str(threads), str(batch), "out of memory", "")
            break
        first = first or rate
        shown.add_row(str(processes), str(threads), str(batch), f"{rate:.2f}", f"{rate / first:.2f}×")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(shown)
    console.print(f"load at the end {os.getloadavg()[0]:.1f}")


def images_a_second(processes: int, threads: int, batch: int, gpu: bool) -> float | None:
    """Training images a second of one job; None where it ran out of memory."""
    resources = {"cpus": threads, "processes": processes, "gpus": int(gpu)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        seconds = [trained(folder, epochs, batch, resources) for epochs in (SHORT, LONG)]
    if None in seconds:
        return None
    images = 160 // batch * batch
    return (LONG - SHORT) * images / (seconds[1] - seconds[0])  # type: ignore[operator]


def trained(folder: Path, epochs: int, batch: int, resources: dict[str, int]) -> float | None:
    """Seconds of the training of a job so many epochs long."""
    recipe = {**SUITE["recipe"], "epochs": epochs, "batch_size": batch, "val_every": epochs}  # type: ignore[dict-item]
    (folder / "scaling.yaml").write_text(json.dumps({**SUITE, "recipe": recipe, "resources": resources}))
    command = [sys.executable, "-m", "bench", "run", "--suite", "scaling.yaml", "--local"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(f"bench run ended with {done.returncode}: {done.stderr[-500:]}")
    with sqlite3.connect(folder / "results.db") as connection:
        state, times, reason = connection.execute("select state, times, reason from runs order by id desc").fetchone()
    if state == "oom":
        return None
    if state != "ok":
        raise SystemExit(f"the job ended as {state}: {reason}")
    return float(json.loads(times)["train"])


if __name__ == "__main__":
    main()
