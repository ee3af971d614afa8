"""ImageNet weights: through torchvision, with a clear message where they cannot be fetched."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from torch import Tensor, hub

from harness.errors import WeightsError
from harness.utils.vision import import_torchvision


def imagenet_or_none(pretrained: str, backbone: str) -> Any:
    """Torchvision's weights object for `imagenet`, None for `none`.

    Raises:
        WeightsError: another value was given.
    """
    if pretrained == "none":
        return None
    if pretrained != "imagenet":
        raise WeightsError(f"pretrained={pretrained!r}: use 'imagenet' or 'none'")
    import_torchvision()
    from torchvision.models import get_model_weights

    return get_model_weights(backbone)["IMAGENET1K_V1"]


def weights_file(url: str) -> Path:
    """Where torch keeps the file of a URL."""
    return Path(hub.get_dir()) / "checkpoints" / Path(urlsplit(url).path).name


def imagenet_state(backbone: str) -> dict[str, Tensor]:
    """The ImageNet weights of a torchvision classification network.

    Raises:
        WeightsError: they are neither here nor to be fetched; says where to place them by hand.
    """
    weights = imagenet_or_none("imagenet", backbone)
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"The ImageNet weights of {backbone} could not be fetched: {error}",
            f"Get {weights.url} elsewhere and place it at {weights_file(weights.url)}, or train from scratch with "
            f"the model parameter pretrained: none.",
        ) from error
    return state
