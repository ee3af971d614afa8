"""The database behind the pages: opened once, read anew when it has changed.

Everything is kept under the database's version, which changes when runs end and not with every sign of life of one
that goes on. What is kept is never changed: `cache_resource` hands out the thing itself, `cache_data` would copy it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from harness.errors import BenchError
from harness.metrics.metric import is_known, names_of, score_names
from harness.results import Store, open_store
from harness.results.publish import is_published
from harness.utils.environment import setting
from leaderboard.app.background import Background
from leaderboard.app.inert import element, notice, plain
from leaderboard.app.state import View, widget
from leaderboard.boards.board import Board, boards
from leaderboard.queries.load import BoardSummary, Data, ScoredRun, list_boards, load_board, load_runs, version_key
from leaderboard.shown.counts import Counts, load_counts
from leaderboard.shown.text import heading
from leaderboard.stats.draws import BoardDraws, stored_draws
from leaderboard.stats.overall import Overall, collections, overall
from leaderboard.stats.significance import ASKS, BoardSignificance, Question, default_question, significance
from leaderboard.tables.references import Reference, load_references
from leaderboard.tables.table import DEFAULT_METRICS, metric_names


@st.cache_resource
def _store(place: str) -> Store:
    return open_store(place, read_only=True)


def store() -> Store:
    """The database named by SEGBENCH_DB; a message instead of a traceback where it cannot be opened."""
    try:
        return _store(setting("SEGBENCH_DB") or "results.db")
    except BenchError as error:
        notice("error", element("b", "The database cannot be opened. "), str(error))
        st.stop()


def read_version() -> str:
    """Changes when what the pages show has changed; asks the database."""
    try:
        return version_key(store())
    except Exception as error:  # noqa: BLE001 (a damaged file raises whatever its driver does)
        said = str(error).splitlines() or [type(error).__name__]
        notice("error", element("b", "The database cannot be read. "), said[0][:300])
        st.stop()


def version() -> str:
    """The same as it was when this run of the script began: asked once, everything on a page is of one version."""
    if "version" not in st.session_state:
        st.session_state["version"] = read_version()
    return str(st.session_state["version"])


def is_shipped() -> bool:
    """Whether these are the results that come with the package."""
    return is_published(store())


@st.cache_resource(show_spinner=False, max_entries=4)
def _summaries(_opened: Store, key: str) -> list[BoardSummary]:
    return list_boards(_opened)


def summaries() -> list[BoardSummary]:
    """Every board, without its rows."""
    return _summaries(store(), version())


@st.cache_resource(show_spinner=False, max_entries=40)
def _runs(_opened: Store, key: str, board: str, metrics: tuple[str, ...] | None) -> list[ScoredRun]:
    return load_board(_opened, board, metrics)


def runs_of(board: str, metrics: tuple[str, ...] | None = None) -> list[ScoredRun]:
    """The runs of a board with some of its scores; None: with all."""
    return _runs(store(), version(), board, metrics)


@st.cache_resource(show_spinner=False, max_entries=2)
def _every_run(_opened: Store, key: str) -> list[ScoredRun]:
    return load_runs(_opened)


def every_run() -> list[ScoredRun]:
    """Every run of the database on each of its boards: slow for large ones, and only read where it is needed."""
    return _every_run(store(), version())


@st.cache_resource(show_spinner=False, max_entries=40)
def _board(_opened: Store, key: str, board: str, metric: str, metrics: tuple[str, ...]) -> Board | None:
    made = boards(load_board(_opened, board, metrics), metric)
    return made[0] if made else None


def board_with(board: str, metric: str, metrics: Sequence[str] = ()) -> Board | None:
    """A board ranked by a metric, with further scores."""
    wanted = tuple(dict.fromkeys([metric, *metrics]))
    return _board(store(), version(), board, metric, wanted)


@dataclass(frozen=True)
class Answer:
    """What the statistics say, as far as it is known."""

    significance: BoardSignificance
    waiting: bool
    """Whether they are still being computed."""


_answers: Background[BoardSignificance] = Background(most=60)
# So many runs, and so many rows, take a few tenths of a second: nobody waits for a thread.
_FEW_RUNS, _FEW_ROWS = 8, 40


def answer_of(board: Board, question: Question) -> Answer:
    """What the statistics say of a board. Those of a large board are made beside the page."""
    opened = store()
    key = f"{opened.name}/{version()}/{board.board_id}/{board.metric}/{question}"
    # What is shown until there is an answer, or where there cannot be one, has no intervals.
    over_images: Question = "images" if question == "seeds" else question
    try:
        made = _answers.get(key, lambda: _answer(opened, board, question), wait=_soon(board, question))
    except Exception as error:  # noqa: BLE001 (statistics of a damaged database raise anything; the figures stand)
        said = (str(error).splitlines() or [type(error).__name__])[0][:200]
        nothing = BoardDraws(board.metric, None, {}, {}, f"the statistics cannot be read ({said})")
        return Answer(significance(board, over_images, nothing), False)
    return Answer(made or significance(board, over_images, None), made is None)


def _soon(board: Board, question: Question) -> bool:
    """Whether the answer takes so little time that the page waits for it."""
    if question == "seeds":
        return len(board.rows) <= _FEW_ROWS
    return sum(len(row.cell.scored) for row in board.rows) <= _FEW_RUNS


def _answer(opened: Store, board: Board, question: Question) -> BoardSignificance:
    if question == "seeds" or not any(row.cell.scored for row in board.rows):
        return significance(board, question)
    return significance(board, question, stored_draws(opened, board))


@st.cache_resource(show_spinner=False, max_entries=8)
def _suite(_opened: Store, key: str, board: str, metric: str) -> list[Board]:
    here = next(one for one in list_boards(_opened) if one.board_id == board)
    own = [one for one in list_boards(_opened) if (one.suite, one.smoke) == (here.suite, here.smoke)]
    everywhere = all(metric in metric_names(one.data) for one in own)
    made = [boards(load_board(_opened, one.board_id), metric if everywhere else None)[0] for one in own]
    found = [one for one in collections(made) if any(b.protocol_name == here.protocol_name for b in one)]
    return next((one for one in found if any(b.board_id == board for b in one)), found[0] if found else [])


def suite_of(chosen: Chosen) -> list[Board]:
    """The boards of the chosen one's suite, ranked by its score where all have it; none where it is alone."""
    return _suite(store(), version(), chosen.id, chosen.metric)


_overall: Background[Overall] = Background(most=12)


def overall_of(own: Sequence[Board], question: Question) -> Overall | None:
    """A suite over its data sets. That of many runs is made beside the page: None until then.

    Raises:
        Exception: the statistics of a damaged database raise whatever they do.
    """
    opened = store()
    key = f"{opened.name}/{version()}/{question}/" + "/".join(f"{b.board_id} {b.metric}" for b in own)
    soon = all(_soon(board, question) for board in own) and len(own) <= _FEW_RUNS
    return _overall.get(key, lambda: overall(own, question, lambda board: stored_draws(opened, board)), wait=soon)


@st.cache_resource(show_spinner=False, max_entries=20)
def _counts(_opened: Store, key: str, board: str, _ids: tuple[int, ...], protocol: str) -> dict[int, Counts]:
    return load_counts(_opened, _ids, protocol)


def counts_of(board: Board) -> dict[int, Counts]:
    """What the evaluations of a board's chosen runs counted."""
    ids = tuple(run.run_id for row in board.rows for run in row.cell.scored)
    return _counts(store(), version(), board.board_id, ids, board.protocol_hash)


@st.cache_resource(show_spinner=False)
def references() -> tuple[Reference, ...]:
    """What others reported."""
    return load_references()


# ---- which board, and what ranks it -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Chosen:
    """The board that all pages show."""

    summary: BoardSummary
    metric: str
    question: Question
    line: Any
    """The line of the header that pages can add to."""

    @property
    def id(self) -> str:
        """Of the board."""
        return self.summary.board_id


def titles_of(found: Sequence[BoardSummary]) -> dict[str, str]:
    """How each board is called, each in its own way."""
    titles = {b.board_id: title_of(b) for b in found}
    many = [title for title in titles.values() if list(titles.values()).count(title) > 1]
    return {key: f"{title} · {key[:6]}" if title in many else title for key, title in titles.items()}


def title_of(board: BoardSummary) -> str:
    """A board in a line."""
    parts = [board.data.title or board.data.name, board.suite]
    if board.protocol_name != "standard":
        parts.append(f"protocol {board.protocol_name}")
    if board.selected_on_test:
        parts.append("chosen on the test images")
    if board.smoke:
        parts.append("smoke runs")
    return " · ".join(parts)


def choose(view: View) -> Chosen:
    """The header's choices: the board, what ranks it, and which question the intervals answer."""
    found = summaries()
    if not found:
        empty()
    ids = [b.board_id for b in found]
    wanted = view.get("board")
    if wanted not in ids:
        if wanted:
            view.unknown.append(f"the board {wanted[:40]}")
        view.set("board", None)
        wanted = ids[0]
    titles = titles_of(found)
    line = st.container(key="header-choices", horizontal=True, vertical_alignment="bottom")
    with line:
        if len(found) > 1:
            st.selectbox("Board", ids, format_func=titles.__getitem__, width=340, **widget("board", wanted))
        summary = next(b for b in found if b.board_id == wanted)
        metric = _metric(view, summary)
        board = board_with(wanted, metric)
        question = _question(view, board)
    return Chosen(summary, metric, question, line)


def _metric(view: View, summary: BoardSummary) -> str:
    """The score that ranks: one over all classes, or of one of them."""
    data = summary.data
    overall = [*score_names(data.foreground), *names_of("loss")]
    wanted = view.get("by") or data.headline
    if not is_known(wanted) or wanted not in metric_names(data):
        if view.get("by"):
            view.unknown.append(f"the score {wanted[:40]}")
            view.set("by", None)
        wanted = data.headline
    options = [*overall, *([] if wanted in overall else [wanted])]
    if data.headline not in options:
        options.insert(0, data.headline)
    st.selectbox("Ranked by", options, format_func=heading, width=170, **widget("by", wanted))
    return wanted


def _question(view: View, board: Board | None) -> Question:
    """Which question is asked: of the methods, trained again, of these checkpoints on other images, or of both."""
    usual: Question = default_question(board) if board else "images"
    asked = view.get("ask")
    now = next((one for one in ASKS if one == asked), usual)
    st.segmented_control(
        "Intervals are for",
        list(ASKS),
        format_func={
            "both": "methods, trained again, other images",
            "seeds": "methods, trained again",
            "images": "checkpoints, other images",
        }.__getitem__,
        required=True,
        **widget("ask", now),
    )
    return now


def metrics_shown(view: View, data: Data, metric: str) -> tuple[str, ...]:
    """The scores beside the one that ranks."""
    chosen = tuple(m for m in view.several("columns") if is_known(m) and m in metric_names(data))
    usual = tuple(m for m in ("miou", "biou", "hd") if m in DEFAULT_METRICS)
    return tuple(m for m in (chosen or usual) if m != metric)


def empty() -> None:
    """A database without runs. Stops the page."""
    notice(
        "info",
        element("b", "This database holds no run yet. "),
        "The demo makes some in a few minutes, without data and without a GPU:",
    )
    st.code("bench run --suite demo", language=None)
    st.stop()


def run_label(run: ScoredRun) -> str:
    """A run in a line of Markdown: model and seed."""
    return plain(f"{run.model}, seed {run.seed}")
