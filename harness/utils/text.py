"""Text from strangers, made fit to be kept and shown: no control characters, only Unicode, not too long."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

# Characters of a line such as a reason or a name, and of a text such as a traceback.
LINE, TEXT = 500, 20_000
# Dropped: control characters (Cc), formatting such as a change of the writing direction (Cf), lone surrogates (Cs),
# separators of lines (Zl, Zp). Kept of them: line breaks, tabs, and the joiners that some scripts need.
_KEPT = "\n\t\u200c\u200d"
_DROPPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def plain_text(text: str, limit: int = TEXT) -> str:
    """A text without control characters; what is over the limit is cut, and said so.

    Line breaks and tabs stay. Other control and formatting characters and lone surrogates become U+FFFD.
    """
    clean = printable(text[: limit + 1])
    if len(text) <= limit:
        return clean
    told = f" … (cut: it had {len(text):,} characters)"
    return clean[: limit - len(told)] + told


def printable(text: str, dropped: Sequence[str] = _DROPPED) -> str:
    """A text of any length without what `plain_text` takes out, or without characters of some categories only."""
    if text.isascii() and text.isprintable():
        return text
    lines = text.replace("\r\n", "\n")
    return "".join(c if c in _KEPT or unicodedata.category(c) not in dropped else "\ufffd" for c in lines)


def plain_line(text: str, limit: int = LINE) -> str:
    """One line of a text, in the same way; line breaks and tabs become spaces."""
    return plain_text(" ".join(text[: 4 * limit].split("\n")).replace("\t", " ").strip(), limit)


def plain_values(value: Any, depth: int = 0) -> Any:
    """The same for every text in lists and dictionaries; what lies deeper than twenty levels is left out."""
    if isinstance(value, str):
        return plain_text(value)
    if depth > 20:
        return None
    if isinstance(value, Mapping):
        return {plain_line(str(key)): plain_values(one, depth + 1) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(one, depth + 1) for one in value]
    return value
