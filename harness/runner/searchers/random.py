"""Independent draws from each range; needs no other package."""

from __future__ import annotations

from typing import Any, Literal

from harness.config.suite import Search
from harness.runner.searchers import SEARCHERS


@SEARCHERS.register("random")
def random(search: Search, metric: str, mode: Literal["max", "min"]) -> Any:
    """Draw by the search's seed."""
    from ray.tune.search.basic_variant import BasicVariantGenerator

    return BasicVariantGenerator(random_state=search.seed)
