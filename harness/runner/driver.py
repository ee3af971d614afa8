"""The driver: hands out tasks, takes in results, and is the only one that writes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from harness.config.job import Resources
from harness.errors import BenchError, DatabaseBusy
from harness.results.store import ClaimLost, Store
from harness.runner.plan import Plan
from harness.runner.watcher import Watcher
from harness.tasks.messages import CheckDone, EpochDone, Message, SharedResult
from harness.tasks.record import forget_record
from harness.tasks.result import Result
from harness.tasks.task import Task

T = TypeVar("T")

HEARTBEAT_S = 15.0
# Seconds between two tries to write, and how long they go on once the command was asked to stop.
RETRY_S, STOPPED_PATIENCE_S = 0.5, 20.0
# How often a task is tried again whose process or node was lost.
LOST_WORKER_RETRIES = 2


@dataclass
class Outcome:
    """How a run of a suite ended."""

    plan: Plan
    """What there was to do."""
    database: str
    """Where the results are; a password is not shown."""
    ok: int = 0
    """Jobs that ended well, rescored ones among them."""
    rescored: int = 0
    elsewhere: int = 0
    """Jobs that another command on the same database runs or has run."""
    failures: list[tuple[Task, Result]] = field(default_factory=list)
    interrupted: bool = False
    """Whether it was stopped; the same call continues from the last checkpoints."""

    @property
    def exit_code(self) -> int:
        """0: everything is done. 1: jobs failed. 130: it was stopped."""
        return 130 if self.interrupted else int(bool(self.failures))


class Driver:
    """Hands out the tasks of one command and writes what comes back.

    Args:
        store: the database.
        tasks: what has to be done, in order.
        watcher: told of everything.
        outcome: what comes of it is counted there.
    """

    def __init__(self, store: Store, tasks: Sequence[Task], watcher: Watcher, outcome: Outcome) -> None:
        self.store = store
        self.outcome = outcome
        self.stopping = threading.Event()
        self._watcher = watcher
        self._waiting = deque(tasks)
        wanted = [one.fingerprint for task in tasks for one in task.with_shorter()]
        self._seen = store.attempts(wanted) if wanted else {}
        self._running: dict[str, Task] = {}
        self._begun: set[str] = set()
        self._losses: dict[str, int] = {}
        self._out_of_memory: dict[str, int] = {}
        self._closed = threading.Event()
        self._epochs: dict[tuple[str, int], list[dict[str, Any]]] = {}
        self._epochs_lock = threading.Lock()
        self._beating: threading.Thread | None = None
        self.trouble: BenchError | None = None
        """What keeps the command from going on, such as a full disk; raised once everything has ended."""

    @contextmanager
    def stops_on_trouble(self) -> Iterator[None]:
        """Where an error would be lost in somebody else's loop: keep it, and end everything."""
        try:
            yield
        except BenchError as error:
            self.trouble = self.trouble or error
            self.stopping.set()

    @property
    def has_waiting(self) -> bool:
        """Whether anything is left to hand out."""
        return bool(self._waiting) and not self.stopping.is_set()

    @property
    def is_running(self) -> bool:
        """Whether a task has been handed out and has not ended: a lost one would be handed out again."""
        return bool(self._running) and not self.stopping.is_set()

    def waiting_resources(self) -> list[Resources]:
        """What each of the waiting tasks takes."""
        return [task.job.resources for task in self._waiting]

    def next_task(self) -> Task | None:
        """Claim the next task; None where nothing is left to claim."""
        self._start_beating()
        while self.has_waiting:
            task = self._waiting.popleft()
            if task.kind != "rescore":
                claimed = self._claimed(task)
                if claimed is None:
                    self.outcome.elsewhere += 1
                    if task.shorter:  # another driver has the longest: the others are a group of their own
                        *rest, longest = task.shorter
                        self._waiting.appendleft(replace(longest, shorter=tuple(rest)))
                    continue
                task = replace(claimed, shorter=self._claimed_shorter(task))
            self._running[task.fingerprint] = task
            return task
        return None

    def _claimed(self, task: Task) -> Task | None:
        """Take a run; None if another command has it, or has ended it since this one looked."""
        attempt = self._patiently(lambda: self.store.claim(task.fingerprint, self._seen.get(task.fingerprint)))
        if attempt is None:
            return None
        self._seen[task.fingerprint] = attempt
        return replace(task, attempt=attempt)

    def _claimed_shorter(self, task: Task) -> tuple[Task, ...]:
        """The shorter jobs that nobody else has; they run from now on."""
        found = [self._claimed(shorter) for shorter in task.shorter]
        claimed = tuple(shorter for shorter in found if shorter is not None)
        self.outcome.elsewhere += len(found) - len(claimed)
        self._running |= {shorter.fingerprint: shorter for shorter in claimed}
        return claimed

    def take(self, task: Task, message: Message) -> None:
        """A message of a running task; its result ends it."""
        running = self._running.get(task.fingerprint)
        if running is None:
            return  # a late message of a task that was given up
        if task.fingerprint not in self._begun:
            # Ray claims a little ahead of its free slots: a task has begun when its first message comes.
            self._begun.add(task.fingerprint)
            self._watcher.started(running)
        if isinstance(message, SharedResult):
            self._finish(self._running[message.result.fingerprint], message.result)
        elif isinstance(message, Result):
            if not self._try_smaller(running, message):
                self._finish_group(running, message)
        elif not isinstance(message, CheckDone):  # no task of a suite checks a network
            if isinstance(message, EpochDone):
                with self._epochs_lock:
                    kept = self._epochs.setdefault((running.fingerprint, running.attempt), [])
                    kept.append({"epoch": message.epoch, **message.figures})
            self._watcher.message(running, message)

    def _try_smaller(self, task: Task, result: Result) -> bool:
        """Hand a task that ran out of memory out again, its batches in twice as many parts, if its job allows it."""
        job = task.job
        count = self._out_of_memory.get(task.fingerprint, 0)
        parts = job.recipe.accumulate * 2
        if (
            result.state != "oom"
            or task.kind == "rescore"
            or count >= job.resources.oom_retries
            or parts > job.recipe.batch_size // job.resources.world_size
            or self.stopping.is_set()
        ):
            return False
        self._out_of_memory[task.fingerprint] = count + 1
        smaller = job.model_copy(update={"recipe": job.recipe.model_copy(update={"accumulate": parts})})
        self._hand_out_again(replace(task, job=smaller), result)
        return True

    def _hand_out_again(self, task: Task, result: Result) -> None:
        """Note how an attempt ended, and put its task back in front."""
        left = tuple(shorter for shorter in task.shorter if shorter.fingerprint in self._running)
        for one in (task, *left):
            del self._running[one.fingerprint]
            if one.kind != "rescore":  # a training that is done stays done, whatever becomes of its new scores
                own = replace(result, fingerprint=one.fingerprint, attempt=one.attempt)
                self._patiently(partial(self.store.save, own, one))
        self._waiting.appendleft(replace(task, shorter=left))

    def lost(self, task: Task, reason: str) -> None:
        """The process or node of a task is gone: hand the task out again, or give it up."""
        running = self._running.get(task.fingerprint)
        if running is None:
            return
        count = self._losses[task.fingerprint] = self._losses.get(task.fingerprint, 0) + 1
        result = Result(task.fingerprint, task.attempt, "failed", reason, error="WorkerLost")
        if count <= LOST_WORKER_RETRIES and not self.stopping.is_set():
            self._hand_out_again(running, replace(result, state="interrupted"))
        else:
            self._finish_group(running, result)

    def close(self) -> None:
        """Account for what was running when the command was stopped."""
        if self.stopping.is_set():
            self.outcome.interrupted = True
        self._closed.set()
        if self._beating is not None:
            self._beating.join()
        with self.stops_on_trouble():
            self.store.interrupt_own()
        if self.trouble is not None:
            raise self.trouble

    def _finish_group(self, task: Task, result: Result) -> None:
        """A training ended: what stopped it stopped the shorter jobs that it had not reached, too."""
        for shorter in task.shorter:
            if shorter.fingerprint in self._running:
                self._finish(shorter, _result_without_scores(shorter, result))
        self._finish(task, result)

    def _finish(self, task: Task, result: Result) -> None:
        del self._running[task.fingerprint]
        try:
            if task.kind != "rescore":
                self._patiently(lambda: self.store.save(result, task))
                forget_record(task.files)
            elif result.state == "ok":
                self._patiently(lambda: self.store.save_scores(result, task))
        except ClaimLost:
            self.outcome.elsewhere += 1
            return
        if result.state == "ok":
            self.outcome.ok += 1
            self.outcome.rescored += task.kind == "rescore"
        elif result.state == "interrupted":
            self.outcome.interrupted = True
        else:
            self.outcome.failures.append((task, result))
        self._watcher.finished(task, result)

    def _patiently(self, write: Callable[[], T]) -> T:
        """Write, and where the database is busy, again and again: work that runs must not be lost to a lock.

        Raises:
            DatabaseBusy: it is busy still, some time after the command was asked to stop. What tasks have finished is
                in their files, and the next command takes it in.
        """
        told, left = False, STOPPED_PATIENCE_S
        while True:
            try:
                return write()
            except DatabaseBusy as error:
                if self.stopping.is_set():
                    left -= RETRY_S
                    if left <= 0:
                        raise
                if not told:
                    self._watcher.say(f"waiting  {error.message}")
                    told = True
                time.sleep(RETRY_S)

    def _start_beating(self) -> None:
        """Say now and then that this command is alive, in a thread: whatever else it waits for."""
        if self._beating is None:
            self._beating = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._beating.start()

    def _beat(self) -> None:
        while not self._closed.wait(HEARTBEAT_S):
            with contextlib.suppress(BenchError):  # a busy database hears of it the next time
                self.store.heartbeat()
                with self._epochs_lock:
                    epochs, self._epochs = self._epochs, {}
                if epochs:  # curves can be watched while they grow; what is not written now comes with the result
                    self.store.save_points(epochs)


def _result_without_scores(shorter: Task, result: Result) -> Result:
    """What becomes of a shorter job that sent no result of its own before its training ended."""
    own = replace(
        result,
        fingerprint=shorter.fingerprint,
        attempt=shorter.attempt,
        evaluations=[],
        gallery=[],
        label_maps=[],
        curve=[],
        progress={},
        parameters=None,
    )
    if result.state == "ok":
        reason = "the longer training that includes this job sent no result for it"
        own = replace(own, state="failed", reason=reason)
    return own
