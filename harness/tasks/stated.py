"""What is declared about a run and cannot be seen from it: the pretraining of weights that others bring."""

from __future__ import annotations

from typing import Any

from harness.tasks.task import Task

# Where a run's provenance keeps it.
PRETRAINED_ON = "pretrained_on"


def stated_facts(task: Task) -> dict[str, Any]:
    """What the run's provenance keeps from the beginning; empty where nothing is declared.

    What the suite says of a model comes first. What a network's file says of itself does not hold for weights that the
    run is given.
    """
    chosen = task.job.model
    names = chosen.pretrained_on
    if names is None and chosen.checkpoint is None and chosen.start_from is None:
        names = task.model.pretrained_on
    return {} if names is None else {PRETRAINED_ON: list(names)}
