"""Writing the site: a page for each board, one for its images, and the tables as files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import BenchError
from harness.metrics.metric import higher_is_better
from harness.results import Store
from harness.utils.files import new_folder
from leaderboard.boards.board import Board, Row, boards
from leaderboard.exports.latex import latex_table
from leaderboard.exports.text import csv_tables, markdown_tables
from leaderboard.queries.load import list_boards, load_board, load_image_scores, load_run
from leaderboard.shown import figures
from leaderboard.shown.counts import load_counts
from leaderboard.shown.image_list import images_table, in_order
from leaderboard.shown.lists import beside_table, class_table
from leaderboard.shown.markup import Html, element, together
from leaderboard.shown.method import method, resolution, to_know
from leaderboard.shown.names import row_names
from leaderboard.shown.pictures import own_copy, picture, pictured_ids, said_where, source_of, viewer_data
from leaderboard.shown.ranking import ranking, setting
from leaderboard.shown.text import heading, short
from leaderboard.shown.trade_offs import draw_grids, kinds_of, machines, our_grids, priced
from leaderboard.site.overall import SuitePage, write_overall
from leaderboard.site.page import assets, inline_json, page, part
from leaderboard.stats.draws import stored_draws, stored_protocol
from leaderboard.stats.significance import BoardSignificance, default_question, significance
from leaderboard.tables.judged import judged
from leaderboard.tables.references import load_references
from leaderboard.tables.reported import Beside, grid_metrics, measured_tables, reported_grids, reported_rows
from leaderboard.tables.table import overview, records

Say = Callable[[str], None]

MARK = "segbench-site.json"
"""The file by which a folder is known as a site that may be replaced."""
MODELS, IMAGES = 4, 100
"""So many models are drawn beside one another, and so many images of a board."""
_METRICS = ("miou", "biou", "hd")


@dataclass(frozen=True)
class Site:
    """What was written."""

    folder: Path
    boards: int
    images: int
    size: int
    """In bytes."""


def write_site(store: Store, folder: Path, data_folder: Path | None, say: Say, smoke: bool = False) -> Site:
    """Write every board of a database as a folder of files.

    Args:
        store: the database.
        folder: is made; an earlier site in it is replaced, anything else is refused.
        data_folder: where the reader's own copies of data sets are, for photographs and truths; None: nowhere.
        say: told, in a line, what is being written.
        smoke: whether boards of smoke runs are written, too.

    Raises:
        BenchError: nothing to write, or the folder is not to be had.
    """
    _refuse_foreign(folder)
    found = [one for one in list_boards(store) if smoke or not one.smoke]
    if not found:
        raise BenchError(f"{store.name} holds no board to write.", "Smoke runs are left out.")
    images = 0
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(folder, overwrite=folder.exists()) as new:
            made = [board for one in found for board in boards(load_board(store, one.board_id))[:1]]
            several = [("All boards", "index.html")] if len(made) > 1 else []
            suites = write_overall(store, made, new, say)
            verdicts = []
            for board in made:
                say(f"{board.title}")
                own = [("Overall", one.file) for one in suites if board.board_id in one.boards]
                pages = _Board(store, board, data_folder, new, [*several, *own])
                images += pages.write()
                verdicts.append((board, pages.answer.groups[0].verdict if pages.answer.groups else ""))
            if several:
                (new / "index.html").write_text(_index(verdicts, suites), encoding="utf-8")
            (new / "assets").mkdir()
            for name, text in assets(plotly=True).items():
                (new / "assets" / name).write_text(text, encoding="utf-8")
            (new / MARK).write_text(json.dumps({"boards": [b.board_id for b in made]}), encoding="utf-8")
    except OSError as error:
        raise BenchError(f"{folder}: cannot be written: {error.strerror or error}") from error
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Site(folder, len(made), images, size)


def _refuse_foreign(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or (any(folder.iterdir()) and not (folder / MARK).is_file())):
        raise BenchError(f"{folder} is there and is no site of segbench.", "Name a new folder.")


def _index(verdicts: Sequence[tuple[Board, str]], suites: Sequence[SuitePage]) -> str:
    """The list of all boards, below the suites of several data sets."""
    items = [
        element("li", together(element("a", one.title, href=one.file), element("p", one.verdict))) for one in suites
    ]
    for board, said in verdicts:
        link = element("a", board.title, href=f"board-{board.board_id}.html")
        items.append(element("li", together(link, element("p", said)) if said else link))
    body = together(element("h1", "Leaderboard"), element("ul", together(*items), class_="boards"))
    return page("segbench leaderboard", body, [("All boards", "index.html", True)])


class _Board:
    """The pages of one board."""

    def __init__(
        self, store: Store, board: Board, data_folder: Path | None, folder: Path, beside: Sequence[tuple[str, str]]
    ) -> None:
        self.store, self.board, self.data_folder, self.folder = store, board, data_folder, folder
        self.name = f"board-{board.board_id}"
        self.file = f"{self.name}.html" if beside else "index.html"
        self.beside = beside
        self.protocol: dict[str, Any] = {}
        if any(row.cell.scored for row in board.rows):
            self.protocol = stored_protocol(store, board).stored()
        self.answer = self._answer()

    def _answer(self) -> BoardSignificance:
        question = default_question(self.board)
        if question == "seeds" or not self.protocol:
            return significance(self.board, "seeds")
        return significance(self.board, question, stored_draws(self.store, self.board))

    def write(self) -> int:
        """Write the pages; returns how many images they have."""
        images = self._images()
        links = self._links(bool(images), self.file)
        (self.folder / self.file).write_text(page(self.board.title, self._body(), links, plotly=True), encoding="utf-8")
        for ending, text in self._downloads().items():
            (self.folder / f"{self.name}.{ending}").write_text(text, encoding="utf-8")
        return images

    def _links(self, images: bool, here: str) -> list[tuple[str, str, bool]]:
        found = [(text, file, False) for text, file in self.beside]
        found.append(("Leaderboard", self.file, here == self.file))
        if images:
            found.append(("Images", f"{self.name}-images.html", here != self.file))
        return found

    def _downloads(self) -> dict[str, str]:
        table = judged(overview(self.board), self.board, {self.board.metric: self.answer})
        return {
            "csv": csv_tables([(self.board, table)]),
            "md": markdown_tables([(self.board, table)], store=self.store),
            "tex": latex_table(table),
            "json": json.dumps(records(self.board), indent=2, ensure_ascii=False) + "\n",
        }

    # ---- the board -----------------------------------------------------------------------------------------------

    def _body(self) -> Html:
        board, groups = self.board, self.answer.groups
        n = max((run.n_images for row in board.rows for run in row.cell.scored), default=0)
        facts = [f"{n:,} test images", resolution(self.protocol).rstrip(".").lower(), f"protocol {board.protocol_name}"]
        said = [groups[0].verdict if groups else "No row has a figure."]
        lead = [setting(board)] if setting(board) else []
        if len(groups) > 1:
            lead.append(f"This is about the first of {len(groups)} groups: {groups[0].heading}.")
        lead += to_know(self.answer)
        metrics = [m for m in _METRICS if m != board.metric]
        runs = [run.run_id for row in board.rows for run in row.cell.scored]
        counts = load_counts(self.store, runs, board.protocol_hash)
        table = ranking(board, self.answer, counts, metrics, lambda kind, id: "")
        for row in table["rows"]:
            row.pop("link", None)
            row.pop("log", None)
        parts: list[Html] = [
            element("h1", said[0]),
            element("p", " · ".join([board.data.title, *facts]), class_="facts"),
            *(element("p", text[:1].upper() + text[1:]) for text in lead),
        ]
        if board.selected_on_test:
            parts.append(element("p", f"{board.seen_test}: these figures are too good.", class_="notice"))
        parts.append(part("table", {**table, "pick": 0}))
        parts += [element("p", note, class_="facts") for note in overview(board, [board.metric]).notes]
        rows = [together(element("dt", name), element("dd", text)) for name, text in self._method()]
        parts.append(
            element("details", together(element("summary", "How was this computed?"), element("dl", together(*rows))))
        )
        parts += [*self._trade_offs(), *self._classes(), *self._reported(), self._files()]
        return together(*parts)

    def _method(self) -> list[tuple[str, str]]:
        return method(self.board, self.answer, self.protocol) if self.protocol else []

    def _trade_offs(self) -> list[Html]:
        board, parts = self.board, []
        for kind in kinds_of(board):
            for machine in machines(board, kind):
                points = priced(board, self.answer, kind, machine)
                if len(points) > 1:
                    figure = figures.trade_off(
                        points, higher_is_better(board.metric), kind.axis, heading(board.metric), kind.sign < 0
                    )
                    on = f", on {machine}" if machine else ""
                    parts += [element("h2", f"{heading(board.metric)} against {kind.axis}{on}"), _figure(figure)]
        for grid in our_grids(board, board.metric):
            parts += [element("h2", grid.title), _figure(draw_grids(grid))]
        return parts

    def _classes(self) -> list[Html]:
        if len(self.board.data.classes) < 2 or not self.protocol:
            return []
        table = class_table(self.board, "iou", lambda kind, id: "")
        return [element("h2", "Class by class"), part("table", table)]

    def _reported(self) -> list[Html]:
        references = load_references()
        heads, rows, notes = reported_rows(self.board, references)
        if not rows:
            return []
        table = beside_table(Beside("", tuple(heads), tuple(map(tuple, rows))))
        said = "Figures that others reported, apart from the ranking. ≁: defined or scored in another way than here."
        grids: list[Beside] = []
        for metric in grid_metrics(self.board, references):
            grids += reported_grids(self.board, references, metric)
        grids += measured_tables(self.store, self.board, references)
        return [
            element("h2", "Reported by others"),
            element("p", said),
            *(one for grid in grids for one in (element("h3", grid.title), part("table", beside_table(grid)))),
            part("table", table),
            *(element("p", note, class_="facts") for note in notes),
        ]

    def _files(self) -> Html:
        names = (("csv", "CSV"), ("md", "Markdown"), ("tex", "LaTeX"), ("json", "JSON"))
        links = [element("a", text, href=f"{self.name}.{ending}", download="") for ending, text in names]
        spaced = [piece for link in links for piece in (link, Html(" "))]
        return element("p", together("This table as ", *spaced))

    # ---- its images ----------------------------------------------------------------------------------------------

    def _images(self) -> int:
        """Write the page of the images; returns how many there are."""
        board = self.board
        rows = [row for row in board.rows if row.cell.scored][:MODELS]
        if not rows:
            return 0
        runs = [min(row.cell.scored, key=lambda run: run.seed) for row in rows]
        ids = tuple(run.run_id for run in runs)
        scores = load_image_scores(self.store, ids, board.data.headline, board.protocol_hash)
        sources = [source_of(self.store, run) for run in runs]
        ordered = in_order(scores, "worst", None) if len(scores.runs) == len(ids) else None
        if ordered is None or not ordered.ids:
            return 0
        kept = None if all(one.folder for one in sources) else pictured_ids(self.store, list(ids))
        shown = [name for name in ordered.ids if kept is None or name in kept][:IMAGES]
        if not shown:
            return 0
        return self._write_images(rows, scores.figures, scores.ids, ordered, sources, shown)

    def _write_images(
        self,
        rows: Sequence[Row],
        scored: np.ndarray[Any, Any],
        names: Sequence[str],
        ordered: Any,
        sources: Sequence[Any],
        shown: Sequence[str],
    ) -> int:
        board, metric = self.board, self.board.data.headline
        config = load_run(self.store, sources[0].run.run_id).config.get("dataset", {})
        own = own_copy(board.data, self.data_folder, config.get("params", {}) if isinstance(config, dict) else {})
        background = self.protocol.get("background")
        place = {name: at for at, name in enumerate(names)}
        of_row = row_names(board)
        titles = [of_row[id(row)] for row in rows]
        files: dict[str, str] = {}
        shared: dict[str, Any] = {}
        where = ""
        (self.folder / self.name).mkdir()
        for number, name in enumerate(shown):
            made = picture(self.store, board.data, name, sources, own)
            if not made.maps:
                continue
            panels = []
            for n, (source, title) in enumerate(zip(sources, titles, strict=True)):
                value = float(scored[n, place[name]])
                text = "" if np.isnan(value) else f"{heading(metric)} {short(metric, value)}"
                panels.append((source.run.run_id, title, text))
            data = viewer_data(made, board.data, panels, background, {}, None)
            shared = {key: data.pop(key) for key in ("classes", "void", "background", "palettes", "paletteNames")}
            for key in ("options", "steps", "version", "reset"):
                data.pop(key)
            file = f"{self.name}/{number:04d}.js"
            text = f"segbenchImage({inline_json(name)}, {inline_json(data)});\n"
            (self.folder / file).write_text(text, encoding="utf-8")
            files[name] = file
            where = where or said_where(made)
        order = [name for name in shown if name in files]
        if not order:
            return 0
        table = images_table(ordered, titles, metric, order[0], None, lambda name: "#")
        table = {**table, "rows": [row for row in table["rows"] if row["id"] in files]}
        data = {
            "files": files,
            "order": order,
            "shared": shared,
            "table": table,
            "options": {"mode": "overlay", "opacity": 0.55, "outline": True, "palette": "own", "only": None},
        }
        legend = " · ".join(f"{'ABCD'[n]}: {title}" for n, title in enumerate(titles))
        body = together(
            element("h1", "What the masks look like"),
            element("p", f"{board.title} · the {len(order)} worst images that can be shown · {where}", class_="facts"),
            element(
                "div",
                together(
                    element("div", together(part("images", data))),
                    element(
                        "div", together(element("p", legend), element("div", class_="part list", data_part="list"))
                    ),
                ),
                class_="image-page",
            ),
        )
        links = self._links(True, "images")
        target = self.folder / f"{self.name}-images.html"
        target.write_text(page(f"Images: {board.title}", body, links), encoding="utf-8")
        return len(order)


def _figure(figure: Any) -> Html:
    """A figure as the browser draws it."""
    return part("figure", json.loads(figure.to_json()))
