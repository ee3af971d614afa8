"""Tables as HTML: text that can be searched, copied and read by a screen reader.

Streamlit puts this folder first among Python's paths: no file here may be named as a module of others is, such as html.
"""

from __future__ import annotations

from html import escape

import streamlit as st

from leaderboard.reported import Beside

STYLE = """
.board { overflow-x: auto; }
.board table { border-collapse: collapse; font-size: 0.95rem; font-variant-numeric: tabular-nums; }
.board th, .board td { padding: 0.35rem 0.9rem 0.35rem 0; text-align: left; white-space: nowrap; }
.board th { border-bottom: 1px solid #8888; font-weight: 600; }
.board tbody th { padding-top: 1rem; font-weight: 600; }
.board tbody tr:hover { background: #8881; }
.board td.number { text-align: right; }
"""


def show_beside(table: Beside) -> None:
    """A table of plain text."""
    head = "".join(f"<th>{escape(text)}</th>" for text in table.heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in table.rows)
    st.html(
        f"<style>{STYLE}</style><div class='board reported'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
