"""What differs between two runs: configuration, code, data, packages, hardware, label maps, scores."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.errors import BenchError
from harness.results.schema import OVERALL, Artifact, DatasetRow, Evaluation, Run, Score
from harness.results.store import Store

# Protocol, split -> name of a score -> its value.
Scores = dict[tuple[str, str], dict[str, float | None]]


@dataclass(frozen=True)
class RunRecord:
    """Everything of a run's record that can differ from another's, as plain values."""

    run: int
    title: str
    state: str
    fingerprint: str
    config: dict[str, Any]
    code: dict[str, Any]
    data: dict[str, Any]
    packages: dict[str, Any]
    hardware: dict[str, Any]
    source: str
    """Single-file networks: the whole text."""
    label_maps: dict[str, str]
    """Split -> SHA-256 over the list of the label maps' checksums."""
    statistics: dict[tuple[str, str], bytes]
    scores: Scores
    seconds: dict[str, float]


@dataclass(frozen=True)
class Change:
    """One thing that differs; None where one of the two lacks it."""

    what: str
    a: Any
    b: Any


@dataclass(frozen=True)
class ScoreChange:
    """One score of both."""

    split: str
    protocol: str
    """The hash."""
    name: str
    a: float | None
    b: float | None

    @property
    def difference(self) -> float | None:
        """B minus A; None where one of the two is undefined."""
        return None if self.a is None or self.b is None else self.b - self.a


@dataclass(frozen=True)
class Differences:
    """What differs between run A and run B."""

    a: str
    b: str
    same_training: bool
    """Whether both have one train fingerprint."""
    configuration: list[Change] = field(default_factory=list)
    code: list[Change] = field(default_factory=list)
    source: list[str] = field(default_factory=list)
    """Lines of a unified diff of the single files."""
    data: list[Change] = field(default_factory=list)
    packages: list[Change] = field(default_factory=list)
    hardware: list[Change] = field(default_factory=list)
    label_maps: list[Change] = field(default_factory=list)
    scores: list[ScoreChange] = field(default_factory=list)
    """Every score that both have under one protocol, those that are equal included."""
    remarks: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        own = asdict(self)
        own["scores"] = [{**asdict(s), "difference": s.difference} for s in self.scores]
        return own


def read_run(store: Store, run_id: int) -> RunRecord:
    """The record of a run.

    Raises:
        BenchError: there is none of that number.
    """
    with store.session() as session:
        run = session.get(Run, run_id)
        if run is None:
            raise BenchError(f"{store.name}: there is no run {run_id}", "`bench status` lists the runs.")
        data = session.get_one(DatasetRow, run.manifest)
        evaluations = list(session.scalars(select(Evaluation).where(Evaluation.run_id == run.id)))
        maps = session.scalars(select(Artifact).where(Artifact.run_id == run.id))
        provenance = run.provenance
        return RunRecord(
            run=run.id,
            title=f"{run.model} on {data.name}, seed {run.seed}",
            state=run.state,
            fingerprint=run.fingerprint,
            config=run.config,
            code={
                **provenance.get("code", {}),
                "training version": run.parts.get("training_version"),
                "evaluator version": max((e.evaluator_version for e in evaluations), default=None),
                "network": run.model_origin,
                "network's source (SHA-256)": run.parts.get("model_source"),
                "other packages' parts (SHA-256)": run.parts.get("components"),
            },
            data={
                "name": data.name,
                "variant": data.variant,
                "manifest": data.manifest,
                "scored images": data.test_manifest,
                "scored as": data.scored_as or None,
                "classes": data.classes,
                "images": data.counts,
            },
            packages=provenance.get("packages", {}),
            hardware={**provenance.get("hardware", {}), "threads": provenance.get("threads")},
            source=run.model_source or "",
            label_maps={a.split: a.sha256 for a in maps},
            statistics={(e.protocol_hash, e.split): e.statistics for e in evaluations},
            scores={(e.protocol_hash, e.split): scores_of(session, e, data.classes) for e in evaluations},
            seconds=run.times,
        )


def scores_of(session: Session, evaluation: Evaluation, classes: list[Any]) -> dict[str, float | None]:
    """The stored scores of an evaluation by name: those over classes first, then `iou[horse]` and the like."""
    rows = session.scalars(
        select(Score).where(Score.evaluation_id == evaluation.id).order_by(Score.metric, Score.class_index)
    ).all()
    overall = {r.metric: r.value for r in rows if r.class_index == OVERALL}
    each = {f"{r.metric}[{_class(classes, r.class_index)}]": r.value for r in rows if r.class_index != OVERALL}
    return {**overall, "loss": evaluation.loss, **each}


def _class(classes: list[Any], index: int) -> str:
    return str(classes[index]) if index < len(classes) else str(index)


def differences(a: RunRecord, b: RunRecord) -> Differences:
    """What differs between two runs."""
    common = [key for key in a.scores if key in b.scores]
    remarks = []
    if not common and a.scores and b.scores:
        remarks.append("the two were scored under different protocols: their scores cannot be compared")
    if a.data["scored images"] != b.data["scored images"] or a.data["scored as"] != b.data["scored as"]:
        remarks.append("the two were scored on different images: a difference of their scores says nothing of networks")
    remarks += [f"run {r.run} is {r.state}: it has no scores" for r in (a, b) if not r.scores]
    return Differences(
        a=f"run {a.run}: {a.title}",
        b=f"run {b.run}: {b.title}",
        same_training=a.fingerprint == b.fingerprint,
        configuration=changes(a.config, b.config),
        code=changes(a.code, b.code),
        source=_unified(a.source, b.source),
        data=changes(a.data, b.data),
        packages=changes(a.packages, b.packages),
        hardware=changes(a.hardware, b.hardware),
        label_maps=changes(a.label_maps, b.label_maps),
        scores=[
            ScoreChange(split, protocol, name, value, b.scores[protocol, split][name])
            for protocol, split in sorted(common, key=lambda key: (key[1] != "test", key))
            for name, value in a.scores[protocol, split].items()
            if name in b.scores[protocol, split]
        ],
        remarks=remarks,
    )


def changes(a: Mapping[str, Any], b: Mapping[str, Any], path: str = "") -> list[Change]:
    """The leaves in which two records differ, with their dotted paths."""
    found: list[Change] = []
    for key in [*a, *(k for k in b if k not in a)]:
        here = f"{path}.{key}" if path else str(key)
        one, other = a.get(key), b.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += changes(one, other, here)
        elif one != other:
            found.append(Change(here, one, other))
    return found


def _unified(a: str, b: str) -> list[str]:
    return list(difflib.unified_diff(a.splitlines(), b.splitlines(), "A", "B", lineterm=""))
