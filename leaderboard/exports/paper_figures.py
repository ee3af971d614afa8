"""Plots of a board, ready for a paper: scores, trade-offs, grids of hyperparameters, learning curves."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.metrics.metric import find_metric, higher_is_better, metric_title, split_metric
from leaderboard.boards.board import Board, Row
from leaderboard.exports.drawing import Texts, colour, marker, new_figure
from leaderboard.exports.paper_tables import grid_tables
from leaderboard.tables.figure_text import arrow
from leaderboard.tables.table import Table, mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Run, name, epoch, value.
CurvePoint = tuple[int, str, int, float | None]
# Models that a plot of curves names.
CURVES = 8


def axis_title(metric: str) -> str:
    """`mIoU ↑`, `HD (px) ↓`."""
    unit = find_metric(metric).unit
    return f"{metric_title(metric)}{f' ({unit})' if unit else ''} {arrow(split_metric(metric)[0])}"


def scores_figure(
    board: Board, metric: str, texts: Texts, width: float, intervals: dict[str, tuple[float, float]] | None = None
) -> Figure | None:
    """Every row of a board with its mean, its seeds, and its interval or deviation; groups that are ranked apart too.

    Args:
        board: the board.
        metric: what is shown.
        texts: makes names fit.
        width: in centimetres.
        intervals: of rows by their cell's fingerprint; None: the standard deviation over seeds.

    Returns:
        None where no row has a figure.
    """
    rows = [
        (group.heading, row) for group in board.groups for row in group.rows if row.cell.test(metric).mean is not None
    ]
    if not rows:
        return None
    headings = list(dict.fromkeys(heading for heading, _ in rows))
    lines = len(rows) + (len(headings) if len(headings) > 1 else 0)
    figure = new_figure(width, 1.6 + 0.48 * lines)
    axes = figure.subplots()
    ticks: list[tuple[float, str]] = []
    at = 0.0
    for number, heading in enumerate(headings):
        if len(headings) > 1:
            axes.text(
                0.0, at, f" {texts(heading, 90)}", transform=axes.get_yaxis_transform(), style="italic", va="center"
            )
            at += 1
        for _, row in (pair for pair in rows if pair[0] == heading):
            _score(axes, row, metric, at, number, intervals)
            ticks.append((at, texts(row.model + mark(row), 40)))
            at += 1
    axes.set_yticks([y for y, _ in ticks], [name for _, name in ticks])
    axes.set_ylim(at - 0.4, -0.6)
    behind = "interval" if intervals is not None else "standard deviation over seeds"
    axes.set_xlabel(texts(f"{axis_title(metric)}   (mean and {behind}; ticks: seeds)", 90))
    axes.grid(axis="x", linewidth=0.3, color="#cccccc")
    axes.set_axisbelow(True)
    return figure


def _score(
    axes: Any, row: Row, metric: str, y: float, group: int, intervals: dict[str, tuple[float, float]] | None
) -> None:
    figure = row.cell.test(metric)
    values = [v for run in row.cell.scored if (v := run.test.get(metric)) is not None]
    if len(values) > 1:
        axes.plot(values, [y] * len(values), "|", color=colour(group), markersize=6, alpha=0.6)
    ends = (intervals or {}).get(row.cell.first.cell)
    if ends is None and intervals is None and figure.std is not None and figure.mean is not None:
        ends = (figure.mean - figure.std, figure.mean + figure.std)
    if ends is not None:
        axes.plot(ends, (y, y), "-", color=colour(group), solid_capstyle="butt")
    axes.plot([figure.mean], [y], marker(group), color=colour(group), markersize=4.5)


def trade_off_figure(board: Board, metric: str, texts: Texts, width: float) -> Figure | None:
    """Scores against the number of parameters; a step line joins what nothing smaller is better than, group by group.

    Returns:
        None where fewer than two rows have both.
    """
    points: dict[str, list[tuple[float, float, str]]] = defaultdict(list)
    for group in board.groups:
        for row in group.rows:
            mean, size = row.cell.test(metric).mean, row.cell.first.parameters
            if mean is not None and size:
                points[group.heading].append((float(size), mean, row.model + mark(row)))
    if sum(map(len, points.values())) < 2:
        return None
    from matplotlib.ticker import EngFormatter, NullFormatter

    figure = new_figure(width, 0.62 * width)
    axes = figure.subplots()
    for number, (heading, own) in enumerate(points.items()):
        front = _front(own, higher_is_better(split_metric(metric)[0]))
        axes.step(*zip(*((x, y) for x, y, _ in front), strict=True), where="post", color=colour(number), linestyle=":")
        axes.plot(
            [x for x, _, _ in own], [y for _, y, _ in own], marker(number), color=colour(number),
            label=texts(heading, 70) or None,
        )  # fmt: skip
        for x, y, name in own:
            axes.annotate(texts(name, 30), (x, y), (3, 3), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(0.12)
    axes.set_xlabel("parameters")
    axes.set_ylabel(texts(axis_title(metric)))
    if len(points) > 1:
        figure.legend(loc="outside lower center", ncols=1)
    return figure


def _front(points: Sequence[tuple[float, float, str]], higher: bool) -> list[tuple[float, float, str]]:
    """What nothing smaller is better than, from small to large."""
    sign, best, found = (1 if higher else -1), float("-inf"), []
    for point in sorted(points, key=lambda p: (p[0], -sign * p[1])):
        if sign * point[1] > best:
            best = sign * point[1]
            found.append(point)
    return found


def heat_figures(board: Board, metric: str, texts: Texts, width: float) -> list[tuple[str, Figure]]:
    """The grids of hyperparameters as maps of colours with their figures, one below the other for each model.

    Returns:
        A name for each table of grids, and its figure.
    """
    tables = grid_tables(board, metric)
    return [
        (f"grid-{i + 1}" if len(tables) > 1 else "grid", _heat(t, metric, texts, width)) for i, t in enumerate(tables)
    ]


def _heat(table: Table, metric: str, texts: Texts, width: float) -> Figure:
    import matplotlib as mpl
    import numpy as np

    lines = len(table.rows)
    figure = new_figure(width, 1.8 + 0.55 * lines + 0.8 * len(table.groups))
    places = [len(part) for _, part in table.groups]
    plots = np.atleast_1d(figure.subplots(len(table.groups), 1, sharex=True, height_ratios=places))
    values = np.array([[np.nan if f.mean is None else f.mean for f in row] for row in table.figures])
    known = values[np.isfinite(values)]
    scale = mpl.colors.Normalize(known.min(), known.max()) if known.size else mpl.colors.Normalize(0, 1)
    colours = mpl.colormaps["cividis"]
    colours = colours if higher_is_better(split_metric(metric)[0]) else colours.reversed()
    image = None
    for axes, (name, part) in zip(plots, table.groups, strict=True):
        image = axes.imshow(values[part.start : part.stop], cmap=colours, norm=scale, aspect="auto")
        axes.set_title(texts(name), loc="left")
        axes.set_yticks(range(len(part)), [texts(table.rows[i][0], 20) for i in part])
        axes.set_xticks(range(values.shape[1]), [texts(c, 30) for c in table.figure_columns])
        axes.set_ylabel(texts(table.columns[0], 30))
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        for i in part:
            for j in range(values.shape[1]):
                _number(axes, table, values, i, j, part.start, colours(scale(values[i, j])), metric)
    if image is not None:
        figure.colorbar(image, ax=list(plots), label=texts(axis_title(metric)), shrink=0.9)
    return figure


def _number(axes: Any, table: Table, values: Any, i: int, j: int, start: int, behind: Any, metric: str) -> None:
    """A figure on its colour, with a star where val chose it."""
    if values[i, j] != values[i, j]:
        axes.text(j, i - start, "–", ha="center", va="center")
        return
    red, green, blue = behind[:3]
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 0.5
    text = f"{values[i, j]:.{find_metric(metric).digits}f}{table.mark(i, j)}"
    axes.text(j, i - start, text, ha="center", va="center", color="white" if dark else "black", fontsize=7)


def curves_figure(board: Board, points: Sequence[CurvePoint], name: str, texts: Texts, width: float) -> Figure | None:
    """A learning curve of each of the first models: the mean over seeds, and between what they lie.

    Args:
        board: the board.
        points: the learning curves of its runs.
        name: which: `val_miou`, `train_loss`.
        texts: makes names fit.
        width: in centimetres.

    Returns:
        None where no run has it.
    """
    of_run: dict[int, dict[int, float]] = defaultdict(dict)
    for run, curve, epoch, value in points:
        if curve == name and value is not None:
            of_run[run][epoch] = value
    rows = [row for row in board.rows if any(run.run_id in of_run for run in row.cell.scored)][:CURVES]
    if not rows:
        return None
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(width, 0.62 * width)
    axes = figure.subplots()
    for number, row in enumerate(rows):
        seeds = [of_run[run.run_id] for run in row.cell.scored if run.run_id in of_run]
        epochs = sorted({epoch for seed in seeds for epoch in seed})
        at = [[seed[epoch] for seed in seeds if epoch in seed] for epoch in epochs]
        if len(seeds) > 1:
            ends = [min(v) for v in at], [max(v) for v in at]
            axes.fill_between(epochs, *ends, color=colour(number), alpha=0.18, linewidth=0)
        style: dict[str, Any] = {"marker": marker(number), "markersize": 3, "markevery": max(1, len(epochs) // 10)}
        label = texts(row.model + mark(row), 40)
        axes.plot(epochs, [statistics.fmean(v) for v in at], color=colour(number), label=label, **style)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(texts(_curve_title(name)))
    axes.grid(linewidth=0.3, color="#cccccc")
    figure.legend(loc="outside lower center", ncols=min(3, len(rows)))
    return figure


def _curve_title(name: str) -> str:
    part, _, metric = name.partition("_")
    if name.endswith("_loss"):
        return f"loss on {part}"
    return axis_title(metric).replace(metric_title(metric), f"{metric_title(metric)} on {part}", 1)
