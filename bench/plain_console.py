"""Rich's console, of which a terminal gets Rich's own escape sequences and no others."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from harness.utils.text import printable


class PlainConsole(Console):
    """Renders everything as Rich does, then takes control characters and links out of every piece of text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of a text; those that only move the cursor, which are Rich's own, stay as they are."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else _plain(segment)


def _plain(segment: Segment) -> Segment:
    style = segment.style
    if style is not None and style.link:
        style = style.update_link(None)
    return Segment(printable(segment.text), style)
