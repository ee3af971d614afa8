"""Metrics that were installed after results were scored: folded from the stored statistics, without label maps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import select

from harness.metrics import Protocol, StatisticsTable
from harness.metrics.metric import Metric, all_metrics
from harness.metrics.scores import figures_of
from harness.metrics.sums import ScoredImages
from harness.results.rows import score_rows
from harness.results.schema import DatasetRow, Evaluation, Run, Score
from harness.results.store import Store


def add_missing_metrics(store: Store, fingerprints: Iterable[str]) -> list[str]:
    """Add the scores of installed metrics that evaluations of these runs lack.

    Args:
        store: the database.
        fingerprints: of the runs.

    Returns:
        The names of the metrics that were added somewhere.
    """
    extra = [metric for metric in all_metrics() if metric.family == "extra"]
    added: set[str] = set()
    if not extra:
        return []
    with store.writing() as session:
        wanted = list(fingerprints)
        for first in range(0, len(wanted), 500):
            query = (
                select(Evaluation, DatasetRow.classes, DatasetRow.foreground)
                .join(Run, Evaluation.run_id == Run.id)
                .join(DatasetRow, Run.manifest == DatasetRow.manifest)
                .where(Run.fingerprint.in_(wanted[first : first + 500]))
            )
            for evaluation, classes, foreground in session.execute(query).all():
                own = select(Score.metric).where(Score.evaluation_id == evaluation.id).distinct()
                missing = _missing(extra, set(session.scalars(own)), foreground)
                if not missing:
                    continue
                images = ScoredImages(
                    StatisticsTable.from_bytes(evaluation.statistics),
                    len(classes),
                    Protocol.from_stored(evaluation.protocol),
                    foreground,
                )
                found = figures_of(images, missing)
                session.add_all(score_rows(evaluation.id, found.values, found.per_class))
                if found.problems:
                    problems = evaluation.details.get("problems", {}) | found.problems
                    evaluation.details = {**evaluation.details, "problems": problems}
                added |= set(missing)
    return sorted(added)


def _missing(extra: Sequence[Metric], have: set[str], foreground: int | None) -> list[str]:
    return [m.name for m in extra if m.name not in have and (foreground is not None or not m.foreground_only)]
