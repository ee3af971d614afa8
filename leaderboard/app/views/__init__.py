"""The app's pages. Each file declares itself: TITLE, URL, ORDER, and `show()`; no list is edited to add one."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType


def all_pages() -> list[ModuleType]:
    """Every page, in the order in which they are shown; the first is the start page."""
    found = [importlib.import_module(f"{__name__}.{info.name}") for info in pkgutil.iter_modules(__path__)]
    return sorted(found, key=lambda page: page.ORDER)
