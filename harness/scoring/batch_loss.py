"""The loss of batches of a split on the network's own input, as a training's code logs it beside its scores."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from harness.augmentations.letterbox import Letterbox
from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.recipe import Recipe
from harness.losses import total_loss
from harness.scoring.predict import forward
from harness.scoring.samples import DecodedSamples


@torch.inference_mode()
def batch_losses(
    model: nn.Module, samples: DecodedSamples, ids: Sequence[str], recipe: Recipe, channels: int, stride: int
) -> list[float]:
    """The recipe's loss of each batch of `predict.loss_batch` images, in order; the last batch may be smaller.

    Images and masks are brought to the recipe's size as for training without an augmentation: resized, after padding in
    the mode letterbox. What counts of them is what counts in training.

    Args:
        model: the network; put into evaluation mode here, and back afterwards.
        samples: where images and masks come from.
        ids: which images.
        recipe: the loss, and how images are brought to the network.
        channels: K of the logits.
        stride: the network's stride.
    """
    count = recipe.predict.loss_batch or len(ids)
    ignore = samples.dataset.info.ignore_index
    transform = training_transform((Letterbox(),) if recipe.predict.mode == "letterbox" else (), recipe.size)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    found = []
    try:
        for first in range(0, len(ids), count):
            pairs = []
            for image_id in ids[first : first + count]:
                image, mask, valid = samples.get(image_id)
                pairs.append(augmented(transform, image, recipe.loss.target(mask, ignore, valid)))
            images, masks = (torch.stack(part).to(device) for part in zip(*pairs, strict=True))
            logits = forward(model, images, recipe, channels, stride)
            found.append(float(total_loss(logits, recipe.loss.target(masks, ignore), recipe.loss, ignore)))
    finally:
        model.train(was_training)
    return found
