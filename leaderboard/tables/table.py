"""Boards as tables: what is printed, exported and shown."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.config.grid import grid_text
from harness.metrics.metric import class_score_names, find_metric, metric_title, names_of, score_names
from leaderboard.boards.board import Board, Cell, Row
from leaderboard.boards.estimate import Estimate
from leaderboard.boards.notes import board_notes, declared_facts, withdrawals
from leaderboard.boards.searched import search_cost, searched_facts
from leaderboard.boards.suite_note import suite_note
from leaderboard.boards.walls import Wall, heading
from leaderboard.queries.load import Data

# What a board shows where nothing else is asked for.
DEFAULT_METRICS = ("miou", "pa", "mpa", "dice", "hd", "biou")


@dataclass(frozen=True)
class Table:
    """A board ready to be printed or exported: figures at full precision, and which are the best."""

    title: str
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The columns before the metrics."""
    groups: tuple[tuple[str, range], ...]
    """The rows that are ranked together: their heading, empty where all are, and which they are."""
    figures: tuple[tuple[Estimate, ...], ...]
    runs: tuple[int, ...]
    """Runs that ended well."""
    seeds: tuple[int, ...]
    """All runs, those that failed or are not done included."""
    notes: tuple[str, ...]
    best: tuple[frozenset[int], ...] = ()
    """For each metric, the rows among which the best of their group is, where any other is shown not to be: they are
    bold. () where nobody asked."""
    intervals: tuple[tuple[tuple[float, float] | None, ...], ...] = ()
    """The interval of each figure; () where nobody asked."""
    marks: tuple[tuple[str, ...], ...] = ()
    """What stands behind each figure, such as ≁; () where nothing does. The notes explain it."""
    one_metric: str | None = None
    """What all columns show, where they differ in something else: the title says it then."""
    counted: bool = True
    """Whether it says on how many runs a row stands; else there is no such column."""
    key: str = ""
    """A short name, for a LaTeX label or a file."""

    @property
    def lead(self) -> tuple[str, ...]:
        """The headings before the metrics."""
        return self.columns[: len(self.columns) - len(self.metrics) - int(self.counted)]

    @property
    def figure_columns(self) -> tuple[str, ...]:
        """The headings of the figures."""
        return self.columns[len(self.lead) : len(self.lead) + len(self.metrics)]

    def bold(self, row: int, column: int) -> bool:
        """Whether a figure is the best of its group, or cannot be told apart from it, and others can."""
        return bool(self.best and row in self.best[column])

    def mark(self, row: int, column: int) -> str:
        """What stands behind a figure."""
        return self.marks[row][column] if self.marks else ""

    def interval(self, row: int, column: int) -> tuple[float, float] | None:
        """The interval of a figure, where there is one."""
        return self.intervals[row][column] if self.intervals else None

    def text_rows(self) -> list[list[str]]:
        """Every row as text, rounded for reading."""
        runs = [[text] for text in self.run_texts()] if self.counted else [[] for _ in self.rows]
        return [
            [*row, *(f.text(find_metric(m).digits) for f, m in zip(figures, self.metrics, strict=True)), *behind]
            for row, figures, behind in zip(self.rows, self.figures, runs, strict=True)
        ]

    def run_texts(self) -> list[str]:
        """How many runs a figure stands on: `3`, or `2 of 3` where one failed or is not done."""
        return [str(n) if n == m else f"{n} of {m}" for n, m in zip(self.runs, self.seeds, strict=True)]


def overview(board: Board, metrics: Sequence[str] | None = None) -> Table:
    """The ranked table: one row a model, its hyperparameters chosen by val; groups that are ranked apart in turn."""
    chosen = board_metrics(board, metrics)
    lead = [
        (str(row.rank or "–"), row.model + mark(row), *_facts(board, row), grid_text(row.cell.first.grid))
        for row in board.rows
    ]
    notes = [text] if (text := suite_note(board.suite)) else []
    notes += board_notes(board, chosen)
    notes += [f"{row.model}: {row.cell.incomplete()}" for row in board.rows if row.cell.incomplete()]
    notes += [
        f"{row.model}: only {len(row.cell.scored)} of {len(row.cell.runs)} seeds ended; the worst of them ranks it"
        for row in board.rows
        if row.cell.failed and row.rank is not None
    ]
    notes += [
        f"{row.model}: {sum(bool(c.incomplete()) for c in row.cells)} of {len(row.cells)} cells incomplete"
        for row in board.rows
        if any(c.incomplete() for c in row.cells if c is not row.cell)
    ]
    notes += mark_notes(board.rows)
    notes += [
        f"{row.model}: hyperparameters searched on val: {search_cost(found)}"
        for row in board.rows
        if (found := row.cell.first.search)
    ]
    heads = (
        "#",
        "model",
        *_fact_heads(board),
        _CHOSEN.get(board.chosen_by, f"chosen on {board.chosen_by}"),
    )
    return _table(board, heads, chosen, [(row, row.cell) for row in board.rows], lead, notes)


_CHOSEN = {"val": "chosen by val", None: "hyperparameters"}

_MARKED = {
    " ‡": "predictions from elsewhere; how they were made is not known here",
    " ✗": "withdrawn, and not ranked",
    " †": "its declared pretraining includes the scored images",
}


def mark(row: Row) -> str:
    """The mark of a row that is withdrawn, came as label maps, or whose pretraining saw the scored images."""
    if row.cell.withdrawn:
        return " ✗"
    if row.wall.saw_test:
        return " †"
    return " ‡" if row.wall.scores_from == "label maps" else ""


def mark_notes(rows: Iterable[Row]) -> list[str]:
    """What the marks of rows mean, a line for each row that has one."""
    return list(dict.fromkeys(f"{row.model}{mark(row)}: {_MARKED[mark(row)]}" for row in rows if mark(row)))


def _fact_heads(board: Board) -> tuple[str, ...]:
    return tuple(fact.column for fact in board.facts)


def _facts(board: Board, row: Row) -> tuple[str, ...]:
    """What keeps a row apart from others of its board."""
    return tuple(fact.text(row.wall) or "–" for fact in board.facts)


def ablation(board: Board, metrics: Sequence[str] | None = None) -> Table:
    """Every cell of every model, with the val score that chooses among them."""
    chosen = board_metrics(board, metrics)
    cells = [(row, cell) for row in board.rows for cell in row.cells]
    # A row without a val score stands once for each cell: its cells must not be repeated.
    unique = list({cell.first.cell: (row, cell) for row, cell in cells}.values())
    lead = []
    for row, cell in unique:
        score = cell.selection_score()
        shown = "–" if score is None else f"{score:.4f}"
        tick = "✓" if any(r.cell.first.cell == cell.first.cell for r in board.rows) else ""
        facts = _facts(board, row)
        lead.append((row.model, *facts, grid_text(cell.first.grid), shown, tick, cell.incomplete() or "complete"))
    heads = ("model", *_fact_heads(board), "hyperparameters", "val", "chosen", "runs")
    return _table(board, heads, chosen, unique, lead, [])


def per_class(board: Board, metric: str) -> Table:
    """One per-class score of every row, class by class."""
    names = tuple(f"{metric}[{label}]" for label in board.data.classes)
    lead = [(str(row.rank or "–"), row.model) for row in board.rows]
    return _table(board, ("#", "model"), names, [(row, row.cell) for row in board.rows], lead, [])


def board_metrics(board: Board, metrics: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics to show: those asked for, else the usual ones with the headline in front."""
    if metrics:
        return tuple(metrics)
    return tuple(dict.fromkeys([board.metric, *DEFAULT_METRICS]))


def metric_names(data: Data) -> list[str]:
    """Every metric a board can show or be ranked by."""
    return [
        *score_names(data.foreground),
        *names_of("loss"),
        *(f"{m}[{c}]" for m in class_score_names() for c in data.classes),
    ]


def records(board: Board) -> list[dict[str, Any]]:
    """The rows as plain values at full precision, for JSON and for other programs."""
    return [
        {
            "suite": board.suite,
            "dataset": board.data.name,
            "variant": row.cell.first.data.variant,
            "test_manifest": board.data.test_manifest,
            "scored_as": board.data.scored_as,
            "classes": list(board.data.classes),
            "protocol": {"name": board.protocol_name, "title": board.protocol_title, "hash": board.protocol_hash},
            "selected_on_test": board.selected_on_test,
            "group": group.heading,
            **_wall(row.wall),
            "rank": row.rank,
            "ranked_by": row.cell.ranked_by(board.metric),
            "model": row.model,
            "params": {**row.cell.first.params, **row.cell.first.grid},
            "seeds": row.cell.seeds,
            "n_runs": len(row.cell.scored),
            "n_seeds": len(row.cell.runs),
            "states": row.cell.states,
            "search": searched_facts(row.cell.first.search),
            "metrics": {name: _plain(row.cell.test(name)) for name in (*score_names(board.data.foreground), "loss")},
            "per_class": {
                name: {c: row.cell.test(f"{name}[{c}]").mean for c in board.data.classes}
                for name in class_score_names()
            },
            "ceiling": None if row.ceiling is None else asdict(row.ceiling),
            "runs": [r.run_id for r in row.cell.runs],
            "withdrawn": withdrawals(row),
            "declared": declared_facts(row),
        }
        for group in board.groups
        for row in group.rows
    ]


def _wall(wall: Wall) -> dict[str, Any]:
    """The facts as plain values."""
    names, budget = wall.pretrained_on, wall.search
    return {
        "pretrained_on": None if names is None else list(names),
        "tuned": None if budget is None else {"trials": budget[0], "hours": budget[1]},
        "scores_from": wall.scores_from,
        "saw_test": wall.saw_test,
    }


def _plain(figure: Estimate) -> dict[str, float | None]:
    return {"mean": figure.mean, "std": figure.std}


def _table(
    board: Board,
    heads: tuple[str, ...],
    metrics: tuple[str, ...],
    lines: Sequence[tuple[Row, Cell]],
    lead: Sequence[tuple[str, ...]],
    notes: Sequence[str],
) -> Table:
    """A table of cells, each with the row it belongs to; the cells of a group follow one another."""
    cells = [cell for _, cell in lines]
    figures = tuple(tuple(cell.test(m) for m in metrics) for cell in cells)
    groups = _groups(board, [row.wall for row, _ in lines])
    return Table(
        title=board.title,
        columns=(*heads, *(metric_title(m) for m in metrics), "runs"),
        metrics=metrics,
        rows=tuple(lead),
        groups=groups,
        figures=figures,
        runs=tuple(len(cell.scored) for cell in cells),
        seeds=tuple(len(cell.runs) for cell in cells),
        notes=tuple(notes),
        key=board.key,
    )


def _groups(board: Board, walls: Sequence[Wall]) -> tuple[tuple[str, range], ...]:
    """Heading and lines of each group, from the wall of each line."""
    facts, found, first = board.facts, [], 0
    for wall, lines in itertools.groupby(walls):
        count = len(list(lines))
        found.append((heading(wall, facts), range(first, first + count)))
        first += count
    return tuple(found)
