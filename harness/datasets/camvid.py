"""CamVid in SegNet's form: 701 frames of a drive through Cambridge at 480×360, 11 classes."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Dataset, DatasetInfo, SampleFiles, read_labels, read_list
from harness.datasets.registry import register
from harness.errors import DataError

# The files' own void label; papers with "12 classes" count it.
FILE_VOID = 11


@register
class CamVid(Dataset):
    """CamVid: train/, val/, test/ with frames, and trainannot/, valannot/, testannot/ with grey label maps.

    Lists hold paths of the machine they were made on: only the names in them count. 11 is void, and is 255 here.
    """

    info = DatasetInfo(
        name="camvid",
        title="CamVid",
        classes=(
            "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist",
        ),
        palette=(
            (128, 128, 128), (128, 0, 0), (192, 192, 128), (128, 64, 128), (60, 40, 222), (128, 128, 0),
            (192, 128, 128), (64, 64, 128), (64, 0, 128), (64, 64, 0), (0, 128, 192),
        ),
        variants={"segnet": "SegNet's lists: 367 train, 101 val, 233 test"},
        background=None,
        homepage="the SegNet tutorial's CamVid folder",
        citation="Brostow et al., Semantic object classes in video, Pattern Recognition Letters 2009",
    )  # fmt: skip
    folders = ("CamVid", "camvid")
    marker = "trainannot"

    def read_splits(self) -> dict[str, list[str]]:
        """The names in train.txt, val.txt and test.txt, as SPLIT/NAME."""
        return {split: self._read_list(split) for split in ("train", "val", "test")}

    def _read_list(self, split: str) -> list[str]:
        path = self.root / f"{split}.txt"
        ids = [f"{split}/{PurePosixPath(line.split()[0]).stem}" for line in read_list(path) if line.strip()]
        if not ids:
            raise DataError(f"{path}: this list is empty")
        return ids

    def files(self, image_id: str) -> SampleFiles:
        """Frame and label map."""
        split, name = image_id.split("/")
        return SampleFiles(self.root / split / f"{name}.png", self.root / f"{split}annot" / f"{name}.png")

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone; 11 becomes void."""
        labels = read_labels(self.files(image_id).mask)
        return np.where(labels == FILE_VOID, np.uint8(255), labels), None

    def group(self, image_id: str) -> str:
        """The drive a frame is from: its file name up to the number of the frame."""
        return image_id.split("/")[1].rsplit("_", 1)[0]
