"""`bench export figures`: label maps side by side and plots, as PDF, PNG and SVG."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import DataOption, DbOption

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from harness.results import Store
    from leaderboard.boards.board import Board
    from leaderboard.exports.drawing import Texts

KINDS = ("qualitative", "scores", "trade-off", "grid", "curves")


def figures(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A folder; it is made.")],
    suite: Annotated[str | None, typer.Option("--suite", "-s", help="Only this suite.")] = None,
    dataset: Annotated[str | None, typer.Option("--dataset", help="Only this data set.")] = None,
    only: Annotated[
        str | None, typer.Option("--only", metavar="A,B", help=f"Of: {', '.join(KINDS)}.", show_default="all")
    ] = None,
    formats: Annotated[str, typer.Option("--formats", metavar="A,B", help="Of: pdf, png, svg.")] = "pdf,png,svg",
    metric: Annotated[
        str | None, typer.Option("--metric", help="What is plotted.", show_default="what the board is ranked by")
    ] = None,
    models: Annotated[
        str | None,
        typer.Option("--models", metavar="A,B", help="Rows to show label maps of.", show_default="the first 4"),
    ] = None,
    images: Annotated[
        str | None,
        typer.Option("--images", metavar="A,B", help="Test images to show.", show_default="4 of the gallery"),
    ] = None,
    full_size: Annotated[
        bool, typer.Option("--full-size", help="The data set's own images and the label maps as they were scored.")
    ] = False,
    width: Annotated[float, typer.Option("--width", metavar="CM", min=4.0, max=60.0, help="Of each figure.")] = 17.0,
    smoke: Annotated[bool, typer.Option("--smoke", help="Include smoke runs.")] = False,
    data_dir: DataOption = None,
    db: DbOption = None,
) -> None:
    """Write figures for a paper: label maps side by side, scores, trade-offs, grids, learning curves.

    Example: bench export figures --suite demo --out figures
    """
    import re
    import shlex

    from harness.errors import BenchError
    from harness.results import open_store
    from leaderboard.exports.drawing import FORMATS, Texts, drawing, save
    from leaderboard.exports.export import check_metrics, matching, provenance_lines

    kinds, wanted = _known(only, KINDS, "--only"), _known(formats, FORMATS, "--formats")
    store = open_store(db, read_only=True)
    written: list[Path] = []
    try:
        boards = matching(store, suite, dataset, smoke)
        texts = Texts()
        with drawing():
            _make(out)
            for board in boards:
                check_metrics(board, [metric] if metric else [])
                told = provenance_lines(store, [board], shlex.join(["bench", *sys.argv[1:]]))
                chosen = (_names(models), _names(images), full_size, data_dir)
                for kind, figure in _drawn(store, board, kinds, metric or board.metric, texts, width, chosen):
                    name = re.sub(r"[^A-Za-z0-9]+", "-", board.key).strip("-")
                    written += save(figure, out, f"{name}-{kind}", wanted, told)
    except OSError as error:
        raise BenchError(f"{out}: cannot be written: {error.strerror or error}") from error
    finally:
        store.close()
    for path in written:
        print(f"wrote {path}")
    for note in texts.notes:
        print(note)
    if not written:
        raise BenchError("there is nothing to draw: " + ", ".join(kinds), "`bench status` says what is done.")


def _make(folder: Path) -> None:
    from harness.errors import BenchError

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(f"{folder}: cannot be made: {error.strerror}") from error


def _names(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]


def _known(text: str | None, known: tuple[str, ...], option: str) -> list[str]:
    from harness.errors import BenchError

    names = list(dict.fromkeys(_names(text))) or list(known)
    for name in names:
        if name not in known:
            raise BenchError(f"{option} {name}: choose of {', '.join(known)}")
    return names


def _drawn(
    store: Store,
    board: Board,
    kinds: list[str],
    metric: str,
    texts: Texts,
    width: float,
    chosen: tuple[list[str], list[str], bool, Path | None],
) -> Iterator[tuple[str, Figure]]:
    """The figures of a board, with a name for each."""
    from leaderboard.exports.paper_figures import curves_figure, heat_figures, scores_figure, trade_off_figure
    from leaderboard.queries.load import load_curves

    for kind in kinds:
        made: list[tuple[str, Figure | None]] = []
        if kind == "qualitative":
            made = [(kind, _qualitative(store, board, texts, width, chosen))]
        elif kind == "scores":
            made = [(kind, scores_figure(board, metric, texts, width))]
        elif kind == "trade-off":
            made = [(kind, trade_off_figure(board, metric, texts, width))]
        elif kind == "grid":
            made = [*heat_figures(board, metric, texts, width)]
        else:
            points = load_curves(store, [run.run_id for row in board.rows for run in row.cell.scored])
            of_val = f"val_{board.selection['metric']}"
            for name in (of_val, "train_loss"):
                made.append((f"curve-{name.partition('[')[0]}", curves_figure(board, points, name, texts, width)))
        yield from ((name, figure) for name, figure in made if figure is not None)


def _qualitative(
    store: Store, board: Board, texts: Texts, width: float, chosen: tuple[list[str], list[str], bool, Path | None]
) -> Figure | None:
    """Label maps side by side; None where no run is scored."""
    from harness.datasets import data_dir as folder_of
    from harness.datasets import open_dataset
    from leaderboard.exports.qualitative import chosen_rows, full_pictures, gallery_pictures, qualitative_figure

    models, images, full_size, data_dir = chosen
    rows = chosen_rows(board, models)
    if not rows:
        return None
    if full_size:
        folder = folder_of(data_dir)
        copy = open_dataset(board.data.name, board.data.variant, folder, obtain=False)
        pictures = full_pictures(store, rows, copy, images)
    else:
        pictures = gallery_pictures(store, board, rows, images)
    return qualitative_figure(pictures, rows, board.data, texts, width)
