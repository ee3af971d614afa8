"""What is chosen on the pages, in the address: a link carries the whole view.

Streamlit forgets the widgets of a page when another is opened, and its own binding of widgets to the address drops what
it does not know. So the view is kept here: read from the address when a session begins or when the reader goes back,
checked, and written whenever something was chosen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from leaderboard.app.inert import element, notice

Value = str | tuple[str, ...]


@dataclass(frozen=True)
class Field:
    """One thing that is chosen."""

    default: Value = ""
    pages: tuple[str, ...] = ()
    """The pages (their URL) that it belongs to; () for all."""
    among: tuple[str, ...] = ()
    """What it can be; () where only the database knows."""
    most: int = 200
    """The longest text, and with several values the largest number of them."""

    @property
    def several(self) -> bool:
        """Whether it has several values."""
        return isinstance(self.default, tuple)


BOARDS, IMAGES, TRADES, COMPARE, MODEL, RUN = "leaderboard", "images", "trade-offs", "compare", "model", "run"
OVERALL = "overall"

FIELDS = {
    "board": Field(),
    "by": Field(),
    "ask": Field("", among=("", "both", "seeds", "images")),
    "rows": Field((), most=8),
    "find": Field(pages=(BOARDS,)),
    "only": Field((), pages=(BOARDS,), most=40),
    "sort": Field(pages=(BOARDS,)),
    "precise": Field("", pages=(BOARDS,), among=("", "yes")),
    "columns": Field((), pages=(BOARDS,), most=40),
    "each": Field(pages=(BOARDS, COMPARE)),
    "image": Field(pages=(IMAGES,)),
    "order": Field("worst", pages=(IMAGES,)),
    "way": Field("overlay", pages=(IMAGES,), among=("overlay", "mask", "errors", "photo")),
    "opacity": Field("0.55", pages=(IMAGES,)),
    "outline": Field("yes", pages=(IMAGES,), among=("yes", "no")),
    "palette": Field("own", pages=(IMAGES,), among=("own", "clear")),
    "class": Field(pages=(IMAGES,)),
    "cells": Field("", pages=(IMAGES,), among=("", "all")),
    "cost": Field(pages=(TRADES,)),
    "curve": Field(pages=(COMPARE, MODEL)),
    "model": Field(pages=(MODEL,)),
    "run": Field(pages=(RUN,)),
}


class View:
    """What is chosen, in this session."""

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.reset = 0
        """Raised when the view was read from the address: then tables and viewers take it over."""
        self.unknown: list[str] = []
        """What a link named that there is not; said on the page once."""
        self.written: dict[str, list[str]] | None = None
        self.touched = False
        """Whether the reader has just chosen something: then the address he sends may be older than the view."""

    def get(self, name: str) -> str:
        """The value of a field that has one."""
        value = self.values.get(name, FIELDS[name].default)
        return value if isinstance(value, str) else ""

    def several(self, name: str) -> tuple[str, ...]:
        """The values of a field that has several."""
        value = self.values.get(name, FIELDS[name].default)
        return value if isinstance(value, tuple) else ()

    def set(self, name: str, value: str | Sequence[str] | None) -> None:
        """Choose; None, or nothing, is the default."""
        field = FIELDS[name]
        checked = _checked(field, [value] if isinstance(value, str) else list(value or []))
        if checked is None or checked == field.default:
            self.values.pop(name, None)
        else:
            self.values[name] = checked

    def take(self, name: str, value: str | Sequence[str] | None) -> None:
        """What the reader chose, in a callback."""
        self.set(name, value)
        self.touched = True

    def query(self, page: str, **instead: str | Sequence[str]) -> dict[str, list[str]]:
        """The view as the parameters of a page's address: what is not the default.

        Args:
            page: its URL.
            instead: fields with another value than is chosen.
        """
        values: dict[str, Value | Sequence[str]] = {**self.values, **instead}
        return {
            name: [value] if isinstance(value, str) else list(value)
            for name, field in FIELDS.items()
            if (value := values.get(name)) and (not field.pages or page in field.pages)
        }

    def read(self, page: str, given: Mapping[str, Sequence[str]]) -> None:
        """Take over what an address says; what it does not name is the default."""
        for name, field in FIELDS.items():
            if field.pages and page not in field.pages:
                continue
            self.values.pop(name, None)
            texts = list(given.get(name, ()))
            checked = _checked(field, texts) if texts else None
            if checked is not None:
                self.values[name] = checked
            elif texts and any(texts):
                self.unknown.append(f"{name}={', '.join(texts)[:100]}")
        self.reset += 1


def _checked(field: Field, texts: list[str]) -> Value | None:
    """The values of a field as they are kept; None where they cannot be its."""
    if field.several:
        return tuple(dict.fromkeys(text[:200] for text in texts if text))[: field.most]
    text = texts[-1] if texts else ""
    if len(text) > field.most or (field.among and text not in field.among):
        return None
    return text


def the_view() -> View:
    """The view of this session."""
    if "view" not in st.session_state:
        st.session_state["view"] = View()
    view: View = st.session_state["view"]
    return view


def begin(page: str) -> View:
    """The view as this run of the script finds it: the address counts where it is not what was written last."""
    view = the_view()
    given = {name: st.query_params.get_all(name) for name in st.query_params}
    # Two choices in a row: the second comes with the address from before the first. Going back comes with no choice.
    if view.written is None or (given != view.written and not view.touched):
        view.read(page, given)
    view.touched = False
    return view


def write(page: str) -> None:
    """Put the view into the address."""
    view = the_view()
    view.written = view.query(page)
    st.query_params.from_dict(view.written)


def say_unknown() -> None:
    """What a link named and is not there."""
    view = the_view()
    if view.unknown:
        shown = ", ".join(dict.fromkeys(view.unknown))
        notice("warning", "This link names what is not here: ", element("b", shown), ". Something else is shown.")
        view.unknown = []


def keep(name: str, key: str) -> Any:
    """A callback that takes a widget's value over into the view."""

    def take() -> None:
        value = st.session_state[key]
        the_view().take(name, value if isinstance(value, str | list | tuple) or value is None else str(value))

    return take


def widget(name: str, value: object) -> dict[str, Any]:
    """The arguments that tie a widget to a field: its key and callback, with the value it shall show now."""
    key = f"widget-{name}"
    st.session_state[key] = value
    return {"key": key, "on_change": keep(name, key)}


def go(page: str, **fields: str | Sequence[str]) -> None:
    """Open another page as soon as the script runs again: a callback cannot do it itself."""
    view = the_view()
    view.touched = True
    for name, value in fields.items():
        view.set(name, value)
    st.session_state["wanted-page"] = page


def wanted_page() -> str | None:
    """The page that `go` wanted, once."""
    page: str | None = st.session_state.pop("wanted-page", None)
    return page


def href(page: str, **fields: str | Sequence[str]) -> str:
    """The address of a page with the view and other values; relative, so that it works behind any path."""
    query = the_view().query(page, **fields)
    return f"{page}?{urlencode(query, doseq=True)}"
