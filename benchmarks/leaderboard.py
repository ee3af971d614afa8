"""How fast the leaderboard reads a large database: `python -m benchmarks.leaderboard`.

A database of 200 networks on 3 data sets with 3 seeds and 1,449 images each is generated once and kept; then every
step of a page is timed by itself, in one process, the best of several times. What counts are the ratios to reading
everything and making all boards of it, which pages did before, and the bytes that statistics take. Of a page only what
the server does is in it: nothing of the browser.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
from platformdirs import user_cache_path
from rich.console import Console
from rich.table import Table

from benchmarks.history import Record, alone, record
from benchmarks.leaderboard_size import Size
from harness.metrics import StatisticsTable
from harness.results import Store, open_store
from leaderboard.boards.board import boards
from leaderboard.queries.load import (
    list_boards,
    live_status,
    load_board,
    load_gallery,
    load_image_scores,
    load_run,
    load_runs,
    load_statistics,
    version_key,
)
from leaderboard.stats.significance import significance
from leaderboard.tables.table import DEFAULT_METRICS, overview

CACHE = user_cache_path("segbench") / "benchmarks"
# Of so many rows the intervals are timed.
ROWS = 30


class Spent(NamedTuple):
    """Seconds by the clock, and of the processor: on a machine with other work the second is what counts."""

    clock: float
    processor: float


@dataclass(frozen=True)
class Timed:
    """A step of a page."""

    name: str
    spent: Spent
    limit: float | None = None
    """Seconds that it may take."""


def best(step: Callable[[], Any], times: int) -> Spent:
    """The shortest of some times."""
    found = []
    for _ in range(times):
        began, computed = time.perf_counter(), time.process_time()
        step()
        found.append(Spent(time.perf_counter() - began, time.process_time() - computed))
    return Spent(*(min(column) for column in zip(*found, strict=True)))


def everything(store: Store) -> None:
    """What a page did before: all runs with all scores, all boards, a table of one."""
    overview(boards(load_runs(store))[0])


def first_table(store: Store) -> None:
    """What a first visitor waits for: the list of boards, one of them, and its table."""
    wanted = list_boards(store)[0]
    (board,) = boards(load_board(store, wanted.board_id, DEFAULT_METRICS))
    overview(board, DEFAULT_METRICS)


def steps(store: Store, times: int) -> list[Timed]:
    """Every step, in the order in which somebody would take them."""
    wanted = list_boards(store)[0]
    runs = load_board(store, wanted.board_id, DEFAULT_METRICS)
    ids = [run.run_id for run in runs]
    (board,) = boards(runs)
    few = boards([run for run in runs if run.model in {row.model for row in board.rows[:ROWS]}])[0]
    some = [run for run in runs if run.seed == 0]
    manifest = wanted.data.test_manifest
    image = load_gallery(store, manifest, ids[:1])[0].image_id
    planned: list[tuple[str, Callable[[], object], float | None]] = [
        ("list of boards", lambda: list_boards(store), None),
        ("one board, six metrics", lambda: load_board(store, wanted.board_id, DEFAULT_METRICS), None),
        ("its ranking", lambda: boards(runs), None),
        ("its table", lambda: overview(board, DEFAULT_METRICS), None),
        ("first table: all of these", lambda: first_table(store), 1.0),
        ("another metric to sort by", lambda: overview(boards(runs, "biou")[0], DEFAULT_METRICS), 0.3),
        ("a filter", lambda: overview(boards(some)[0], DEFAULT_METRICS), 0.3),
        ("has anything changed", lambda: version_key(store), None),
        ("how far runs are", lambda: live_status(store), None),
        ("an image, four predictions", lambda: load_gallery(store, manifest, ids[:4], [image]), 0.5),
        ("scores of images, two runs", lambda: load_image_scores(store, ids[:2], "miou"), 0.5),
        ("scores of images, a third", lambda: load_image_scores(store, [r.run_id for r in some], "miou"), None),
        ("statistics of a run", lambda: load_statistics(store, ids[0], wanted.protocol_hash), None),
        ("everything of a run", lambda: load_run(store, ids[0]), None),
        (f"intervals of {len(few.rows)} rows, kept", lambda: significance(few, "seeds"), None),
    ]
    return [Timed(name, best(step, times), limit) for name, step, limit in planned]


def memory() -> float:
    """Megabytes that this process has."""
    return float(psutil.Process().memory_info().rss) / 1e6


def statistics_table(store: Store) -> Table:
    """Bytes and milliseconds of one run's statistics."""
    wanted = list_boards(store)[0]
    run = load_board(store, wanted.board_id, ["miou"])[0]
    table = load_statistics(store, run.run_id, wanted.protocol_hash)
    shown = Table("statistics of a run", "bytes", "written, ms", "read, ms")
    data = table.to_bytes()
    read = 1e3 * best(lambda: StatisticsTable.from_bytes(data), 7).processor
    written = 1e3 * best(table.to_bytes, 2).processor
    shown.add_row(f"{len(table.ids):,} images", f"{len(data):,}", f"{written:.0f}", f"{read:.1f}")
    return shown


def database(size: Size, cache: Path = CACHE) -> Path:
    """The generated database, made if it is not in the cache."""
    place = cache / f"leaderboard-{'-'.join(map(str, vars(size).values()))}.db"
    if not place.exists():  # elsewhere: what drawing and scoring need is no part of this process's memory
        words = [sys.executable, "-m", "benchmarks.leaderboard_data", place, *vars(size).values()]
        subprocess.run(list(map(str, words)), check=True, cwd=Path(__file__).resolve().parents[1])
    return place


def records(quick: bool) -> list[Record]:
    """What a first visitor waits for and reading everything in turns; pictures, memory and bytes of statistics."""
    size = Size(models=10, datasets=2, seeds=2, images=50, gallery=5) if quick else Size()
    store = open_store(str(database(size)), read_only=True)
    ours, theirs = [], []
    for _ in range(2 if quick else 3):
        ours.append(best(lambda: first_table(store), 2).processor)
        theirs.append(best(lambda: everything(store), 1).processor)
    used, named = memory(), {step.name: step.spent.processor for step in steps(store, 3)}
    wanted = list_boards(store)[0]
    run = load_board(store, wanted.board_id, ["miou"])[0]
    table = load_statistics(store, run.run_id, wanted.protocol_hash)
    store.close()
    runs = f"of {size.runs:,} runs"
    return [
        record(
            "board.first-table", f"the first table {runs}, of the processor", "reading all boards", "s", ours, theirs
        ),
        alone("board.sort", "another metric to sort by, of the processor", "s", [named["another metric to sort by"]]),
        alone("board.image", "an image with four predictions", "s", [named["an image, four predictions"]]),
        alone("board.memory", "memory of the process", "MB", [used]),
        alone("board.statistics", f"statistics of a run on {size.images:,} images", "bytes", [len(table.to_bytes())]),
    ]


def main() -> None:
    """Make the database where it is not there, time everything and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--datasets", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1449)
    parser.add_argument("--gallery", type=int, default=100, help="images of each run's gallery")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=CACHE)
    given = parser.parse_args()
    size = Size(given.models, given.datasets, given.seeds, given.images, given.gallery)
    console = Console(width=110)
    began = time.perf_counter()
    place = database(size, given.cache)
    console.print(
        f"{place}: {size.runs:,} runs, {place.stat().st_size / 1e6:.0f} MB, {time.perf_counter() - began:.0f} s"
    )
    store = open_store(str(place), read_only=True)
    statistics = statistics_table(store)
    gc.collect()
    before = memory()
    first = best(lambda: first_table(store), 1)
    done = steps(store, given.repeat)
    gc.collect()
    used = memory()
    whole = best(lambda: everything(store), 1)
    shown = Table("step", "ms", "of the processor", "of reading everything", "may take")
    rows = [Timed("first table, nothing read before", first, 1.0), *done, Timed("reading everything, one table", whole)]
    for one in rows:
        clock, processor = one.spent
        over = "" if one.limit is None or processor <= one.limit else ", and does not"
        limit = "" if one.limit is None else f"{1e3 * one.limit:.0f} ms{over}"
        ratio = f"{processor / whole.processor:.3f}"
        shown.add_row(one.name, f"{1e3 * clock:.1f}", f"{1e3 * processor:.1f}", ratio, limit)
    console.print(shown)
    console.print(
        f"memory: {before:.0f} MB before, {used:.0f} MB after all steps, {memory():.0f} MB with everything read"
    )
    console.print(statistics)
    store.close()


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
