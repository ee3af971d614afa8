"""What this machine has shown to gain from precisions, memory formats and threads, measured once and remembered."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from harness.errors import BenchError
from harness.runner.devices import gpu_count
from harness.utils.json_cache import JsonCache

# A plainer format is taken where it is at most so much slower: a small gain is not worth another rounding.
WORTH = 1.1
# Processors at work for others, as a share of all, above which a measurement is not kept.
BUSY = 0.5
TIME_LIMIT_S = 300.0


class Format(NamedTuple):
    """How a network computes; the plainest first in order."""

    precision: str
    channels_last: bool

    def __str__(self) -> str:
        return f"{self.precision}{' and channels-last' if self.channels_last else ''}"


PLAIN = Format("fp32", channels_last=False)


@dataclass(frozen=True)
class Timing:
    """What one format has shown."""

    format: Format
    seconds: float
    """Of an image, in a training step of a small U-Net."""
    safe: bool
    """Whether its losses are those of fp32, as far as it can be expected."""


class Machine:
    """Measures when it is first asked, in a process of its own, and remembers it in the user's cache folder.

    Args:
        say: told that something is measured.
        cores: processors that jobs may use; None: all.
    """

    def __init__(self, say: Callable[[str], None] = lambda line: None, cores: int | None = None) -> None:
        self._say, self._known = say, JsonCache("machine.json")
        self.cores = cores or os.cpu_count() or 1

    def formats(self, gpu: bool) -> list[Timing]:
        """Every format that there is, the plainest first.

        Raises:
            BenchError: there is no GPU, or the measurement failed.
        """
        if gpu and not gpu_count():
            raise BenchError(
                "precision: auto and channels_last: auto measure on the GPU that trains, and this machine has none",
                "Write precision: bf16 (or fp16) and channels_last: true, or plan on a machine with the GPU.",
            )
        found = self._measured("formats", "cuda" if gpu else "cpu")
        return [Timing(Format(one["precision"], one["channels_last"]), one["seconds"], one["safe"]) for one in found]

    def rates(self, chosen: Format) -> dict[int, float]:
        """Images a second of one job by its threads, where jobs of as many threads fill the processors."""
        counts = sorted({n for n in (1, 2, 4, 8, 16) if n < self.cores} | {self.cores})
        words = (chosen.precision, str(int(chosen.channels_last)), *map(str, counts))
        found = self._measured("sharing", *words)
        return {int(threads): rate for threads, rate in found.items()}

    def _measured(self, *words: str) -> Any:
        key = " ".join((*words, *self._identity()))
        if key in self._known:
            return self._known.get(key)
        self._say("Measuring once how fast this machine trains (a few seconds)")
        quiet = os.getloadavg()[0] <= BUSY * (os.cpu_count() or 1)
        found = _run(words)
        self._known.put(key, found)
        if quiet:  # what other work has slowed is for this command alone
            self._known.save()
        return found

    @staticmethod
    @cache
    def _identity() -> tuple[str, ...]:
        return platform.node(), f"{os.cpu_count()} cores", f"{gpu_count()} GPUs", f"torch {version('torch')}"


def _run(words: tuple[str, ...]) -> Any:
    command = [sys.executable, "-m", "harness.training.machine_speed", *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=True)
        return json.loads(done.stdout.splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        told = (getattr(error, "stderr", "") or str(error)).strip().splitlines() or [""]
        raise BenchError(
            f"measuring this machine failed: {told[-1]}",
            "Write precision, channels_last and cpus without auto, or see `bench doctor`.",
        ) from error


def fastest(timings: list[Timing], precision: str, channels_last: bool | str) -> Format:
    """The plainest of the fast and safe formats that fit what is already decided; `auto` leaves it open.

    A precision that is decided and was not measured, since this machine only imitates it, has the plain memory format.
    """
    open_ = [
        one
        for one in timings
        if (one.safe or precision != "auto")
        and precision in ("auto", one.format.precision)
        and channels_last in ("auto", one.format.channels_last)
    ]
    if not open_:
        return Format(precision, channels_last is True)
    limit = WORTH * min(one.seconds for one in open_)
    return next(one.format for one in open_ if one.seconds <= limit)


def fewest_seconds(rates: dict[int, float], jobs: int, cores: int) -> int:
    """The threads of a job by which so many jobs are done first; of equals the fewest."""

    def seconds(threads: int) -> float:
        side_by_side = max(1, cores // threads)
        return -(-jobs // side_by_side) / rates[threads]

    return min(sorted(rates), key=seconds)
