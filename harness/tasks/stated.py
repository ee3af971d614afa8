"""What is declared about a run and cannot be seen from it: what others say of the networks and weights they bring."""

from __future__ import annotations

from typing import Any

from harness.models.registry import ModelEntry
from harness.models.requirements import installed
from harness.tasks.task import Task

# Where a run's provenance keeps it.
PRETRAINED_ON = "pretrained_on"
DECLARED = "declared"


def stated_facts(task: Task) -> dict[str, Any]:
    """What the run's provenance keeps from the beginning; empty where nothing is declared.

    What the suite says of a model comes first. What a network's file says of itself does not hold for weights that the
    run is given.
    """
    chosen = task.job.model
    names = chosen.pretrained_on
    if names is None and chosen.checkpoint is None and chosen.start_from is None:
        names = task.model.pretrained_on
    facts: dict[str, Any] = {} if names is None else {PRETRAINED_ON: list(names)}
    declared = _declared(task)
    return facts | ({DECLARED: declared} if declared else {})


def _declared(task: Task) -> dict[str, Any]:
    """What a stranger's network says of itself: authors, paper, license, packages, and its own input."""
    entry = task.model
    if not _is_strangers(entry):
        return {}
    recipe = task.job.recipe
    facts = {
        "authors": list(entry.authors),
        "paper": entry.paper,
        "license": entry.license,
        "requires": list(installed(entry.requires, entry.name)),
        "normalize": recipe.normalize if entry.normalize == recipe.normalize else "",
        "size": list(recipe.size) if entry.size == recipe.size else [],
    }
    return {name: value for name, value in facts.items() if value}


def _is_strangers(entry: ModelEntry) -> bool:
    return entry.origin.startswith(("file", "plugin"))
