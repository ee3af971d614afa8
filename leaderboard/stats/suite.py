"""Boards of one suite side by side: which belong together, and which of their rows are one model."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from harness.config.grid import grid_text
from leaderboard.boards.board import Board, Row
from leaderboard.boards.walls import Wall, differing, heading


@dataclass(frozen=True)
class ModelRows:
    """One model on several boards."""

    name: str
    rows: Mapping[int, int]
    """Number of the board -> index of its row there; a board is missing where it has no row of it."""


@dataclass(frozen=True)
class ModelGroup:
    """Models that are ranked together on each of the boards."""

    heading: str
    """In plain words; empty where there is no other group."""
    models: tuple[ModelRows, ...]


def suites(boards: Iterable[Board]) -> list[list[Board]]:
    """The boards that may stand side by side: of one suite and protocol, alike in what the scored images decided."""
    found: dict[Any, list[Board]] = defaultdict(list)
    for board in boards:
        found[board.suite, board.protocol_name, board.smoke, board.seen_test].append(board)
    return list(found.values())


def models_of(boards: Sequence[Board]) -> list[ModelGroup]:
    """The models of boards, group by group, in the order in which the boards have them.

    Which images train is no fact that keeps groups apart where each board has one and they differ.
    """
    variants = {board.variant for board in boards}
    variants_differ = len(variants) > 1 and "" not in variants
    found: dict[tuple[Wall, str, str], dict[int, int]] = defaultdict(dict)
    for number, board in enumerate(boards):
        walls = [replace(row.wall, variant=None) if variants_differ else row.wall for row in board.rows]
        several = Counter((wall, row.model) for wall, row in zip(walls, board.rows, strict=True))
        for i, (wall, row) in enumerate(zip(walls, board.rows, strict=True)):
            # Where nothing could choose, a model has a row for each of its cells.
            grid = grid_text(row.cell.first.grid) if several[wall, row.model] > 1 else ""
            name = f"{row.model} ({grid})" if grid else row.model
            found[wall, name, _network(row)][number] = i
    keys = sorted(found, key=lambda key: key[0].order)
    facts = differing(wall for wall, _, _ in keys)
    groups = []
    for wall, own in groupby(keys, key=lambda key: key[0]):
        models, seen = [], Counter[str]()
        for key in own:
            seen[key[1]] += 1
            # Two networks under one label.
            name = key[1] if seen[key[1]] == 1 else f"{key[1]} #{seen[key[1]]}"
            models.append(ModelRows(name, found[key]))
        groups.append(ModelGroup(heading(wall, facts), tuple(models)))
    return groups


def _network(row: Row) -> str:
    """What a network is beside its label."""
    first = row.cell.first
    return json.dumps([first.model_name, first.params, first.origin], sort_keys=True, default=str)
