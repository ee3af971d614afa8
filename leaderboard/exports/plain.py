"""Text that leaves for another program and does nothing there: cells of CSV and Markdown, JSON on a terminal."""

from __future__ import annotations

import re
import unicodedata

from harness.utils.text import plain_line

# What spreadsheets take for the beginning of a formula.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")

_PUNCTUATION = re.compile(r"[\\`*_{}\[\]|~$]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_ACTIVE = ("Cc", "Cf", "Cs", "Zl", "Zp")


def excel_safe(text: str) -> str:
    """A cell that a spreadsheet shows and does not compute: with an apostrophe before what would be a formula."""
    return f"'{text}" if text.startswith(FORMULA) else text


def markdown(text: str) -> str:
    """Text inside a line, or a cell, that reads the same in Markdown: no markup, HTML, link, image, formula or mention.

    GitHub makes links of bare addresses and mentions of `@name`: a word joiner, which is not seen, keeps it from that.
    """
    line = _PUNCTUATION.sub(lambda m: f"\\{m[0]}", plain_line(text))
    line = re.sub(r"[&<>]", lambda m: _ENTITIES[m[0]], line)
    line = re.sub(r"(?i)(https?|ftp|www|mailto|xmpp)(?=[:.])", "\\1&#8288;", line)
    return line.replace("@", "@&#8288;")


def markdown_line(text: str) -> str:
    """The same for a line of its own: it begins no heading, list or rule either."""
    return re.sub(r"^(\d{1,9})(?=[.)])", r"\1\\", re.sub(r"^(?=[#+\-=])", r"\\", markdown(text)))


def json_text(text: str) -> str:
    """JSON, as `json.dumps` gives it, with what could steer a terminal or is not Unicode as escapes; the same value."""
    return "".join(_escaped(c) if not c.isascii() and unicodedata.category(c) in _ACTIVE else c for c in text)


def _escaped(c: str) -> str:
    code = c.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{code[i : i + 2].hex()}" for i in range(0, len(code), 2))
