"""Weizmann Horse: 328 photographs of horses, seen from the side, and their silhouettes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.base import (
    Dataset,
    DatasetInfo,
    Sample,
    SampleFiles,
    check_sample,
    open_image,
    read_rgb,
)
from harness.datasets.registry import register
from harness.datasets.voc import committed_ids
from harness.errors import DataError

# JPEG masks are grey along their edges.
MASK_THRESHOLD = 128


@register
class WeizmannHorse(Dataset):
    """Weizmann Horse in its original layout: rgb/, gray/, figure_ground/, one horseNNN.jpg in each.

    horse318 is left out, as in the usual copies: its color image is black. A mask has the size of the grey
    image, which differs from the color image in almost every sample: the color image is resized to the
    mask. There is no official split.
    """

    info = DatasetInfo(
        name="horse",
        title="Weizmann Horse",
        classes=("background", "horse"),
        palette=((0, 0, 0), (192, 128, 64)),
        variants={
            "70-15-15": "229 train, 49 val, 49 test, by a committed split file",
            "85-15": "278 train; val and test are the same 49, as in study D, and rows say so",
        },
        foreground=1,
        homepage="the Weizmann Horse Database's home page (E. Borenstein)",
        citation="Borenstein and Ullman, Class-specific, top-down segmentation, ECCV 2002",
    )
    folders = ("weizmann_horse_db", "horse")
    marker = "figure_ground"

    def read_splits(self) -> dict[str, list[str]]:
        """The committed split: lines of `split name`."""
        splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for line in committed_ids(f"weizmann_horse_{self.variant.replace('-', '_')}.txt"):
            split, name = line.split()
            splits[split].append(name)
        if self.variant == "85-15":
            splits["val"] = list(splits["test"])
        return splits

    def files(self, image_id: str) -> SampleFiles:
        """Color image and silhouette."""
        return SampleFiles(self.root / "rgb" / f"{image_id}.jpg", self.root / "figure_ground" / f"{image_id}.jpg")

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The silhouette, cut at grey 128."""
        silhouette = open_image(self.files(image_id).mask).convert("L")
        return (np.asarray(silhouette) >= MASK_THRESHOLD).astype(np.uint8), None

    def read(self, image_id: str) -> Sample:
        """Decode one sample; the image is resized to its silhouette."""
        files = self.files(image_id)
        mask, _ = self.truth(image_id)
        image = read_rgb(files.image)
        if image.shape[:2] != mask.shape:
            (h, w), (mh, mw) = image.shape[:2], mask.shape
            # The two come from one photograph: a few pixels and rounding apart, never another shape.
            if abs(w / h - mw / mh) > 0.05 * mw / mh:
                raise DataError(
                    f"{files.mask}: the mask is {mw}×{mh}, its image {files.image.name} is {w}×{h}", kind="sizes differ"
                )
            image = np.asarray(Image.fromarray(image).resize((mw, mh), Image.Resampling.BILINEAR))
        sample = Sample(image, mask)
        check_sample(sample, files, self.info)
        return sample
