"""A few rows against one another: differences with intervals, classes, confusions, wins, and what was set otherwise."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.metrics import StatisticsTable
from harness.metrics.metric import higher_is_better, metric_title
from leaderboard.boards.board import Board, Cell, Row
from leaderboard.shown.ranking import TableData, table_data
from leaderboard.shown.text import NONE, amount, between, scale, signed
from leaderboard.stats.draws import BoardDraws
from leaderboard.stats.significance import Question, sample_of


@dataclass(frozen=True)
class Difference:
    """The first row minus the second, in the metric's own unit."""

    first: int
    second: int
    value: float
    low: float | None
    high: float | None
    """The interval of the difference; all that are shown hold together. None where nothing is known."""
    why_not: str = ""

    @property
    def clear(self) -> bool:
        """Whether the two can be told apart."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def only(board: Board, cells: Sequence[tuple[Row, Cell]]) -> Board:
    """The board with nothing but some cells, each as a row: to resample their images."""
    return replace(board, rows=tuple(Row(None, cell, row.cells) for row, cell in cells))


def differences(
    board: Board, cells: Sequence[tuple[Row, Cell]], question: Question, draws: BoardDraws | None
) -> list[Difference]:
    """The difference of every pair of cells.

    Args:
        board: the whole of it: its rows lend their spread over seeds.
        cells: two to four.
        question: which one the intervals answer.
        draws: for `images` and `both`: of the runs of these cells.
    """
    sign = 1.0 if higher_is_better(board.metric) else -1.0
    wider, at = _with(board, cells) if question != "images" else (only(board, cells), list(range(len(cells))))
    sample = sample_of(wider, question, draws)
    placed = [cell.ranked_by(board.metric) for _, cell in cells]
    known = [n for n in range(len(cells)) if placed[n] is not None]
    compared = [n for n in known if not sample.not_compared(at[n])]
    contrasts = sample.contrasts([at[n] for n in compared])
    widths = contrasts.of_pairs * contrasts.errors
    found = []
    for n, m in itertools.combinations(known, 2):
        value = (placed[n] or 0.0) - (placed[m] or 0.0)
        if n in compared and m in compared:
            i, j = compared.index(n), compared.index(m)
            middle, width = sign * float(contrasts.differences[i, j]), float(widths[i, j])
            found.append(Difference(n, m, value, middle - width, middle + width))
        else:
            reason = sample.not_compared(at[n]) or sample.not_compared(at[m])
            found.append(Difference(n, m, value, None, None, reason))
    return found


def _with(board: Board, cells: Sequence[tuple[Row, Cell]]) -> tuple[Board, list[int]]:
    """The board with a row for each of the cells, and which rows they are."""
    rows, at = list(board.rows), []
    for row, cell in cells:
        place = next((i for i, one in enumerate(rows) if one.cell.first.cell == cell.first.cell), None)
        if place is None:
            place = len(rows)
            rows.append(Row(None, cell, row.cells))
        at.append(place)
    return replace(board, rows=tuple(rows)), at


def sentence(metric: str, one: Difference, names: Sequence[str]) -> str:
    """A difference in words."""
    first, second = names[one.first], names[one.second]
    size = f"{amount(metric, one.value)} {metric_title(metric)}"
    if one.low is None:
        return f"{first} and {second} differ by {size}; nothing says whether that means anything ({one.why_not})."
    if not one.clear:
        return f"{first} and {second} cannot be told apart: they differ by {size} {_range(metric, one)}."
    better = (one.value > 0) == higher_is_better(metric)
    winner, loser = (first, second) if better else (second, first)
    return f"{winner} is better than {loser} by {size} {_range(metric, one)}."


def _range(metric: str, one: Difference) -> str:
    """The interval of the size of a difference."""
    low, high = one.low, one.high
    if low is not None and high is not None and one.value < 0:
        low, high = -high, -low
    return between(metric, low, high)


def difference_table(
    metric: str, found: Sequence[Difference], names: Sequence[str], won: Mapping[tuple[int, int], tuple[int, int, int]]
) -> TableData:
    """Every difference with its interval, and on how many images which is better."""
    columns: list[dict[str, Any]] = [
        {"id": "pair", "title": "Difference", "head": True},
        {"id": "value", "title": metric_title(metric) + (" points" if scale(metric) == 100 else ""), "num": True},
        {"id": "interval", "title": "95 % interval", "num": True},
        {"id": "says", "title": "Says"},
        {"id": "wins", "title": "Images better : equal : worse", "num": True, "priority": 2},
    ]
    rows: list[dict[str, Any]] = []
    for one in found:
        pair = (one.first, one.second)
        wins = won.get(pair)
        says = "told apart" if one.clear else "cannot be told apart" if one.low is not None else one.why_not
        rows.append(
            {
                "id": f"{one.first}-{one.second}",
                "name": f"{names[one.first]} minus {names[one.second]}",
                "cells": {
                    "pair": {"t": f"{names[one.first]} − {names[one.second]}", "v": f"{one.first}-{one.second}"},
                    "value": {
                        "t": signed(metric, one.value),
                        "f": f"{scale(metric) * one.value:+.12g}",
                        "v": one.value,
                    },
                    "interval": {"t": between(metric, one.low, one.high, difference=True) or NONE, "v": one.low},
                    "says": {"t": says, "v": says},
                    "wins": {"t": " : ".join(map(str, wins)) if wins else NONE, "v": wins[0] if wins else None},
                },
            }
        )
    return table_data(f"differences-{metric}", columns, rows, name="Differences")


# ---- confusions --------------------------------------------------------------------------------------------------


def confusion(table: StatisticsTable, classes: int) -> NDArray[np.float64]:
    """The (K, K) confusion matrix of all images, target by prediction; predictions out of range are left out."""
    matrix = np.zeros((classes, classes))
    _, true, guess, pixels = table.confusion.T
    inside = (true < classes) & (guess < classes)
    np.add.at(matrix, (true[inside], guess[inside]), pixels[inside])
    return matrix


def changes_table(
    shares: Sequence[NDArray[np.float64]], classes: Sequence[str], names: Sequence[str], most: int = 30
) -> TableData:
    """The confusions in which the first two models differ most, in percent of the true class's pixels.

    Args:
        shares: row-normalised confusion matrices (K, K).
        classes: their names.
        names: of the models.
        most: so many.
    """
    first, second = shares[0], shares[1]
    change = first - second
    np.fill_diagonal(change, 0.0)
    order = np.argsort(-np.abs(change), axis=None, kind="stable")[:most]
    rows: list[dict[str, Any]] = []
    for at in order:
        true, guess = divmod(int(at), len(classes))
        if abs(change[true, guess]) < 5e-4:
            break
        rows.append(
            {
                "id": f"{true}-{guess}",
                "name": f"{classes[true]} taken for {classes[guess]}",
                "search": f"{classes[true]} {classes[guess]}",
                "cells": {
                    "what": {"t": f"{classes[true]} taken for {classes[guess]}", "v": int(at)},
                    **{
                        f"model-{n}": {"t": f"{100 * own[true, guess]:.1f}", "v": float(own[true, guess])}
                        for n, own in enumerate(shares[:2])
                    },
                    "change": {"t": signed("miou", float(change[true, guess])), "v": float(abs(change[true, guess]))},
                },
            }
        )
    columns: list[dict[str, Any]] = [
        {"id": "what", "title": "Confusion", "head": True},
        *({"id": f"model-{n}", "title": f"{name} %", "num": True, "better": -1} for n, name in enumerate(names[:2])),
        {"id": "change", "title": "Difference", "num": True, "better": 1},
    ]
    return table_data(
        "confusions",
        columns,
        rows,
        name="Confusions that differ",
        caption="Percent of the pixels of the true class that were given the other one.",
        height="24rem",
        empty="The two make the same confusions.",
    )


# ---- configuration -----------------------------------------------------------------------------------------------


def flat(value: Any, path: str = "") -> dict[str, str]:
    """A nested configuration as `recipe.optimizer.lr` -> text."""
    if isinstance(value, Mapping) and value:
        found: dict[str, str] = {}
        for key, inner in value.items():
            found |= flat(inner, f"{path}.{key}" if path else str(key))
        return found
    text = f"{value:g}" if isinstance(value, float) else NONE if value is None else str(value)
    return {path: text}


# What differs between seeds, and what only the machine is told.
_LEFT_OUT = ("seed", "resources")


def configuration_table(configs: Sequence[Mapping[str, Any]], names: Sequence[str]) -> TableData:
    """What was set otherwise, and nothing else."""
    flats = [
        {key: text for key, text in flat(config).items() if key.split(".")[0] not in _LEFT_OUT} for config in configs
    ]
    keys = list(dict.fromkeys(key for one in flats for key in one))
    rows: list[dict[str, Any]] = []
    for key in keys:
        values = [one.get(key, NONE) for one in flats]
        if len(set(values)) > 1:
            cells = {"field": {"t": key, "v": key}}
            cells |= {f"model-{n}": {"t": v[:120], "title": v[:600], "v": v} for n, v in enumerate(values)}
            rows.append({"id": key, "name": key, "search": key, "cells": cells})
    columns: list[dict[str, Any]] = [
        {"id": "field", "title": "Setting", "head": True},
        *({"id": f"model-{n}", "title": name} for n, name in enumerate(names)),
    ]
    return table_data(
        "configuration",
        columns,
        rows,
        name="Settings that differ",
        empty="Nothing but the model's name was set otherwise.",
        height="30rem",
    )
