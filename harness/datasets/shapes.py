"""Shapes: procedural scenes that the project makes itself, in PASCAL VOC's layout.

Each scene holds one to four textured objects on a textured ground, with noise and uneven light. An object's
class is its shape; its colour only hints at it, so that a network gains by seeing form.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from harness.datasets.base import DatasetInfo, Say
from harness.datasets.download import Tick
from harness.datasets.palette import save_labels, voc_palette
from harness.datasets.voc import VocLayout
from harness.utils.files import new_folder

# Raised whenever the same seed would draw other pictures; part of the folder's name.
GENERATOR_VERSION = 1
SIDE = 64
SPLIT_SIZES = {"train": 160, "val": 40, "test": 40}
VOID = 255
# The mean colour of each class's objects; the ground has any colour.
HINTS = {
    1: (0.8, 0.3, 0.3),
    2: (0.3, 0.75, 0.3),
    3: (0.3, 0.35, 0.85),
    4: (0.8, 0.75, 0.25),
    5: (0.7, 0.3, 0.75),
}
# How far an object's colour strays from its class's, in each channel.
STRAY = 0.16

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]


class Shapes(VocLayout):
    """Generated scenes of 64×64 pixels: disks, squares, triangles, crosses and rings on a textured ground.

    160 training, 40 validation and 40 test images. Void (255) marks the borders of objects. Made on first
    use, from fixed seeds.
    """

    info = DatasetInfo(
        name="shapes",
        title="Shapes (generated)",
        classes=("background", "disk", "square", "triangle", "cross", "ring"),
        palette=voc_palette(6),
        variants={"standard": "160 train, 40 val, 40 test"},
        trimap="void",
        homepage="this project",
        licence="Apache-2.0",
    )
    generated = True
    folders = (f"shapes-v{GENERATOR_VERSION}",)

    @classmethod
    def how_to_get(cls, data_dir: Path) -> str:
        """It is made here."""
        return "It is made by the first run that needs it: bench run --suite demo"

    @classmethod
    def obtain(cls, data_dir: Path, say: Say, tick: Tick | None = None) -> Path:
        """Draw every scene into a folder beside the final one, then move it there in one step."""
        say(f"Making {sum(SPLIT_SIZES.values())} generated images in {data_dir / cls.folders[0]}")
        data_dir.mkdir(parents=True, exist_ok=True)
        target = data_dir / cls.folders[0]
        try:
            with new_folder(target) as new:
                write_shapes(new)
        except OSError:
            # Where another process was first, its copy is the same.
            if cls.find(data_dir) is None:
                raise
        return target.resolve()


def write_shapes(root: Path) -> None:
    """Write every split in VOC's layout."""
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, (split, count) in enumerate(SPLIT_SIZES.items()):
        names = [f"{split}_{i:04d}" for i in range(count)]
        for i, name in enumerate(names):
            image, mask = scene(np.random.default_rng([GENERATOR_VERSION, number, i]))
            Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg", quality=92)
            save_labels(root / "SegmentationClass" / f"{name}.png", mask, Shapes.info.palette)
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")


def scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One scene: image (SIDE, SIDE, 3) and mask (SIDE, SIDE)."""
    image = texture(rng, rng.uniform(0.2, 0.8, 3), contrast=0.25)
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    for _ in range(rng.integers(1, 5)):
        label = int(rng.integers(1, len(Shapes.info.classes)))
        shape = draw(label, rng)
        colour = np.asarray(HINTS[label]) + rng.normal(0, STRAY, 3)
        image[shape] = texture(rng, colour, contrast=0.35)[shape]
        border = ndimage.binary_dilation(shape) & ~ndimage.binary_erosion(shape)
        mask[shape] = label
        mask[border] = VOID
    light = np.linspace(-1, 1, SIDE)[:, None] * rng.normal(0, 0.08) + rng.normal(0, 0.05)
    image = image + light[..., None] + rng.normal(0, 0.06, image.shape)
    return (np.clip(image, 0, 1) * 255).round().astype(np.uint8), mask


def draw(label: int, rng: np.random.Generator) -> Bool:
    """The pixels of one object, at a random place, size and angle."""
    radius = rng.uniform(8, 16)
    cy, cx = rng.uniform(radius * 0.7, SIDE - radius * 0.7, 2)
    angle = rng.uniform(0, 2 * np.pi)
    yy, xx = np.mgrid[:SIDE, :SIDE]
    u = ((xx - cx) * np.cos(angle) + (yy - cy) * np.sin(angle)) / radius
    v = (-(xx - cx) * np.sin(angle) + (yy - cy) * np.cos(angle)) / radius
    distance = np.hypot(u, v)
    if label == 1:
        return np.asarray(distance < 0.9)
    if label == 2:
        return np.asarray(np.maximum(abs(u), abs(v)) < 0.8)
    if label == 3:
        return np.asarray((v < 0.6) & (v > 1.75 * abs(u) - 1.1))
    if label == 4:
        return np.asarray((np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 1.0))
    return np.asarray((distance < 1.0) & (distance > 0.55))


def texture(rng: np.random.Generator, colour: Float, contrast: float) -> Float:
    """A surface of a colour (SIDE, SIDE, 3): stripes, checks, blotches or plain."""
    yy, xx = np.mgrid[:SIDE, :SIDE]
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 14)
    along = xx * np.cos(angle) + yy * np.sin(angle)
    across = -xx * np.sin(angle) + yy * np.cos(angle)
    kind = rng.integers(4)
    if kind == 0:
        pattern = np.sin(2 * np.pi * along / period)
    elif kind == 1:
        pattern = np.sign(np.sin(np.pi * along / period) * np.sin(np.pi * across / period))
    elif kind == 2:
        pattern = 4 * ndimage.gaussian_filter(rng.normal(size=(SIDE, SIDE)), period / 4)
    else:
        pattern = np.zeros((SIDE, SIDE))
    surface: Float = colour + contrast * rng.uniform(-1, 1, 3) * pattern[..., None] / 2
    return surface
