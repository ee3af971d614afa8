"""Whether the packages called `bench`, `harness` and `leaderboard` are ours: others may be called so, too."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

NAMES = ("bench", "harness", "leaderboard")
# Where ours stand.
HOME = Path(__file__).resolve().parents[1]


def refuse_others() -> None:
    """End with one message where Python finds another package in the place of one of ours: nothing would work."""
    for name in NAMES[1:]:
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a module of that name that was made by hand
            spec = None
        place = _place(spec)
        if place != HOME / name:
            print(
                f"error: in place of segbench's package `{name}`, Python finds {place or 'none'}\n"
                "Install segbench into a virtual environment of its own, and leave that folder out of PYTHONPATH.",
                file=sys.stderr,
            )
            raise SystemExit(2)


def other_packages() -> Iterator[str]:
    """A sentence for each package that has one of our names elsewhere on Python's path, and for files of two owners."""
    for name in NAMES:
        for entry in dict.fromkeys(sys.path):
            spec = PathFinder.find_spec(name, [entry or "."])
            place = _place(spec)
            if place not in (None, HOME / name):
                yield f"another package `{name}` is at {place}"
        owners = _owners().get(name, ())
        if len(set(owners)) > 1:
            yield f"`{name}` is installed by {' and '.join(sorted(set(owners)))}: files of one lie over the other's"


def _place(spec: ModuleSpec | None) -> Path | None:
    """The folder of a package, or the file of a module; of a folder without code there is none."""
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).resolve()
    return path if spec.submodule_search_locations is None else path.parent


def _owners() -> dict[str, list[str]]:
    from importlib.metadata import packages_distributions

    return dict(packages_distributions())
