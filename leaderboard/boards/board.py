"""Runs -> boards -> ranked rows. Pure functions; nothing is rounded before it is compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from harness.metrics.metric import higher_is_better, is_known
from harness.results.schema import FAILED
from leaderboard.boards.estimate import Estimate, estimate
from leaderboard.boards.walls import Fact, Wall, differing, heading, wall_of
from leaderboard.queries.records import BoardKey, Ceiling, Data, ScoredRun, board_id, board_key

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Cell:
    """One model under one set of hyperparameters: its runs over seeds."""

    runs: tuple[ScoredRun, ...]

    @cached_property
    def first(self) -> ScoredRun:
        """A run of the cell, a sound one where there is one: all share everything but the seed."""
        return next((r for r in self.runs if not r.problem), self.runs[0])

    @cached_property
    def scored(self) -> tuple[ScoredRun, ...]:
        """The runs that ended well and count."""
        return tuple(r for r in self.runs if r.state == "ok" and r.test and not r.withdrawn)

    @property
    def states(self) -> dict[str, int]:
        """How many runs are in each state."""
        return dict(Counter(r.state for r in self.runs))

    @property
    def seeds(self) -> list[int]:
        """Every seed, those that failed included."""
        return sorted(r.seed for r in self.runs)

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        """Those that were asked for: a comparison of all rows asks again and again."""
        return {}

    def test(self, metric: str) -> Estimate:
        """A test score over the seeds."""
        if metric not in self._estimates:
            self._estimates[metric] = estimate([r.test.get(metric) for r in self.scored])
        return self._estimates[metric]

    @property
    def failed(self) -> int:
        """How many seeds failed, or ended and cannot be read; those not done yet, or withdrawn, do not count."""
        return sum(1 for r in self.runs if (r.state in FAILED or r.problem) and not r.withdrawn)

    @property
    def withdrawn(self) -> bool:
        """Whether all of its runs are withdrawn."""
        return all(r.withdrawn for r in self.runs)

    def ranked_by(self, metric: str) -> float | None:
        """The figure that places the cell: the mean over seeds; where seeds failed, the worst that ended.

        The mean of those that ended says nothing of those that did not: a network that diverges in two seeds of three
        must not be placed by the lucky one.
        """
        values = [v for r in self.scored if (v := r.test.get(metric)) is not None]
        if not self.failed or not values:
            return self.test(metric).mean
        return min(values) if higher_is_better(metric) else max(values)

    def selection_score(self) -> float | None:
        """The selection's metric on val, averaged over seeds; None where there is no val."""
        return estimate([r.val.get(self.first.selection["metric"]) for r in self.scored]).mean

    def incomplete(self) -> str:
        """A remark on runs that are missing, or an empty text."""
        missing = Counter(r.state for r in self.runs if r.state != "ok" and not r.problem and not r.withdrawn)
        missing |= Counter({"withdrawn": sum(1 for r in self.runs if r.withdrawn)})
        missing |= Counter({"not sound": sum(1 for r in self.runs if r.problem and not r.withdrawn)})
        return ", ".join(f"{n} {state}" for state, n in sorted(missing.items()) if n)


@dataclass(frozen=True)
class Row:
    """A model on a board: the cell that val chose, and all its cells."""

    rank: int | None
    """Place by the board's metric within its group; equal figures share one; None without a figure."""
    cell: Cell
    cells: tuple[Cell, ...]

    @property
    def model(self) -> str:
        """The model's label."""
        return self.cell.first.model

    @property
    def ceiling(self) -> Ceiling | None:
        """What a network would score that is perfect at the input size of its cell; seeds do not move it."""
        return next((run.ceiling for run in self.cell.scored if run.ceiling is not None), None)

    @cached_property
    def wall(self) -> Wall:
        """The facts in which all rows of its group agree."""
        return wall_of(self.cell.first)


@dataclass(frozen=True)
class Group:
    """Rows of a board that are ranked together."""

    heading: str
    """In plain words; empty where the board has no other group."""
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Board:
    """One suite, one scored split of one data set, one protocol; its groups are ranked, each in itself."""

    suite: str
    data: Data
    protocol_name: str
    protocol_hash: str
    smoke: bool
    selected_on_test: bool
    metric: str
    """What it is ranked by."""
    rows: tuple[Row, ...]
    """Group by group, each best first."""
    apart: str = ""
    """What tells it from a board that would have the same title; empty where there is none."""

    @property
    def models(self) -> tuple[Row, ...]:
        """Each model once: where nothing could choose among its cells, it has a row for each of them."""
        once: dict[int, Row] = {}
        for row in self.rows:
            once.setdefault(row.cells[0].first.run_id, row)
        return tuple(once.values())

    @cached_property
    def facts(self) -> tuple[Fact, ...]:
        """What keeps its groups apart."""
        return differing(row.wall for row in self.rows)

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The rows that are ranked together."""
        facts, found = self.facts, _group(self.rows, lambda row: row.wall)
        return tuple(Group(heading(rows[0].wall, facts), tuple(rows)) for rows in found.values())

    @property
    def chosen_by(self) -> str | None:
        """By which images the hyperparameters that stand for a model were chosen; None where there is no val."""
        if self.data.counts.get("val", 1) == 0:
            return None
        by_checkpoint = self.selection["rule"] == "best" and self.selection["split"] == "test"
        return "the test images" if self.selected_on_test and not by_checkpoint else "val"

    @property
    def selection(self) -> dict[str, Any]:
        """What chose checkpoints and cells: of a run that was trained here, where there is one."""
        every = [row.cell.first for row in self.rows]
        return next((run.selection for run in every if run.scores_from == "training"), every[0].selection)

    @property
    def key_fields(self) -> BoardKey:
        """What `board_of` gives for each of its runs."""
        return board_of(self.rows[0].cell.first)

    @property
    def board_id(self) -> str:
        """Short, and the same for the same key; for links, and to read it again."""
        return board_id(self.key_fields)

    @property
    def variant(self) -> str:
        """The data variant of all rows that were trained here; empty where they differ."""
        variants = {v for row in self.rows if (v := row.wall.variant) is not None}
        return variants.pop() if len(variants) == 1 else ""

    @property
    def title(self) -> str:
        """A heading."""
        variant = f" ({self.variant})" if self.variant else ""
        seen = f", {self.seen_test}" if self.selected_on_test else ""
        apart = f" · {self.apart}" if self.apart else ""
        return f"{self.data.title}{variant} · suite {self.suite} · protocol {self.protocol_title}{seen}{apart}"

    @property
    def protocol_title(self) -> str:
        """The protocol's name, and every field of it that is not the usual one."""
        return self.rows[0].cell.first.protocol_title or self.protocol_name

    @property
    def seen_test(self) -> str:
        """What the scored images decided, where they decided anything; empty otherwise."""
        if not self.selected_on_test:
            return ""
        if self.selection["rule"] == "best" and self.selection["split"] != "train":
            return "checkpoints chosen on the test images"
        if any(len(row.cells) > 1 for row in self.rows):
            return "hyperparameters chosen on the test images"
        return "val is the test split"

    @property
    def key(self) -> str:
        """A short name that no other board has."""
        apart = "-apart" if self.selected_on_test else ""
        labels = f"-{self.data.scored_as[:6]}" if self.apart else ""
        return f"{self.suite}/{self.data.name}-{self.data.test_manifest[:6]}{labels}/{self.protocol_hash[:6]}{apart}"


def board_of(run: ScoredRun) -> BoardKey:
    """What runs of one board share: only these are compared."""
    return board_key(run.suite, run.data, run.protocol_hash, run.selected_on_test)


def boards(runs: Iterable[ScoredRun], metric: str | None = None) -> list[Board]:
    """Group runs into boards, full ones before smoke ones.

    Args:
        runs: each under one protocol.
        metric: what to rank by; None takes each data set's headline metric.
    """
    made = []
    for own in _group(runs, board_of).values():
        first = next((run for run in own if not run.problem), own[0])
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
    return sorted(_told_apart(made), key=lambda b: (b.smoke, b.suite, b.data.name, b.selected_on_test, b.apart))


def _told_apart(made: Sequence[Board]) -> list[Board]:
    """The boards, each under a title that no other has: by its classes, its images or its labels."""
    told = []
    for alike in _group(made, lambda b: b.title).values():
        for board in alike:
            if len(alike) == 1:
                told.append(board)
                continue
            others = [b.data for b in alike if b is not board]
            says = []
            if any(d.classes != board.data.classes for d in others):
                says.append(_classes_in_short(board.data))
            if any(d.test_manifest != board.data.test_manifest for d in others):
                says.append(f"test images {board.data.test_manifest[:6]}")
            if any((d.classes, d.test_manifest) == (board.data.classes, board.data.test_manifest) for d in others):
                says.append(f"labels {board.data.scored_as[:6]}, protocol {board.protocol_hash[:6]}")
            told.append(replace(board, apart=", ".join(says)))
    return told


def _classes_in_short(data: Data) -> str:
    names = data.classes if len(data.classes) <= 4 else (*data.classes[:3], "…")
    return f"{len(data.classes)} classes: {', '.join(names)}"


def rank(runs: Sequence[ScoredRun], metric: str) -> tuple[Row, ...]:
    """One row for each model: wall by wall, and within each best first, those without a figure last."""
    rows: dict[Wall, list[Row]] = defaultdict(list)
    identity = _group(runs, lambda r: (r.model, r.model_name, _frozen(r.params), r.data.variant, r.origin, wall_of(r)))
    for own in identity.values():
        cells = tuple(Cell(tuple(group)) for group in _group(own, lambda r: r.cell).values())
        rows[wall_of(own[0])] += [Row(None, cell, cells) for cell in representatives(cells)]
    return tuple(row for wall in sorted(rows, key=lambda w: w.order) for row in _placed(rows[wall], metric))


def _placed(rows: Sequence[Row], metric: str) -> list[Row]:
    """The rows of one group with their places."""
    sign = -1 if higher_is_better(metric) else 1
    figures = [(row.cell.ranked_by(metric), row) for row in rows]
    ordered = sorted(figures, key=lambda f: (f[0] is None, 0.0 if f[0] is None else sign * f[0], f[1].model))
    values = [value for value, _ in ordered]
    # Equal figures share the place of the first of them.
    return [replace(row, rank=None if value is None else values.index(value) + 1) for value, row in ordered]


def representatives(cells: Sequence[Cell]) -> list[Cell]:
    """The cell that val chose. Where no cell has a val score nothing can choose: all of them stand.

    A model that never had a figure stands once, with a cell that failed where there is one.
    """
    if not is_known(cells[0].first.selection["metric"]):
        return list(cells)  # a metric of a package that is not installed here
    scores = [(cell.selection_score(), cell) for cell in cells]
    defined = [(score, cell) for score, cell in scores if score is not None]
    if not defined and not any(cell.scored or any(run.withdrawn for run in cell.runs) for cell in cells):
        return [next((cell for cell in cells if cell.failed), cells[0])]
    if not defined:
        return list(cells)
    sign = 1 if higher_is_better(cells[0].first.selection["metric"]) else -1
    return [max(defined, key=lambda pair: sign * pair[0])[1]]


def _group(things: Iterable[Thing], key: Callable[[Thing], Hashable]) -> dict[Hashable, list[Thing]]:
    groups: dict[Hashable, list[Thing]] = defaultdict(list)
    for thing in things:
        groups[key(thing)].append(thing)
    return groups


def _frozen(value: Any) -> Hashable:
    return repr(sorted(value.items())) if isinstance(value, dict) else repr(value)
