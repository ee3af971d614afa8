"""A table as LaTeX with booktabs."""

from __future__ import annotations

from harness.metrics.metric import find_metric, higher_is_better, metric_title
from leaderboard.stats import Estimate
from leaderboard.tables import Table

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "–": "--",
    "✓": r"$\bullet$",
    "²": r"$^2$",
}


def escape(text: str) -> str:
    """Text with everything that means something to LaTeX escaped."""
    return "".join(_ESCAPES.get(c, c) for c in text)


def latex_table(table: Table, caption: str | None = None, label: str | None = None) -> str:
    r"""A complete table environment.

    The best mean of each column of a group is bold, ties included; the standard deviation over seeds follows it.
    The document needs \usepackage{booktabs}.
    """
    heads = [
        *(escape(c) for c in table.lead),
        *(f"{escape(metric_title(m))} ${_arrow(m)}$" for m in table.metrics),
        "Runs",
    ]
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}[t]",
        r"  \centering",
        f"  \\caption{{{escape(caption if caption is not None else table.title)}}}",
        f"  \\label{{{label or 'tab:segbench'}}}",
        f"  \\begin{{tabular}}{{{'l' * (len(heads) - len(table.metrics) - 1)}{'r' * (len(table.metrics) + 1)}}}",
        r"    \toprule",
        f"    {' & '.join(heads)} \\\\",
        r"    \midrule",
    ]
    for text, part in table.groups:
        if part.start:
            lines.append(r"    \addlinespace")
        if text:
            lines.append(f"    \\multicolumn{{{len(heads)}}}{{l}}{{\\emph{{{escape(text)}}}}} \\\\")
        lines += [_line(table, i) for i in part]
    lines += [r"    \bottomrule", r"  \end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _line(table: Table, i: int) -> str:
    """One row."""
    cells = [escape(text) for text in table.rows[i]]
    cells += [
        _figure(f, find_metric(m).digits, i in table.best[j])
        for j, (f, m) in enumerate(zip(table.figures[i], table.metrics, strict=True))
    ]
    return f"    {' & '.join([*cells, table.run_texts()[i]])} \\\\"


def _arrow(metric: str) -> str:
    return r"\uparrow" if higher_is_better(metric) else r"\downarrow"


def _figure(figure: Estimate, places: int, best: bool) -> str:
    if figure.mean is None:
        return "--"
    mean = f"{figure.mean:.{places}f}"
    shown = f"\\textbf{{{mean}}}" if best else mean
    return shown if figure.std is None else f"{shown} $\\pm$ {figure.std:.{places}f}"
