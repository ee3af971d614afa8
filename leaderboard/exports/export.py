"""Boards of a database as text for somewhere else: which tables, in which format, with where they come from."""

from __future__ import annotations

import datetime
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harness.errors import BenchError, UnknownName
from harness.metrics.metric import class_score_names, higher_is_better, score_names, split_metric
from harness.results import Store
from harness.utils.version import __version__
from leaderboard.boards.board import Board, boards
from leaderboard.exports.html_table import html_page
from leaderboard.exports.latex import latex_table
from leaderboard.exports.overall_table import overall_csv, overall_tables
from leaderboard.exports.paper_tables import class_table, dataset_tables, grid_tables, reported_table
from leaderboard.exports.plain import json_text
from leaderboard.exports.text import csv_plain, csv_tables, markdown_plain, markdown_tables
from leaderboard.queries.load import load_runs
from leaderboard.stats.draws import stored_draws
from leaderboard.stats.overall import Overall, collections, common_question, overall
from leaderboard.tables.figure_text import Style
from leaderboard.tables.judged import judge, judged, ranked_by
from leaderboard.tables.references import load_references
from leaderboard.tables.table import Table, ablation, metric_names, overview, records


class Kind(StrEnum):
    """Which table."""

    main = "main"
    """One row a model, ranked."""
    cells = "cells"
    """Every cell of every model."""
    classes = "classes"
    """One score class by class."""
    grid = "grid"
    """One score over the grid of hyperparameters."""
    datasets = "datasets"
    """Models × data sets."""
    overall = "overall"
    """Models over the data sets of a suite: places, mean places, gaps, and what they tell of other data sets."""
    reported = "reported"
    """What others reported beside what was reproduced."""


@dataclass(frozen=True)
class Wanted:
    """What to export."""

    format: str
    """`latex`, `csv`, `markdown`, `json` or `html`."""
    suite: str | None = None
    dataset: str | None = None
    metrics: tuple[str, ...] = ()
    kind: Kind = Kind.main
    smoke: bool = False
    style: Style = field(default_factory=Style)
    caption: str | None = None
    label: str | None = None
    siunitx: bool = False
    excel_safe: bool = False
    command: str | None = None
    """The command that asks, which the text then names, with the database and the date; None: nothing of it."""


def export(store: Store, wanted: Wanted) -> str:
    """The boards that match, as text.

    Raises:
        BenchError: nothing matches, or a metric does not exist.
    """
    found = matching(store, wanted.suite, wanted.dataset, wanted.smoke)
    if wanted.format == "json" and wanted.kind in (Kind.main, Kind.cells):
        return json_text(json.dumps([row for b in found for row in records(b)], indent=2, ensure_ascii=False)) + "\n"
    if wanted.kind is Kind.overall:
        made = _overall(store, found, wanted)
        if wanted.format == "json":
            return json_text(json.dumps([one.record() for one in made], indent=2, ensure_ascii=False)) + "\n"
        if wanted.format == "csv":
            return overall_csv(made, wanted.excel_safe)
        tables: list[tuple[Board | None, Table]] = [(None, table) for one in made for table in overall_tables(one)]
    else:
        tables = _tables(store, found, wanted)
    if not tables:
        raise BenchError(_nothing(wanted.kind), "Other tables: --table " + ", ".join(Kind))
    told = () if wanted.command is None else provenance_lines(store, found, wanted.command)
    whole = [(board, table) for board, table in tables if board is not None]
    plain = [table for _, table in tables]
    if wanted.format == "json":
        return json_text(json.dumps([_record(table) for table in plain], indent=2, ensure_ascii=False)) + "\n"
    if wanted.format == "csv":
        return (
            csv_tables(whole, wanted.excel_safe) if plain[0].counted and whole else csv_plain(plain, wanted.excel_safe)
        )
    if wanted.format == "html":
        return html_page(plain, wanted.style, told)
    if wanted.format == "markdown":
        if wanted.kind is Kind.main:
            return markdown_tables(whole, wanted.style, told, store)
        return markdown_plain(plain, wanted.style, told)
    return _latex(tables, wanted, told)


def matching(store: Store, suite: str | None, dataset: str | None, smoke: bool) -> list[Board]:
    """The boards of a database that match.

    Raises:
        BenchError: none does; says why.
    """
    found = [b for b in boards(load_runs(store, suite)) if (smoke or not b.smoke) and dataset in (None, b.data.name)]
    if found:
        return found
    suites = {r.suite for r in load_runs(store)}
    if suite is not None and suite not in suites:
        raise UnknownName.of("suite in this database", suite, suites, "bench status")
    hint = None if smoke else "Smoke runs are left out; --smoke includes them."
    raise BenchError(f"Nothing to export{f' for {dataset}' if dataset else ''}: no run matches.", hint)


def _tables(store: Store, found: Sequence[Board], wanted: Wanted) -> list[tuple[Board | None, Table]]:
    metrics = list(wanted.metrics) or None
    for board in found:
        check_metrics(board, wanted.metrics if wanted.kind is not Kind.classes else ())
    if wanted.kind is Kind.datasets:
        return [(None, table) for table in dataset_tables(found, metrics)]
    made: list[tuple[Board | None, Table]] = []
    for board in found:
        if wanted.kind is Kind.main:
            table, intervals = overview(board, metrics), wanted.style.spread == "interval"
            # Formats without bold have no use for what is bold.
            marked = wanted.format in ("latex", "markdown", "html")
            if marked or intervals:
                table = judged(table, board, {m: judge(board, m, store) for m in table.metrics}, intervals)
            made.append((board, table))
        elif wanted.kind is Kind.cells:
            made.append((board, ablation(board, metrics)))
        elif wanted.kind is Kind.classes:
            made += [(board, class_table(board, metric)) for metric in _class_metrics(metrics)]
        elif wanted.kind is Kind.grid:
            made += [(board, table) for m in metrics or [board.metric] for table in grid_tables(board, m)]
        elif (beside := reported_table(board, load_references())) is not None:
            made.append((board, beside))
    return made


def _overall(store: Store, found: Sequence[Board], wanted: Wanted) -> list[Overall]:
    """The suites over their data sets."""
    if len(wanted.metrics) > 1:
        raise BenchError("--table overall ranks by one metric.", "Name one with --metrics, or none.")
    for board in found:
        check_metrics(board, wanted.metrics)
    if wanted.metrics:
        found = [ranked_by(board, wanted.metrics[0]) for board in found]
    made = [overall(own, common_question(own), lambda board: stored_draws(store, board)) for own in collections(found)]
    if not any(one.groups for one in made):
        raise BenchError(_nothing(Kind.overall), "Other tables: --table " + ", ".join(Kind))
    return made


def check_metrics(board: Board, metrics: Sequence[str]) -> None:
    """Refuse metrics that a board does not have.

    Raises:
        UnknownName: suggests the nearest.
    """
    for metric in metrics:
        if metric not in metric_names(board.data):
            names = score_names(board.data.foreground)
            near = UnknownName.of("metric", metric, metric_names(board.data), "bench metrics")
            raise UnknownName(near.message, f"Metrics: {', '.join(names)}; of one class: iou[NAME] and the like.")


def _class_metrics(metrics: Sequence[str] | None) -> Sequence[str]:
    names = class_score_names()
    for metric in metrics or ():
        if metric not in names:
            raise UnknownName.of("score of single classes", metric, names, "bench metrics")
    return metrics or ["iou"]


def _nothing(kind: Kind) -> str:
    return {
        Kind.grid: "No model here has more than one point of a grid: there is no table of a grid.",
        Kind.overall: "No suite here has two data sets on which two models have a figure.",
        Kind.reported: "Nothing was reported for these suites: there is no table of it.",
    }.get(kind, "There is nothing to export.")


def _latex(tables: Sequence[tuple[Board | None, Table]], wanted: Wanted, told: Sequence[str]) -> str:
    parts, names = [], [_label(table) for _, table in tables]
    for number, (_, table) in enumerate(tables):
        given = wanted.label if len(tables) == 1 else wanted.label and f"{wanted.label}-{number + 1}"
        # What stays of a name in a label may be the same for two.
        own = names[number] if names.count(names[number]) == 1 else f"{names[number]}-{number + 1}"
        parts.append(latex_table(table, wanted.caption, given or own, wanted.style, wanted.siunitx, told))
    return "\n".join(parts)


def _label(table: Table) -> str:
    return "tab:" + re.sub(r"[^A-Za-z0-9:-]+", "-", table.key)


def _record(table: Table) -> dict[str, object]:
    """A table of another kind as plain values, a record for each figure."""
    return {
        "table": table.title,
        "notes": list(table.notes),
        "rows": [
            {
                "group": text,
                **dict(zip(table.lead, table.rows[i], strict=True)),
                "figures": [
                    {
                        "column": column,
                        "metric": metric,
                        "higher_is_better": higher_is_better(split_metric(metric)[0]),
                        "mean": figure.mean,
                        "std": figure.std,
                        "n": figure.n,
                    }
                    for column, metric, figure in zip(
                        table.figure_columns, table.metrics, table.figures[i], strict=True
                    )
                ],
            }
            for text, part in table.groups
            for i in part
        ],
    }


def provenance_lines(store: Store, found: Sequence[Board], command: str) -> list[str]:
    """Where the figures come from, a line each: command, date, version; database; protocols."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    protocols = dict.fromkeys(f"protocol {b.protocol_name} {b.protocol_hash}" for b in found)
    copies = dict.fromkeys(f"data set {b.data.name}, scored images {b.data.test_manifest}" for b in found)
    return [f"segbench {__version__}, {today}: {command}", database_line(store), *protocols, *copies]


def database_line(store: Store) -> str:
    """The database's name and what its bytes are, as far as it is a file."""
    if store.path is None:
        return f"database {store.name}"
    with store.path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    log = store.path.with_name(f"{store.path.name}-wal")
    more = ", and changes in its log" if log.exists() and log.stat().st_size else ""
    return f"database {store.path.name}, SHA-256 {digest}{more}"
