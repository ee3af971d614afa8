"""The pages of suites of several data sets: which model is best over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.results import Store
from leaderboard.boards.board import Board
from leaderboard.shown.markup import Html, element, together
from leaderboard.shown.overall import PAIRS, WITHOUT, how_overall, left_out_table, overall_table, pairs_table
from leaderboard.site.page import page, part
from leaderboard.stats.draws import stored_draws
from leaderboard.stats.overall import Overall, OverallGroup, collections, common_question, overall


@dataclass(frozen=True)
class SuitePage:
    """A page that was written."""

    file: str
    title: str
    verdict: str
    boards: frozenset[str]
    """The `board_id` of each of its boards."""


def write_overall(store: Store, made: Sequence[Board], folder: Path, say: Callable[[str], None]) -> list[SuitePage]:
    """Write a page for each suite of two data sets or more.

    Args:
        store: the database.
        made: every board of the site.
        folder: of the site.
        say: told, in a line, what is being written.
    """
    written = []
    for number, own in enumerate(collections(made)):
        found = overall(own, common_question(own), lambda board: stored_draws(store, board))
        if not found.groups:
            continue
        title = f"{found.suite}: over {len(own)} data sets, protocol {found.protocol}"
        say(title)
        file = f"overall-{number + 1}.html"
        links = [("All boards", "index.html", False), ("Overall", file, True)]
        links += [(board.data.title or board.data.name, f"board-{board.board_id}.html", False) for board in own]
        (folder / file).write_text(page(title, _body(found), links), encoding="utf-8")
        written.append(SuitePage(file, title, found.groups[0].verdict, frozenset(b.board_id for b in own)))
    return written


def _body(found: Overall) -> Html:
    parts = [
        element("h1", found.groups[0].verdict),
        element("p", f"Suite {found.suite} · protocol {found.protocol}", class_="facts"),
        element("p", how_overall(found)),
    ]
    for number, group in enumerate(found.groups):
        parts += _group(number, group)
    return together(*parts, *(element("p", text, class_="facts") for text in found.remarks))


def _group(number: int, group: OverallGroup) -> list[Html]:
    """Models that are ranked together: on these data sets, on others, without one of them."""
    head = [element("h2", group.heading[:1].upper() + group.heading[1:])] if group.heading else []
    said = [element("p", group.verdict)] if number else []
    claims = [part("table", pairs_table(group))] if group.claims else []
    return [
        *head,
        *said,
        part("table", overall_table(group)),
        element("h2", PAIRS),
        element("p", group.other),
        *claims,
        element("h2", WITHOUT),
        element("p", group.stability),
        part("table", left_out_table(group)),
    ]
