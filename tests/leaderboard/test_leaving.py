"""What leaves is complete, and inert wherever it goes: LaTeX, CSV, Markdown, HTML, JSON, terminals."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from harness.results import open_store
from leaderboard.boards.board import Board, boards
from leaderboard.exports.html_table import html_page
from leaderboard.exports.latex import latex_table
from leaderboard.exports.latex_text import Escaper, comment
from leaderboard.exports.paper_tables import class_table, dataset_tables, grid_tables, reported_table
from leaderboard.exports.plain import json_text, markdown, markdown_line
from leaderboard.exports.text import csv_plain, csv_tables, markdown_plain, markdown_tables
from leaderboard.queries.load import Data, ScoredRun
from leaderboard.shown.ranking import ranking
from leaderboard.stats.draws import BoardDraws
from leaderboard.stats.significance import BoardSignificance, significance
from leaderboard.tables.figure_text import Style
from leaderboard.tables.judged import judge, judged
from leaderboard.tables.references import Reference, Reported
from leaderboard.tables.table import Table, ablation, overview
from tests.leaderboard.test_tables import DATA, result

GOLDEN = Path(__file__).parent / "golden"
PDFLATEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")

HOSTILE = (
    "[ours] U-Net",
    "* starred",
    "]also",
    "a\n\nb: a blank line",
    "tab\tand\rreturn",
    "nul\x00 bell\x07 escape\x1b[31m",
    "C1 \x9b31m",
    "\\input{/etc/passwd}",
    "\\write18{touch owned}",
    "\\end{tabular}\\end{table}",
    "50% & $x_1^2$ #3 {y} ~z",
    "%comment",
    "α-Net Ω Σς όΎ",
    "网络 模型",
    "ネット",
    "🚀 rocket 👩‍🔬",
    "العربية",
    "\u202eright to left",
    "zero\u200bwidth\ufeff",
    "é ü ñ ß ø Å ő ł",
    "ﬁne ² ₂ ½ Ａ",
    "lone \udc80 surrogate",
    "a--b ''c'' ``d`` ?`e !`f ,,g <<h>>",
    '"quoted" \'and\' `ticked`',
    "x" * 400,
    "no_break_" * 30,
    "\\",
    "{",
    "}",
    "   ",
    "^^41^^M",
    "\\\\[10cm]",
    "=cmd|' /C calc'!A0",
    "+1", "-1", "@SUM(A1)",
    "<img src=x onerror=alert(1)>",
    "[link](https://evil.example) ![i](http://evil.example/i.png)",
    "https://evil.example www.evil.example a@evil.example @someone",
    "| pipe ** bold ** _em_ `code` # head",
    "1. list", "- list", "# head", "> quote", "~~~ fence",
    "<!-- comment --> </table>",
)  # fmt: skip


def of(runs: list[ScoredRun], metric: str | None = None) -> Board:
    (board,) = boards(runs, metric)
    return board


def hostile_board() -> Board:
    runs = [result(name, f"c{n}", seed, 0.5, 0.3 + n / 100) for n, name in enumerate(HOSTILE) for seed in (0, 1)]
    return of(runs)


def grid_run(model: str, lr: float, epochs: int, seed: int, test: float, **changes: object) -> ScoredRun:
    run = result(model, f"{model} {lr} {epochs}", seed, test + epochs / 1e4, test, **changes)
    scores = {**run.test, "iou[background]": test + 0.1, "iou[horse]": test - 0.1 + seed / 50, "biou": test / 2}
    return replace(run, grid={"lr": lr, "epochs": epochs}, test=scores)


def paper_board(name: str = "horses", title: str = "Horses & riders") -> Board:
    """Three models, two of them over a grid, one with a mark, one seed that failed."""
    data = replace(DATA, name=name, title=title)
    runs = [
        grid_run(model, lr, epochs, seed, base + 10 * lr + epochs / 1000 + seed / 100)
        for model, base in (("U-Net", 0.5), ("FCN", 0.45))
        for lr in (1e-3, 1e-2)
        for epochs in (50, 100)
        for seed in (0, 1)
    ]
    leaky = grid_run("Leaky", 1e-2, 50, 0, 0.9, pretrained_on=("ImageNet", name))
    failed = replace(grid_run("PSPNet", 1e-2, 50, 0, 0.4), state="failed", test={}, val={}, reason="diverged")
    runs += [leaky, failed, grid_run("PSPNet", 1e-2, 50, 1, 0.41)]
    return of([replace(run, data=data) for run in runs])


def references() -> tuple[Reference, ...]:
    rows = (Reported(grid={"lr": 1e-3, "epochs": 50}, metrics={"miou": 0.51, "hd": 7.6}), Reported(metrics={"hd": 3.0}))
    return (
        Reference(
            suite="s", model="U-Net (2015)", source="a report", note="its own split", ours=("U-Net",),
            comparable=("miou",), rows=rows,
        ),
    )  # fmt: skip


def over_seeds(board: Board, metric: str) -> BoardSignificance:
    """What the seeds say of a board ranked by a metric."""
    return significance(of([run for row in board.rows for cell in row.cells for run in cell.runs], metric), "seeds")


def paper_tables() -> dict[str, Table]:
    board = paper_board()
    reported = reported_table(board, references())
    (grid,) = grid_tables(board, "miou")
    (datasets,) = dataset_tables([board, paper_board("cows", "Cows")])
    assert reported is not None
    main = overview(board, ["miou", "hd", "biou"])
    return {
        "main": judged(main, board, {metric: over_seeds(board, metric) for metric in main.metrics}),
        "cells": ablation(board, ["miou"]),
        "classes": class_table(board, "iou"),
        "grid": grid,
        "datasets": datasets,
        "reported": reported,
    }


FROM = ("segbench 0, 2026-11-25: bench export latex --suite s", "database results.db, SHA-256 00ff")


def written() -> dict[str, str]:
    """The files that are kept in golden/: every kind of table, and every format and option."""
    tables = paper_tables()
    main, board = tables["main"], paper_board()
    return {
        **{f"{name}.tex": latex_table(t, label=f"tab:{name}", provenance=FROM) for name, t in tables.items()},
        **{f"{n}-siunitx.tex": latex_table(t, label=f"tab:{n}-s", siunitx=True) for n, t in tables.items()},
        "percent.tex": latex_table(main, "50% off", "tab:p q", Style("none", percent=True)),
        "main.md": markdown_tables([(board, main)], Style(), FROM),
        "grid.md": markdown_plain([tables["grid"]], Style(percent=True)),
        "main.csv": csv_tables([(board, main)]),
        "grid.csv": csv_plain([tables["grid"]]),
        "main.html": html_page([main, tables["classes"]], Style(), FROM),
    }


@pytest.mark.parametrize("name", sorted(path.name for path in GOLDEN.iterdir()))
def test_what_is_written_is_what_was_written_before(name: str) -> None:
    text = (GOLDEN / name).read_text(encoding="utf-8")
    assert written()[name] == text, "if that is meant: python -m tests.leaderboard.test_leaving"


def test_every_kind_of_table_has_its_golden_file() -> None:
    assert set(written()) == {path.name for path in GOLDEN.iterdir()}


def compiled(tmp_path: Path, bodies: list[str], options: str = "") -> list[str]:
    """Compile tables twice; returns the warnings of the log."""
    packages = "\\usepackage{booktabs,graphicx,siunitx}"
    document = f"\\documentclass[{options}]{{article}}{packages}\\begin{{document}}\n" + "\\clearpage\n".join(bodies)
    (tmp_path / "t.tex").write_text(document + "\\end{document}\n", encoding="ascii")
    for _ in range(2):
        done = subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"],
            cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 1000
    log = (tmp_path / "t.log").read_text(errors="replace")
    return [line for line in log.splitlines() if re.search(r"warning|overfull|underfull|missing character", line, re.I)]


@PDFLATEX
@pytest.mark.parametrize("options", ["", "twocolumn"])
def test_every_table_compiles_without_a_warning(tmp_path: Path, options: str) -> None:
    tables = paper_tables()
    bodies = [latex_table(t, label=f"t{n}") for n, t in enumerate(tables.values())]
    bodies += [latex_table(t, label=f"s{n}", siunitx=True) for n, t in enumerate(tables.values())]
    bodies += [latex_table(tables["main"], "A caption", "p", Style(percent=True))]
    assert compiled(tmp_path, bodies, options) == []


@PDFLATEX
def test_any_name_compiles(tmp_path: Path) -> None:
    board = hostile_board()
    bodies = [latex_table(t, name, f"h{n}", siunitx=bool(n)) for n, (t, name) in enumerate(
        [(overview(board, ["miou"]), HOSTILE[2]), (ablation(board, ["miou"]), HOSTILE[7])]
    )]  # fmt: skip
    for n, name in enumerate(HOSTILE):
        data = Data(name, name, name, (name, "b"), ((0, 0, 0), (1, 1, 1)), None, "t" * 64, {"test": 2})
        board = of([result(name, name, 0, 0.5, 0.5, suite=name, data=data)])
        bodies.append(latex_table(overview(board, ["miou"]), None, name + str(n), provenance=[name]))
    # Long words are broken where TeX would not break them: such lines may have wide spaces.
    assert [line for line in compiled(tmp_path, bodies) if not line.startswith("Underfull")] == []
    assert not (tmp_path / "owned").exists()


def test_latex_says_what_it_replaced_and_stays_ascii() -> None:
    text = latex_table(overview(hostile_board(), ["miou"]), provenance=HOSTILE)
    assert text.isascii()
    assert "% characters that LaTeX cannot set here were replaced: U+7F51 U+7EDC U+6A21 U+578B in ? ?" in text
    assert r"\ensuremath{\alpha}-Net \ensuremath{\Omega} \ensuremath{\Sigma}\ensuremath{\varsigma}" in text
    assert r"\'{e} \"{u} \~{n} \ss{} \o{}" in text
    assert "% left out in the middle of a long text: xxxx" in text
    assert Escaper().text("a b") == "a b"
    assert comment("a\nb") == "% a b"


def test_the_dagger_is_explained_under_the_table() -> None:
    for name in ("main", "classes", "datasets"):
        text = latex_table(paper_tables()[name])
        assert r"Leaky \dag{}: its declared pretraining includes the scored images" in text, name
        assert r"\footnotesize\raggedright" in text


def test_spreadsheets_compute_nothing_where_asked() -> None:
    board = hostile_board()
    table = overview(board, ["miou"])
    safe = list(csv.DictReader(io.StringIO(csv_tables([(board, table)], safe=True))))
    plain = list(csv.DictReader(io.StringIO(csv_tables([(board, table)]))))
    assert {"'=cmd|' /C calc'!A0", "'+1", "'-1", "'@SUM(A1)"} <= {line["model"] for line in safe}
    assert {"=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)"} <= {line["model"] for line in plain}
    assert [line["miou mean"] for line in safe] == [line["miou mean"] for line in plain]
    assert float(plain[0]["miou mean"]) == table.figures[0][0].mean, "at full precision"
    steering = [c for line in plain for text in line.values() for c in text if unicodedata.category(c) in ("Cc", "Cs")]
    assert steering == []


def test_markdown_shows_names_as_they_are_and_does_nothing() -> None:
    board = hostile_board()
    html = MarkdownIt("commonmark").enable("table").render(markdown_tables([(board, overview(board, ["miou"]))]))
    tags = set(re.findall(r"<(\w+)", html))
    assert tags <= {"h3", "h4", "table", "thead", "tbody", "tr", "th", "td", "strong", "p", "u"}
    assert html.count("<tr>") == 1 + len(HOSTILE)
    for name in ("| pipe ** bold ** _em_ `code` # head", "50% & $x_1^2$ #3 {y} ~z", "\\input{/etc/passwd}"):
        assert f">{name.replace('&', '&amp;')}<" in html
    assert "<img" not in html
    assert all(markdown(name).count("\n") == 0 for name in HOSTILE)
    for name in ("1. list", "- list", "# head", "> quote", "~~~ fence", "=====", "+ list"):
        line = MarkdownIt("commonmark").render(markdown_line(name))
        assert line.startswith("<p>"), name


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_has_only_its_own_tags_and_loads_nothing() -> None:
    page = html_page([overview(hostile_board(), ["miou"])], provenance=HOSTILE)
    allowed = {"html", "head", "meta", "title", "style", "body", "figure", "table", "caption", "thead", "tbody", "tr",
               "th", "td", "figcaption", "div", "footer", "span"}  # fmt: skip
    found = Tags(page).found
    assert {tag for tag, _ in found} == allowed
    assert {name for _, attrs in found for name in attrs} <= {
        "lang", "charset", "http-equiv", "content", "name", "class", "scope", "colspan"
    }  # fmt: skip
    assert "prefers-color-scheme: dark" in page
    page.encode()


def test_json_says_the_same_and_steers_no_terminal() -> None:
    value = {name: name for name in HOSTILE}
    text = json_text(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert "网络" in text
    text.encode()
    assert all(c.isprintable() for c in text)


def test_the_grid_marks_what_val_chose_and_nothing_is_bold_of_which_nothing_is_known() -> None:
    grid = paper_tables()["grid"]
    assert grid.columns == ("lr", "epochs=50", "epochs=100")
    assert [text for text, _ in grid.groups] == ["U-Net", "FCN"]
    assert grid.rows == (("0.001",), ("0.01",)) * 2
    assert not any(grid.bold(i, j) for i in range(4) for j in range(2))
    assert [[i for i in range(4) if grid.mark(i, j) == "*"] for j in range(2)] == [[], [1, 3]], "chosen by val"


def test_a_data_set_is_a_column_and_a_model_that_lacks_there_has_a_gap() -> None:
    other = paper_board("cows", "Cows")
    fewer = replace(other, rows=tuple(row for row in other.rows if row.model != "FCN"))
    (table,) = dataset_tables([paper_board(), fewer])
    row = next(i for i, cells in enumerate(table.rows) if cells[0] == "FCN")
    assert table.figure_columns == ("Horses & riders: mIoU", "Cows: mIoU")
    assert table.figures[row][0].mean is not None
    assert table.figures[row][1].mean is None
    assert table.text_rows()[row][2] == "–"


def test_many_classes_stand_below_one_another() -> None:
    names = tuple(f"class {n}" for n in range(12))
    data = replace(DATA, classes=names, palette=((0, 0, 0),) * 12)
    runs = []
    for model, base in (("a", 0.5), ("b", 0.4)):
        scores = {f"iou[{name}]": base + i / 100 for i, name in enumerate(names)}
        runs.append(replace(result(model, model, 0, 0.5, 0.5, data=data), test=scores))
    table = class_table(of(runs), "iou")
    assert table.lead == ("class",)
    assert table.figure_columns == ("a", "b")
    assert table.rows[3] == ("class 3",)


def test_reported_figures_stand_beside_ours_and_only_the_same_are_compared() -> None:
    table = paper_tables()["reported"]
    assert table.rows[0] == ("U-Net (2015)", "U-Net", "lr=0.001, epochs=50", "a report")
    reported, here, difference = table.figures[0][:3]
    assert reported.mean == 0.51
    assert here.mean is not None
    assert difference.mean == here.mean - 0.51
    assert table.mark(0, 3) == " ≁"
    assert table.figures[0][5].mean is None, "another definition has no difference"
    assert "a report: its own split" in table.notes


def test_what_cannot_be_told_apart_from_the_best_is_bold_and_the_note_says_so(tmp_path: Path) -> None:
    values = {"a": (0.50, 0.52, 0.54), "b": (0.49, 0.52, 0.53), "c": (0.20, 0.22, 0.24)}
    board = of([result(m, m, seed, 0.5, v) for m, own in values.items() for seed, v in enumerate(own)])
    store = open_store(str(tmp_path / "results.db"))
    found = {metric: judge(board, metric, store) for metric in ("miou", "hd")}
    table = judged(overview(board, ["miou", "hd"]), board, found, intervals=True)
    assert [table.bold(i, 0) for i in range(3)] == [True, True, False]
    assert [table.bold(i, 1) for i in range(3)] == [bool(row.may_be_best) for row in found["hd"].rows]
    text = latex_table(table, style=Style("interval"))
    assert r"\textbf{0.5133} {\scriptsize {[}0.4" in text
    assert (
        "cannot be told apart from it (95 \\%). In brackets: 95 \\% intervals, of each row alone. These methods" in text
    )
    # A column that nobody asked about has nothing bold.
    partly = judged(overview(board, ["miou", "hd"]), board, {"miou": found["miou"]})
    assert [partly.bold(i, 1) for i in range(3)] == [False] * 3
    assert partly.intervals == ()
    ends = next(csv.DictReader(io.StringIO(csv_tables([(board, table)]))))
    assert float(ends["miou low"]) < 0.52 < float(ends["miou high"])
    store.close()


def test_nothing_is_bold_where_nothing_is_resolved(tmp_path: Path) -> None:
    """One training each, images whose statistics are lost; rows that are alike; a best row that is not compared."""
    single = of([result("a", "x", 0, 0.5, 0.9), result("b", "x", 0, 0.5, 0.1)])
    store = open_store(str(tmp_path / "results.db"))
    alike = {"a": (0.50, 0.52, 0.54), "b": (0.49, 0.52, 0.53)}
    even = of([result(m, m, seed, 0.5, v) for m, own in alike.items() for seed, v in enumerate(own)])
    first = {"a": (0.99,), "b": (0.50, 0.52, 0.51), "c": (0.20, 0.22, 0.21)}
    alone = of([result(m, m, seed, 0.5, v) for m, own in first.items() for seed, v in enumerate(own)])
    silent = significance(single, "images", BoardDraws("miou", None, {}, {}, "they are lost"))
    told = {id(single): silent, id(even): judge(even, "miou", store), id(alone): judge(alone, "miou", store)}
    assert [row.may_be_best for row in told[id(alone)].rows] == [None, True, False]
    for board in (single, even, alone):
        table = judged(overview(board, ["miou"]), board, {"miou": told[id(board)]})
        for text in (latex_table(table), markdown_tables([(board, table)]), html_page([table])):
            assert not re.search(r"textbf|bfseries|\*\*|<strong>|Bold|nderline|<u>", text)
        shown = ranking(board, told[id(board)], {}, [], lambda kind, id: "")
        assert not any(row["cells"]["main"]["b"] for row in shown["rows"])
    # Where something is, the first row is bold.
    solid = of([run for row in alone.rows[1:] for run in row.cell.runs])
    shown = ranking(solid, judge(solid, "miou", store), {}, [], lambda kind, id: "")
    assert [row["cells"]["main"]["b"] for row in shown["rows"]] == [True, False]
    store.close()


if __name__ == "__main__":
    for name, text in written().items():
        (GOLDEN / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {GOLDEN / name}\n")
