"""Undoing a merge: what it brought goes, what it replaced comes back."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from harness.errors import ArtifactsError, DatabaseError
from harness.results.merging.label_maps import set_aside
from harness.results.merging.snapshot import remove_evaluations, remove_parts, restore
from harness.results.schema import (
    DatasetRow,
    Evaluation,
    GalleryImage,
    GalleryPrediction,
    ImageList,
    Merge,
    Run,
    SuiteEntry,
    Withdrawal,
)
from harness.results.store import Store
from harness.scoring.keep import PREDICTIONS
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import now


def undo_merge(store: Store, number: int) -> tuple[int, int]:
    """Remove what a merge brought, and put back what it replaced.

    Runs, evaluations, places in suites, label maps and pictures that came with it go, with everything that was done
    with these runs since. Runs that had failed here and were replaced are as they were.

    Args:
        store: the database.
        number: of the merge.

    Returns:
        How many runs were removed, and how many were put back.

    Raises:
        DatabaseError: there is no such merge, or it was undone before.
    """
    moved: list[tuple[Path, Path]] = []
    place = store.artifacts
    try:
        with store.writing() as session:
            merge = session.get(Merge, number)
            if merge is None:
                raise DatabaseError(f"{store.name}: there is no merge {number}", "`bench merge --list` shows them.")
            if merge.undone is not None:
                raise DatabaseError(f"{store.name}: merge {number} was undone on {merge.undone[:10]} already")
            fingerprints, removed, restored = _undo_rows(session, merge)
            merge.undone = now()
            session.flush()
            for fingerprint in fingerprints:
                _move_aside(place, fingerprint, number, moved)
    except BaseException:
        for final, gone in reversed(moved):
            if gone.exists():
                if final.exists():
                    final.replace(set_aside(final, number))
                gone.replace(final)
        raise
    _remove_files(place, fingerprints, moved)
    return removed, restored


def _undo_rows(session: Session, merge: Merge) -> tuple[list[str], int, int]:
    """Change the rows; returns the fingerprints of the runs whose files go, and how many were removed and put back."""
    replaced = {rows["runs"][0]["id"]: rows for rows in merge.replaced}
    brought = session.scalars(select(Run).where(Run.merge_id == merge.id)).all()
    fingerprints = [run.fingerprint for run in brought]
    pictures = {
        (session.get_one(DatasetRow, run.manifest).test_manifest, image_id)
        for run in brought
        for image_id in session.scalars(select(GalleryPrediction.image_id).where(GalleryPrediction.run_id == run.id))
    }
    manifests = {run.manifest for run in brought}
    remove_evaluations(session, Evaluation.merge_id == merge.id)
    session.execute(delete(SuiteEntry).where(SuiteEntry.merge_id == merge.id))
    removed = restored = 0
    for run in brought:
        _forget_withdrawals(session, run.id, replaced[run.id]["withdrawals"] if run.id in replaced else None)
        if run.id in replaced:
            restore(session, replaced[run.id])
            restored += 1
        else:
            remove_parts(session, run.id)
            session.execute(delete(SuiteEntry).where(SuiteEntry.run_id == run.id))
            session.execute(delete(Run).where(Run.id == run.id))
            removed += 1
    session.flush()
    _remove_unused(session, pictures, manifests)
    return fingerprints, removed, restored


def _forget_withdrawals(session: Session, run_id: int, before: list[int] | None) -> None:
    """Withdrawals of what the merge brought; of a run that is put back, those from before it (their numbers) stay."""
    own = Withdrawal.run_id == run_id
    if before is None:
        session.execute(update(Withdrawal).where(Withdrawal.replaced_by == run_id).values(replaced_by=None))
        session.execute(delete(Withdrawal).where(own))
    else:
        session.execute(delete(Withdrawal).where(own, Withdrawal.id.not_in(before)))


def _remove_unused(session: Session, pictures: set[tuple[str, str]], manifests: set[str]) -> None:
    """Remove what only the removed runs had: pictures of the gallery, lists of images, copies of data sets."""
    for test_manifest, image_id in pictures:
        shown = (
            select(GalleryPrediction.run_id)
            .join(Run, GalleryPrediction.run_id == Run.id)
            .join(DatasetRow, Run.manifest == DatasetRow.manifest)
            .where(GalleryPrediction.image_id == image_id, DatasetRow.test_manifest == test_manifest)
        )
        if session.scalars(shown.limit(1)).first() is None:
            which = (GalleryImage.test_manifest == test_manifest, GalleryImage.image_id == image_id)
            session.execute(delete(GalleryImage).where(*which))
    session.execute(delete(ImageList).where(ImageList.key.not_in(select(Evaluation.image_list))))
    for manifest in manifests:
        if session.scalars(select(Run.id).where(Run.manifest == manifest).limit(1)).first() is None:
            session.execute(delete(DatasetRow).where(DatasetRow.manifest == manifest))


def _move_aside(place: Artifacts, fingerprint: str, number: int, moved: list[tuple[Path, Path]]) -> None:
    """Give a run's label maps another name, and those from before the merge theirs again.

    Raises:
        ArtifactsError: they cannot be moved.
    """
    files = place.run(fingerprint)
    final = files.local / PREDICTIONS
    if files.remote:
        return  # in a store nothing is moved: they are removed at the end
    before, gone = set_aside(final, number), final.with_name(f".{PREDICTIONS}.undone-{number}")
    try:
        if final.exists():
            final.replace(gone)
        moved.append((final, gone))
        if before.exists():
            before.replace(final)
    except OSError as error:
        raise ArtifactsError(f"{final}: cannot be moved: {error.strerror or error}") from error


def _remove_files(place: Artifacts, fingerprints: list[str], moved: list[tuple[Path, Path]]) -> None:
    for fingerprint in fingerprints:
        files = place.run(fingerprint)
        if files.remote:
            files.discard(PREDICTIONS)
    for final, gone in moved:
        shutil.rmtree(gone, ignore_errors=True)
        with contextlib.suppress(OSError):  # it has other files
            final.parent.rmdir()
