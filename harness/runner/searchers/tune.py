"""Ray Tune's searchers, each of which needs a package of its own."""

from __future__ import annotations

from typing import Any, Literal

from harness.config.suite import Search
from harness.errors import SuiteError
from harness.runner.searchers import SEARCHERS, Searcher

NAMES = ("ax", "bayesopt", "bohb", "hebo", "hyperopt", "nevergrad", "optuna", "zoopt")
# Trials that such a searcher draws before it has seen the scores of earlier ones.
CONCURRENT = 8


def _from_tune(name: str) -> Searcher:
    def searcher(search: Search, metric: str, mode: Literal["max", "min"]) -> Any:
        from ray.tune.search import ConcurrencyLimiter, create_searcher

        try:
            return ConcurrencyLimiter(create_searcher(name, metric=metric, mode=mode), max_concurrent=CONCURRENT)
        except (ImportError, AssertionError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise SuiteError(f"search.searcher: {name} cannot be used: {first}", "`random` needs nothing.") from error

    return searcher


for _name in NAMES:
    SEARCHERS.register(_name)(_from_tune(_name))
