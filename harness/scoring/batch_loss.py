"""The loss of batches of a split on the network's own input, as a training's code logs it beside its scores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from harness.augmentations.letterbox import Letterbox
from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.recipe import Recipe
from harness.losses import total_loss
from harness.scoring.predict import forward
from harness.scoring.samples import DecodedSamples


def _transform(recipe: Recipe) -> Any:
    """How images and masks come to the recipe's size: as for training without an augmentation."""
    return training_transform((Letterbox(),) if recipe.predict.mode == "letterbox" else (), recipe.size, recipe.fill)


def _parts(ids: Sequence[str], recipe: Recipe) -> Iterator[Sequence[str]]:
    count = recipe.predict.loss_batch or len(ids)
    for first in range(0, len(ids), count):
        yield ids[first : first + count]


@torch.inference_mode()
def batch_logits(
    model: nn.Module, samples: DecodedSamples, ids: Sequence[str], recipe: Recipe, channels: int, stride: int
) -> Iterator[Tensor]:
    """The logits (N, K, h, w) of each batch of `predict.loss_batch` images, in order; the last batch may be smaller.

    Images are brought to the recipe's size as for training without an augmentation: resized, after padding in the mode
    letterbox.

    Args:
        model: the network; put into evaluation mode here, and back afterwards.
        samples: where the images come from.
        ids: which images.
        recipe: how images are brought to the network.
        channels: K of the logits.
        stride: the network's stride.
    """
    transform = _transform(recipe)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    try:
        for part in _parts(ids, recipe):
            images = [samples.image(image_id) for image_id in part]
            shown = [augmented(transform, image, torch.zeros(image.shape[-2:], dtype=torch.uint8)) for image in images]
            yield forward(model, torch.stack([image for image, _ in shown]).to(device), recipe, channels, stride)
    finally:
        model.train(was_training)


def batch_losses(logits: Iterable[Tensor], samples: DecodedSamples, ids: Sequence[str], recipe: Recipe) -> list[float]:
    """The recipe's loss of each batch. What counts of the masks is what counts in training.

    Args:
        logits: of each batch, from `batch_logits`.
        samples: where images and masks come from.
        ids: the same images.
        recipe: the loss.
    """
    transform, ignore, found = _transform(recipe), samples.dataset.info.ignore_index, []
    for part, given in zip(_parts(ids, recipe), logits, strict=True):
        masks = []
        for image_id in part:
            image, mask, valid = samples.get(image_id)
            masks.append(augmented(transform, image, recipe.loss.target(mask, ignore, valid))[1])
        target = recipe.loss.target(torch.stack(masks).to(given.device), ignore)
        found.append(float(total_loss(given, target, recipe.loss, ignore)))
    return found
