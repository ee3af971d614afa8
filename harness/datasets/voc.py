"""PASCAL VOC 2012 segmentation, and any data set in its layout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.base import (
    Dataset,
    DatasetInfo,
    SampleFiles,
    Say,
    Tick,
    read_labels,
    read_list,
)
from harness.datasets.download import Archive, fetch_archives
from harness.datasets.palette import palette_image, voc_palette
from harness.datasets.registry import register
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
        ids = [word for line in read_list(path) for word in line.split()]
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

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone."""
        return read_labels(self.files(image_id).mask), None


# Images of trainaug, as every paper that uses it counts them.
TRAINAUG = 10582


@register
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
            "trainaug": "official train and SBD without the official val (10,582); val and test are both the official "
            "val, and rows say so",
        },
        trimap="void",
        # SBD's own lists hold most of VOC's official val.
        scored_in=(
            "PASCAL VOC", "VOC 2012", "VOC 2012 trainval", "PASCAL VOC 2012 trainval", "VOC 2012 val",
            "PASCAL VOC 2012 val", "SBD", "SBD train", "SBD val", "SBD trainval",
        ),
        homepage="the PASCAL VOC 2012 home page (VOCtrainval_11-May-2012.tar, 1.9 GB)",
        license="Flickr terms of use",
        citation="Everingham et al., The PASCAL Visual Object Classes Challenge: A Retrospective, IJCV 2015",
    )  # fmt: skip
    folders = ("VOCdevkit/VOC2012", "VOC2012", "voc/VOCdevkit/VOC2012")

    def read_splits(self) -> dict[str, list[str]]:
        """Which official list plays which part."""
        train, val = self.read_list("train"), self.read_list("val")
        if self.variant == "official":
            return {"train": train, "val": val, "test": val}
        if self.variant == "trainaug":
            return {"train": self._augmented(train, val), "val": val, "test": val}
        held_out = set(committed_ids("voc2012_cut9_val.txt"))
        return {
            "train": [i for i in train if i not in held_out],
            "val": [i for i in train if i in held_out],
            "test": val,
        }

    def _augmented(self, train: list[str], val: list[str]) -> list[str]:
        """(train and SBD) without val.

        Raises:
            DataError: SBD is not there, or the lists are not the whole ones.
        """
        sbd = find_sbd(self.root)
        if sbd is None:
            raise DataError(no_sbd(self.root), HOW_TO_GET_SBD)
        self._sbd, self._own = sbd, {*train, *val}
        names: set[str] = set(train)
        for split in ("train", "val"):
            names |= {word for line in read_list(sbd / f"{split}.txt") for word in line.split()}
        # The difference is what keeps VOC's val out: SBD's own lists hold part of it.
        chosen = sorted(names - set(val))
        if len(chosen) != TRAINAUG:
            raise DataError(
                f"{self.root} with {sbd}: trainaug has {len(chosen)} images, expected {TRAINAUG}: VOC's or SBD's lists "
                "are not the whole ones"
            )
        return chosen

    def files(self, image_id: str) -> SampleFiles:
        """VOC's own mask where it has one, else SBD's."""
        own = super().files(image_id)
        if self.variant != "trainaug" or image_id in self._own:
            return own
        return SampleFiles(own.image, self._sbd / "cls" / f"{image_id}.mat")

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone, from a palette PNG or SBD's .mat."""
        path = self.files(image_id).mask
        return (read_sbd_mask(path) if path.suffix == ".mat" else read_labels(path)), None

    def server_file(self, image_id: str, labels: NDArray[np.uint8]) -> tuple[str, Image.Image]:
        """The tree of competition 6 (segmentation, trained on any data): palette PNGs."""
        return f"results/VOC2012/Segmentation/comp6_test_cls/{image_id}.png", palette_image(labels, self.info.palette)

    def file_name(self, path: Path) -> str:
        """SBD stands beside the copy."""
        return f"SBD/cls/{path.name}" if path.suffix == ".mat" else super().file_name(path)

    @classmethod
    def obtain(cls, data_dir: Path, say: Say, tick: Tick | None = None) -> Path:
        """Download the archive that torchvision names."""
        from harness.utils.vision import import_torchvision

        import_torchvision()
        from torchvision.datasets import voc

        source = voc.DATASET_YEAR_DICT["2012"]
        return fetch_archives(cls, [Archive(source["url"], source["md5"])], "VOCdevkit/VOC2012", data_dir, say, tick)

    @classmethod
    def complete(cls, root: Path, variant: str | None, data_dir: Path, say: Say, tick: Tick | None = None) -> None:
        """Download SBD's masks where trainaug needs them."""
        if variant != "trainaug" or find_sbd(root) is not None:
            return
        from harness.utils.vision import import_torchvision

        import_torchvision()
        from torchvision.datasets import SBDataset

        archive = Archive(SBDataset.url, SBDataset.md5)
        try:
            fetch_archives(cls, [archive], "benchmark_RELEASE", data_dir, say, tick, "benchmark_RELEASE")
        except DataError as error:
            raise DataError(f"{no_sbd(root)}\n{error.message.splitlines()[-1]}", HOW_TO_GET_SBD) from error


def find_sbd(root: Path) -> Path | None:
    """The folder of SBD (with cls/, train.txt and val.txt) beside a copy of VOC, or None."""
    return next((place for place in sbd_places(root) if (place / "cls").is_dir()), None)


def sbd_places(root: Path) -> list[Path]:
    """Where SBD is looked for."""
    return [folder / "benchmark_RELEASE" / "dataset" for folder in (root.parent.parent, root.parent, root)]


def no_sbd(root: Path) -> str:
    """What was looked for, and where."""
    places = "\n".join(f"  {place / 'cls'}" for place in sbd_places(root))
    return f"The variant trainaug needs SBD, which was not found. Looked for:\n{places}"


HOW_TO_GET_SBD = (
    "Get benchmark.tgz from SBD's home page (Hariharan et al., Semantic contours from inverse detectors, 1.4 GB) and "
    "unpack it beside VOCdevkit."
)


def read_sbd_mask(path: Path) -> NDArray[np.uint8]:
    """The class labels (H, W) of one of SBD's .mat files: its field GTcls.Segmentation.

    Raises:
        DataError: it is missing or no such file.
    """
    from scipy.io import loadmat

    try:
        truth = loadmat(path, squeeze_me=True, struct_as_record=False)["GTcls"]
        return np.asarray(truth.Segmentation, dtype=np.uint8)
    except FileNotFoundError as error:
        raise DataError(f"{path}: this file is missing", kind="missing") from error
    except Exception as error:  # scipy's reader raises whatever a damaged file leads it to
        raise DataError(f"{path}: cannot be read as a mask of SBD: {error}", kind="broken") from error


def committed_ids(name: str) -> list[str]:
    """The ids in one of the split files that come with the project; `#` starts a comment."""
    text = (resources.files("harness.datasets") / "splits" / name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
