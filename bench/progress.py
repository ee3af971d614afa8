"""What a run shows while it works: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from bench.console import duration, new_console, on_terminal
from harness.runner.watcher import Watcher
from harness.tasks.messages import EpochDone, Stage
from harness.tasks.result import Result
from harness.tasks.task import Task
from harness.utils.text import printable

if TYPE_CHECKING:
    from harness.runner.plan import Plan

# Plain output tells of a running job at most so often.
LINE_EVERY_S = 10.0


class Display(Watcher):
    """Shows jobs done, running and failed, each running job's epoch and score, and the time left."""

    def __init__(self) -> None:
        self._total = self._already_done = self._done = self._failed = 0
        self._running: dict[str, dict[str, Any]] = {}
        self._bar = CountBar()
        self._live: Live | None = None
        self._shows = False

    def say(self, line: str) -> None:
        """A line, also beside the live view."""
        # In one piece: lines of several threads stay lines.
        # Cleaned here, because the live view takes escape sequences for colors.
        print(f"{printable(line)}\n", end="", flush=True)

    def progress(self, what: str, done: int, total: int) -> None:
        """A bar, where counting takes long."""
        self._bar(what, done, total)

    def begins(self, plan: Plan, database: str) -> None:
        """Say what there is to do, and show it from now on."""
        trained, rescored, done = len(plan.to_train), len(plan.rescore), len(plan.done)
        print(
            f"Suite {plan.suite.name}: {trained} to train, {rescored} to rescore, {done} done already. "
            f"Results go to {database}",
            *plan.notes,
            sep="\n",
            flush=True,
        )
        self._total, self._already_done = trained + rescored, done
        self._began = time.monotonic()
        self._shows = True
        console = new_console()
        if console.is_terminal:
            # What anybody prints meanwhile appears above the live view.
            self._live = Live(self, console=console, refresh_per_second=4)
            self._live.start()

    def ends(self) -> None:
        """Show nothing more."""
        if self._live:
            self._live.stop()
        self._live, self._shows = None, False

    def started(self, task: Task) -> None:
        """A task begins."""
        self._running[task.fingerprint] = {
            "title": task.job.title,
            "stage": "rescoring" if task.kind == "rescore" else "starting",
            "said": 0.0,
        }
        self._say(f"started  {task.job.title}")

    def message(self, task: Task, message: Stage | EpochDone) -> None:
        """What a task does now, or an epoch."""
        state = self._running.get(task.fingerprint)
        if state is None:
            return
        if isinstance(message, Stage):
            state["stage"] = message.text
            return
        state |= {"stage": "training", "epoch": message.epoch, "epochs": message.epochs}
        metric = task.job.selection.metric
        score = message.figures.get(f"val_{metric}")
        if score is not None:
            state["score"] = f"val {metric} {score:.4f}"
        if time.monotonic() - state["said"] > LINE_EVERY_S:
            state["said"] = time.monotonic()
            self._say(f"         {state['title']}: {_standing(state)}")

    def finished(self, task: Task, result: Result) -> None:
        """A task ended."""
        self._running.pop(task.fingerprint, None)
        title = task.job.title
        if result.state == "ok":
            self._done += 1
            self._say(f"done     {title} in {duration(result.times['total'])}; {self._counts()}")
        else:
            self._failed += result.state != "interrupted"
            self._say(f"{result.state:<8} {title}: {result.reason}; {self._counts()}")

    def __rich__(self) -> Group:
        """The live view."""
        jobs = Table.grid(padding=(0, 2))
        for state in self._running.values():
            jobs.add_row(Text("  " + state["title"]), Text(_standing(state), style="cyan"))
        return Group(Text(self._counts(), style="bold"), jobs)

    def _counts(self) -> str:
        waiting = self._total - self._done - self._failed - len(self._running)
        parts = [f"{self._done + self._already_done}/{self._total + self._already_done} done"]
        parts += [f"{len(self._running)} running"] if self._running else []
        parts += [f"{waiting} waiting"] if waiting > 0 else []
        parts += [f"{self._failed} failed"] if self._failed else []
        left = self._eta()
        return ", ".join(parts) + (f", about {duration(left)} left" if left is not None else "")

    def _eta(self) -> float | None:
        """Seconds left, if what remains goes on at the pace so far; a running job counts by its epochs."""
        ended = self._done + self._failed
        parts: list[float] = [s["epoch"] / s["epochs"] for s in self._running.values() if "epoch" in s]
        progress = ended + sum(parts)
        if progress < 0.2 or ended == self._total:
            return None
        return (time.monotonic() - self._began) / progress * (self._total - progress)

    def _say(self, line: str) -> None:
        if self._live is None and self._shows:
            self.say(line)


def _standing(state: dict[str, Any]) -> str:
    if "epoch" not in state or state["stage"] != "training":
        return str(state["stage"])
    return f"epoch {state['epoch']}/{state['epochs']}" + (f", {state['score']}" if "score" in state else "")


class CountBar:
    """A progress bar for counting through files; nothing where that is quick or not a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say how far it is."""
        if not on_terminal(sys.stderr):
            return
        if self._bar is None:
            self._bar = Progress(console=new_console(stderr=True), transient=True)
            self._task = self._bar.add_task(what, total=total)
            self._since = time.monotonic()
        if time.monotonic() - self._since > 1 and not self._bar.live.is_started:
            self._bar.start()
        self._bar.update(self._task, completed=done, total=total, description=what)
        if done == total:
            self._bar.stop()
            self._bar = None
