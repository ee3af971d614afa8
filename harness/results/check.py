"""Whether a results database is sound: the file, its references, and every figure against its statistics."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from sqlalchemy import select, text
from sqlalchemy.orm import Session, joinedload

from harness.errors import ArtifactsError, DataError
from harness.metrics import Protocol, Scores, StatisticsTable, fold
from harness.results.image_scores import check_image_scores
from harness.results.schema import OVERALL, Artifact, DatasetRow, Evaluation, Run, Score
from harness.results.store import Store
from harness.scoring.evaluate import verify_checksums
from harness.tasks.artifacts import Artifacts

Tick = Callable[[int, int], None]

# Folding adds floats in another order than the evaluator did nowhere: equal to the last bits.
TOLERANCE = 1e-12


def check_database(store: Store, artifacts: Artifacts | None, tick: Tick = lambda done, total: None) -> Iterator[str]:
    """Everything that is wrong, a line each.

    Args:
        store: the database.
        artifacts: its artifacts, of which the label maps are compared with their checksums; None leaves them out.
        tick: told how many runs are done, of how many.
    """
    with store.session() as session:
        yield from _file(session, store)
        runs = session.scalars(select(Run).options(joinedload(Run.evaluations)).order_by(Run.id)).unique().all()
        for done, run in enumerate(runs, start=1):
            yield from _run(session, run, artifacts)
            tick(done, len(runs))


def _file(session: Session, store: Store) -> Iterator[str]:
    """SQLite's own checks; PostgreSQL keeps its pages and references sound itself."""
    if store.path is None:
        return
    for (line,) in session.execute(text("PRAGMA integrity_check")):
        if line != "ok":
            yield f"{store.name}: {line}"
    for table, row, parent, _ in session.execute(text("PRAGMA foreign_key_check")):
        yield f"{store.name}: row {row} of {table} refers to a row of {parent} that does not exist"


def _run(session: Session, run: Run, artifacts: Artifacts | None) -> Iterator[str]:
    name = f"run {run.id} ({run.model})"
    if run.state == "ok" and not any(e.split in ("val", "test") for e in run.evaluations):
        yield f"{name}: is ok and has no score"
    data = session.get(DatasetRow, run.manifest)
    if data is None:
        yield f"{name}: its data set is not in the database"
        return
    for evaluation in run.evaluations:
        yield from _evaluation(session, f"{name}, {evaluation.split}", evaluation, data)
    if artifacts is None:
        return
    files = artifacts.run(run.fingerprint)
    for artifact in session.scalars(select(Artifact).where(Artifact.run_id == run.id)):
        try:
            verify_checksums(files.fetch(artifact.path))
        except (DataError, ArtifactsError) as error:
            yield f"{name}: {error.message}"
    files.release()


def _evaluation(session: Session, name: str, evaluation: Evaluation, data: DatasetRow) -> Iterator[str]:
    """Every stored score against the statistics that are stored with it."""
    try:
        table = StatisticsTable.from_bytes(evaluation.statistics)
        protocol = Protocol.from_stored(evaluation.protocol)
        folded = fold(table, len(data.classes), protocol, data.foreground)
    except Exception as error:  # noqa: BLE001 (damaged bytes may raise anything, and are what is looked for)
        yield f"{name}: its statistics cannot be read: {error}"
        return
    stored = {
        (s.metric, s.class_index): s.value
        for s in session.scalars(select(Score).where(Score.evaluation_id == evaluation.id))
    }
    for problem in contradictions(stored, expected_scores(folded), data.classes):
        yield f"{name}: {problem}"
    for problem in check_image_scores(session, evaluation, table, len(data.classes), protocol):
        yield f"{name}: {problem}"


def expected_scores(folded: Scores) -> dict[tuple[str, int], float | None]:
    """The figures that an evaluation's rows have to hold, by metric and class."""
    expected = {(metric, OVERALL): value for metric, value in folded.values.items()}
    return expected | {(m, i): value for m, values in folded.per_class.items() for i, value in enumerate(values)}


def contradictions(
    stored: Mapping[tuple[str, int], float | None],
    expected: Mapping[tuple[str, int], float | None],
    classes: Sequence[str],
) -> Iterator[str]:
    """Every figure that is missing or is not the expected one, in a line."""
    for key, value in expected.items():
        found = stored.get(key)
        same = (found is None) == (value is None)
        if same and found is not None and value is not None:
            same = math.isclose(found, value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
        if not same:
            where = key[0] if key[1] == OVERALL else f"{key[0]}[{classes[key[1]]}]"
            yield f"{where} is stored as {found}, its statistics give {value}"
