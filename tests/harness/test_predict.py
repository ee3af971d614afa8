"""How label maps are made: sizes, frames, windows and test-time augmentation, each back at the image's own pixels."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.recipe import Predict, Recipe
from harness.scoring.predict import predict_image, starts, window_weight
from harness.utils.images import letterbox_margins


def brightness(images: Tensor) -> Tensor:
    """A network that sees one pixel at a time: two logits that say how bright it is."""
    value = images.float().mean(dim=1, keepdim=True) / 255
    return torch.cat([0.5 - value, value - 0.5], dim=1) * 8


def picture(height: int = 50, width: int = 70) -> Tensor:
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    image[:, 10:30, 20:60] = 255
    return image


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "whole"},
        {"mode": "slide"},
        {"mode": "slide", "blend": "gaussian", "overlap": 0.5},
        {"mode": "slide", "overlap": 0.0},
        {"mode": "whole", "flip": True},
        {"mode": "slide", "flip": True},
    ],
    ids=str,
)
def test_a_network_that_sees_single_pixels_predicts_the_same_by_every_mode_that_keeps_the_size(
    how: dict[str, object],
) -> None:
    image = picture()
    logits = predict_image(brightness, image, (32, 32), Predict.model_validate(how))
    assert logits.shape == (2, 50, 70)
    assert torch.equal(logits.argmax(0), (image[0] > 127).long())


@pytest.mark.parametrize("mode", ["resize", "letterbox"])
@pytest.mark.parametrize("more", [{}, {"flip": True}, {"scales": (0.5, 1.0, 1.5), "flip": True}], ids=str)
def test_other_sizes_come_back_to_the_same_place(mode: str, more: dict[str, object]) -> None:
    image = picture()
    logits = predict_image(brightness, image, (64, 64), Predict.model_validate({"mode": mode, **more}))
    wrong = logits.argmax(0) != (image[0] > 127).long()
    assert wrong.float().mean() < 0.05
    assert not wrong[15:25, 25:55].any()
    assert not wrong[35:, :].any()


def test_scales_of_a_whole_image() -> None:
    how = Predict(mode="whole", scales=(0.75, 1.0, 1.25), flip=True)
    logits = predict_image(brightness, picture(), (32, 32), how)
    assert logits.exp().sum(0).allclose(torch.ones(50, 70), atol=1e-5)
    assert (logits.argmax(0) != (picture()[0] > 127).long()).float().mean() < 0.05


def test_one_sigmoid_channel_is_averaged_as_a_probability() -> None:
    def network(images: Tensor) -> Tensor:
        return brightness(images)[:, 1:]

    logits = predict_image(network, picture(), (32, 32), Predict(mode="whole", flip=True))
    assert logits.shape == (1, 50, 70)
    assert torch.allclose(logits, network(picture()[None])[0], atol=1e-3)


def test_an_image_smaller_than_a_window_is_padded_and_cut_back() -> None:
    logits = predict_image(brightness, picture(), (96, 64), Predict(mode="slide"))
    assert torch.equal(logits.argmax(0), (picture()[0] > 127).long())


@pytest.mark.parametrize(
    ("length", "window", "overlap"), [(584, 64, 1 / 3), (70, 64, 0.5), (64, 64, 0.2), (500, 7, 0.9)]
)
def test_windows_are_even_cover_everything_and_overlap_enough(length: int, window: int, overlap: float) -> None:
    found = starts(length, window, overlap)
    assert (found[0], found[-1]) == (0, length - window)
    steps = [b - a for a, b in pairwise(found)]
    assert all(step <= window * (1 - overlap) + 1 for step in steps)
    assert not steps or max(steps) - min(steps) <= 1


def test_gaussian_windows_trust_their_centre() -> None:
    weight = window_weight((32, 48), "gaussian")
    assert weight.max() == weight[15:17, 23:25].max()
    assert weight.min() > 0


@pytest.mark.parametrize("shape", [(584, 565), (375, 500), (10, 10)])
def test_letterbox_margins_are_even_and_give_the_proportions(shape: tuple[int, int]) -> None:
    left, top, right, bottom = letterbox_margins(shape, (256, 256))
    assert shape[0] + top + bottom == shape[1] + left + right == max(shape)
    assert abs(left - right) <= 1
    assert abs(top - bottom) <= 1


def test_letterboxed_training_images_have_black_and_void_margins() -> None:
    recipe = Recipe.model_validate({"epochs": 1, "size": [32, 32], "augment": [{"op": "letterbox"}]})

    image, mask = torch.full((3, 20, 40), 200, dtype=torch.uint8), torch.ones((20, 40), dtype=torch.uint8)
    image, mask = augmented(training_transform(recipe.augment, recipe.size), image, mask)
    assert image.shape == (3, 32, 32)
    assert not image[:, :7].any()
    assert (mask[:7] == 255).all()
    assert (mask[9:23] == 1).all()
