"""Reading the results database into plain records: boards, runs, images.

Only what is asked for is read, and a row that is not sound is told of and raises nothing (`leaderboard.queries.sound`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from harness.results import Store
from leaderboard.queries.images import (
    ImageScores,
    Shown,
    list_gallery,
    load_curves,
    load_gallery,
    load_image_scores,
    load_statistics,
)
from leaderboard.queries.records import BoardKey, BoardSummary, Ceiling, Data, ScoredRun, Withdrawn, board_id, board_key
from leaderboard.queries.run import EvaluationDetail, RunDetail, load_run
from leaderboard.queries.scored_runs import Member, load_members, members_of
from leaderboard.queries.sound import reading
from leaderboard.queries.status import live_status, version_key

__all__ = [
    "BoardKey",
    "BoardSummary",
    "Ceiling",
    "Data",
    "EvaluationDetail",
    "ImageScores",
    "RunDetail",
    "ScoredRun",
    "Shown",
    "Withdrawn",
    "board_id",
    "board_key",
    "list_boards",
    "list_gallery",
    "live_status",
    "load_board",
    "load_curves",
    "load_gallery",
    "load_image_scores",
    "load_run",
    "load_runs",
    "load_statistics",
    "version_key",
]


def list_boards(store: Store) -> list[BoardSummary]:
    """Every board of the database without its rows: full ones before smoke ones."""
    with reading(store) as session:
        boards: dict[BoardKey, list[Member]] = defaultdict(list)
        for member in members_of(store, session):
            boards[member.key].append(member)
    found = [_summary(key, members) for key, members in boards.items()]
    return sorted(found, key=lambda b: (b.smoke, b.suite, b.data.name, b.selected_on_test))


def _summary(key: BoardKey, members: Sequence[Member]) -> BoardSummary:
    first = next((m for m in members if m.data.classes), members[0])
    return BoardSummary(
        board_id=board_id(key),
        suite=first.suite,
        data=first.data,
        protocol_name=first.protocol.name,
        protocol_title=first.protocol.title(first.data.name),
        protocol_hash=first.protocol.hash,
        smoke=first.protocol.smoke,
        selected_on_test=key[5],
        states=dict(Counter(m.state for m in members)),
        newest=max((m.finished for m in members if m.finished), default=None),
    )


def load_board(store: Store, board: str, metrics: Sequence[str] | None = None) -> list[ScoredRun]:
    """The runs of one board; none where there is no such board.

    Args:
        store: the database.
        board: its `board_id`.
        metrics: read only these scores and the headline of the scored images, and of val what selects; None: all.
    """
    with reading(store) as session:
        members = [m for m in members_of(store, session) if board_id(m.key) == board]
        return load_members(store, session, members, metrics)


def load_runs(store: Store, suite: str | None = None) -> list[ScoredRun]:
    """Every run of the database, or of one suite, once for each protocol it was scored under."""
    with reading(store) as session:
        return load_members(store, session, members_of(store, session, suite))
