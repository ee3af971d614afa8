"""Tables as one HTML page that needs nothing else: escaped, for light and dark screens and for print."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from harness.utils.text import plain_line
from leaderboard.exports.latex import title_of
from leaderboard.tables.figure_text import Style, arrow, figure_text, unit
from leaderboard.tables.legend import legend
from leaderboard.tables.table import Table

_STYLE = """
:root { color-scheme: light dark; --line: #bbb; --soft: #666; }
@media (prefers-color-scheme: dark) { :root { --line: #555; --soft: #aaa; } }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
figure { margin: 0 0 3rem; overflow-x: auto; }
table { border-collapse: collapse; border-block: 2px solid; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding-bottom: .5rem; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: baseline; overflow-wrap: anywhere; }
thead { border-bottom: 1px solid; } tbody + tbody { border-top: 1px solid var(--line); }
.number { text-align: right; white-space: nowrap; } .spread, .note, footer { color: var(--soft); }
.spread { font-size: .85em; } tbody th[scope=rowgroup] { font-style: italic; font-weight: 400; }
figcaption, footer { font-size: .85em; } footer { border-top: 1px solid var(--line); overflow-wrap: anywhere; }
"""


def html_page(tables: Sequence[Table], style: Style | None = None, provenance: Sequence[str] = ()) -> str:
    """A page with some tables; it loads nothing and runs nothing.

    Args:
        tables: what to write.
        style: what stands behind the means, and whether shares are percent.
        provenance: lines that say where the figures come from.
    """
    body = "\n".join(_table(table, style or Style()) for table in tables)
    lines = "".join(f"<div>{_text(line)}</div>" for line in provenance)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(tables[0].title if tables else "Results")}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
<footer>{lines}</footer>
</body>
</html>
"""


def _text(text: str) -> str:
    return escape(plain_line(text))


def _table(table: Table, style: Style) -> str:
    heads = [f'<th scope="col">{_text(name)}</th>' for name in table.lead]
    for name, metric in zip(table.figure_columns, table.metrics, strict=True):
        of = f" ({u})" if (u := unit(metric, style)) else ""
        shown = _text(name) if table.one_metric else f"{_text(name)}{of} {arrow(metric)}"
        heads.append(f'<th scope="col" class="number">{shown}</th>')
    heads += ['<th scope="col" class="number">runs</th>'] if table.counted else []
    bodies = []
    for text, part in table.groups:
        head = f'<tr><th colspan="{len(heads)}" scope="rowgroup">{_text(text)}</th></tr>\n' if text else ""
        bodies.append(f"<tbody>\n{head}{''.join(_row(table, i, style) for i in part)}</tbody>")
    notes = "".join(f'<div class="note">{_text(note)}</div>' for note in (*legend(table, style), *table.notes))
    return (
        f"<figure>\n<table>\n<caption>{_text(title_of(table, style))}</caption>\n"
        f"<thead><tr>{''.join(heads)}</tr></thead>\n{chr(10).join(bodies)}\n</table>\n"
        f"<figcaption>{notes}</figcaption>\n</figure>"
    )


def _row(table: Table, i: int, style: Style) -> str:
    cells = [f"<td>{_text(cell)}</td>" for cell in table.rows[i]]
    cells += [f'<td class="number">{_figure(table, i, j, style)}</td>' for j in range(len(table.metrics))]
    cells += [f'<td class="number">{_text(table.run_texts()[i])}</td>'] if table.counted else []
    return f"<tr>{''.join(cells)}</tr>\n"


def _figure(table: Table, i: int, j: int, style: Style) -> str:
    text = figure_text(table.figures[i][j], table.interval(i, j), table.metrics[j], style)
    shown = (text.mean or "–").replace("-", "−")
    shown = f"<strong>{shown}</strong>" if table.bold(i, j) else shown
    spread = f"± {text.std}" if text.std else f"[{text.low}, {text.high}]" if text.low else ""
    behind = f' <span class="spread">{spread}</span>' if spread else ""
    mark = table.mark(i, j)
    return shown + behind + (" " if mark.startswith(" ") else "") + _text(mark)
