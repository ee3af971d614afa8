"""The environment variables that the project reads, all of them; docs/environment.md has this list."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """An environment variable of the project's own."""

    name: str
    about: str
    """One sentence for a user."""
    for_workers: bool = False
    """Whether the machines of a Ray cluster are told its value."""

    @property
    def value(self) -> str | None:
        """What it is set to now; None where it is not set, or to nothing."""
        return os.environ.get(self.name) or None


VARIABLES = {
    variable.name: variable
    for variable in (
        Variable("SEGBENCH_DATA", "The folder of the data sets, where `--data-dir` does not name one."),
        Variable(
            "SEGBENCH_CACHE_DIR",
            "The folder of everything that can be made or fetched again: decoded data, working copies, what was "
            "measured or checked once.",
            for_workers=True,
        ),
        Variable(
            "SEGBENCH_CACHE_GB",
            "Gigabytes that decoded data may take, 100 unless told; 0 turns that cache off.",
            for_workers=True,
        ),
        Variable(
            "SEGBENCH_MEGAPIXELS",
            "Millions of pixels that an image may have, 150 unless told.",
            for_workers=True,
        ),
        Variable("SEGBENCH_DB", "The results database of a leaderboard that is served without `bench leaderboard`."),
        Variable(
            "SEGBENCH_ISOLATION",
            "How the process of a network is held (docs/security.md): `strict`, as long as nothing else is said; "
            "`network`, with TCP connections; `off`, with nothing but limits.",
            for_workers=True,
        ),
        Variable(
            "SEGBENCH_PASS",
            "Names of environment variables that a network may see besides the usual ones, parted by commas.",
            for_workers=True,
        ),
        Variable("SEGBENCH_DEBUG", "Set to anything, an error shows its traceback, as `--debug` does."),
        Variable(
            "SEGBENCH_NO_KERNELS",
            "Set to anything, scoring does without compiled kernels: slower, the same bits.",
            for_workers=True,
        ),
    )
}


def setting(name: str) -> str | None:
    """What a variable of the list is set to; None where it is not, or to nothing.

    Raises:
        KeyError: it is not in the list.
    """
    return VARIABLES[name].value


def for_workers() -> dict[str, str]:
    """What the machines of a Ray cluster are told; no database's address, with its password."""
    return {name: v.value for name, v in VARIABLES.items() if v.for_workers and v.value is not None}
