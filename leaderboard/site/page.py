"""Pages of the static site: what they have in common, and the parts that the browser draws."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from leaderboard.shown.markup import Html, element, together

# Nothing may be loaded from elsewhere, sent, framed or embedded, whatever a database says.
POLICY = (
    "connect-src 'none'; frame-src 'none'; object-src 'none'; form-action 'none'; base-uri 'none'; font-src 'none'; "
    "img-src data: blob:; media-src 'none'"
)
_COMPONENTS = ("table", "viewer")


def page(title: str, body: Html, links: Sequence[tuple[str, str, bool]], plotly: bool = False, up: str = "") -> str:
    """A whole page.

    Args:
        title: of the page.
        body: what stands on it.
        links: text, file, and whether it is this page.
        plotly: whether it has figures.
        up: the way to the site's folder.
    """
    nav = element(
        "nav",
        together(
            *(element("a", text, href=file, **({"aria_current": "page"} if here else {})) for text, file, here in links)
        ),
        aria_label="Pages",
    )
    scripts = [f"{up}assets/parts.js", f"{up}assets/site.js"]
    if plotly:
        scripts.insert(0, f"{up}assets/plotly.min.js")
    head = together(
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        Html(f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'),
        Html('<meta name="referrer" content="no-referrer">'),
        element("title", title),
        Html(f'<link rel="stylesheet" href="{up}assets/site.css">'),
    )
    tail = Html("".join(f'<script src="{one}"></script>' for one in scripts))
    whole = together(element("header", nav), element("main", body), tail)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>{whole}</body></html>\n'


def part(kind: str, data: Mapping[str, Any]) -> Html:
    """A part that the browser draws from its data: `table`, `viewer`, or `figure` (Plotly's own JSON)."""
    return together(
        element("div", class_=f"part {kind}", data_part=kind),
        Html(f'<script type="application/json">{inline_json(data)}</script>'),
    )


def inline_json(value: Any) -> str:
    """JSON that stands inside a page: nothing in it ends a script or begins a comment."""
    text = json.dumps(value, ensure_ascii=True, default=_plain, allow_nan=True)
    # JavaScript's JSON knows no NaN: where nothing is drawn, nothing is null.
    text = re.sub(r"(?<=[\[,: ])(?:NaN|-?Infinity)(?=[,\]} ])", "null", text)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """Arrays of NumPy as lists."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def assets(plotly: bool) -> dict[str, str]:
    """The files that pages share: the app's own components, as plain scripts."""
    folder = files("leaderboard.app.components")
    made = {
        name: ((folder / f"{name}.js").read_text("utf-8"), (folder / f"{name}.css").read_text("utf-8"))
        for name in _COMPONENTS
    }
    # A page that is opened from a disk cannot load modules: the same code as plain functions.
    scripts = [
        f"const {name}Part = (() => {{ {js.replace('export default function', 'return function')} }})();"
        for name, (js, _) in made.items()
    ]
    styles = ", ".join(f"{name}: {json.dumps(css)}" for name, (_, css) in made.items())
    own = files("leaderboard.site.assets")
    found = {
        "parts.js": "\n".join([*scripts, f"const partStyles = {{ {styles} }};"]),
        "site.js": (own / "site.js").read_text("utf-8"),
        "site.css": (own / "site.css").read_text("utf-8"),
    }
    if plotly:
        from plotly.offline import get_plotlyjs

        found["plotly.min.js"] = get_plotlyjs()
    return found
