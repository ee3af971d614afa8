"""The driver: hands out work, takes in records, and is the only one that writes."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from harness.config.suite import Resources
from harness.errors import BenchError
from harness.results.store import ClaimLost, Planned, Store
from harness.tasks.records import Record, Unit

HEARTBEAT_S = 15.0
# A unit whose worker process or node was lost is tried again so often.
LOST_WORKER_RETRIES = 2


@dataclass(frozen=True)
class Work:
    """A job that has to be trained or rescored."""

    planned: Planned
    unit: Unit
    shares: tuple[Work, ...] = ()
    """Shorter jobs whose training is the beginning of this one's."""


@dataclass
class Outcome:
    """How the works of a command ended."""

    ok: int = 0
    rescored: int = 0
    elsewhere: int = 0
    """Taken by another driver on the same database."""
    failures: list[tuple[Work, Record]] = field(default_factory=list)
    interrupted: bool = False


class Watcher(Protocol):
    """Told what happens; shows it."""

    def started(self, work: Work) -> None:
        """A unit has begun."""

    def message(self, work: Work, message: dict[str, Any]) -> None:
        """A unit said something: a stage, or an epoch with its figures."""

    def finished(self, work: Work, record: Record) -> None:
        """A unit ended and its record is in the database."""


class Driver:
    """Hands out the works of one command and writes what comes back.

    Args:
        store: the database.
        works: what has to be done, in order.
        watcher: told of everything.
    """

    def __init__(self, store: Store, works: Sequence[Work], watcher: Watcher) -> None:
        self.store = store
        self.outcome = Outcome()
        self.stopping = threading.Event()
        self._watcher = watcher
        self._waiting = deque(works)
        wanted = [part.planned.fingerprint for work in works for part in (work, *work.shares)]
        self._seen = store.attempts(wanted) if wanted else {}
        self._running: dict[str, Work] = {}
        self._begun: set[str] = set()
        self._losses: dict[str, int] = {}
        self._out_of_memory: dict[str, int] = {}
        self._beat = time.monotonic()
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
        """Whether a unit has been handed out and not come back: a lost one would be handed out again."""
        return bool(self._running) and not self.stopping.is_set()

    def waiting_resources(self) -> list[Resources]:
        """What each of the waiting works takes."""
        return [work.unit.job.resources for work in self._waiting]

    def alive(self) -> None:
        """Something runs and has nothing new to say."""
        self._heartbeat()

    def next_unit(self) -> Unit | None:
        """Claim the next work and return its unit; None where nothing is left to claim."""
        while self.has_waiting:
            work = self._waiting.popleft()
            if work.unit.rescore:
                unit = work.unit
            else:
                attempt = self._claim(work)
                if attempt is None:
                    self.outcome.elsewhere += 1
                    if work.shares:  # another driver has the longest: the others are a group of their own
                        *rest, longest = work.shares
                        self._waiting.appendleft(replace(longest, shares=tuple(rest)))
                    continue
                shares = self._claim_shares(work)
                unit = replace(work.unit, attempt=attempt, shares=tuple(share.unit for share in shares))
                work = replace(work, unit=unit, shares=shares)
            self._running[unit.fingerprint] = work
            return unit
        return None

    def _claim(self, work: Work) -> int | None:
        """Take a run; None if another command has it, or has ended it since this one looked."""
        fingerprint = work.planned.fingerprint
        attempt = self.store.claim(fingerprint, self._seen.get(fingerprint))
        if attempt is not None:
            self._seen[fingerprint] = attempt
        return attempt

    def _claim_shares(self, work: Work) -> tuple[Work, ...]:
        """The shorter jobs that nobody else has; they run from now on."""
        claimed = []
        for share in work.shares:
            attempt = self._claim(share)
            if attempt is None:
                self.outcome.elsewhere += 1
                continue
            own = replace(share, unit=replace(share.unit, attempt=attempt))
            self._running[own.unit.fingerprint] = own
            claimed.append(own)
        return tuple(claimed)

    def take(self, unit: Unit, message: dict[str, Any]) -> None:
        """A message of a running unit; its record ends it."""
        self._heartbeat()
        work = self._running.get(unit.fingerprint)
        if work is None:
            return  # a late word from a unit that was given up
        if unit.fingerprint not in self._begun:
            # Ray claims a little ahead of its free slots: a unit has begun when it first speaks.
            self._begun.add(unit.fingerprint)
            self._watcher.started(work)
        if message["kind"] == "share":
            record = message["record"]
            self._finish(self._running[record.fingerprint], record)
        elif message["kind"] == "record":
            if not self._try_smaller(work, message["record"]):
                self._finish_group(work, message["record"])
        else:
            self._watcher.message(work, message)

    def _try_smaller(self, work: Work, record: Record) -> bool:
        """Hand a unit that ran out of memory out again, its batches in twice as many parts, if its job allows it."""
        job = work.unit.job
        count = self._out_of_memory.get(work.unit.fingerprint, 0)
        parts = job.recipe.accumulate * 2
        if (
            record.state != "oom"
            or work.unit.rescore
            or count >= job.resources.oom_retries
            or parts > job.recipe.batch_size
            or self.stopping.is_set()
        ):
            return False
        self._out_of_memory[work.unit.fingerprint] = count + 1
        smaller = job.model_copy(update={"recipe": job.recipe.model_copy(update={"accumulate": parts})})
        self._again(work, record, replace(work.unit, job=smaller))
        return True

    def _again(self, work: Work, record: Record, unit: Unit) -> None:
        """Note how an attempt ended, and put its work back in front."""
        left = tuple(share for share in work.shares if share.unit.fingerprint in self._running)
        for one in (work, *left):
            del self._running[one.unit.fingerprint]
            own = replace(record, fingerprint=one.unit.fingerprint, attempt=one.unit.attempt)
            if not one.unit.rescore:  # a training that is done stays done, whatever becomes of its new scores
                self.store.save(own, one.planned)
        self._waiting.appendleft(replace(work, unit=unit, shares=left))

    def lost(self, unit: Unit, reason: str) -> None:
        """The worker of a unit died: hand the unit out again, or give it up."""
        work = self._running.get(unit.fingerprint)
        if work is None:
            return
        count = self._losses[unit.fingerprint] = self._losses.get(unit.fingerprint, 0) + 1
        record = Record(unit.fingerprint, unit.attempt, "failed", reason, error="WorkerLost")
        if count <= LOST_WORKER_RETRIES and not self.stopping.is_set():
            self._again(work, replace(record, state="interrupted"), work.unit)
        else:
            self._finish_group(work, record)

    def close(self) -> None:
        """Account for what was running when the command was stopped."""
        if self.stopping.is_set():
            self.outcome.interrupted = True
        with self.stops_on_trouble():
            self.store.interrupt_own()
        if self.trouble is not None:
            raise self.trouble

    def _finish_group(self, work: Work, record: Record) -> None:
        """A training ended: what kept it from going on keeps the shorter jobs that it had not reached, too."""
        for share in work.shares:
            if share.unit.fingerprint in self._running:
                own = Record(share.unit.fingerprint, share.unit.attempt, record.state, record.reason)
                own.error, own.traceback, own.times = record.error, record.traceback, dict(record.times)
                own.started, own.finished, own.provenance = record.started, record.finished, record.provenance
                if record.state == "ok":
                    own.state, own.reason = "failed", "the training it is the beginning of handed in no record for it"
                self._finish(share, own)
        self._finish(work, record)

    def _finish(self, work: Work, record: Record) -> None:
        del self._running[work.unit.fingerprint]
        try:
            if not work.unit.rescore:
                self.store.save(record, work.planned)
            elif record.state == "ok":
                self.store.save_scores(record, work.planned)
        except ClaimLost:
            self.outcome.elsewhere += 1
            return
        if record.state == "ok":
            self.outcome.ok += 1
            self.outcome.rescored += work.unit.rescore
        elif record.state == "interrupted":
            self.outcome.interrupted = True
        else:
            self.outcome.failures.append((work, record))
        self._watcher.finished(work, record)

    def _heartbeat(self) -> None:
        if time.monotonic() - self._beat > HEARTBEAT_S:
            self._beat = time.monotonic()
            self.store.heartbeat()
