"""What draws the hyperparameters of a search. To add a searcher, write a module here that registers it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from harness.config.suite import Search
from harness.utils.registry import Registry

# (the search, what trials report their score as, `max` or `min`) -> what Ray Tune takes as `search_alg`.
Searcher = Callable[[Search, str, Literal["max", "min"]], Any]

SEARCHERS: Registry[Searcher] = Registry("searcher", __name__, "segbench.searchers", "docs/cluster.md")
