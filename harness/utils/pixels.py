"""Which pixel of a map stands for a pixel of it at another size: one rule for training, scoring and pictures."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

MaskRule = Literal["nearest-exact", "nearest"]
"""How labels are brought to another size, by PyTorch's names. `nearest-exact`: from the pixel that a new pixel's centre
falls into, as bilinear interpolation places images and logits. `nearest`: from pixel ⌊i · old / new⌋, as OpenCV does;
when a map is made smaller, that moves it against its image, by up to half a new pixel to the right and down."""


def nearest_pixels(old: int, new: int, rule: MaskRule = "nearest-exact") -> NDArray[np.intp]:
    """For each of `new` pixels along a side, the one of `old` pixels whose label it takes.

    Whole numbers throughout: no rounding decides between two pixels. A centre between two takes the second.
    """
    places = np.arange(new, dtype=np.int64)
    if rule == "nearest":
        return (places * old // new).astype(np.intp)
    return ((2 * places + 1) * old // (2 * new)).astype(np.intp)
