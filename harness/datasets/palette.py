"""PASCAL VOC's colors, and label maps written with them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

VOID_COLOR = (224, 224, 192)

Color = tuple[int, int, int]


def voc_palette(count: int) -> tuple[Color, ...]:
    """The first `count` colors of PASCAL VOC: bit i of each channel comes from bit 3i of the label."""
    colors = []
    for label in range(count):
        r = g = b = 0
        for bit in range(8):
            r |= ((label >> 3 * bit) & 1) << (7 - bit)
            g |= ((label >> (3 * bit + 1)) & 1) << (7 - bit)
            b |= ((label >> (3 * bit + 2)) & 1) << (7 - bit)
        colors.append((r, g, b))
    return tuple(colors)


def palette_image(labels: NDArray[np.integer], palette: Sequence[Color]) -> Image.Image:
    """A palette image of a label map (H, W); 255 shows as void."""
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(palette)] = palette
    table[255] = VOID_COLOR
    image = Image.fromarray(labels.astype(np.uint8), mode=None).convert("L")
    image.putpalette(table.ravel().tolist())
    return image


def save_labels(path: Path, labels: NDArray[np.integer], palette: Sequence[Color]) -> None:
    """Write a label map as a palette PNG, as VOC's own masks are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    palette_image(labels, palette).save(path, format="PNG", optimize=False)


def png_bytes(image: Image.Image) -> bytes:
    """An image as PNG bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
