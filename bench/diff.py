"""`bench diff`: what differs between two runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.console import DbOption, new_console, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from harness.results.differences import Change, Differences, ScoreChange


def diff(
    a: Annotated[int, typer.Argument(metavar="A", help="A run's number: `bench status` and the board show it.")],
    b: Annotated[int, typer.Argument(metavar="B", help="Another's.")],
    json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every score, not only the usual and those by class.")] = False,
    other: Annotated[
        str | None, typer.Option("--other", metavar="FILE|URL", help="The database of B.", show_default="that of A")
    ] = None,
    db: DbOption = None,
) -> None:
    """Say what differs between two runs: configuration, code, data, packages, hardware, scores.

    Example: bench diff 3 7
    """
    from harness.results import open_store
    from harness.results.differences import differences, read_run

    stores = [open_store(db, read_only=True), open_store(other or db, read_only=True)]
    found = differences(read_run(stores[0], a), read_run(stores[1], b))
    for store in stores:
        store.close()
    if json:
        from json import dumps

        from leaderboard.exports.plain import json_text

        print(json_text(dumps(found.record(), indent=2, ensure_ascii=False)))
        return
    _print(found, new_console(), every)


def _print(found: Differences, console: Console, every: bool) -> None:
    from harness.utils.text import plain_line

    console.print(plain_line(f"A  {found.a}"), markup=False)
    console.print(plain_line(f"B  {found.b}"), markup=False)
    console.print("One training: both have the same fingerprint.\n" if found.same_training else "")
    sections: dict[str, Sequence[Change]] = {
        "Configuration": found.configuration,
        "Code": found.code,
        "Data": found.data,
        "Packages": found.packages,
        "Hardware": found.hardware,
        "Label maps (SHA-256)": found.label_maps,
    }
    same = [name for name, changes in sections.items() if not changes]
    for name, changes in sections.items():
        if changes:
            rows = [(c.what, shown(c.a), shown(c.b)) for c in changes]
            console.print(table((name, "A", "B"), rows))
    if found.source:
        console.print("The network's file:")
        for line in found.source:
            console.print(f"  {plain_line(line, 300)}", markup=False)
        console.print()
    if same:
        console.print(f"The same: {', '.join(name.partition(' (')[0].lower() for name in same)}.\n")
    for remark in found.remarks:
        console.print(f"Note: {remark}", markup=False)
    _print_scores(found.scores, console, every)


def _print_scores(scores: Sequence[ScoreChange], console: Console, every: bool) -> None:
    from harness.metrics.metric import find_metric, is_known, metric_title, split_metric
    from leaderboard.tables.table import DEFAULT_METRICS

    usual = {*DEFAULT_METRICS, "loss"}
    for split, protocol in dict.fromkeys((s.split, s.protocol) for s in scores):
        rows = []
        for one in scores:
            base, label = split_metric(one.name)
            wanted = every or (base in usual if label is None else base == "iou")
            if (one.split, one.protocol) != (split, protocol) or not wanted:
                continue
            places = find_metric(base).digits if is_known(base) else 4
            title = metric_title(one.name) if is_known(base) else one.name
            rows.append((title, *(_number(v, places) for v in (one.a, one.b)), _number(one.difference, places, "+")))
        console.print(table((f"{split} (protocol {protocol[:8]})", "A", "B", "B - A"), rows, right=3))


def _number(value: float | None, places: int, sign: str = "") -> str:
    if value is None:
        return "–"
    # A difference too small to be seen is not none.
    tiny = sign and 0 < abs(value) < 10**-places
    return "0" if sign and value == 0 else f"{value:{sign}.1e}" if tiny else f"{value:{sign}.{places}f}"


def shown(value: Any) -> str:
    """A value of a record in a cell; a hash by its beginning."""
    from harness.utils.text import plain_line

    text = "–" if value is None else value if isinstance(value, str) else repr(value)
    return f"{text[:16]}…" if len(text) == 64 and text.isalnum() else plain_line(text, 200)
