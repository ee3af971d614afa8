"""Mappings of recipe fields: laid over one another, and addressed by dotted paths."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from harness.config.recipe import carried_over, recipe_paths
from harness.errors import UnknownName

SHORT_PATHS = {
    "lr": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "momentum": "optimizer.momentum",
}


def check_recipe_path(key: str) -> None:
    """Refuse a dotted path that leads to no field of a recipe.

    Raises:
        ValueError: naming the nearest field.
    """
    path = SHORT_PATHS.get(key, key)
    if path in recipe_paths(own=True):
        return
    known = list(recipe_paths())
    if path not in known:
        raise ValueError(UnknownName.of("recipe field", key, [*known, *SHORT_PATHS], "docs/suites.md").message)


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another.

    A new length replaces the old kind of length, and a new kind of optimizer or schedule what only the old kind has.
    """
    result = dict(under)
    if "epochs" in over or "iterations" in over:
        result.pop("epochs", None)
        result.pop("iterations", None)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merge(carried_over(key, old, value), value)
        else:
            result[key] = value
    return result


def grid_cells(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the grid's values; one empty cell for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def cell_recipe(recipe: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    """A recipe's fields with the values of a grid cell."""
    for key, value in cell.items():
        if key.startswith("model."):
            continue
        nested: Any = value
        for step in reversed(SHORT_PATHS.get(key, key).split(".")):
            nested = {step: nested}
        recipe = merge(recipe, nested)
    return recipe
