"""Figures as Plotly draws them, for the pages and for the static site. Pure functions; every text is inert."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; yellow, too pale for lines, is left
# out. Okabe, Ito: Color Universal Design, 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F", "#8C510A")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon", "hexagon")
DASHES = ("solid", "dash", "dot", "dashdot")
# From low to high, readable in grey and by everybody; and one with a middle, for differences.
SEQUENTIAL, DIVERGING = "Cividis", "PuOr"
MARGIN = {"l": 10, "r": 10, "t": 30, "b": 10}


def label(text: str, most: int = 60) -> str:
    """Text that Plotly shows as it is: it would make links and markup of tags."""
    flat = " ".join(str(text).split())
    return escape(flat if len(flat) <= most else flat[: most - 1] + "…").replace("$", "&#36;")


def colour(i: int) -> str:
    """The colour of the i-th thing."""
    return COLOURS[i % len(COLOURS)]


def _faint(i: int) -> str:
    """The same, see-through."""
    red, green, blue = (int(colour(i)[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.18)"


@dataclass(frozen=True)
class Series:
    """A learning curve: the mean over seeds, and between what they lie."""

    name: str
    epochs: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    seeds: int
    dash: int = 0


def curves(series: Sequence[Series], points: Sequence[tuple[str, int, float]], y_title: str) -> go.Figure:
    """Learning curves: a line for each, a band between the smallest and largest seed.

    Args:
        series: the curves.
        points: reported figures as (label, epoch, value).
        y_title: the axis.
    """
    figure = go.Figure()
    for i, one in enumerate(series):
        if one.seeds > 1:
            figure.add_scatter(
                x=[*one.epochs, *reversed(one.epochs)],
                y=[*one.high, *reversed(one.low)],
                fill="toself",
                fillcolor=_faint(i),
                line={"width": 0},
                hoverinfo="skip",
                showlegend=False,
                legendgroup=str(i),
            )
        figure.add_scatter(
            x=one.epochs,
            y=one.mean,
            name=label(one.name),
            mode="lines+markers" if len(one.epochs) < 40 else "lines",
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 6},
            line={"color": colour(i), "dash": DASHES[one.dash % len(DASHES)], "width": 2},
            legendgroup=str(i),
            hovertemplate="epoch %{x}: %{y:.4g}<extra></extra>",
        )
    for name in dict.fromkeys(point[0] for point in points):
        own = [point for point in points if point[0] == name]
        figure.add_scatter(
            x=[p[1] for p in own],
            y=[p[2] for p in own],
            name=label(name),
            mode="markers",
            marker={"symbol": "star", "size": 13, "line": {"width": 1}},
        )
    figure.update_layout(
        height=380,
        margin=MARGIN,
        xaxis_title="epoch",
        yaxis_title=label(y_title),
        legend={"orientation": "h", "y": -0.2, "title": None},
        hovermode="closest",
    )
    return figure


@dataclass(frozen=True)
class Priced:
    """A row of a board with what it costs."""

    name: str
    group: str
    cost: float
    figure: float
    low: float | None = None
    high: float | None = None
    note: str = ""


def front(points: Sequence[Priced], higher: bool, dear: bool = False) -> list[Priced]:
    """The Pareto front: what no other is both cheaper and better than, from cheap to dear.

    Args:
        points: with costs.
        higher: whether a larger figure is the better one.
        dear: whether more of the "cost" is better: images a second.
    """
    sign, way = -1.0 if higher else 1.0, -1.0 if dear else 1.0
    best, found = float("inf"), []
    for point in sorted(points, key=lambda p: (way * p.cost, sign * p.figure)):
        if sign * point.figure < best:
            best = sign * point.figure
            found.append(point)
    return found


def trade_off(points: Sequence[Priced], higher: bool, x_title: str, y_title: str, dear: bool = False) -> go.Figure:
    """Scores against costs, a colour and a sign for each group, with its Pareto front as a line."""
    figure = go.Figure()
    groups = list(dict.fromkeys(point.group for point in points))
    few = len(points) <= 25
    costs = [p.cost for p in points] or [0.0]
    low, high = min(costs), max(costs)
    far, middle = low if dear else high, (low + high) / 2
    for i, group in enumerate(groups):
        own = [p for p in points if p.group == group]
        line = front(own, higher, dear)
        on = {id(point) for point in line}
        # Each group has a front of its own: more than the network differs between groups.
        figure.add_scatter(
            x=[*(p.cost for p in line), far],
            y=[*(p.figure for p in line), line[-1].figure],
            mode="lines",
            line={"shape": "hv", "dash": "dot", "width": 1.5, "color": colour(i)},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=[p.cost for p in own],
            y=[p.figure for p in own],
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [max(0.0, (p.high if p.high is not None else p.figure) - p.figure) for p in own],
                "arrayminus": [max(0.0, p.figure - (p.low if p.low is not None else p.figure)) for p in own],
                "thickness": 1,
                "width": 3,
            },
            mode="markers+text",
            # With many models, only those of the front are named.
            text=[label(p.name, 28) if few or id(p) in on else "" for p in own],
            # On the right half of the picture a name stands left of its point, where there is room for it.
            textposition=[f"{'top' if i % 2 == 0 else 'bottom'} {'left' if p.cost > middle else 'right'}" for p in own],
            name=label(group) or "models",
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 10, "color": colour(i)},
            customdata=[[label(p.name), label(p.note)] for p in own],
            hovertemplate="%{customdata[0]}<br>%{y:.2f} at %{x:,.4g}<br>%{customdata[1]}<extra></extra>",
            cliponaxis=False,
        )
    figure.update_layout(
        height=470,
        margin={**MARGIN, "r": 40},
        xaxis={"title": label(x_title), "type": "log" if _wide(points) else "linear"},
        yaxis_title=label(y_title),
        legend={"orientation": "h", "y": -0.18, "title": None},
        showlegend=len(groups) > 1,
    )
    return figure


def _wide(points: Sequence[Priced]) -> bool:
    """Whether costs differ so much that a logarithmic axis reads better."""
    costs = [p.cost for p in points if p.cost > 0]
    return bool(costs) and len(costs) == len(points) and max(costs) / min(costs) > 8


def grid(
    values: Sequence[Sequence[float | None]],
    across: Sequence[str],
    down: Sequence[str],
    texts: Sequence[Sequence[str]],
    titles: tuple[str, str],
    middle: float | None = None,
) -> go.Figure:
    """A heat map with its figures written into the cells.

    Args:
        values: line by line; None where there is nothing.
        across: the headings of the columns.
        down: the headings of the lines.
        texts: what is written into each cell.
        titles: of the axis across and of the one down.
        middle: for differences: the value that is neither; None for a plain scale.
    """
    figure = go.Figure(
        go.Heatmap(
            z=[[np.nan if v is None else v for v in row] for row in values],
            x=[label(text, 24) for text in across],
            y=[label(text, 24) for text in down],
            text=[[label(text) for text in row] for row in texts],
            texttemplate="%{text}" if len(across) * max(1, len(down)) <= 450 else "",
            hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
            colorscale=SEQUENTIAL if middle is None else DIVERGING,
            zmid=middle,
            showscale=False,
            xgap=1,
            ygap=1,
        )
    )
    figure.update_layout(
        height=min(1100, 110 + 34 * max(1, len(down))),
        margin={**MARGIN, "t": 40},
        xaxis={"title": label(titles[0]), "type": "category", "side": "top"},
        yaxis={"title": label(titles[1]), "type": "category", "autorange": "reversed"},
    )
    return figure


def class_bars(
    classes: Sequence[str], rows: Mapping[str, Sequence[float | None]], x_title: str, most: int = 4
) -> go.Figure:
    """One score of each class, a sign for each model, classes from the top; a line joins the models of a class."""
    figure = go.Figure()
    names = list(rows)[:most]
    places = list(range(len(classes)))
    for at in places:
        own = [v for name in names if (v := rows[name][at]) is not None]
        if len(own) > 1:
            figure.add_scatter(
                x=[min(own), max(own)],
                y=[at, at],
                mode="lines",
                line={"color": "#9a9a9a", "width": 2},
                hoverinfo="skip",
                showlegend=False,
            )
    for i, name in enumerate(names):
        figure.add_scatter(
            x=[rows[name][at] for at in places],
            y=places,
            mode="markers",
            name=label(name),
            marker={"symbol": SYMBOLS[i % len(SYMBOLS)], "size": 11, "color": colour(i)},
            customdata=[label(c) for c in classes],
            hovertemplate="%{customdata}: %{x:.2f}<extra></extra>",
        )
    figure.update_layout(
        height=min(1400, 120 + 26 * len(classes)),
        margin=MARGIN,
        xaxis_title=label(x_title),
        yaxis={
            "tickvals": places,
            "ticktext": [label(c, 24) for c in classes],
            "autorange": "reversed",
            "zeroline": False,
        },
        legend={"orientation": "h", "y": 1.08 if len(classes) > 8 else 1.25, "title": None},
    )
    return figure


def images(
    first: Sequence[float],
    second: Sequence[float],
    ids: Sequence[str],
    names: tuple[str, str],
    metric: str,
    current: str | None,
) -> go.Figure:
    """The scores of two models image by image: above the line the second is the better one.

    Args:
        first: a score of each image, in percent or pixels.
        second: the same of the other model.
        ids: the images; a click gives the place in this list as `customdata`.
        names: the two models.
        metric: what the score is called.
        current: the image that is open.
    """
    low = float(min(*first, *second)) if len(first) else 0.0
    high = float(max(*first, *second)) if len(first) else 1.0
    pad = 0.04 * (high - low or 1)
    figure = go.Figure()
    figure.add_scatter(
        x=[low, high],
        y=[low, high],
        mode="lines",
        line={"dash": "dot", "color": "#8c8c8c", "width": 1.5},
        hoverinfo="skip",
        showlegend=False,
    )
    figure.add_scatter(
        x=list(first),
        y=list(second),
        mode="markers",
        customdata=list(range(len(ids))),
        text=[label(one) for one in ids],
        marker={"size": 7 if len(ids) < 400 else 5, "color": colour(0), "opacity": 0.75},
        # What is chosen stays as it is, and so does the rest: the open image has a mark of its own.
        selected={"marker": {"opacity": 0.75}},
        unselected={"marker": {"opacity": 0.75}},
        hovertemplate="%{text}<br>%{x:.1f} / %{y:.1f}<extra></extra>",
        showlegend=False,
    )
    if current in ids:
        at = list(ids).index(current or "")
        figure.add_scatter(
            x=[first[at]],
            y=[second[at]],
            mode="markers",
            marker={"size": 15, "color": "rgba(0,0,0,0)", "line": {"width": 3, "color": colour(1)}},
            hoverinfo="skip",
            showlegend=False,
        )
    figure.update_layout(
        height=330,
        margin=MARGIN,
        xaxis={"title": f"{label(names[0], 34)}: {label(metric)}", "range": [low - pad, high + pad]},
        yaxis={"title": f"{label(names[1], 34)}: {label(metric)}", "range": [low - pad, high + pad]},
        dragmode=False,
    )
    return figure


def confusion_shares(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each row of a confusion matrix as shares of its true pixels; 0 where a class has none."""
    total = matrix.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(matrix, total, out=np.zeros_like(matrix), where=total > 0))


def as_json(figure: go.Figure) -> dict[str, Any]:
    """A figure as plain values, for a page without Python."""
    made: dict[str, Any] = figure.to_plotly_json()
    return made
