"""A learning rate of the head's own needs a network that says what its head is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.config.job import Job
from harness.config.suite import Search
from harness.errors import SuiteError
from harness.models.registry import ModelEntry

FACTOR = "optimizer.head_lr_factor"


def refuse_undeclared_backbones(jobs: Iterable[Job], entries: Mapping[str, ModelEntry], search: Search | None) -> None:
    """Refuse a head's learning rate for a network that does not declare its backbone.

    Raises:
        SuiteError: names network and suite, and what to write where.
    """
    for job in jobs:
        entry = entries[job.model.name]
        if entry.backbone is not None or job.model.checkpoint is not None:
            continue
        factor = job.recipe.optimizer.head_lr_factor
        if factor != 1 or (search is not None and FACTOR in search.space):
            asked = f"is {factor:g}" if factor != 1 else "is searched"
            raise SuiteError(
                f"suite {job.suite}: {FACTOR} {asked}, but the network {entry.name} ({entry.origin}) does not say what "
                "its backbone is",
                'Declare it in the network\'s file, as in BACKBONE = ("encoder",), or BACKBONE = () where nothing is '
                "ever pretrained; or leave head_lr_factor at 1.",
            )


def searched_backbone(search: Search, entry: ModelEntry) -> dict[str, Any]:
    """What the key of a search over the head's learning rate says of the backbone."""
    return {"backbone": list(entry.backbone or ())} if FACTOR in search.space else {}
