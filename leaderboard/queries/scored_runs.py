"""Which runs are on which board, and what is stored of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any, NamedTuple

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from harness.datasets.registry import DATASETS
from harness.errors import BenchError
from harness.metrics.protocol import Protocol, protocol_title
from harness.results import Store
from harness.results.facts import pretraining, scores_from
from harness.results.schema import STATES, DatasetRow, Evaluation, Merge, Run, SuiteEntry, Withdrawal
from harness.utils.text import plain_line
from leaderboard.queries.records import BoardKey, Data, ScoredRun, Withdrawn, board_key
from leaderboard.queries.sound import (
    DATA_COLUMNS,
    RUN_COLUMNS,
    inside,
    is_sqlite,
    missing_data,
    parsed,
    part_of,
    raw,
    shortened,
    sound_data,
    sound_run,
    truth,
    word,
)
from leaderboard.queries.stored_scores import Split, parts, splits_of


class Named(NamedTuple):
    """What a board says of a protocol."""

    name: str
    hash: str
    smoke: bool
    stored: str = "{}"
    """The whole protocol as JSON."""

    def title(self, dataset: str) -> str:
        """Its name and what it changes, on a data set."""
        return _title(self.stored, dataset) or self.name


@cache
def _usual_fields(name: str) -> Mapping[str, Any]:
    """The fields of the protocol that follow from a data set; nothing where it is not known here."""
    try:
        return DATASETS.get(name).info.protocol if name in DATASETS else {}
    except BenchError:  # of a package that cannot be loaded
        return {}


@lru_cache(maxsize=256)
def _title(stored: str, dataset: str) -> str:
    try:
        fields = parsed(stored)
        return plain_line(protocol_title(fields, _usual_fields(dataset)), 200) if fields else ""
    except (ValueError, TypeError, AttributeError):  # damaged
        return ""


@dataclass(frozen=True)
class Member:
    """A run on a board."""

    run_id: int
    key: BoardKey
    data: Data
    protocol: Named
    state: str
    finished: str | None
    problem: str = ""
    """Why the board cannot be told for certain."""

    @property
    def suite(self) -> str:
        """The board's suite."""
        return self.key[0]


def members_of(store: Store, session: Session, suite: str | None = None, run_id: int | None = None) -> list[Member]:
    """Every run of the database, or of one suite, or one run: once for each protocol it was scored under.

    They are in the order of their numbers.
    """
    copies = copies_of_data(session)
    named = _protocols(store, session)
    thin = (SuiteEntry.suite, Run.id, Run.manifest, Run.selected_on_test, Run.state, Run.finished)
    columns = tuple(raw(column) for column in thin)
    scored = select(*columns, raw(Evaluation.protocol_hash)).distinct()
    scored = scored.join(Run, SuiteEntry.run_id == Run.id).join(Evaluation, Evaluation.run_id == Run.id)
    planned = select(*columns, *(part_of(store, Run.config, name) for name in ("protocol", "smoke", "images")))
    planned = planned.join(Run, SuiteEntry.run_id == Run.id).where(~exists().where(Evaluation.run_id == Run.id))
    if suite is not None:
        scored, planned = (query.where(SuiteEntry.suite == suite) for query in (scored, planned))
    if run_id is not None:
        scored, planned = (query.where(Run.id == run_id) for query in (scored, planned))
    found = [
        _member(row[:6], copies, named.get(row[6]) or Named("?", word(row[6]), False), "")
        for row in session.execute(scored)
    ]
    found += [_member(row[:6], copies, *_planned_of(row[6:])) for row in session.execute(planned)]
    return sorted(_placed(found), key=lambda member: member.run_id)


def _member(
    row: Sequence[Any],
    copies: Mapping[Any, tuple[Data, str]],
    protocol: Named,
    problem: str,
) -> Member:
    suite, run_id, manifest, chosen_on_test, state, finished = row
    data, _ = copies.get(manifest) or missing_data(manifest)
    key = board_key(word(suite), data, protocol.hash, chosen_on_test in (1, True))
    ended = finished if isinstance(finished, str) else None
    return Member(run_id, key, data, protocol, state if state in STATES else "failed", ended, problem)


def _placed(members: Sequence[Member]) -> list[Member]:
    """Runs of which no protocol is known stand with others of their suite and data, where there are any."""
    homes = {(m.key[:4], m.key[5]): m for m in members if not m.problem}
    return [
        replace(m, key=home.key, protocol=home.protocol)
        if m.problem and (home := homes.get((m.key[:4], m.key[5])))
        else m
        for m in members
    ]


def copies_of_data(session: Session) -> dict[Any, tuple[Data, str]]:
    """The copies of data sets by their manifest, each with what is wrong with its row."""
    rows = session.execute(select(*(raw(getattr(DatasetRow, name)) for name in DATA_COLUMNS)))
    return {row.manifest: sound_data(dict(row._mapping)) for row in rows}


def _protocols(store: Store, session: Session) -> dict[Any, Named]:
    """The protocols of all evaluations by their hash, each from a row that is sound where there is one."""
    columns = (
        raw(Evaluation.protocol_hash),
        raw(Evaluation.protocol_name),
        part_of(store, Evaluation.protocol, "smoke"),
        raw(Evaluation.protocol),
    )
    one_of_each = select(func.min(Evaluation.id)).group_by(Evaluation.protocol_hash)
    found: dict[Any, Named] = {}
    for key, name, smoke, whole in session.execute(select(*columns).where(Evaluation.id.in_(one_of_each))).all():
        rows: Iterable[Any] = [(key, name, smoke, whole)]
        if truth(smoke) is None:
            rows = session.execute(select(*columns).where(Evaluation.protocol_hash == key))
        sound = (row[1:] for row in rows if isinstance(row[1], str) and truth(row[2]) is not None)
        name, smoke, whole = next(sound, (name, False, "{}"))
        stored = whole if isinstance(whole, str) else json.dumps(whole)
        found[key] = Named(word(name), word(key), bool(truth(smoke)), stored)
    return found


def _planned_of(parts: Sequence[Any]) -> tuple[Named, str]:
    return _planned(*(part if isinstance(part, str) else json.dumps(part) for part in parts))


@lru_cache(maxsize=256)
def _planned(protocol: str, smoke: str, images: str) -> tuple[Named, str]:
    """What a run that is not scored will be scored under, from its job; and what is wrong with that."""
    try:
        found = Protocol.model_validate(json.loads(protocol))
        is_smoke, number = bool(json.loads(smoke)), json.loads(images)
        stored = found.stored(is_smoke, number)
        return Named(str(stored["name"]), found.hash_of(is_smoke, number), is_smoke, json.dumps(stored)), ""
    except (BenchError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        return Named("?", "", False), shortened(f"the protocol of its job cannot be read: {error}")


def load_members(
    store: Store, session: Session, members: Sequence[Member], metrics: Sequence[str] | None = None
) -> list[ScoredRun]:
    """What is stored of these runs.

    Args:
        store: the database.
        session: a transaction that reads it.
        members: the runs.
        metrics: read only these scores, the headline and, on val, what selects; None: all.
    """
    ids = list(dict.fromkeys(member.run_id for member in members))
    copies = copies_of_data(session)
    rows = {number: row for part in parts(ids) for number, row in _runs(store, session, part, copies)}
    splits = splits_of(store, session, {member.protocol.hash for member in members}, rows, metrics)
    return [_with_scores(member, *rows[member.run_id], splits) for member in members if member.run_id in rows]


def _runs(
    store: Store, session: Session, ids: Sequence[int], copies: Mapping[Any, tuple[Data, str]]
) -> Iterator[tuple[int, tuple[ScoredRun, str]]]:
    """Runs by their number, without suite, protocol and scores; and what is wrong with them."""
    withdrawn = _withdrawals(session, ids)
    sources = {row.id: row.source for row in session.execute(select(Merge.id, raw(Merge.source)))}
    weights = [inside(store, Run.parts, part, "sha256").label(part) for part in ("checkpoint", "start_from")]
    sound = [(func.json_valid(Run.parts) == 1).label("parts_sound")] if is_sqlite(store) else []
    columns = [raw(getattr(Run, name)) for name in RUN_COLUMNS]
    for row in session.execute(select(*columns, *weights, *sound).where(Run.id.in_(ids))):
        values, wrong = sound_run(dict(zip(RUN_COLUMNS, row, strict=False)))
        data, wrong_data = copies.get(row.manifest) or missing_data(row.manifest)
        wrong_parts = "" if getattr(row, "parts_sound", True) else "parts is not JSON"
        problem = "; ".join(filter(None, (wrong, wrong_data, wrong_parts)))
        given = row.checkpoint is not None
        origin, params = values["model_origin"], values["model_params"]
        source = sources.get(values["merge_id"])
        yield row.id, (
            ScoredRun(
                run_id=row.id,
                suite="",
                data=data,
                model=values["model"],
                model_name=values["model_name"],
                params=params,
                origin=origin,
                **{
                    name: values[name]
                    for name in (
                        "recipe", "grid", "seed", "cell", "state", "reason", "error", "traceback", "selection",
                        "selected_on_test", "parameters", "started", "finished", "attempt", "times", "progress",
                        "provenance", "fingerprint", "search", "cost",
                    )
                },
                protocol_name="",
                protocol_hash="",
                smoke=False,
                scores_from=scores_from(origin, given),
                pretrained_on=pretraining(origin, params, given or row.start_from is not None, values["provenance"]),
                withdrawn=withdrawn.get(row.id),
                merged_from=None if source is None else word(source),
            ),
            problem,
        )  # fmt: skip


def _withdrawals(session: Session, ids: Sequence[int]) -> dict[int, Withdrawn]:
    """The runs that do not count, and why."""
    latest = dict(withdrawal_lines(session, ids))
    return {number: line for number, line in latest.items() if line.action == "withdrawn"}


def withdrawal_lines(session: Session, ids: Sequence[int]) -> Iterator[tuple[int, Withdrawn]]:
    """The record of withdrawals of these runs, oldest first."""
    names = ("run_id", "action", "why", "who", "at", "replaced_by")
    query = select(*(raw(getattr(Withdrawal, name)) for name in names)).where(Withdrawal.run_id.in_(ids))
    for run, *words, replaced_by in session.execute(query.order_by(Withdrawal.id)):
        action, why, who, at = map(word, words)
        yield run, Withdrawn(action, why, who, at, replaced_by if isinstance(replaced_by, int) else None)


def _with_scores(
    member: Member, run: ScoredRun, problem: str, splits: Mapping[tuple[int, str], list[Split]]
) -> ScoredRun:
    own = splits.get((member.run_id, member.protocol.hash), [])
    problem = "; ".join(filter(None, (problem, member.problem, *(split.problem for split in own))))
    named = {} if problem else {split.split: split for split in own}
    test, val = named.get("test"), named.get("val")
    return replace(
        run,
        suite=member.suite,
        data=member.data,
        protocol_name=member.protocol.name,
        protocol_hash=member.protocol.hash,
        protocol_title=member.protocol.title(member.data.name),
        smoke=member.protocol.smoke,
        selected_on_test=member.key[5],
        test=test.values if test else {},
        val=val.values if val else {},
        n_images=test.n_images if test else 0,
        ceiling=test.ceiling if test else None,
        problem=problem,
    )
