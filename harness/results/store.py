"""The one writer of the results database."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, Row, delete, insert, inspect, select, text, update
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session

from harness.datasets.base import DatasetInfo, Manifest
from harness.errors import DatabaseBusy, DatabaseError
from harness.results.lease import is_gone, this_driver
from harness.results.rows import (
    Submission,
    curve_points,
    new_run,
    restate,
    submitted_run,
    write_evaluation,
    write_gallery,
    write_results,
)
from harness.results.schema import (
    FAILED,
    SCHEMA_VERSION,
    Artifact,
    Base,
    DatasetRow,
    Evaluation,
    GalleryPrediction,
    Meta,
    Run,
    SuiteEntry,
    refuse_other_schema,
)
from harness.results.scored_as import enter_dataset, scored_as
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Result, now
from harness.tasks.stated import PRETRAINED_ON, stated_facts
from harness.tasks.task import Task

# The lock at which writers queue on PostgreSQL: any number that nobody else uses.
WRITERS = 0x5E6BE7C4


# What databases say that are locked, or whose server restarts, cannot be reached or has hung up.
BUSY = (
    "database is locked", "database table is locked", "lock timeout", "deadlock detected", "connection refused",
    "connection is closed", "connection failed", "server closed the connection", "could not connect",
    "terminating connection", "is starting up", "is shutting down", "too many clients", "connection timeout",
    "consuming input failed", "connection is lost",
)  # fmt: skip

# The suite of label maps from outside where no other suite scored the same images.
EXTERNAL = "external"
# Under which the database keeps where its artifacts are.
ARTIFACTS = "artifacts"


def beside(path: Path | None) -> Artifacts:
    """The folder of the artifacts of a database that was told of no other."""
    return Artifacts((path or Path("results.db")).resolve().with_suffix(".artifacts"))


class ClaimLost(Exception):
    """A result came from an attempt that is no longer the current one; it is refused."""


class Store:
    """An open results database.

    Every method that writes commits before it returns.
    """

    def __init__(self, engine: Engine, path: Path | None) -> None:
        self.engine = engine
        self.path = path
        """The SQLite file; None for another database."""
        self.driver = this_driver()

    @property
    def name(self) -> str:
        """What messages call it; a password is not shown."""
        return str(self.path) if self.path else self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back on an error.

        Raises:
            DatabaseBusy: another command holds it, or its server is away; it may work later.
            DatabaseError: the database refused; says why.
        """
        try:
            with Session(self.engine, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            message = str(getattr(error, "orig", None) or error).splitlines()[0]
            kind = DatabaseBusy if _may_pass(error) else DatabaseError
            raise kind(f"{self.name}: {message}") from error

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction beside which no other command writes: what it finds missing is missing still when it adds it.

        SQLite has one writer at any time by itself; on PostgreSQL the writers queue at a lock.
        """
        with self.session() as session:
            if self.path is None:
                session.execute(text("select pg_advisory_xact_lock(:key)"), {"key": WRITERS})
            yield session

    def check_schema(self, create: bool) -> None:
        """Make the tables of an empty database; refuse one of another schema, and somebody else's.

        Raises:
            DatabaseError: nothing was altered.
        """
        if create:
            with self.writing() as session:
                connection = session.connection()
                if not inspect(connection).get_table_names():
                    Base.metadata.create_all(connection)
                    session.add(Meta(key="schema_version", value=str(SCHEMA_VERSION)))
                    return
        refuse_other_schema(self.name, self.schema())

    def schema(self) -> str | None:
        """The schema that the database says it has.

        Raises:
            DatabaseError: it is no results database.
        """
        if not {"meta", "runs"} <= set(inspect(self.engine).get_table_names()):
            raise DatabaseError(f"{self.name}: is not a results database; it was left alone")
        with self.engine.connect() as connection:
            return connection.execute(select(Meta.value).where(Meta.key == "schema_version")).scalar()

    def close(self) -> None:
        """Close; fold an SQLite file's WAL in, so that the one file is the whole board."""
        if self.path is not None and self.path.exists() and os.access(self.path, os.W_OK):
            # Of the driver itself: the engine would begin a transaction, in which nothing can be folded in. Nor is
            # another process waited for that reads or writes: it, or the next run, folds it in.
            with (
                contextlib.suppress(SQLAlchemyError, sqlite3.Error),
                contextlib.closing(self.engine.raw_connection()) as connection,
            ):
                cursor = connection.cursor()
                cursor.execute("PRAGMA busy_timeout=0")
                cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                cursor.close()
        self.engine.dispose()

    # -- planning ---------------------------------------------------------------------------------

    def known(self, fingerprints: Sequence[str]) -> dict[str, Run]:
        """The runs that exist, by train fingerprint."""
        found: dict[str, Run] = {}
        with self.session() as session:
            for first in range(0, len(fingerprints), 500):
                part = fingerprints[first : first + 500]
                for run in session.scalars(select(Run).where(Run.fingerprint.in_(part))):
                    found[run.fingerprint] = run
        return found

    def states(self, fingerprints: Sequence[str]) -> dict[str, str]:
        """The state of each run that exists, by train fingerprint."""
        with self.session() as session:
            return {f: row.state for f, row in self._rows(fingerprints, session).items()}

    def _rows(self, fingerprints: Sequence[str], session: Session) -> dict[str, Row[tuple[str, int, str, int]]]:
        """Number, state and attempts of each run that exists: what planning asks of very many."""
        found: dict[str, Row[tuple[str, int, str, int]]] = {}
        for first in range(0, len(fingerprints), 500):
            part = fingerprints[first : first + 500]
            rows = select(Run.fingerprint, Run.id, Run.state, Run.attempt).where(Run.fingerprint.in_(part))
            found |= {row.fingerprint: row for row in session.execute(rows)}
        return found

    def cells(self) -> frozenset[str]:
        """The cell fingerprints of all runs."""
        with self.session() as session:
            return frozenset(session.scalars(select(Run.cell).distinct()))

    def scored(self, score_fingerprints: Sequence[str]) -> set[str]:
        """Which of the score fingerprints have an evaluation of the test split."""
        found: set[str] = set()
        with self.session() as session:
            for first in range(0, len(score_fingerprints), 500):
                part = score_fingerprints[first : first + 500]
                rows = select(Evaluation.score_fingerprint).where(
                    Evaluation.score_fingerprint.in_(part), Evaluation.split == "test"
                )
                found |= set(session.scalars(rows))
        return found

    def register(self, tasks: Sequence[Task], datasets: Mapping[str, tuple[DatasetInfo, str, Manifest]]) -> None:
        """Make sure every job has a row and belongs to its suite.

        Args:
            tasks: the jobs.
            datasets: key of the copy's row -> facts, variant and manifest of the copy.
        """
        with self.writing() as session:
            ids = {f: row.id for f, row in self._rows([task.fingerprint for task in tasks], session).items()}
            entries = select(SuiteEntry.suite, SuiteEntry.run_id).where(
                SuiteEntry.suite.in_({task.job.suite for task in tasks})
            )
            entered = {(row.suite, row.run_id) for row in session.execute(entries)}
            for facts in datasets.values():
                enter_dataset(session, *facts)
            restate(session, {ids[task.fingerprint]: task for task in tasks if task.fingerprint in ids})
            for task in tasks:
                if task.fingerprint not in ids:
                    run = new_run(task)
                    session.add(run)
                    session.flush()
                    ids[task.fingerprint] = run.id
                    session.expunge(run)  # of very many jobs only the numbers are kept
                if (task.job.suite, ids[task.fingerprint]) not in entered:
                    entered.add((task.job.suite, ids[task.fingerprint]))
                    session.execute(insert(SuiteEntry).values(suite=task.job.suite, run_id=ids[task.fingerprint]))

    def search_result(self, key: str) -> dict[str, Any] | None:
        """What a search found; None if it was not done."""
        with self.session() as session:
            row = session.get(Meta, f"search:{key}"[:64])
            return None if row is None else json.loads(row.value)

    def save_search_result(self, key: str, found: Mapping[str, Any]) -> None:
        """Keep what a search found."""
        with self.writing() as session:
            session.merge(Meta(key=f"search:{key}"[:64], value=json.dumps(dict(found))))

    @property
    def artifacts(self) -> Artifacts:
        """Where checkpoints and label maps go: as it was told, else beside an SQLite file or in the current folder."""
        with self.session() as session:
            row = session.get(Meta, ARTIFACTS)
        return beside(self.path) if row is None else Artifacts(row.value)

    def keep_artifacts_at(self, artifacts: Artifacts) -> None:
        """Remember where checkpoints and label maps go."""
        with self.writing() as session:
            session.merge(Meta(key=ARTIFACTS, value=artifacts.location))

    def kept(self) -> list[str]:
        """The fingerprints of the runs that have label maps among the artifacts."""
        with self.session() as session:
            return list(session.scalars(select(Run.fingerprint).where(Run.id.in_(select(Artifact.run_id)))))

    def release_stale(self) -> int:
        """Mark running rows of drivers that are gone as interrupted; returns how many there were."""
        released = 0
        with self.session() as session:
            now = self._time(session)
            for run in session.scalars(select(Run).where(Run.state == "running")):
                if is_gone(run.driver, run.heartbeat, now):
                    run.state, run.reason = "interrupted", "its command ended without saying so"
                    released += 1
        return released

    # -- running ----------------------------------------------------------------------------------

    def attempts(self, fingerprints: Sequence[str]) -> dict[str, int]:
        """How often each run has been begun."""
        with self.session() as session:
            return {f: row.attempt for f, row in self._rows(fingerprints, session).items()}

    def claim(self, fingerprint: str, seen: int | None = None) -> int | None:
        """Take a run for this driver.

        Args:
            fingerprint: of the run.
            seen: how many attempts there were when it was decided that it has to be done; None does not ask.

        Returns:
            The attempt's number; None if another driver has it, or has ended it since.
        """
        with self.session() as session:
            run = session.scalars(select(Run).where(Run.fingerprint == fingerprint).with_for_update()).one()
            time_now = self._time(session)
            if run.state == "running" and not is_gone(run.driver, run.heartbeat, time_now):
                return None
            if run.state == "ok" or (run.state in FAILED and seen is not None and run.attempt > seen):
                return None
            if run.attempt:
                earlier = {"attempt": run.attempt, "state": run.state, "reason": run.reason, "finished": run.finished}
                run.history = [*run.history, earlier]
            run.state, run.reason, run.error, run.traceback = "running", "", "", ""
            run.driver, run.heartbeat = self.driver, time_now
            run.attempt += 1
            run.started, run.finished = now(), None
            if run.merge_id is not None:  # what comes of it is this database's own, whoever brought the row
                run.merge_id = None
                session.execute(update(SuiteEntry).where(SuiteEntry.run_id == run.id).values(merge_id=None))
            return run.attempt

    def heartbeat(self) -> None:
        """Say that this driver is alive."""
        with self.session() as session:
            session.execute(
                update(Run)
                .where(Run.state == "running", Run.driver == self.driver)
                .values(heartbeat=self._time(session))
            )

    def save_points(self, points: Mapping[tuple[str, int], list[dict[str, Any]]]) -> None:
        """Write points of the learning curves of running jobs; the result of a job replaces them.

        Args:
            points: for each fingerprint and attempt records of epochs, as a result's curve has them.
        """
        with self.writing() as session:
            for (fingerprint, attempt), epochs in points.items():
                run = session.scalars(select(Run).where(Run.fingerprint == fingerprint).with_for_update()).one()
                if run.state != "running" or run.attempt != attempt:
                    continue
                for point in curve_points(run.id, epochs):
                    session.merge(point)

    def _time(self, session: Session) -> float:
        """Seconds since 1970 by the clock that all commands share: a server's own; for a file, this machine's."""
        if self.path is not None:
            return time.time()
        return float(session.execute(text("select extract(epoch from clock_timestamp())")).scalar_one())

    def save(self, result: Result, task: Task) -> None:
        """Write everything that a task returned, in one transaction.

        Raises:
            ClaimLost: a later attempt has taken the run.
        """
        with self.writing() as session:
            run = session.scalars(select(Run).where(Run.fingerprint == result.fingerprint).with_for_update()).one()
            if run.attempt != result.attempt:
                raise ClaimLost(f"run {run.id}: attempt {result.attempt} came after attempt {run.attempt}")
            run.state, run.reason, run.error = result.state, result.reason, result.error
            run.traceback = result.traceback
            run.started, run.finished = result.started or run.started, result.finished
            run.driver = run.heartbeat = None
            run.times = {**run.times, **result.times}
            run.parameters = result.parameters or run.parameters
            run.cost = result.cost or run.cost or {}
            run.progress = result.progress or run.progress
            if result.provenance:
                run.provenance = {**result.provenance, **stated_facts(task)}
            if result.state == "ok":
                write_results(session, run, result, task)

    def save_scores(self, result: Result, task: Task) -> None:
        """Write the scores of a rescored run; its training and its state stay as they are."""
        with self.writing() as session:
            run = session.scalars(select(Run).where(Run.fingerprint == result.fingerprint)).one()
            for evaluation in result.evaluations:
                write_evaluation(
                    session,
                    run,
                    evaluation,
                    task.job.stored_protocol,
                    task.job.protocol_hash,
                    task.score_fingerprint,
                )

    def submitted(self, fingerprint: str, split: str) -> str | None:
        """The SHA-256 of the label maps that a submission brought for a split; None if it has not."""
        with self.session() as session:
            return session.scalars(
                select(Artifact.sha256)
                .join(Run, Artifact.run_id == Run.id)
                .where(Run.fingerprint == fingerprint, Artifact.split == split)
            ).one_or_none()

    def save_submission(self, result: Result, submission: Submission) -> list[str]:
        """Write scored predictions from outside, in one transaction.

        Returns:
            The suites they are ranked in: those that scored the same images; `external` where none did.
        """
        with self.writing() as session:
            enter_dataset(session, submission.info, submission.variant, submission.manifest)
            run = session.scalars(select(Run).where(Run.fingerprint == result.fingerprint)).one_or_none()
            if run is None:
                run = submitted_run(submission, result)
                session.add(run)
                session.flush()
            elif PRETRAINED_ON in result.provenance:
                run.provenance = {**run.provenance, PRETRAINED_ON: result.provenance[PRETRAINED_ON]}
            for evaluation in result.evaluations:
                write_evaluation(
                    session,
                    run,
                    evaluation,
                    submission.protocol.stored(),
                    submission.protocol.hash,
                    submission.score_fingerprint,
                )
            for kept in result.label_maps:
                session.merge(Artifact(run_id=run.id, **vars(kept)))
            if result.gallery:
                session.execute(delete(GalleryPrediction).where(GalleryPrediction.run_id == run.id))
                write_gallery(session, run, result.gallery)
            same_images = (
                select(SuiteEntry.suite)
                .distinct()
                .join(Run, SuiteEntry.run_id == Run.id)
                .join(DatasetRow, Run.manifest == DatasetRow.manifest)
                .where(
                    DatasetRow.name == submission.info.name,
                    DatasetRow.test_manifest == submission.manifest.split_hash("test"),
                    DatasetRow.scored_as == scored_as(submission.info),
                )
            )
            suites = sorted(session.scalars(same_images).all()) or [EXTERNAL]
            for suite in suites:
                session.merge(SuiteEntry(suite=suite, run_id=run.id))
        return suites

    def interrupt_own(self) -> int:
        """Mark what this driver still had running as interrupted; returns how many there were."""
        with self.session() as session:
            done = session.execute(
                update(Run)
                .where(Run.state == "running", Run.driver == self.driver)
                .values(state="interrupted", reason="the command was stopped", driver=None, heartbeat=None)
            )
            return int(done.rowcount)  # type: ignore[attr-defined]


def _may_pass(error: SQLAlchemyError) -> bool:
    """Whether a database that refused may take the same again: it is locked, or its server cannot be reached now."""
    if not isinstance(error, DBAPIError):
        return False
    told = str(error.orig).lower()
    return error.connection_invalidated or any(words in told for words in BUSY)
