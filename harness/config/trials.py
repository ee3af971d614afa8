"""The same number of search trials for every network of a suite: what `bench run --tune N` asks for."""

from __future__ import annotations

from typing import Any

from harness.config.fields import SHORT_PATHS
from harness.config.recipe import Recipe
from harness.config.suite import Range, Search, Suite
from harness.errors import SuiteError

# Where a suite says nothing of its own: a decade down and a decade up from what the network's recipe has.
DEFAULT_SPACE = {"optimizer.lr": Range(times=(0.1, 10)), "optimizer.weight_decay": Range(times=(0.1, 10))}


def with_trials(suite: Suite, trials: int) -> Suite:
    """The suite with a search of so many trials for each of its networks.

    A suite's own search keeps everything but its number of trials and its limit of hours, which would give a slow
    network fewer trials than a fast one. A suite without one is searched over `DEFAULT_SPACE`.

    Args:
        suite: the suite.
        trials: trials of each network.

    Raises:
        SuiteError: there would be no trial.
    """
    if trials < 1:
        raise SuiteError(f"tune: {trials} trials are none", "Give at least 1, such as --tune 20.")
    given = suite.search or Search(space=DEFAULT_SPACE, trials=trials)
    return suite.model_copy(update={"search": given.model_copy(update={"trials": trials, "hours": None})})


def search_around(search: Search, recipe: Recipe, title: str) -> Search:
    """A search whose ranges are those of one network: every `times` is resolved around the value of its recipe.

    An axis whose value is 0 is left out, since no factor changes it.

    Args:
        search: what the suite says.
        recipe: the network's recipe.
        title: the network, for the message.

    Raises:
        SuiteError: an axis has no number in the recipe, or none is left.
    """
    fields = recipe.model_dump()
    space: dict[str, Range] = {}
    for name, values in search.space.items():
        if values.times is None:
            space[name] = values
            continue
        center = _number(fields, name, title)
        if center:
            low, high = values.times
            space[name] = Range(loguniform=(center * low, center * high))
    if not space:
        raise SuiteError(f"search: {title}: nothing to search: its recipe has 0 at {', '.join(search.space)}")
    return search.model_copy(update={"space": space})


def _number(fields: Any, name: str, title: str) -> float:
    """The number at a dotted path of a recipe."""
    for step in SHORT_PATHS.get(name, name).split("."):
        fields = fields.get(step) if isinstance(fields, dict) else None
    if isinstance(fields, bool) or not isinstance(fields, int | float):
        raise SuiteError(f"search: {title}: {name}: its recipe has no number here that `times` could multiply")
    return float(fields)
