"""How a board was computed, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from harness.metrics.metric import find_metric, metric_title
from leaderboard.boards.board import Board
from leaderboard.shown.text import amount
from leaderboard.stats.significance import BoardSignificance


def method(board: Board, significance: BoardSignificance, protocol: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was computed of what, by which conventions: (what, in words), line by line.

    Args:
        board: the board.
        significance: what its statistics say.
        protocol: as the database keeps it.
    """
    metric = find_metric(board.metric)
    selection = board.selection
    n = max((run.n_images for row in board.rows for run in row.cell.scored), default=0)
    how = (
        "the last epoch"
        if selection["rule"] == "last"
        else f"the epoch with the best {selection['metric']} on {selection['split']}"
    )
    lines = [
        (metric_title(board.metric), metric.definition),
        ("Scored images", f"{n:,} of {board.data.title}. {resolution(protocol)}"),
        ("Figure of a row", "The mean over the seeds that ended; where one failed, the worst limits its place."),
        ("Checkpoint", f"Of each training: {how}."),
        ("Hyperparameters", _chosen(board)),
        ("Intervals", _intervals(significance)),
        *((("Smallest difference", smallest),) if (smallest := resolvable(significance)) else ()),
        ("Protocol", f"{board.protocol_name} ({board.protocol_hash[:12]}). {' '.join(conventions(protocol))}"),
    ]  # fmt: skip
    return [*lines, *(("Remark", text) for text in significance.remarks)]


def _chosen(board: Board) -> str:
    if board.chosen_by is None:
        return "There is no val to choose by: every cell of a model has a row."
    return f"Of each model the cell with the best mean of {board.selection['metric']} over seeds on {board.chosen_by}."


def _intervals(significance: BoardSignificance) -> str:
    percent = f"{100 * significance.level:.0f} %"
    drawn = f" From {significance.sample}." if significance.sample else ""
    return (
        f"{significance.asks}{drawn} The interval of a figure holds for its row alone at {percent}; ranks and gaps "
        f"hold for all rows of a group together at {percent}."
    )


def resolvable(significance: BoardSignificance) -> str:
    """The smallest difference that can be told, in words; empty where it is not known."""
    if significance.resolvable is None:
        return ""
    return f"A typical pair of rows is told apart from {amount(significance.metric, significance.resolvable)} on."


def to_know(significance: BoardSignificance) -> list[str]:
    """What to know of the intervals beside the verdict: lines for the head of the page."""
    known = significance.remarks if any(row.interval for row in significance.rows) else ()
    return [*filter(None, [resolvable(significance)]), *known]


def resolution(protocol: Mapping[str, Any]) -> str:
    """At which size the images were scored."""
    size = protocol.get("size")
    return "Each at its own resolution." if not size else f"Brought to {size[0]} × {size[1]} before scoring."


def conventions(protocol: Mapping[str, Any]) -> list[str]:
    """The conventions of a protocol as sentences: those that a reader of another table would ask for."""
    said = [
        {
            "dataset": "Pixels are counted over all images together.",
            "image": "Each image is scored, then the mean over images is taken.",
        }.get(str(protocol.get("level")), ""),
        {
            "nan": "A class that is nowhere is left out of means.",
            "zero": "A class that is nowhere counts 0.",
            "one": "A class that is nowhere counts 1.",
        }.get(str(protocol.get("absent")), ""),
        "A class counts only where the truth holds it." if protocol.get("mean_over") == "target" else "",
        {
            "fill": "Pixels without a true label are not scored; for boundaries they take the nearest label.",
            "mask": "Pixels without a true label are not scored, and have no boundary.",
        }.get(str(protocol.get("void")), ""),
    ]
    if protocol.get("background") is not None and not protocol.get("background_in_boundary_means"):
        said.append("The background is no part of the means of distances and boundary scores.")
    if protocol.get("smoke"):
        said.append("Smoke runs: only a few steps of training.")
    if protocol.get("images"):
        said.append(f"Only {protocol['images']} images of each split.")
    return [text for text in said if text]
