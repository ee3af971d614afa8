"""Whether anything has changed, and how far runs are: cheap enough to be asked again and again."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from typing import Any

from sqlalchemy import Select, func, select

from harness.results import Store
from harness.results.schema import DatasetRow, Evaluation, Merge, Meta, Run, Score, SuiteEntry, Withdrawal
from leaderboard.queries.sound import raw, reading


def version_key(store: Store) -> str:
    """Changes when what the pages show has changed, and not with every sign of life of a run that goes on."""
    newest = select(func.max(Evaluation.id)).scalar_subquery()
    questions: tuple[Select[*tuple[Any, ...]], ...] = (
        select(Run.state, func.count()).group_by(Run.state).order_by(Run.state),
        select(func.max(Run.id), func.max(Run.finished), func.sum(Run.attempt)),
        select(func.count(), func.max(SuiteEntry.suite)).select_from(SuiteEntry),
        select(func.count(), func.max(Evaluation.id)).select_from(Evaluation),
        # A row that takes the place of the newest may have its number.
        select(raw(Evaluation.score_fingerprint), raw(Evaluation.created)).where(Evaluation.id == newest),
        select(func.count(), func.max(Withdrawal.id)).select_from(Withdrawal),
        select(func.count(), func.max(Merge.id), func.count(Merge.undone)).select_from(Merge),
        select(func.count()).select_from(Score),
        select(func.count()).select_from(DatasetRow),
        select(func.count()).select_from(Meta),
    )
    with reading(store) as session:
        said = [[list(row) for row in session.execute(question)] for question in questions]
    return hashlib.sha256(json.dumps([str(store.name), said], default=str).encode()).hexdigest()[:16]


def live_status(store: Store) -> dict[str, dict[str, int]]:
    """How many runs of each suite are in each state."""
    query = (
        select(raw(SuiteEntry.suite), raw(Run.state), func.count())
        .join(Run, SuiteEntry.run_id == Run.id)
        .group_by(SuiteEntry.suite, Run.state)
        .order_by(SuiteEntry.suite, Run.state)
    )
    found: dict[str, dict[str, int]] = defaultdict(dict)
    with reading(store) as session:
        for suite, state, count in session.execute(query):
            found[str(suite)][str(state)] = count
    return dict(found)
