"""CHASE_DB1: 28 photographs of children's retinas and their vessels, drawn by two observers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Dataset, DatasetInfo, SampleFiles
from harness.datasets.drive import read_drawing
from harness.datasets.registry import register

CHILDREN = 14
TRAINING_CHILDREN = 10


@register
class ChaseDb1(Dataset):
    """CHASE_DB1 in its original layout: Image_01L.jpg, Image_01L_1stHO.png and Image_01L_2ndHO.png in one folder.

    There is no official split; the usual one takes the first 20 images for training, which are ten children with both
    eyes. No field of view comes with it: every pixel counts.
    """

    info = DatasetInfo(
        name="chase_db1",
        title="CHASE_DB1",
        classes=("background", "vessel"),
        palette=((0, 0, 0), (230, 60, 60)),
        variants={
            "20-8": "20 train, 8 test, no val: a suite must select the last checkpoint",
            "16-4-8": "of the 20 training images the last two children's four are val; 8 test",
        },
        foreground=1,
        homepage="Kingston University's retinal image page (CHASEDB1.zip)",
        citation="Fraz et al., An Ensemble Classification-Based Approach Applied to Retinal Blood Vessel "
        "Segmentation, IEEE TBME 2012",
    )
    folders = ("CHASEDB1", "CHASE_DB1", "chase_db1")
    marker = "Image_01L_1stHO.png"

    def read_splits(self) -> dict[str, list[str]]:
        """Both eyes of a child are always in the same part."""
        eyes = [f"Image_{child:02}{side}" for child in range(1, CHILDREN + 1) for side in "LR"]
        train, test = eyes[: 2 * TRAINING_CHILDREN], eyes[2 * TRAINING_CHILDREN :]
        cut = 20 if self.variant == "20-8" else 16
        return {"train": train[:cut], "val": train[cut:], "test": test}

    def files(self, image_id: str) -> SampleFiles:
        """Photograph and the first observer's drawing."""
        return SampleFiles(self.root / f"{image_id}.jpg", self.root / f"{image_id}_1stHO.png")

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The drawing alone."""
        return read_drawing(self.files(image_id).mask).astype(np.uint8), None

    def second_observer(self, image_id: str) -> NDArray[np.uint8]:
        """The second observer's labels (H, W).

        Raises:
            DataError: the copy lacks that drawing.
        """
        return read_drawing(self.root / f"{image_id}_2ndHO.png").astype(np.uint8)

    def group(self, image_id: str) -> str:
        """The child."""
        return image_id[:-1]
