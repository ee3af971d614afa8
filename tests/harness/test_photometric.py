"""The photometric distortion against mmsegmentation's published formula, computed with NumPy and OpenCV."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.augmentations import AUGMENTATIONS
from harness.augmentations.transforms.compose import augmented
from harness.augmentations.transforms.photometric import (
    PhotometricDistortion,
    Step,
    hsv_of,
    rgb_of,
    with_brightness,
    with_contrast,
    with_hue,
    with_saturation,
)
from harness.scoring.samples import seeded
from harness.utils.normalization import BLACK

Pixels = NDArray[np.uint8]

DISTORTION = PhotometricDistortion(32, (0.5, 1.5), (0.5, 1.5), 18, 0.5)
# Every color of 64 even levels, in rows that are a multiple of OpenCV's vectors.
LEVELS = torch.linspace(0, 255, 64).round().to(torch.uint8)
COLORS = torch.stack(torch.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij")).view(3, 64, 64 * 64)


def published(image: Pixels, name: str, amount: float) -> Pixels:
    """One step of the formula, on an image (H, W, 3) in OpenCV's order: blue, green, red."""
    if name == "brightness":
        return np.clip(image.astype(np.float32) + np.float32(amount), 0, 255).astype(np.uint8)
    if name == "contrast":
        return np.clip(image.astype(np.float32) * np.float32(amount), 0, 255).astype(np.uint8)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    if name == "saturation":
        hsv[..., 1] = np.clip(hsv[..., 1].astype(np.float32) * np.float32(amount), 0, 255).astype(np.uint8)
    else:
        hsv[..., 0] = (hsv[..., 0].astype(int) + int(amount)) % 180
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR), dtype=np.uint8)


def bgr(image: torch.Tensor) -> Pixels:
    return np.ascontiguousarray(image.numpy().transpose(1, 2, 0)[..., ::-1])


@pytest.mark.parametrize(
    "draws",
    [
        [("brightness", -32.0)],
        [("brightness", 17.3)],
        [("contrast", 0.5)],
        [("contrast", 1.37)],
        [("saturation", 0.5)],
        [("saturation", 1.5)],
        [("hue", -18)],
        [("hue", 17)],
        [("brightness", 20.7), ("contrast", 1.21), ("saturation", 0.83), ("hue", 9)],
        [("brightness", -11.2), ("saturation", 1.4), ("hue", -7), ("contrast", 0.71)],
    ],
    ids=str,
)
def test_fixed_draws_give_what_the_published_formula_gives(draws: list[tuple[str, float]]) -> None:
    steps: dict[str, object] = {
        "brightness": with_brightness,
        "contrast": with_contrast,
        "saturation": with_saturation,
        "hue": with_hue,
    }
    found, expected = COLORS, bgr(COLORS)
    params: dict[str, list[Step]] = {"steps": [(steps[name], amount) for name, amount in draws]}  # type: ignore[misc]
    found = DISTORTION.transform(COLORS, params)
    for name, amount in draws:
        expected = published(expected, name, amount)
    difference = np.abs(bgr(found).astype(int) - expected)
    assert found.dtype == torch.uint8
    if {name for name, _ in draws} & {"saturation", "hue"}:
        # Where a channel is a whole number by the formula, rounding errors decide whether OpenCV takes the one below.
        assert (difference > 0).mean() < 0.01
        assert difference.max() <= 2
    else:
        assert not difference.any()


def test_hue_saturation_and_value_are_opencvs_to_the_bit() -> None:
    expected = cv2.cvtColor(bgr(COLORS), cv2.COLOR_BGR2HSV)
    for found, channel in zip(hsv_of(COLORS), np.moveaxis(expected, 2, 0), strict=True):
        assert np.array_equal(found.numpy(), channel)
    grey = torch.arange(256, dtype=torch.uint8).expand(3, 1, 256)
    assert torch.equal(rgb_of(*hsv_of(grey)), grey)


def test_each_step_is_drawn_half_of_the_time_and_contrast_comes_first_as_often_as_last() -> None:
    with seeded(0):
        drawn = [DISTORTION.make_params([])["steps"] for _ in range(4000)]
    for change, low, high in [
        (with_brightness, -32.0, 32.0),
        (with_contrast, 0.5, 1.5),
        (with_saturation, 0.5, 1.5),
        (with_hue, -18, 17),
    ]:
        amounts = [amount for steps in drawn for one, amount in steps if one is change]
        assert len(amounts) / 4000 == pytest.approx(0.5, abs=0.03)
        assert low <= min(amounts) < low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) < max(amounts) <= high
    full = [[change for change, _ in steps] for steps in drawn if len(steps) == 4]
    first = [with_brightness, with_contrast, with_saturation, with_hue]
    last = [with_brightness, with_saturation, with_hue, with_contrast]
    assert all(order in (first, last) for order in full)
    assert np.mean([order == first for order in full]) == pytest.approx(0.5, abs=0.12)


def test_no_channel_is_ever_permuted() -> None:
    # A turn by 36 degrees, less than half of the way to the next primary, leaves the strongest channel the strongest.
    primaries = torch.eye(3)[:, None].mul(200).to(torch.uint8)  # one row: red, green, blue
    step = AUGMENTATIONS.get("photometric")().transform((1, 3), BLACK)
    mask = torch.tensor([[0, 7, 255]], dtype=torch.uint8)
    with seeded(1):
        for _ in range(500):
            image, same = augmented(step, primaries, mask)
            assert image.argmax(dim=0).tolist() == [[0, 1, 2]]
            assert torch.equal(same, mask)
