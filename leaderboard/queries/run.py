"""Reading everything of one run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.errors import DatabaseError
from harness.results import Store
from harness.results.schema import Artifact, Evaluation, Merge, Run
from leaderboard.queries.records import ScoredRun, Withdrawn
from leaderboard.queries.scored_runs import load_members, members_of, withdrawal_lines
from leaderboard.queries.sound import parsed, raw, reading


@dataclass(frozen=True)
class EvaluationDetail:
    """One split of a run, scored under one protocol, besides its scores."""

    split: str
    protocol_name: str
    protocol_hash: str
    protocol: dict[str, Any]
    evaluator_version: int
    n_images: int
    loss: float | None
    details: dict[str, Any]
    created: str
    merge_id: int | None


@dataclass(frozen=True)
class MergeDetail:
    """The merge that brought a run."""

    source: str
    sha256: str
    at: str
    who: str
    undone: str | None


@dataclass(frozen=True)
class ArtifactDetail:
    """Files that are kept beside the database."""

    kind: str
    split: str
    path: str
    files: int
    sha256: str


@dataclass(frozen=True)
class RunDetail:
    """Everything that is stored of a run. What cannot be read is empty, and named in `problems`."""

    run_id: int
    scored: tuple[ScoredRun, ...]
    """The run as it stands on each of its boards, with all scores; at least one."""
    config: dict[str, Any]
    """The resolved job."""
    parts: dict[str, Any]
    """What its fingerprint was taken over."""
    history: list[Any]
    """Earlier attempts that did not end well."""
    model_source: str | None
    """Of a single file: the whole source."""
    created: str
    evaluations: tuple[EvaluationDetail, ...]
    withdrawals: tuple[Withdrawn, ...]
    """The whole record, oldest first."""
    merge: MergeDetail | None
    artifacts: tuple[ArtifactDetail, ...]
    problems: tuple[str, ...]

    @property
    def run(self) -> ScoredRun:
        """The run on its first board."""
        return self.scored[0]


def load_run(store: Store, run_id: int) -> RunDetail:
    """Everything of one run.

    Raises:
        DatabaseError: there is no such run.
    """
    problems: list[str] = []

    def read(name: str, value: Any, kind: type[Any], otherwise: Any, json: bool = False) -> Any:
        try:
            value = parsed(value) if json else value
        except ValueError as error:
            problems.append(f"{name} {error}")
            return otherwise
        if isinstance(value, kind):
            return value
        problems.append(f"{name} is not what it should be")
        return otherwise

    with reading(store) as session:
        columns = (Run.config, Run.parts, Run.history, Run.model_source, Run.created, Run.merge_id)
        row = session.execute(select(*map(raw, columns)).where(Run.id == run_id)).first()
        if row is None:
            raise DatabaseError(f"{store.name}: there is no run {run_id}")
        scored = load_members(store, session, members_of(store, session, run_id=run_id))
        problems += dict.fromkeys(run.problem for run in scored if run.problem)
        evaluations = tuple(
            EvaluationDetail(
                split=read("split", one.split, str, "?"),
                protocol_name=read("protocol_name", one.protocol_name, str, "?"),
                protocol_hash=read("protocol_hash", one.protocol_hash, str, "?"),
                protocol=read("protocol", one.protocol, dict, {}, json=True),
                evaluator_version=read("evaluator_version", one.evaluator_version, int, 0),
                n_images=read("n_images", one.n_images, int, 0),
                loss=read("loss", one.loss, (float, int, type(None)), None),  # type: ignore[arg-type]
                details=read("details", one.details, dict, {}, json=True),
                created=read("created", one.created, str, "?"),
                merge_id=one.merge_id,
            )
            for one in _evaluations(session, run_id)
        )
        return RunDetail(
            run_id=run_id,
            scored=tuple(scored),
            config=read("config", row.config, dict, {}, json=True),
            parts=read("parts", row.parts, dict, {}, json=True),
            history=read("history", row.history, list, [], json=True),
            model_source=None if row.model_source is None else read("model_source", row.model_source, str, None),
            created=read("created", row.created, str, "?"),
            evaluations=evaluations,
            withdrawals=tuple(line for _, line in withdrawal_lines(session, [run_id])),
            merge=_merge(session, row.merge_id),
            artifacts=_artifacts(session, run_id),
            problems=tuple(problems),
        )


def _evaluations(session: Session, run_id: int) -> list[Any]:
    names = (
        "split", "protocol_name", "protocol_hash", "protocol", "evaluator_version", "n_images", "loss", "details",
        "created", "merge_id",
    )  # fmt: skip
    query = select(*(raw(getattr(Evaluation, name)) for name in names)).where(Evaluation.run_id == run_id)
    return list(session.execute(query.order_by(Evaluation.id)))


def _merge(session: Session, number: Any) -> MergeDetail | None:
    columns = (Merge.source, Merge.sha256, Merge.at, Merge.who, Merge.undone)
    row = session.execute(select(*map(raw, columns)).where(Merge.id == number)).first()
    return None if row is None else MergeDetail(*row)


def _artifacts(session: Session, run_id: int) -> tuple[ArtifactDetail, ...]:
    columns = (Artifact.kind, Artifact.split, Artifact.path, Artifact.files, Artifact.sha256)
    query = select(*map(raw, columns)).where(Artifact.run_id == run_id).order_by(Artifact.kind, Artifact.split)
    return tuple(ArtifactDetail(*row) for row in session.execute(query))
