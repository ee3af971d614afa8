"""Runs -> boards -> ranked rows. Pure functions; nothing is rounded before it is compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.metrics.metric import higher_is_better, is_known
from leaderboard.queries import Data, ScoredRun
from leaderboard.stats import Estimate, estimate


@dataclass(frozen=True)
class Cell:
    """One model under one set of hyperparameters: its runs over seeds."""

    runs: tuple[ScoredRun, ...]

    @property
    def first(self) -> ScoredRun:
        """Any run of the cell: all share everything but the seed."""
        return self.runs[0]

    @cached_property
    def scored(self) -> tuple[ScoredRun, ...]:
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
    def key_fields(self) -> tuple[str, str, str, str, bool]:
        """What `board_of` gives for each of its runs."""
        return board_of(self.rows[0].cell.first)

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


def board_of(run: ScoredRun) -> tuple[str, str, str, str, bool]:
    """What runs of one board share: only these are compared."""
    return run.suite, run.data.name, run.data.test_manifest, run.protocol_hash, run.selected_on_test


def boards(runs: Iterable[ScoredRun], metric: str | None = None) -> list[Board]:
    """Group runs into boards, full ones before smoke ones.

    Args:
        runs: each under one protocol.
        metric: what to rank by; None takes each data set's headline metric.
    """
    made = []
    for own in _group(runs, board_of).values():
        first = own[0]
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
                rows=rank(own, by),
            )
        )
    return sorted(made, key=lambda b: (b.smoke, b.suite, b.data.name, b.selected_on_test))


def rank(runs: Sequence[ScoredRun], metric: str) -> tuple[Row, ...]:
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
    if not is_known(cells[0].first.selection["metric"]):
        return list(cells)  # a metric of a package that is not installed here
    scores = [(cell.selection_score(), cell) for cell in cells]
    defined = [(score, cell) for score, cell in scores if score is not None]
    if not defined:
        return list(cells)
    sign = 1 if higher_is_better(cells[0].first.selection["metric"]) else -1
    return [max(defined, key=lambda pair: sign * pair[0])[1]]


def _group(runs: Iterable[ScoredRun], key: Any) -> dict[Hashable, list[ScoredRun]]:
    groups: dict[Hashable, list[ScoredRun]] = defaultdict(list)
    for run in runs:
        groups[key(run)].append(run)
    return groups


def _frozen(value: Any) -> Hashable:
    return repr(sorted(value.items())) if isinstance(value, dict) else repr(value)
