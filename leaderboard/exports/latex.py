r"""A table as LaTeX: \usepackage{booktabs,graphicx}, and siunitx where it is asked for."""

from __future__ import annotations

import re
from collections.abc import Sequence

from harness.metrics.metric import metric_title
from leaderboard.exports.latex_text import LONGEST, Escaper, comment, escape
from leaderboard.tables.figure_text import FigureText, Style, arrow, digits, figure_text, unit
from leaderboard.tables.legend import legend
from leaderboard.tables.table import Table

__all__ = ["escape", "latex_table"]

# A table is made narrower where it is wider than the text.
_FIT = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
_ARROWS = {"↑": r"$\uparrow$", "↓": r"$\downarrow$"}


def latex_table(
    table: Table,
    caption: str | None = None,
    label: str | None = None,
    style: Style | None = None,
    siunitx: bool = False,
    provenance: Sequence[str] = (),
) -> str:
    r"""A complete table environment that compiles under pdflatex, whatever the names in it are.

    The document needs \usepackage{booktabs,graphicx}; tables wider than the text are scaled down to it.

    Args:
        table: what to write.
        caption: instead of the table's title.
        label: of the table; characters that a label cannot have become dashes.
        style: what stands behind the means, and whether shares are percent.
        siunitx: align the figures with siunitx's columns S, for \usepackage{siunitx}.
        provenance: lines of comments: where the figures come from.
    """
    style, escaper = style or Style(), Escaper()
    writer = _Figures(table, style, siunitx)
    heads = _heads(table, style, escaper, writer)
    body = _body(table, len(heads) + sum(writer.double), escaper, writer)
    title = escaper.paragraph(caption if caption is not None else title_of(table, style))
    notes = [escaper.paragraph(note) for note in (*legend(table, style), *table.notes)]
    columns = "l" * len(table.lead) + "".join(writer.columns()) + "r" * int(table.counted)
    told = [f"needs \\usepackage{{booktabs,graphicx{',siunitx' if siunitx else ''}}}"]
    told += [f"characters that LaTeX cannot set here were replaced: {c} in {t}" for c, t in escaper.replaced.items()]
    told += [f"left out in the middle of a long text: {start}..." for start in escaper.shortened]
    lines = [
        *map(comment, (*provenance, *told)),
        r"\begin{table}[t]",
        r"  \centering\setlength{\tabcolsep}{4pt}",
        *([r"  \sisetup{detect-weight=true,mode=text}"] if siunitx else []),
        f"  \\caption{{{title}}}",
        f"  \\label{{{re.sub(r'[^A-Za-z0-9:._/-]+', '-', label or 'tab:segbench')}}}",
        f"  {_FIT}",
        f"  \\begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        f"    {' & '.join(heads)} \\\\",
        r"    \midrule",
        *body,
        r"    \bottomrule",
        r"  \end{tabular}}",
        *_below(notes),
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def title_of(table: Table, style: Style) -> str:
    """The table's title, with unit and direction where all columns show one metric."""
    if table.one_metric is None:
        return table.title
    name = metric_title(table.one_metric)
    shown = " ".join(filter(None, [name, f"({u})" if (u := unit(table.one_metric, style)) else ""]))
    return table.title.replace(name, f"{shown} {arrow(table.one_metric)}", 1)


def _heads(table: Table, style: Style, escaper: Escaper, writer: _Figures) -> list[str]:
    heads = [escaper.text(name, LONGEST) for name in table.lead]
    for j, (name, metric) in enumerate(zip(table.figure_columns, table.metrics, strict=True)):
        shown = escaper.text(name, LONGEST)
        if table.one_metric is None:
            of = f" ({escaper.text(u)})" if (u := unit(metric, style)) else ""
            shown = f"{shown}{of} {_ARROWS[arrow(metric)]}"
        heads.append(writer.head(j, shown))
    return [*heads, *(["Runs"] if table.counted else [])]


def _body(table: Table, width: int, escaper: Escaper, writer: _Figures) -> list[str]:
    lines: list[str] = []
    for text, part in table.groups:
        if part.start:
            lines.append(r"    \addlinespace")
        if text:
            shown = escaper.text(text, 3 * LONGEST)
            lines.append(f"    \\multicolumn{{{width}}}{{l}}{{\\emph{{{shown}}}}} \\\\")
        for i in part:
            cells = [escaper.text(cell, LONGEST) for cell in table.rows[i]]
            cells += [writer.cell(i, j, escaper) for j in range(len(table.metrics))]
            cells += [table.run_texts()[i]] if table.counted else []
            lines.append(f"    {' & '.join(cells)} \\\\")
    return lines


def _below(notes: Sequence[str]) -> list[str]:
    """Lines under the table, without a package for them."""
    if not notes:
        return []
    return [
        r"  \par\smallskip",
        r"  \begin{minipage}{\linewidth}\footnotesize\raggedright",
        *(f"    {note}\\par" for note in notes),
        r"  \end{minipage}",
    ]


class _Figures:
    """The figures of a table as cells.

    With siunitx a figure is a mean in a column S, and beside it what stands behind the mean, where a column has that:
    S itself leaves out a deviation of zero.
    """

    def __init__(self, table: Table, style: Style, siunitx: bool) -> None:
        self.table, self.style, self.siunitx = table, style, siunitx
        self.texts = [
            [
                figure_text(figure, table.interval(i, j), metric, style)
                for j, (figure, metric) in enumerate(zip(line, table.metrics, strict=True))
            ]
            for i, line in enumerate(table.figures)
        ]
        self.double = [
            siunitx and any(line[j].std or line[j].low or table.mark(i, j) for i, line in enumerate(self.texts))
            for j in range(len(table.metrics))
        ]

    def columns(self) -> list[str]:
        """The type of each column of figures."""
        if not self.siunitx:
            return ["r"] * len(self.table.metrics)
        return [self._column(j) + ("@{\\,}l" if double else "") for j, double in enumerate(self.double)]

    def _column(self, j: int) -> str:
        """`S[table-format=2.4]`: as many places as the longest figure needs."""
        texts = [line[j] for line in self.texts if line[j].mean and "∞" not in line[j].mean]
        before = max((len(t.mean.lstrip("-").partition(".")[0]) for t in texts), default=1)
        minus = "-" if any(t.mean.startswith("-") for t in texts) else ""
        return f"S[table-format={minus}{before}.{digits(self.table.metrics[j], self.style)}]"

    def head(self, j: int, shown: str) -> str:
        """The heading of a figure."""
        return f"\\multicolumn{{2}}{{c}}{{{shown}}}" if self.double[j] else f"{{{shown}}}" if self.siunitx else shown

    def cell(self, i: int, j: int, escaper: Escaper) -> str:
        """One figure, bold or plain, with its deviation and its mark."""
        text, bold = self.texts[i][j], self.table.bold(i, j)
        mark = escaper.text(self.table.mark(i, j).strip())
        behind = _spread(text) + (f"\\textsuperscript{{{mark}}}" if mark else "")
        if not self.siunitx:
            return _mean(text.mean, bold) + (" " if text.std or text.low else "") + behind
        if text.mean and "∞" not in text.mean:
            mean = f"{chr(92)}bfseries {text.mean}" if bold else text.mean
        else:
            mean = f"{{{_mean(text.mean, bold)}}}"
        return f"{mean} & {behind}".rstrip() if self.double[j] else mean


def _mean(text: str, bold: bool) -> str:
    number = _number(text) or "--"
    return f"\\textbf{{{number}}}" if bold else number


def _spread(text: FigureText) -> str:
    """What stands behind a mean, smaller than it."""
    if text.std:
        return f"{{\\scriptsize $\\pm$ {_number(text.std)}}}"
    return f"{{\\scriptsize {{[}}{_number(text.low)}, {_number(text.high)}{{]}}}}" if text.low else ""


def _number(text: str) -> str:
    return text.replace("-", "$-$").replace("∞", r"$\infty$")
