"""What becomes of each run of a checked database: taken over, the same, or a contradiction that is named."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import insert, inspect, select
from sqlalchemy.orm import Session

from harness.metrics import StatisticsTable
from harness.results.lease import is_gone
from harness.results.merging.figures import same_pixels
from harness.results.merging.label_maps import Staged
from harness.results.merging.report import Merged
from harness.results.merging.snapshot import OF_EVALUATIONS, OF_RUNS, columns, remove_parts, snapshot
from harness.results.schema import (
    Artifact,
    Base,
    DatasetRow,
    Evaluation,
    GalleryImage,
    GalleryPrediction,
    ImageList,
    Merge,
    Run,
    Score,
    SuiteEntry,
    Withdrawal,
)

# What two rows of one copy of a data set have to agree in. Ours stays as it is in any case.
_FACTS = ("name", "title", "test_manifest", "classes", "palette", "foreground", "counts")
# Rows that are written at once.
_ROWS = 1000


class TakeOver:
    """One merge inside its transaction.

    Args:
        ours: the transaction that takes runs in.
        theirs: of the database that holds what of the other one is sound.
        staged: label maps that are ready.
        note: the row of this merge; None where none is kept.
        refused: numbers of their runs that are left out.
        result: is told what was done.
    """

    def __init__(
        self, ours: Session, theirs: Session, staged: Staged, note: Merge | None, refused: set[int], result: Merged
    ) -> None:
        self.ours, self.theirs, self.staged, self.note, self.result = ours, theirs, staged, note, result
        self._refused = refused
        self.taken: set[str] = set()
        """The fingerprints of the runs that were taken over."""
        self._taken: dict[int, int] = {}
        self._snapshots: list[Any] = []
        self._problems: dict[str, str | None] = {}

    @property
    def _merge_id(self) -> int | None:
        return None if self.note is None else self.note.id

    def run(self) -> None:
        """Do it."""
        known = {row.fingerprint: row.id for row in self.ours.execute(select(Run.fingerprint, Run.id))}
        for number in self.theirs.scalars(select(Run.id).order_by(Run.id)).all():
            if number not in self._refused:
                run = self.theirs.get_one(Run, number)
                own = known.get(run.fingerprint)
                self._decide(run, None if own is None else self.ours.get_one(Run, own))
                self.theirs.expunge_all()
        self._withdraw()
        if self.note is not None:
            self.note.replaced = self._snapshots

    def _decide(self, run: Run, own: Run | None) -> None:
        data = self.theirs.get_one(DatasetRow, run.manifest)
        if data.manifest not in self._problems:
            self._problems[data.manifest] = dataset_conflict(self.ours, data)
        problem = self._problems[data.manifest]
        if problem is not None:
            self.result.conflicts.append(f"{name_of(run)}: {problem}")
        elif not wanted(run, own):
            if own is not None and own.state == "ok" and run.state == "ok":
                self._compare(run, own)
            else:
                self.result.unfinished += 1
        elif own is None:
            self._take(run, None, data)
            self.result.added += 1
        else:
            self._snapshots.append(snapshot(self.ours, own))
            remove_parts(self.ours, own.id)
            self._take(run, own, data)
            self.result.replaced += 1

    def _take(self, run: Run, own: Run | None, data: DatasetRow) -> None:
        """A run with everything that belongs to it, as a new row or in the place of one that had failed here."""
        if self.ours.get(DatasetRow, data.manifest) is None:
            self.ours.add(DatasetRow(**columns(data)))
            self.ours.flush()
        facts = {**columns(run, "id"), "merge_id": self._merge_id}
        if own is None:
            own = Run(**facts)
            self.ours.add(own)
        else:
            for name, value in facts.items():
                setattr(own, name, value)
        self.ours.flush()
        self._taken[run.id] = own.id
        self.taken.add(run.fingerprint)
        self._copy_gallery_images(run, data.test_manifest)
        for kind in OF_RUNS:
            if kind is not Artifact or run.fingerprint in self.staged:
                self._copy_rows(kind, inspect(kind).c.run_id == run.id, run_id=own.id)
        kept = self.theirs.scalars(select(Artifact.split).where(Artifact.run_id == run.id)).first()
        if kept is not None and run.fingerprint not in self.staged:
            self.result.without_label_maps += 1
        self._enter_suites(run, own)
        for evaluation in self._evaluations(self.theirs, run.id):
            self._copy_evaluation(evaluation, own.id)

    def _compare(self, run: Run, own: Run) -> None:
        """A training that both have: its suites, and evaluations under protocols that only they have."""
        self.result.same += 1
        contradictions = list(self._contradictions(run, own))
        self.result.conflicts += [f"{name_of(run, own)}: {told}" for told in contradictions]
        if contradictions:
            return
        self._enter_suites(run, own)
        mine = self._evaluations(self.ours, own.id)
        have = {(e.score_fingerprint, e.split) for e in mine}
        for evaluation in self._evaluations(self.theirs, run.id):
            if (evaluation.score_fingerprint, evaluation.split) in have:
                continue
            problem = self._unlike_ours(evaluation, mine)
            if problem is None:
                self._copy_evaluation(evaluation, own.id)
                self.result.scored += 1
            else:
                told = f"{evaluation.split} under {evaluation.protocol_name} {problem}"
                self.result.conflicts.append(f"{name_of(run, own)}: {told}")

    def _contradictions(self, run: Run, own: Run) -> Iterator[str]:
        here, there = (
            {a.split: a.sha256 for a in session.scalars(select(Artifact).where(Artifact.run_id == which.id))}
            for session, which in ((self.ours, own), (self.theirs, run))
        )
        differing = sorted(split for split in here.keys() & there.keys() if here[split] != there[split])
        if differing:
            yield f"predicted other label maps for {', '.join(differing)}"
            return
        mine = {(e.score_fingerprint, e.split): e for e in self._evaluations(self.ours, own.id)}
        for evaluation in self._evaluations(self.theirs, run.id):
            match = mine.get((evaluation.score_fingerprint, evaluation.split))
            if match is None:
                continue
            a, b = _scores(self.ours, match), _scores(self.theirs, evaluation)
            wrong = next((key for key in a if key in b and a[key] != b[key]), None)
            if wrong is not None:
                yield f"{wrong[0]} on {evaluation.split} is {a[wrong]} here and {b[wrong]} there"

    def _unlike_ours(self, evaluation: Evaluation, mine: Sequence[Evaluation]) -> str | None:
        """Why an evaluation of our own run under another protocol is not taken: it must count the pixels that ours do.

        Whatever a protocol says, the confusion matrix of each image follows from the label maps, at their size.
        """
        size = evaluation.protocol.get("size")
        alike = [e for e in mine if e.split == evaluation.split and e.protocol.get("size") == size]
        if not alike:
            return "cannot be compared with anything here: run the suite here to have it scored"
        theirs = StatisticsTable.from_bytes(evaluation.statistics)
        if any(same_pixels(StatisticsTable.from_bytes(e.statistics), theirs) for e in alike):
            return None
        return "does not come from the label maps that were scored here"

    # -- rows ----------------------------------------------------------------------------------------

    def _copy_gallery_images(self, run: Run, test_manifest: str) -> None:
        shown = select(GalleryPrediction.image_id).where(GalleryPrediction.run_id == run.id)
        for image_id in self.theirs.scalars(shown).all():
            key = (test_manifest, image_id)
            if self.ours.get(GalleryImage, key) is None:
                self.ours.add(GalleryImage(**columns(self.theirs.get_one(GalleryImage, key))))
        self.ours.flush()

    def _enter_suites(self, run: Run, own: Run) -> None:
        for suite in self.theirs.scalars(select(SuiteEntry.suite).where(SuiteEntry.run_id == run.id)):
            if self.ours.get(SuiteEntry, (suite, own.id)) is None:
                self.ours.add(SuiteEntry(suite=suite, run_id=own.id, merge_id=self._merge_id))
                self.result.entered += 1

    def _copy_evaluation(self, evaluation: Evaluation, run_id: int) -> None:
        key = evaluation.image_list
        if self.ours.get(ImageList, key) is None:
            self.ours.add(ImageList(**columns(self.theirs.get_one(ImageList, key))))
            self.ours.flush()
        fresh = Evaluation(**columns(evaluation, "id", "run_id", "merge_id"), run_id=run_id, merge_id=self._merge_id)
        self.ours.add(fresh)
        self.ours.flush()
        for kind in OF_EVALUATIONS:
            self._copy_rows(kind, inspect(kind).c.evaluation_id == evaluation.id, evaluation_id=fresh.id)

    def _copy_rows(self, kind: type[Base], where: Any, **owner: int) -> None:
        rows = [columns(row) | owner for row in self.theirs.scalars(select(kind).where(where))]
        for first in range(0, len(rows), _ROWS):
            self.ours.execute(insert(kind), rows[first : first + _ROWS])

    def _withdraw(self) -> None:
        """What was withdrawn there is withdrawn here; a run of ours is not withdrawn by others."""
        for row in self.theirs.scalars(select(Withdrawal).order_by(Withdrawal.id)):
            if row.run_id in self._taken:
                corrected = None if row.replaced_by is None else self._taken.get(row.replaced_by)
                facts = columns(row, "id", "run_id", "replaced_by")
                self.ours.add(Withdrawal(**facts, run_id=self._taken[row.run_id], replaced_by=corrected))

    @staticmethod
    def _evaluations(session: Session, run_id: int) -> Sequence[Evaluation]:
        return session.scalars(select(Evaluation).where(Evaluation.run_id == run_id).order_by(Evaluation.id)).all()


def wanted(run: Run, own: Run | None) -> bool:
    """Whether a run is taken over whole: nobody here has it, or nobody here has done it and they have."""
    if own is None:
        return True
    busy = own.state == "running" and not is_gone(own.driver, own.heartbeat, time.time())
    return run.state == "ok" and own.state != "ok" and not busy


def dataset_conflict(ours: Session, data: DatasetRow) -> str | None:
    """Why a data set of theirs cannot be one with ours; None where it can."""
    own = ours.get(DatasetRow, data.manifest)
    if own is not None:
        differing = [name for name in _FACTS if getattr(own, name) != getattr(data, name)]
        told = " and ".join([", ".join(differing[:-1]), differing[-1]] if len(differing) > 1 else differing)
        return f"the same files of {own.name} have another {told} there" if differing else None
    for other in ours.scalars(select(DatasetRow).where(DatasetRow.test_manifest == data.test_manifest)):
        if other.scored_as == data.scored_as and (other.classes, other.palette) != (data.classes, data.palette):
            return f"the scored images of {other.name} have other classes or colours there"
    return None


def name_of(run: Run, own: Run | None = None) -> str:
    """What messages call a run."""
    where = f"run {run.id} there" if own is None else f"here run {own.id}, there run {run.id}"
    return f"{run.model} on {run.config['dataset']['name']}, seed {run.seed} ({where})"


def _scores(session: Session, evaluation: Evaluation) -> dict[tuple[str, int], float | None]:
    rows = session.scalars(select(Score).where(Score.evaluation_id == evaluation.id))
    return {(row.metric, row.class_index): row.value for row in rows}
