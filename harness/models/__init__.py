"""Networks: one file each. `harness.models.registry` knows them by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def build(name: str, num_classes: int, **params: Any) -> nn.Module:
    """Build a network by name.

    Args:
        name: a network `bench models` lists.
        num_classes: channels of the logits.
        params: the builder's own parameters.

    Raises:
        UnknownName: there is no such network.
        TypeError: the builder has no such parameter.
    """
    from harness.models.registry import find_model

    return find_model(name).load()(num_classes, **params)
