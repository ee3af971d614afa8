"""Results -> boards -> ranked rows. Pure functions; nothing is rounded before it is compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.metrics import higher_is_better
from harness.metrics.scores import PER_CLASS, score_names
from harness.results.store import PREDICTIONS
from leaderboard.queries import Data, Result
from leaderboard.stats import Estimate, estimate

# What a board shows where nothing else is asked for.
DEFAULT_METRICS = ("miou", "pa", "mpa", "dice", "hd", "biou")

TITLES = {
    "miou": "mIoU",
    "pa": "PA",
    "mpa": "mPA",
    "fwiou": "FWIoU",
    "dice": "Dice",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "hd": "HD",
    "hd95": "HD95",
    "assd": "ASSD",
    "masd": "MASD",
    "biou": "BIoU",
    "bf": "BF",
    "nsd": "NSD",
    "trimap_iou": "Trimap IoU",
    "iou": "IoU",
    "accuracy": "Acc",
    "loss": "Loss",
    "auc": "AUC",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
}


def metric_title(metric: str) -> str:
    """How a metric is headed: `mIoU`, `IoU[horse]`."""
    name, bracket, label = metric.partition("[")
    return TITLES.get(name, name) + bracket + label


def digits(metric: str) -> int:
    """Decimals a table shows: two for distances in pixels, four for the rest."""
    return 4 if higher_is_better(metric) or metric == "loss" else 2


@dataclass(frozen=True)
class Cell:
    """One model under one set of hyperparameters: its runs over seeds."""

    runs: tuple[Result, ...]

    @property
    def first(self) -> Result:
        """Any run of the cell: all share everything but the seed."""
        return self.runs[0]

    @cached_property
    def scored(self) -> tuple[Result, ...]:
        """The runs that ended well."""
        return tuple(r for r in self.runs if r.state == "ok" and r.test)

    @property
    def states(self) -> dict[str, int]:
        """How many runs are in each state."""
        return dict(Counter(r.state for r in self.runs))

    @property
    def seeds(self) -> list[int]:
        """Every seed, those that failed included."""
        return sorted(r.seed for r in self.runs)

    def test(self, metric: str) -> Estimate:
        """A test score over the seeds."""
        return estimate([r.test.get(metric) for r in self.scored])

    def selection_score(self) -> float | None:
        """The selection's metric on val, averaged over seeds; None where there is no val."""
        return estimate([r.val.get(self.first.selection["metric"]) for r in self.scored]).mean

    def incomplete(self) -> str:
        """A remark on runs that are missing, or an empty text."""
        missing = {s: n for s, n in self.states.items() if s != "ok"}
        return ", ".join(f"{n} {state}" for state, n in sorted(missing.items()))


@dataclass(frozen=True)
class Row:
    """A model on a board: the cell that val chose, and all its cells."""

    rank: int | None
    """Place by the board's metric; equal figures share one; None without a figure."""
    cell: Cell
    cells: tuple[Cell, ...]

    @property
    def model(self) -> str:
        """The model's label."""
        return self.cell.first.model


@dataclass(frozen=True)
class Board:
    """Rows that may be compared: one suite, one scored split of one data set, one protocol."""

    suite: str
    data: Data
    protocol_name: str
    protocol_hash: str
    smoke: bool
    selected_on_test: bool
    metric: str
    """What it is ranked by."""
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """A heading."""
        apart = ", checkpoints chosen on the scored images" if self.selected_on_test else ""
        return f"{self.data.title} ({self.data.variant}) · suite {self.suite} · protocol {self.protocol_name}{apart}"

    @property
    def key(self) -> str:
        """A short name that no other board has."""
        apart = "-apart" if self.selected_on_test else ""
        return f"{self.suite}/{self.data.name}-{self.data.test_manifest[:6]}/{self.protocol_hash[:6]}{apart}"


def boards(results: Iterable[Result], metric: str | None = None) -> list[Board]:
    """Group results into boards, full ones before smoke ones.

    Args:
        results: runs, each under one protocol.
        metric: what to rank by; None takes each data set's headline metric.
    """
    groups = _group(
        results,
        lambda r: (r.suite, r.data.name, r.data.test_manifest, r.protocol_hash, r.selected_on_test),
    )
    made = []
    for runs in groups.values():
        first = runs[0]
        by = metric or first.data.headline
        made.append(
            Board(
                suite=first.suite,
                data=first.data,
                protocol_name=first.protocol_name,
                protocol_hash=first.protocol_hash,
                smoke=first.smoke,
                selected_on_test=first.selected_on_test,
                metric=by,
                rows=rank(runs, by),
            )
        )
    return sorted(made, key=lambda b: (b.smoke, b.suite, b.data.name, b.selected_on_test))


def rank(runs: Sequence[Result], metric: str) -> tuple[Row, ...]:
    """One row for each model, best first; those without a figure last."""
    rows: list[Row] = []
    identity = _group(runs, lambda r: (r.model, r.model_name, _frozen(r.params), r.data.variant, r.origin))
    for own in identity.values():
        cells = tuple(Cell(tuple(group)) for group in _group(own, lambda r: r.cell).values())
        rows += [Row(None, cell, cells) for cell in representatives(cells)]
    sign = -1 if higher_is_better(metric) else 1

    def order(row: Row) -> tuple[bool, float, str]:
        value = row.cell.test(metric).mean
        return (value is None, 0.0 if value is None else sign * value, row.model)

    ordered = sorted(rows, key=order)
    placed: list[Row] = []
    for position, row in enumerate(ordered, start=1):
        value = row.cell.test(metric).mean
        place: int | None = position
        if value is None:
            place = None
        elif placed and placed[-1].cell.test(metric).mean == value:
            place = placed[-1].rank
        placed.append(Row(place, row.cell, row.cells))
    return tuple(placed)


def representatives(cells: Sequence[Cell]) -> list[Cell]:
    """The cell that val chose. Where no cell has a val score nothing can choose: all of them stand."""
    scores = [(cell.selection_score(), cell) for cell in cells]
    defined = [(score, cell) for score, cell in scores if score is not None]
    if not defined:
        return list(cells)
    sign = 1 if higher_is_better(cells[0].first.selection["metric"]) else -1
    return [max(defined, key=lambda pair: sign * pair[0])[1]]


@dataclass(frozen=True)
class Table:
    """A board ready to be printed or exported: figures at full precision, and which are the best."""

    title: str
    columns: tuple[str, ...]
    metrics: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    """The columns before the metrics."""
    figures: tuple[tuple[Estimate, ...], ...]
    best: tuple[frozenset[int], ...]
    """For each metric, the rows that hold its best mean."""
    runs: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def lead(self) -> tuple[str, ...]:
        """The headings before the metrics."""
        return self.columns[: len(self.columns) - len(self.metrics) - 1]

    def text_rows(self) -> list[list[str]]:
        """Every row as text, rounded for reading."""
        return [
            [*row, *(f.text(digits(m)) for f, m in zip(figures, self.metrics, strict=True)), str(n)]
            for row, figures, n in zip(self.rows, self.figures, self.runs, strict=True)
        ]


def overview(board: Board, metrics: Sequence[str] | None = None) -> Table:
    """The ranked table: one row a model, its hyperparameters chosen by val."""
    chosen = board_metrics(board, metrics)
    lead = [(str(row.rank or "–"), row.model + outside(row), hyperparameters(row.cell)) for row in board.rows]
    notes = [f"{row.model}: {row.cell.incomplete()}" for row in board.rows if row.cell.incomplete()]
    notes += [
        f"{row.model}: {sum(bool(c.incomplete()) for c in row.cells)} of {len(row.cells)} cells incomplete"
        for row in board.rows
        if any(c.incomplete() for c in row.cells if c is not row.cell)
    ]
    notes += [
        f"{row.model}{outside(row)}: predictions from outside; how they were made is not known here"
        for row in board.rows
        if outside(row)
    ]
    return _table(board, ("#", "model", "chosen by val"), chosen, [row.cell for row in board.rows], lead, notes)


def outside(row: Row) -> str:
    """The mark of a row whose label maps came from outside."""
    return " ‡" if row.cell.first.origin == PREDICTIONS else ""


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
        mark = "✓" if any(r.cell.first.cell == cell.first.cell for r in board.rows) else ""
        lead.append((row.model, hyperparameters(cell), shown, mark, cell.incomplete() or "complete"))
    heads = ("model", "hyperparameters", "val", "chosen", "runs")
    return _table(board, heads, chosen, [cell for _, cell in unique], lead, [])


def per_class(board: Board, metric: str) -> Table:
    """One per-class score of every row, class by class."""
    names = tuple(f"{metric}[{label}]" for label in board.data.classes)
    lead = [(str(row.rank or "–"), row.model) for row in board.rows]
    return _table(board, ("#", "model"), names, [row.cell for row in board.rows], lead, [])


def board_metrics(board: Board, metrics: Sequence[str] | None) -> tuple[str, ...]:
    """The metrics to show: those asked for, else the usual ones with the headline in front."""
    if metrics:
        return tuple(metrics)
    return tuple(dict.fromkeys([board.metric, *DEFAULT_METRICS]))


def all_metrics(data: Data) -> list[str]:
    """Every metric a board can show or be ranked by."""
    return [*score_names(data.foreground), "loss", *(f"{m}[{c}]" for m in PER_CLASS for c in data.classes)]


def hyperparameters(cell: Cell) -> str:
    """The grid's values, as text; empty where there is no grid."""
    return ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in cell.first.grid.items())


def records(board: Board) -> list[dict[str, Any]]:
    """The rows as plain values at full precision, for JSON and for other programs."""
    return [
        {
            "suite": board.suite,
            "dataset": board.data.name,
            "variant": board.data.variant,
            "test_manifest": board.data.test_manifest,
            "protocol": {"name": board.protocol_name, "hash": board.protocol_hash},
            "selected_on_test": board.selected_on_test,
            "rank": row.rank,
            "model": row.model,
            "params": {**row.cell.first.params, **row.cell.first.grid},
            "seeds": row.cell.seeds,
            "n_runs": len(row.cell.scored),
            "states": row.cell.states,
            "metrics": {name: _plain(row.cell.test(name)) for name in (*score_names(board.data.foreground), "loss")},
            "per_class": {
                name: {c: row.cell.test(f"{name}[{c}]").mean for c in board.data.classes} for name in PER_CLASS
            },
            "runs": [r.run_id for r in row.cell.runs],
        }
        for row in board.rows
    ]


def _plain(figure: Estimate) -> dict[str, float | None]:
    return {"mean": figure.mean, "std": figure.std}


def _table(
    board: Board,
    heads: tuple[str, ...],
    metrics: tuple[str, ...],
    cells: Sequence[Cell],
    lead: Sequence[tuple[str, ...]],
    notes: Sequence[str],
) -> Table:
    figures = tuple(tuple(cell.test(m) for m in metrics) for cell in cells)
    best = tuple(_best([row[i].mean for row in figures], m) for i, m in enumerate(metrics))
    return Table(
        title=board.title,
        columns=(*heads, *(metric_title(m) for m in metrics), "runs"),
        metrics=metrics,
        rows=tuple(lead),
        figures=figures,
        best=best,
        runs=tuple(len(cell.scored) for cell in cells),
        notes=tuple(notes),
    )


def _best(values: Sequence[float | None], metric: str) -> frozenset[int]:
    defined = [v for v in values if v is not None]
    if not defined:
        return frozenset()
    top = max(defined) if higher_is_better(metric) else min(defined)
    return frozenset(i for i, v in enumerate(values) if v == top)


def _group(results: Iterable[Result], key: Any) -> dict[Hashable, list[Result]]:
    groups: dict[Hashable, list[Result]] = defaultdict(list)
    for result in results:
        groups[key(result)].append(result)
    return groups


def _frozen(value: Any) -> Hashable:
    return repr(sorted(value.items())) if isinstance(value, dict) else repr(value)
