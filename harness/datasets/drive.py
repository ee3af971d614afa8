"""DRIVE: 40 photographs of retinas and their vessels, drawn by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import (
    Dataset,
    DatasetInfo,
    SampleFiles,
    open_image,
)
from harness.datasets.registry import register

# Drawings and fields of view are 0 and 255 in most copies, 3 and 253 in the second observer's palette.
THRESHOLD = 128


@register
class Drive(Dataset):
    """DRIVE in its original layout: training/ and test/ with images/, 1st_manual/, mask/; test/2nd_manual/.

    255 in a drawing is a vessel, not void. Only the field of view (mask/) counts. The official split has no part to
    choose a checkpoint on.
    """

    info = DatasetInfo(
        name="drive",
        title="DRIVE",
        classes=("background", "vessel"),
        palette=((0, 0, 0), (230, 60, 60)),
        variants={
            "official": "20 train, 20 test, no val: a suite must select the last checkpoint",
            "16-4": "of the 20 training images the last four (37 to 40) are val; official test",
        },
        foreground=1,
        homepage="the DRIVE challenge's home page (registration)",
        citation="Staal et al., Ridge-based vessel segmentation in color images of the retina, TMI 2004",
    )
    folders = ("DRIVE", "drive")
    marker = "training/1st_manual"

    def read_splits(self) -> dict[str, list[str]]:
        """The official parts, by the numbers in the file names."""
        train = [f"{number}_training" for number in range(21, 41)]
        cut = 20 if self.variant == "official" else 16
        return {"train": train[:cut], "val": train[cut:], "test": [f"{number:02}_test" for number in range(1, 21)]}

    def files(self, image_id: str) -> SampleFiles:
        """Photograph, the first observer's drawing, field of view."""
        number, part = image_id.split("_")
        folder = self.root / part
        return SampleFiles(
            folder / "images" / f"{image_id}.tif",
            folder / "1st_manual" / f"{number}_manual1.gif",
            folder / "mask" / f"{image_id}_mask.gif",
        )

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """Drawing and field of view, cut at 128."""
        _, drawing, view = self.files(image_id)
        return read_drawing(drawing).astype(np.uint8), read_drawing(view)

    def second_observer(self, image_id: str) -> NDArray[np.uint8]:
        """The second observer's labels (H, W) of a test image: what a person scores against another.

        Raises:
            DataError: the copy lacks that drawing.
        """
        number = image_id.split("_")[0]
        return read_drawing(self.root / "test" / "2nd_manual" / f"{number}_manual2.gif").astype(np.uint8)


def read_drawing(path: Path) -> NDArray[np.bool_]:
    """A drawing (H, W): True where it is light, whatever palette it came with."""
    drawn: NDArray[np.bool_] = np.asarray(open_image(path).convert("L")) >= THRESHOLD
    return drawn
