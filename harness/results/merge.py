"""Another lab's runs into a database: imported, never trusted; every training once, contradictions named, undoable."""

from __future__ import annotations

import getpass
import hashlib
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock
from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.errors import BenchError
from harness.results.lease import this_driver
from harness.results.merging.clean import Tick, cleaned
from harness.results.merging.label_maps import LabelMapSource, Staged
from harness.results.merging.limits import Limits
from harness.results.merging.models import problem_of
from harness.results.merging.report import Merged
from harness.results.merging.source import Source, opened
from harness.results.merging.takeover import TakeOver, dataset_conflict, name_of, wanted
from harness.results.merging.undo import undo_merge
from harness.results.schema import Artifact, DatasetRow, Merge, Run
from harness.results.store import Store, beside
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import now
from harness.utils.text import plain_line

# The file that says whose a scratch folder is: the next command removes what a killed one has left.
OWNER = ".owner"

__all__ = ["Limits", "Merged", "list_merges", "merge", "merge_source", "told_of", "undo_merge"]


def merge(
    store: Store,
    other: str,
    *,
    artifacts_from: Artifacts | None = None,
    label_maps: bool = True,
    noted: bool = True,
    limits: Limits | None = None,
    tick: Tick = lambda done, total: None,
) -> Merged:
    """Take everything over that another database has and this one lacks, in one transaction.

    The other database is not believed: every row is checked, every figure is folded anew from its statistics, and what
    is not sound is left out and named. A training is the same if its fingerprint is. Two that ended well and predicted
    other label maps, or have other scores under one protocol, contradict each other: that is named, and nothing of
    this database's is changed. What a merge brought is marked with its number, by which `undo_merge` removes it.

    Args:
        store: takes the runs in.
        other: a path or a URL; only read.
        artifacts_from: where the other's label maps are; None: in the folder beside its file.
        label_maps: whether label maps are copied.
        noted: whether the database keeps where the runs came from; a file that is made anew to be handed on does not.
        limits: how much is read, and for how long.
        tick: told how many runs are checked, of how many.

    Raises:
        DatabaseError: the other database cannot be read, is damaged or no results database. Nothing is changed then.
        ArtifactsError: label maps cannot be read or written. Nothing is changed then.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="segbench-merge-") as name, opened(other, Path(name), limits) as source:
        (Path(name) / OWNER).write_text(this_driver())
        found = cleaned(source, Path(name) / "sound.db", tick)
        result = Merged(refused=found.refused, unfinished=found.unfinished)
        result.unknown_metrics = sorted(found.unknown_metrics)
        place = artifacts_from or (None if source.path is None else beside(source.path))
        try:
            with _one_at_a_time(store.artifacts), Staged(store.artifacts) as staged:
                refused: set[int] = set()
                if label_maps and place is not None:
                    from_there = LabelMapSource(place, limits, source.clock, source.name)
                    refused = _stage(store, found.store, from_there, staged, result)
                _take_over(store, found.store, staged, source, noted, refused, result)
        finally:
            found.store.close()
    return result


def _one_at_a_time(place: Artifacts) -> FileLock:
    """A lock for merges that copy to one place: each has its copies beside the same runs."""
    name = hashlib.sha256(place.location.encode()).hexdigest()[:16]
    return FileLock(Path(tempfile.gettempdir()) / f"segbench-merging-{os.getuid()}-{name}.lock")


def _stage(store: Store, theirs: Store, source: LabelMapSource, staged: Staged, result: Merged) -> set[int]:
    """Copy the label maps of the runs that will be taken over, before the database is locked.

    Returns:
        The runs that are refused, because their label maps are not what they should be.
    """
    refused: set[int] = set()
    for run, kept, classes in _runs_to_take(store, theirs):
        try:
            staged.take(source, run.fingerprint, kept, classes)
        except ValueError as error:
            result.refused.append(f"{name_of(run)}: label maps: {problem_of(error)}")
            refused.add(run.id)
    return refused


def _runs_to_take(store: Store, theirs: Store) -> list[tuple[Run, Sequence[Artifact], int]]:
    """The runs that will be taken over, with what is said of their label maps and their number of classes."""
    found: list[tuple[Run, Sequence[Artifact], int]] = []
    with theirs.session() as session, store.session() as ours:
        for run in session.scalars(select(Run).order_by(Run.id)):
            kept = session.scalars(select(Artifact).where(Artifact.run_id == run.id)).all()
            data = session.get_one(DatasetRow, run.manifest)
            own = ours.scalars(select(Run).where(Run.fingerprint == run.fingerprint)).one_or_none()
            if kept and wanted(run, own) and dataset_conflict(ours, data) is None:
                found.append((run, kept, len(data.classes)))
    return found


def _take_over(
    store: Store, theirs: Store, staged: Staged, source: Source, noted: bool, refused: set[int], result: Merged
) -> None:
    """The transaction; label maps are moved to their places in it, and back where it fails."""
    try:
        with store.writing() as ours, theirs.session() as session:
            note = _note(ours, source) if noted else None
            take_over = TakeOver(ours, session, staged, note, refused, result)
            take_over.run()
            if note is not None and result.changed:
                note.counts = result.counts()
                result.number = note.id
            elif note is not None:
                ours.delete(note)
            ours.flush()
            staged.put_in_place(result.number or 0, take_over.taken)
    except BaseException:
        staged.roll_back()
        raise
    staged.settle(take_over.taken)


def _note(session: Session, source: Source) -> Merge:
    name = source.name if source.path is None else source.path.name
    note = Merge(source=plain_line(name), sha256=source.sha256, at=now(), who=_who(), counts={}, replaced=[])
    session.add(note)
    session.flush()
    return note


def _who() -> str:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container without a name for its user
        user = "?"
    return plain_line(f"{user}@{socket.gethostname()}")


def list_merges(store: Store) -> list[Merge]:
    """Every merge into a database, undone ones among them, the first first."""
    with store.session() as session:
        return list(session.scalars(select(Merge).order_by(Merge.id)))


def merge_source(store: Store, merge_id: int | None) -> str | None:
    """Where the rows of a merge came from, in a line; None for rows of the database's own.

    Args:
        store: the database.
        merge_id: of a row of `runs`, `evaluations` or `suite_entries`.
    """
    if merge_id is None:
        return None
    with store.session() as session:
        found = session.get(Merge, merge_id)
    return None if found is None else told_of(found)


def told_of(merge: Merge) -> str:
    """A merge in a line: its number, the file, its hash and the day."""
    sha256 = f"sha256 {merge.sha256}, " if merge.sha256 else ""
    return plain_line(f"merge {merge.id} from {merge.source} ({sha256}{merge.at[:10]}, by {merge.who})", 1000)


def refuse_itself(store: Store, other: str) -> None:
    """Refuse to merge a database with itself.

    Raises:
        BenchError: it is the same.
    """
    path = Path(other)
    same = store.path is not None and path.exists() and path.samefile(store.path)
    if same or other == store.engine.url.render_as_string(hide_password=False):
        raise BenchError(f"{store.name}: is the same database")
