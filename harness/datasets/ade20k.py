"""ADE20K's scene parsing benchmark: 150 classes of things and stuff."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.base import Dataset, DatasetInfo, SampleFiles, read_labels
from harness.datasets.palette import voc_palette
from harness.datasets.registry import register
from harness.errors import DataError

# The benchmark's classes in its order (label 1 is the wall); 0 in a file is everything else.
NAMES = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door, table,
mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair, seat,
fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers, counter,
sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow,
screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop,
stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck, tower,
chandelier, awning, streetlight, booth, television receiver, airplane, dirt track, apparel, pole, land, bannister,
escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name,
microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray,
ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag
"""
# Of the training images in the order of their names, each of this number is held out for val.
HELD_OUT_EVERY = 20


@register
class Ade20k(Dataset):
    """ADE20K: images/{training,validation}/*.jpg and annotations/{training,validation}/*.png.

    The files' label 0 is void and class k is stored as k + 1: that is undone in `truth`, and nowhere else. The official
    test labels are not public, so that the official validation plays the test.
    """

    info = DatasetInfo(
        name="ade20k",
        title="ADE20K",
        classes=tuple(name.strip() for name in NAMES.replace("\n", " ").split(",")),
        palette=voc_palette(151)[1:],
        variants={
            "cut20": "every 20th official training image is val (1,010); official validation (2,000) is the test",
            "official": "official training (20,210); val and test are both the official validation, and rows say so",
        },
        background=None,
        scored_in=("ADE20K val", "ADE20K validation", "ADE20K trainval"),
        homepage="the ADE20K scene parsing benchmark's home page (ADEChallengeData2016.zip)",
        license="BSD-3-Clause annotations; images for research",
        citation="Zhou et al., Scene Parsing through ADE20K Dataset, CVPR 2017",
    )
    folders = ("ADEChallengeData2016", "ade20k")
    marker = "annotations/training"

    def read_splits(self) -> dict[str, list[str]]:
        """Images as PART/NAME, found by their files."""
        train, val = self._images("training"), self._images("validation")
        if self.variant == "official":
            return {"train": train, "val": val, "test": list(val)}
        held_out = set(train[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
        return {"train": [i for i in train if i not in held_out], "val": sorted(held_out), "test": val}

    def _images(self, part: str) -> list[str]:
        folder = self.root / "images" / part
        found = sorted(folder.glob("*.jpg"))
        if not found:
            raise DataError(f"{folder}: there are no images *.jpg")
        return [f"{part}/{path.stem}" for path in found]

    def files(self, image_id: str) -> SampleFiles:
        """Image and label map."""
        return SampleFiles(
            self.root / "images" / f"{image_id}.jpg",
            self.root / "annotations" / f"{image_id}.png",
        )

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone: 0 becomes void, k + 1 becomes k."""
        # Bytes wrap around: 0 - 1 is 255.
        return read_labels(self.files(image_id).mask) - np.uint8(1), None

    def server_file(self, image_id: str, labels: NDArray[np.uint8]) -> tuple[str, Image.Image]:
        """Labels from 1, as in the data set's own files."""
        return f"{image_id.split('/')[1]}.png", Image.fromarray(labels + np.uint8(1))
