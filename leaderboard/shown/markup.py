"""HTML in which every text is a text."""

from __future__ import annotations

from html import escape


class Html(str):
    """Text that is HTML already; only `element` and `together` make it."""

    __slots__ = ()


def element(name: str, *children: str | Html, **attributes: str) -> Html:
    """An HTML element; children that are plain text are escaped.

    Args:
        name: of the element.
        children: plain text, or what `element` returned.
        attributes: their values are escaped; `_` stands for `-` and a last one is left out: `class_`, `aria_label`.
    """
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{escape(text)}"' for key, text in attributes.items())
    inner = "".join(child if isinstance(child, Html) else escape(child) for child in children)
    return Html(f"<{name}{said}>{inner}</{name}>")


def together(*parts: str | Html) -> Html:
    """Elements and plain text one after another."""
    return Html("".join(part if isinstance(part, Html) else escape(part) for part in parts))
