"""Where the suites, recipes and references that come with the project are."""

from __future__ import annotations

from pathlib import Path


def config_dir() -> Path:
    """The folder of suites, recipes and references: the checkout's, or the installed package's."""
    here = Path(__file__).resolve().parents[1]
    checkout = here.parent / "configs"
    return checkout if checkout.is_dir() else here / "configs"
