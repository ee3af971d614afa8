"""Masks at another size: pixel centres, as images and logits have them."""

from __future__ import annotations

from fractions import Fraction

import pytest
import torch
from torch.nn.functional import interpolate

from harness.utils.images import resize_mask

SIZES = [(7, 3), (3, 7), (8, 4), (4, 8), (375, 96), (512, 375), (1, 5), (5, 1), (6, 6)]


@pytest.mark.parametrize(("old", "new"), SIZES, ids=str)
def test_a_mask_takes_the_pixel_below_each_new_centre(old: int, new: int) -> None:
    mask = torch.arange(old, dtype=torch.int32)[:, None].expand(old, 2)
    places = [int((Fraction(2 * i + 1, 2)) * old / new) for i in range(new)]
    assert resize_mask(mask, (new, 2))[:, 0].tolist() == places
    assert resize_mask(mask.T, (2, new))[1].tolist() == places


def test_rows_and_columns_are_told_apart_and_the_type_stays() -> None:
    mask = torch.tensor([[0, 1, 2], [3, 4, 255]], dtype=torch.uint8)
    resized = resize_mask(mask, (4, 3))
    assert resized.dtype == torch.uint8
    assert resized.tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 255], [3, 4, 255]]
    assert torch.equal(resize_mask(mask[None, None], (4, 3))[0, 0], resized)


@pytest.mark.parametrize("factor", [3, 5])
def test_a_mask_has_its_pixels_where_an_image_has_them(factor: int) -> None:
    """At an odd factor both have the middle pixel of each block; a displaced rule takes another."""
    picture = torch.rand(1, 1, 12, 20, generator=torch.Generator().manual_seed(0))
    large = interpolate(picture, scale_factor=factor, mode="nearest-exact")
    assert torch.equal(resize_mask(large, (12, 20)), picture)
    middle = torch.arange(12 * factor).view(-1, 1).expand(-1, 20 * factor)
    assert resize_mask(middle, (12, 20))[:, 0].tolist() == [i * factor + factor // 2 for i in range(12)]
    shrunk = interpolate(middle[None, None].double(), size=(12, 20), mode="bilinear", align_corners=False)
    assert resize_mask(middle, (12, 20))[:, 0].tolist() == shrunk[0, 0, :, 0].tolist()
