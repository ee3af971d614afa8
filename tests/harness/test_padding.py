"""What a network sees where an image has been padded: in training, in prediction and for the losses of batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.config.recipe import Recipe
from harness.datasets.shapes import Shapes
from harness.scoring.batch_loss import batch_logits
from harness.scoring.predict import predictions
from harness.scoring.samples import DecodedSamples
from harness.training.loader import Augmentation
from harness.utils.images import normalize

# Half a step of 255, as ImageNet's least deviation enlarges it: what is left of 0 by rounding to whole numbers.
ROUNDING = 0.5 / 255 / 0.224 + 1e-6
# A picture unlike black and unlike any mean.
WHITE, MASK = torch.full((3, 40, 60), 255, dtype=torch.uint8), torch.ones((40, 60), dtype=torch.uint8)

PADDING = [
    {"op": "scale_crop", "scale": (0.5, 0.5)},
    {"op": "scale_jitter", "scale": (0.5, 0.5)},
    {"op": "letterbox"},
    {"op": "rotate", "degrees": 45},
]


def recipe(**fields: Any) -> Recipe:
    return Recipe.model_validate({"epochs": 1, "size": [64, 64], **fields})


@pytest.mark.parametrize("step", PADDING, ids=lambda step: step["op"])
@pytest.mark.parametrize("rule", ["imagenet", "unit", "symmetric"])
@pytest.mark.parametrize("pad", ["black", "mean"])
def test_padding_of_training_images_is_black_or_0_after_normalization(
    step: dict[str, Any], rule: str, pad: str
) -> None:
    augment = Augmentation(recipe(augment=[step], normalize=rule, pad=pad), seed=0)
    found = []
    for index in range(8):
        image, mask = augment(((0, index), WHITE, MASK))
        # Without what an interpolation mixes of image and padding.
        away = nn.functional.max_pool2d((mask != 255).float()[None], 9, 1, 4)[0] == 0
        found.append(normalize(image[None], rule)[0, :, away])
    seen = torch.cat(found, dim=1)
    assert seen.shape[1] > 500
    if pad == "black":
        assert torch.equal(seen, normalize(torch.zeros(1, 3, 1, 1), rule)[0, :, 0].expand_as(seen))
    else:
        assert seen.abs().max() <= ROUNDING


class Watched(nn.Module):
    """A network of one pixel that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.seen = nn.Conv2d(3, 6, 1), list[Tensor]()

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return self.layer(x)  # type: ignore[no-any-return]


@pytest.fixture
def samples(shapes_home: Path) -> DecodedSamples:
    return DecodedSamples(Shapes(shapes_home / "data" / Shapes.folders[0]))


@pytest.mark.parametrize("pad", ["black", "mean"])
@pytest.mark.parametrize(
    "predict",
    [
        {"mode": "slide"},
        {"mode": "slide", "flip": True, "scales": (0.75, 1.0)},
        {"mode": "letterbox"},
        {"mode": "letterbox", "flip": True},
    ],
    ids=str,
)
def test_padding_of_predicted_images_is_that_of_training(
    samples: DecodedSamples, predict: dict[str, Any], pad: str
) -> None:
    image_id = samples.dataset.ids("test")[0]
    height, width = samples.image(image_id).shape[-2:]
    own, network = recipe(size=[height + 32, 2 * width], predict=predict, pad=pad), Watched()
    ((_, logits),) = predictions(network, samples, [image_id], own, 6, 1)
    assert logits.shape == (6, height, width)
    black = float(normalize(torch.zeros(1, 3, 1, 1), "imagenet")[0, 0, 0, 0])
    for x in network.seen:
        # Windows are padded below and on the right, or there and on the left in the mirror; frames on both sides.
        corners = x[0, :, [0, 0, -1, -1], [0, -1, 0, -1]] if predict["mode"] == "letterbox" else x[0, :, [-1], [-1]]
        expected = 0.0 if pad == "mean" else black
        assert (corners[0] - expected).abs().max() <= ROUNDING
    assert network.seen


def test_padding_for_the_losses_of_batches_is_that_of_training(samples: DecodedSamples) -> None:
    ids = samples.dataset.ids("test", 2)
    height, width = samples.image(ids[0]).shape[-2:]
    predict = {"mode": "letterbox", "loss_batch": 2}
    network = Watched()
    list(batch_logits(network, samples, ids, recipe(size=[height, 2 * width], predict=predict, pad="mean"), 6, 1))
    assert network.seen[0].shape == (2, 3, height, 2 * width)
    assert network.seen[0][..., : width // 4].abs().max() <= ROUNDING


def test_whole_images_are_padded_with_0_up_to_the_stride_whatever_the_recipe_says(samples: DecodedSamples) -> None:
    image_id = samples.dataset.ids("test")[0]
    height, width = samples.image(image_id).shape[-2:]
    network = Watched()
    stride = 2 * max(height, width) - 1
    list(predictions(network, samples, [image_id], recipe(predict={"mode": "whole"}), 6, stride))
    assert network.seen[0].shape[-2:] == (stride, stride)
    assert not network.seen[0][..., height:, :].any()
