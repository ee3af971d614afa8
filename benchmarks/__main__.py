"""Every benchmark in one command: ratios against peers, taken in turns in one run.

    python -m benchmarks                     everything: hours; on a machine that does nothing else
    python -m benchmarks --quick             the short form of what takes seconds: under three minutes
    python -m benchmarks --only evaluator,end-to-end

A run is added to benchmarks/history.jsonl: date, machine, commit, versions, load and every record. Then
`python -m benchmarks.figures` writes the figures into README.md and docs/.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks import history, run


def main() -> int:
    """Run the parts that were asked for; returns 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few repetitions of small input")
    parser.add_argument("--only", default="", metavar="A,B", help=f"some parts: {', '.join(run.PARTS)}")
    parser.add_argument("--history", type=Path, default=history.FILE, help="the file that a run is added to")
    parser.add_argument("--no-history", action="store_true", help="add the run to no file")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        run.write(run.measure(asked.part, asked.quick), asked.output)
        return 0
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    try:
        names = run.chosen([name for name in asked.only.split(",") if name], asked.quick)
    except ValueError as error:
        parser.error(str(error))
    began, load = time.perf_counter(), os.getloadavg()[0]
    records: list[history.Record] = []
    failed: dict[str, str] = {}
    for name in names:
        console.rule(f"{name}: {run.PARTS[name].about}", align="left")
        started = time.perf_counter()
        found = run.in_child(name, asked.quick)
        if isinstance(found, str):
            failed[name] = found
            console.print(f"failed: {found}", markup=False)
        else:
            records += found
        console.print(f"{time.perf_counter() - started:.0f} s")
    run.show(records, console)
    entry = history.entry(records, failed, asked.quick, load, time.perf_counter() - began)
    console.print(f"{entry.seconds:.0f} s; load {entry.load[0]:.1f} before, {entry.load[1]:.1f} after")
    if records and not asked.no_history:
        history.append(entry, asked.history)
        console.print(f"Added to {asked.history.name}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
