"""A suite over its data sets as a table of a paper: models × data sets with places, mean places and gaps."""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics.metric import metric_title
from leaderboard.boards.estimate import Estimate, Interval
from leaderboard.exports.text import csv_text, texts
from leaderboard.stats.overall import Overall, OverallGroup, OverallRow, place_text, places_text
from leaderboard.tables.table import Table


def overall_tables(found: Overall) -> list[Table]:
    """A table for each group of models that are ranked together."""
    return [_table(found, number, group) for number, group in enumerate(found.groups)]


def overall_csv(made: Sequence[Overall], safe: bool = False) -> str:
    """Suites over their data sets as one CSV, at full precision: a line for each model on each data set.

    Args:
        made: the suites.
        safe: keep spreadsheets from computing what begins as a formula.
    """
    text = texts(safe)
    lines: list[list[object]] = [
        ["suite", "protocol", "group", "model", "place", "mean_place", "mean_place low", "mean_place high", "gap",
         "gap low", "gap high", "new low", "new high", "dataset", "metric", "figure", "place there", "places low",
         "places high", "why last"]
    ]  # fmt: skip
    for one in made:
        for group in one.groups:
            for row in group.rows:
                of_row = [row.place, row.mean_place, *_ends(row.mean_places), row.gap, *_ends(row.gap_interval)]
                for data, on in zip(group.data_sets, row.on, strict=True):
                    there = ["" if on.figure is None else on.figure, on.place, *(on.places or ("", ""))]
                    lines.append(
                        [*map(text, (one.suite, one.protocol, group.heading, row.name)), *of_row,
                         *_ends(row.new_places), *map(text, (data.title, data.metric)), *there, text(on.why_last)]
                    )  # fmt: skip
    return csv_text(lines)


def _ends(interval: Interval | None) -> list[object]:
    return ["", ""] if interval is None else [interval.low, interval.high]


def _table(found: Overall, number: int, group: OverallGroup) -> Table:
    new = () if group.new_level is None else ("on another",)
    columns = [f"{one.title}: {metric_title(one.metric)}" for one in group.data_sets]
    metrics = tuple(one.metric for one in group.data_sets)
    last = [
        f"{row.name} on {data.title}: {on.why_last}; the last place"
        for row in group.rows
        for data, on in zip(group.data_sets, row.on, strict=True)
        if on.figure is None
    ]
    percent = f"{100 * found.level:g} %"
    about = (
        f"In brackets behind mean places and gaps, and behind figures as places: {percent} intervals, for all models "
        f"and data sets together. {found.asks} Gap: mean figure minus that of the best other model, in standard "
        "deviations between models."
    )
    named = f" · {group.heading}" if group.heading else ""
    return Table(
        title=f"Overall · suite {found.suite} · protocol {found.protocol}{named}",
        columns=("#", "model", "mean place", "gap", *new, *columns),
        metrics=metrics,
        rows=tuple(_lead(row) for row in group.rows),
        groups=(("", range(len(group.rows))),),
        figures=tuple(
            tuple(Estimate(on.figure, None, int(on.figure is not None)) for on in row.on) for row in group.rows
        ),
        runs=(),
        seeds=(),
        notes=(group.verdict, about, *last, group.other, group.stability, *_orders(group), *found.remarks),
        marks=tuple(tuple(f" ({places_text(on)})" for on in row.on) for row in group.rows),
        counted=False,
        key=f"{found.suite}-overall-{number + 1}",
    )


def _lead(row: OverallRow) -> tuple[str, ...]:
    mean, gap, new = row.mean_places, row.gap_interval, row.new_places
    ends = "" if gap is None else f" [{gap.low:+.2f}, {gap.high:+.2f}]"
    return (
        str(row.place),
        row.name,
        f"{place_text(row.mean_place)} [{place_text(mean.low)}, {place_text(mean.high)}]",
        f"{row.gap:+.2f}{ends}",
        *(() if new is None else (f"{place_text(new.low)}–{place_text(new.high)}",)),
    )


def _orders(group: OverallGroup) -> list[str]:
    """The order without each of the data sets."""
    return [f"Without {one.title}: {', '.join(one.order)}" for one in group.left_out]
