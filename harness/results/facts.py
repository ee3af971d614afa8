"""What is known of how a run came about, and keeps its scores apart from others: where they are from, pretraining."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from harness.models.registry import BY_PARAMETER
from harness.results.rows import PREDICTIONS
from harness.tasks.stated import PRETRAINED_ON
from harness.utils.pretraining import data_set_names

ScoresFrom = Literal["training", "checkpoint", "label maps"]


def scores_from(origin: str, checkpoint: bool) -> ScoresFrom:
    """Whether a run was trained here, scored weights from elsewhere, or scored label maps from elsewhere.

    Args:
        origin: the network's origin, as the row keeps it.
        checkpoint: whether the run scored a file of weights.
    """
    if origin == PREDICTIONS:
        return "label maps"
    return "checkpoint" if checkpoint else "training"


def pretraining(
    origin: str, params: Mapping[str, Any], weights_given: bool, provenance: Mapping[str, Any]
) -> tuple[str, ...] | None:
    """The data sets on which the weights that a run began with were trained.

    Args:
        origin: the network's origin, as the row keeps it.
        params: the network's parameters.
        weights_given: whether the run began with weights from a file, scored or trained on.
        provenance: of the run; holds what the suite or the network's file declares.

    Returns:
        Their names; () from scratch; None where nobody declared it.
    """
    if PRETRAINED_ON in provenance:
        return tuple(provenance[PRETRAINED_ON])
    if weights_given or origin not in BY_PARAMETER:
        return None
    given = params.get("pretrained")
    if given is None or given is False:
        return ()
    # A library's own word for what its weights were trained on counts; a place where weights lie says nothing of it.
    if not isinstance(given, str) or re.search(r"[/\\.]", given):
        return None
    return data_set_names(given)


def search_budget(search: Mapping[str, Any] | None) -> tuple[int, float | None] | None:
    """Trials and hours that a search could take; None where hyperparameters were given.

    The hours are None where only the trials were limited.
    """
    if search is None:
        return None
    spec = search.get("spec", {})
    return int(spec.get("trials", search["trials"])), spec.get("hours")
