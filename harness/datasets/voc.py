"""PASCAL VOC 2012 segmentation, and any data set in its layout."""

from __future__ import annotations

import shutil
import socket
import tempfile
import urllib.parse
from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import (
    Dataset,
    DatasetInfo,
    Sample,
    SampleFiles,
    Say,
    check_sample,
    read_labels,
    read_rgb,
)
from harness.datasets.palette import voc_palette
from harness.errors import DataError

VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


class VocLayout(Dataset):
    """A folder with JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/*.txt."""

    marker: ClassVar[str] = "ImageSets/Segmentation/train.txt"

    def read_list(self, name: str) -> list[str]:
        """The ids of an official list.

        Raises:
            DataError: the list is missing or empty.
        """
        path = self.root / "ImageSets" / "Segmentation" / f"{name}.txt"
        try:
            ids = path.read_text(encoding="utf-8").split()
        except OSError as error:
            raise DataError(f"{path}: this list is missing") from error
        if not ids:
            raise DataError(f"{path}: this list is empty")
        return ids

    def read_splits(self) -> dict[str, list[str]]:
        """The lists train, val and test as they are."""
        return {split: self.read_list(split) for split in ("train", "val", "test")}

    def files(self, image_id: str) -> SampleFiles:
        """Image (JPEG) and mask (palette PNG)."""
        return SampleFiles(
            self.root / "JPEGImages" / f"{image_id}.jpg", self.root / "SegmentationClass" / f"{image_id}.png"
        )

    def read(self, image_id: str) -> Sample:
        """Decode one sample; the mask's palette indices are the labels."""
        files = self.files(image_id)
        sample = Sample(read_rgb(files.image), read_labels(files.mask))
        check_sample(sample, files, self.info)
        return sample

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone."""
        return read_labels(self.files(image_id).mask), None


class Voc(VocLayout):
    """PASCAL VOC 2012: 1,464 training and 1,449 validation images, 20 classes and background.

    Void (255) marks the borders of objects and what annotators left out. The official test masks are not
    public, so that the official val plays the test.
    """

    info = DatasetInfo(
        name="voc",
        title="PASCAL VOC 2012",
        classes=VOC_CLASSES,
        palette=voc_palette(21),
        variants={
            "cut9": "official train cut 9:1 into train and val (a committed split); official val is the test",
            "official": "official train; val and test are both the official val, and rows say so",
        },
        trimap="void",
        homepage="the PASCAL VOC 2012 home page (VOCtrainval_11-May-2012.tar, 1.9 GB)",
        licence="Flickr terms of use",
        citation="Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 2015",
    )
    folders = ("VOCdevkit/VOC2012", "VOC2012", "voc/VOCdevkit/VOC2012")

    def read_splits(self) -> dict[str, list[str]]:
        """Which official list plays which part."""
        train, val = self.read_list("train"), self.read_list("val")
        if self.variant == "official":
            return {"train": train, "val": val, "test": val}
        held_out = set(committed_ids("voc2012_cut9_val.txt"))
        return {
            "train": [i for i in train if i not in held_out],
            "val": [i for i in train if i in held_out],
            "test": val,
        }

    @classmethod
    def obtain(cls, data_dir: Path, say: Say) -> Path:
        """Download through torchvision beside its final place, then move it there in one step."""
        from harness.vision import import_torchvision

        import_torchvision()
        from torchvision.datasets import voc

        url = urllib.parse.urlsplit(voc.DATASET_YEAR_DICT["2012"]["url"])
        host = url.hostname or ""
        try:
            # Asked first: where a firewall drops packets, a download would hang for minutes.
            socket.create_connection((host, url.port or 443), timeout=5).close()
        except OSError as error:
            raise DataError(
                f"{cls.not_found(data_dir)}\nThe download was not possible either: no connection to {host} ({error}).",
                cls.how_to_get(data_dir),
            ) from error
        data_dir.mkdir(parents=True, exist_ok=True)
        target = data_dir / cls.folders[0]
        say(f"Downloading {cls.info.title} to {target}")
        with tempfile.TemporaryDirectory(prefix=".voc-download-", dir=data_dir) as partial:
            try:
                voc.VOCSegmentation(partial, year="2012", image_set="train", download=True)
            except Exception as error:
                raise DataError(
                    f"The download of {cls.info.title} failed: {error}", cls.how_to_get(data_dir)
                ) from error
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(str(Path(partial) / "VOCdevkit" / "VOC2012"), str(target))
        return target.resolve()


def committed_ids(name: str) -> list[str]:
    """The ids in one of the split files that come with the project; `#` starts a comment."""
    text = (resources.files("harness.datasets") / "splits" / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
