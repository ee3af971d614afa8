"""Cityscapes: street scenes of 50 cities at 2048×1024, 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.base import Dataset, DatasetInfo, SampleFiles, read_labels
from harness.datasets.registry import register
from harness.errors import DataError


class _Class(NamedTuple):
    label_id: int
    """The number in a labelIds file, and what the test server wants."""
    name: str
    color: tuple[int, int, int]


# The one table between label ids and train ids; a class's train id is its place here. Every other label is void.
CLASSES = (
    _Class(7, "road", (128, 64, 128)),
    _Class(8, "sidewalk", (244, 35, 232)),
    _Class(11, "building", (70, 70, 70)),
    _Class(12, "wall", (102, 102, 156)),
    _Class(13, "fence", (190, 153, 153)),
    _Class(17, "pole", (153, 153, 153)),
    _Class(19, "traffic light", (250, 170, 30)),
    _Class(20, "traffic sign", (220, 220, 0)),
    _Class(21, "vegetation", (107, 142, 35)),
    _Class(22, "terrain", (152, 251, 152)),
    _Class(23, "sky", (70, 130, 180)),
    _Class(24, "person", (220, 20, 60)),
    _Class(25, "rider", (255, 0, 0)),
    _Class(26, "car", (0, 0, 142)),
    _Class(27, "truck", (0, 0, 70)),
    _Class(28, "bus", (0, 60, 100)),
    _Class(31, "train", (0, 80, 100)),
    _Class(32, "motorcycle", (0, 0, 230)),
    _Class(33, "bicycle", (119, 11, 32)),
)
# Flat, construction, object, nature, sky, human, vehicle.
CATEGORIES = (0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5, 5, 6, 6, 6, 6, 6, 6)
LAST_LABEL_ID = 33
# A license plate has the label id -1, which a byte holds as 255.
LICENSE_PLATE = 255
HELD_OUT_CITIES = ("bochum", "erfurt", "krefeld")

LABEL_IDS = np.array([c.label_id for c in CLASSES], dtype=np.uint8)
"""Train id -> label id."""
TRAIN_IDS = np.full(256, 255, dtype=np.uint8)
"""Label id -> train id, 255 for void."""
TRAIN_IDS[LABEL_IDS] = np.arange(len(CLASSES), dtype=np.uint8)


@register
class Cityscapes(Dataset):
    """Cityscapes: leftImg8bit/ and gtFine/, each with train/, val/, test/ and a folder for each city.

    Labels are made from the labelIds files; the trainIds files that a script writes are not needed. The official test
    labels are not public, so that the official val plays the test.
    """

    info = DatasetInfo(
        name="cityscapes",
        title="Cityscapes",
        classes=tuple(c.name for c in CLASSES),
        palette=tuple(c.color for c in CLASSES),
        variants={
            "cities": f"val: the training cities {', '.join(HELD_OUT_CITIES)} (304 images); official val is the test",
            "official": "official train (2,975); val and test are both the official val (500), and rows say so",
        },
        background=None,
        categories=CATEGORIES,
        scored_in=("Cityscapes val", "Cityscapes trainval", "Cityscapes fine"),
        homepage="the Cityscapes home page (registration): leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip",
        license="non-commercial",
        citation="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
    )
    folders = ("cityscapes", "Cityscapes")
    marker = "gtFine/train"

    def read_splits(self) -> dict[str, list[str]]:
        """Images as SPLIT/CITY/NAME, found by their label files."""
        train, val = self._images("train"), self._images("val")
        if self.variant == "official":
            return {"train": train, "val": val, "test": list(val)}
        return {
            "train": [i for i in train if self.group(i) not in HELD_OUT_CITIES],
            "val": [i for i in train if self.group(i) in HELD_OUT_CITIES],
            "test": val,
        }

    def _images(self, split: str) -> list[str]:
        folder = self.root / "leftImg8bit" / split
        found = sorted(folder.glob("*/*_leftImg8bit.png"))
        if not found:
            raise DataError(f"{folder}: there are no images CITY/*_leftImg8bit.png")
        return [f"{split}/{path.parent.name}/{path.name.removesuffix('_leftImg8bit.png')}" for path in found]

    def files(self, image_id: str) -> SampleFiles:
        """Image and its labelIds file."""
        return SampleFiles(
            self.root / "leftImg8bit" / f"{image_id}_leftImg8bit.png",
            self.root / "gtFine" / f"{image_id}_gtFine_labelIds.png",
        )

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone, as train ids.

        Raises:
            DataError: a label id does not exist.
        """
        path = self.files(image_id).mask
        return train_ids(read_labels(path), path), None

    def server_file(self, image_id: str, labels: NDArray[np.uint8]) -> tuple[str, Image.Image]:
        """Label ids, all images in one folder."""
        return f"{image_id.split('/')[2]}.png", Image.fromarray(LABEL_IDS[labels])

    def group(self, image_id: str) -> str:
        """The city."""
        return image_id.split("/")[1]


def train_ids(label_ids: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    """Label ids (H, W) as train ids, 255 for void.

    Raises:
        DataError: a label id does not exist: the file is of another kind (trainIds, instances).
    """
    present = np.flatnonzero(np.bincount(label_ids.ravel(), minlength=256))
    unknown = [int(v) for v in present if v > LAST_LABEL_ID and v != LICENSE_PLATE]
    if unknown:
        raise DataError(
            f"{path}: label id(s) {', '.join(map(str, unknown[:5]))} do not exist; Cityscapes has 0 to 33",
            kind="unknown label",
        )
    labels: NDArray[np.uint8] = TRAIN_IDS[label_ids]
    return labels
