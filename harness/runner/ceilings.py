"""The ceilings of a plan: what networks would score that are perfect at the input sizes of its jobs."""

from __future__ import annotations

import os
from dataclasses import dataclass

from harness.metrics.metric import metric_title
from harness.metrics.protocol import protocol_title
from harness.runner.plan import Plan
from harness.scoring.ceiling import BOUNDARY, SPLIT, ceiling, ceiling_key, input_text, takes_seconds


@dataclass(frozen=True)
class PlannedCeiling:
    """The ceiling of one data set, input size, way of predicting and protocol of a plan."""

    dataset: str
    """Its name and variant."""
    input: str
    protocol: str
    metric: str
    """The title of the data set's headline metric."""
    headline: float | None = None
    biou: float | None = None
    later: bool = False
    """Whether it is left to the run, which has time for it."""


def planned_ceilings(plan: Plan) -> list[PlannedCeiling]:
    """Each distinct ceiling of a plan's jobs, in their order; those of many pixels are not computed here."""
    tasks = {ceiling_key(task.job, task.manifest): task for task in reversed(plan.jobs)}
    found = []
    for task in reversed(tasks.values()):
        job, dataset = task.job, task.dataset
        if not dataset.ids(SPLIT, job.images):
            continue
        title = metric_title(dataset.info.headline)
        protocol = protocol_title(job.stored_protocol, dataset.info.protocol)
        told = (f"{dataset.info.name} ({dataset.variant})", input_text(job.recipe), protocol, title)
        if takes_seconds(job, dataset, task.manifest):
            scores = ceiling(job, dataset, task.manifest, os.cpu_count() or 1)["scores"]
            found.append(PlannedCeiling(*told, scores[dataset.info.headline], scores[BOUNDARY]))
        else:
            found.append(PlannedCeiling(*told, later=True))
    return list(dict.fromkeys(found))
