"""Figures of a paper with matplotlib: inert text, fonts that can be embedded, the same bytes for the same data.

Needs the extra `figures`. Nothing global is changed: figures are objects, settings hold while one is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import BenchError
from harness.utils.files import new_file
from harness.utils.text import plain_line
from harness.utils.version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png", "svg")
CENTIMETRE = 1 / 2.54
# Okabe and Ito's colours, which people with any kind of colour vision tell apart; yellow, too pale for lines, is left
# out. Okabe, Ito: Color Universal Design, 2008.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F", "#8C510A")
MARKERS = ("o", "s", "D", "^", "P", "v", "p", "X")
_FONT = "DejaVu Sans"
_SETTINGS: dict[str, Any] = {
    "font.family": _FONT,
    "font.size": 8.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 8.0,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "text.usetex": False,
    "axes.formatter.use_mathtext": False,
    "pdf.fonttype": 42,  # as publishers want it: no fonts of type 3
    "svg.hashsalt": "segbench",
    "savefig.dpi": 300,
}
# Pixels of a figure's longer side that are refused: what a name or a board could blow it up to.
_LARGEST = 20_000


@contextmanager
def drawing() -> Iterator[None]:
    """Settings for what is drawn and saved inside.

    Raises:
        BenchError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise BenchError(
            "figures need matplotlib, which is not installed", 'pip install "segbench[figures]"'
        ) from error
    settings: dict[Any, Any] = dict(mpl.rcParamsDefault)
    with mpl.rc_context(settings | _SETTINGS | {"backend": "agg"}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure; sizes in centimetres."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width * CENTIMETRE, height * CENTIMETRE), layout="constrained")
    if max(figure.get_size_inches()) * _SETTINGS["savefig.dpi"] > _LARGEST:
        raise BenchError(f"a figure of {width:.0f} × {height:.0f} cm is too large", "Choose fewer models or images.")
    return figure


def save(figure: Figure, folder: Path, name: str, formats: Sequence[str], told: Sequence[str]) -> list[Path]:
    """Write a figure in some formats, each whole or not at all; where it comes from is in its properties.

    Args:
        figure: the figure.
        folder: exists.
        name: of the files, without their ending.
        formats: of `FORMATS`.
        told: lines that say where it comes from.

    Raises:
        OSError: a file cannot be written.
    """
    written = []
    for format in formats:
        target = folder / f"{name}.{format}"
        with new_file(target) as path:
            figure.savefig(path, format=format, metadata=_metadata(format, name, "; ".join(map(plain_line, told))))
        written.append(target)
    return written


def _metadata(format: str, title: str, told: str) -> dict[str, str | None]:
    creator = f"segbench {__version__}"
    if format == "pdf":  # without dates, so that the same figure has the same bytes
        return {"Title": title, "Subject": told, "Creator": creator, "CreationDate": None, "ModDate": None}
    if format == "svg":
        return {"Title": title, "Description": told, "Creator": creator, "Date": None}
    return {"Title": title, "Description": told, "Software": creator}


class Texts:
    """Text as the font can draw it; remembers what it could not."""

    def __init__(self) -> None:
        self.replaced: set[str] = set()

    def __call__(self, text: str, most: int = 60) -> str:
        """One line, not too long, in which characters that the font lacks are question marks."""
        line = plain_line(text)
        line = line if len(line) <= most else line[: most - 1] + "…"
        lost = {c for c in line if ord(c) not in _characters()}
        self.replaced |= lost
        return "".join("?" if c in lost else c for c in line)

    @property
    def notes(self) -> list[str]:
        """What could not be drawn, in a line."""
        if not self.replaced:
            return []
        codes = " ".join(f"U+{ord(c):04X}" for c in sorted(self.replaced))
        return [f"characters that the figures' font does not have became question marks: {codes}"]


@cache
def _characters() -> Mapping[int, int]:
    from matplotlib.font_manager import findfont
    from matplotlib.ft2font import FT2Font

    return FT2Font(findfont(_FONT)).get_charmap()


def colour(i: int) -> str:
    """The colour of the i-th thing."""
    return COLOURS[i % len(COLOURS)]


def marker(i: int) -> str:
    """The sign of the i-th thing."""
    return MARKERS[i % len(MARKERS)]
