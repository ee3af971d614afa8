"""What a board says under its table of single rows: withdrawn runs, what networks declare, a band that is too wide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from harness.config.grid import grid_text
from harness.metrics.metric import find_metric, is_known, metric_title
from harness.tasks.stated import DECLARED
from leaderboard.boards.board import Board, Row
from leaderboard.boards.estimate import estimate
from leaderboard.boards.withdrawn import withdrawn_text
from leaderboard.queries.records import Ceiling

# Boundary IoU and IoU that differ by less are the same figure in a table.
SAME = 5e-5


def board_notes(board: Board, metrics: Sequence[str]) -> list[str]:
    """The notes, a line each.

    Args:
        board: the board.
        metrics: the columns.
    """
    notes = [
        f"{row.model}, run {run.run_id} (seed {run.seed}): {withdrawn_text(run.withdrawn)}"
        for row in board.models
        for cell in row.cells
        for run in cell.runs
        if run.withdrawn is not None
    ]
    notes += dict.fromkeys(f"{row.model}: {told}" for row in board.models if (told := _declared(row)))
    notes += ceiling_notes(board)
    if any(metric == "biou" or metric.startswith("biou[") for metric in metrics):
        notes += whole_bands(board)
    return notes


def withdrawals(row: Row) -> list[dict[str, Any]]:
    """The withdrawn runs of a row's cell as plain values."""
    return [
        {
            "run": run.run_id,
            "why": run.withdrawn.why,
            "who": run.withdrawn.who,
            "at": run.withdrawn.at,
            "replaced_by": run.withdrawn.replaced_by,
        }
        for run in row.cell.runs
        if run.withdrawn is not None
    ]


def declared_facts(row: Row) -> dict[str, Any]:
    """What the network's own file or package declares of it; empty for the project's own networks."""
    facts = row.cell.first.provenance.get(DECLARED)
    return dict(facts) if isinstance(facts, dict) else {}


def _declared(row: Row) -> str:
    """What a network declares, in a line."""
    facts = declared_facts(row)
    size = facts.get("size")
    told = {
        "authors": "by {}",
        "paper": "{}",
        "license": "license {}",
        "normalize": "input normalized as its file says: {}",
        "requires": "needs {}",
    }
    said = [text.format(_listed(facts[name])) for name, text in told.items() if facts.get(name)]
    if isinstance(size, list) and len(size) == 2:
        said.insert(-1 if facts.get("requires") else len(said), f"input size as its file says: {size[0]}×{size[1]}")
    return "; ".join(said)


def _listed(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def ceiling_notes(board: Board) -> list[str]:
    """What networks would score that are perfect at their input size: one line for all rows, or one for each size."""
    told: dict[str, list[Row]] = {}
    for row in board.rows:
        if row.cell.scored:
            told.setdefault(ceiling_text(row.ceiling) if row.ceiling else "", []).append(row)
    shared = len(told) < 2
    told.pop("", None)
    if shared:
        return list(told)
    several = Counter(model for rows in told.values() for model in {row.model for row in rows})
    names = {
        text: dict.fromkeys(
            f"{row.model} {grid_text(row.cell.first.grid)}".strip() if several[row.model] > 1 else row.model
            for row in rows
        )
        for text, rows in told.items()
    }
    return [f"{', '.join(names[text])}: {text[:1].lower()}{text[1:]}" for text in told]


def ceiling_text(ceiling: Ceiling) -> str:
    """What a network would score that is perfect at its input size, in a sentence."""
    figures = [
        f"{metric_title(name)} {estimate([value]).text(find_metric(name).digits)}"
        for name, value in ceiling.scores.items()
        if is_known(name)
    ]
    whole = set(ceiling.scores.values()) == {1.0}
    return (
        f"A network that is perfect at {ceiling.input} would score "
        f"{'1: its input size costs nothing' if whole else ', '.join(figures)}."
    )


def whole_bands(board: Board) -> list[str]:
    """A note for the classes whose Boundary IoU is their IoU, because the band covers the whole structure."""
    found = [name for name in board.data.classes if _band_covers(board, name)]
    if not found:
        return []
    shown = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
    return [
        f"{metric_title('biou')} of {shown} is the IoU itself: structures are thinner than the band along their "
        "boundary, which covers all of them. It says nothing more than the IoU there."
    ]


def _band_covers(board: Board, label: str) -> bool:
    pairs = [
        (iou, biou)
        for row in board.rows
        for run in row.cell.scored
        if (iou := run.test.get(f"iou[{label}]")) is not None and (biou := run.test.get(f"biou[{label}]")) is not None
    ]
    telling = [(iou, biou) for iou, biou in pairs if SAME < iou < 1 - SAME]
    return bool(telling) and all(abs(iou - biou) < SAME for iou, biou in pairs)
