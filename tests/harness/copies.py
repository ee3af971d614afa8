"""Small copies of data sets in their layout, with every trap that is known of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from harness.datasets.cityscapes import HELD_OUT_CITIES
from harness.datasets.palette import save_labels, voc_palette
from harness.datasets.voc import committed_ids

RNG = np.random.default_rng(0)


def photo(path: Path, size: tuple[int, int] = (12, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def grey(path: Path, labels: NDArray[np.integer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)


def drawing() -> NDArray[np.bool_]:
    """A drawing (8, 12) of something, another one each time."""
    drawn = np.zeros((8, 12), bool)
    row, column = RNG.integers(1, 5, 2)
    drawn[row : row + 2, column:] = True
    return drawn


def write_lists(folder: Path, lists: dict[str, Iterable[str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, ids in lists.items():
        (folder / f"{name}.txt").write_text("\n".join(ids) + "\n")


def cityscapes(root: Path) -> Path:
    for split, cities in (("train", ["aachen", *HELD_OUT_CITIES]), ("val", ["lindau"])):
        for city in cities:
            name = f"{split}/{city}/{city}_000000_000019"
            photo(root / "leftImg8bit" / f"{name}_leftImg8bit.png")
            labels = np.arange(96).reshape(8, 12) % 34
            labels[0, 0] = 255  # a license plate: -1 in a byte
            grey(root / "gtFine" / f"{name}_gtFine_labelIds.png", labels)
    return root


def ade20k(root: Path) -> Path:
    for part, count in (("training", 40), ("validation", 3)):
        for number in range(count):
            name = f"{part}/ADE_{part[:5]}_{number:08}"
            photo(root / "images" / f"{name}.jpg")
            labels = np.zeros((8, 12), int)
            labels[0, :3] = 1, 150, number % 150
            grey(root / "annotations" / f"{name}.png", labels)
    return root


def camvid(root: Path) -> Path:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        names = [f"{split}_drive_{number:05}" for number in range(count)]
        for name in names:
            photo(root / split / f"{name}.png")
            grey(root / f"{split}annot" / f"{name}.png", RNG.integers(0, 12, (8, 12)))
        # Lists hold paths of the machine they were made on.
        lines = [f"/SegNet/CamVid/{split}/{name}.png /SegNet/CamVid/{split}annot/{name}.png" for name in names]
        write_lists(root, {split: lines})
    return root


def chase(root: Path) -> Path:
    for child in range(1, 15):
        for side in "LR":
            photo(root / f"Image_{child:02}{side}.jpg")
            drawn = np.zeros((8, 12), bool)
            drawn[2:4] = True
            for observer in ("1st", "2nd"):
                Image.fromarray(drawn).save(root / f"Image_{child:02}{side}_{observer}HO.png")  # one bit a pixel
    return root


def drive(root: Path) -> Path:
    for part, numbers in (("training", range(21, 41)), ("test", range(1, 21))):
        for number in numbers:
            photo(root / part / "images" / f"{number:02}_{part}.tif")
            for kind in ("1st_manual", "2nd_manual")[: 2 if part == "test" else 1]:
                path = root / part / kind / f"{number:02}_manual{kind[0]}.gif"
                grey(path, drawing() * 255)
            grey(root / part / "mask" / f"{number:02}_{part}_mask.gif", np.pad(np.full((6, 10), 255), 1))
    return root


def horse(root: Path) -> Path:
    for name in sorted({line.split()[1] for line in committed_ids("weizmann_horse_70_15_15.txt")}):
        photo(root / "rgb" / f"{name}.jpg", (25, 16))  # of another size than its silhouette
        grey(root / "figure_ground" / f"{name}.jpg", drawing() * 255)
    return root


def pets(root: Path) -> Path:
    names = [f"Abyssinian_{n}" for n in range(20)]
    for name in names:
        photo(root / "images" / f"{name}.jpg")
        grey(root / "annotations" / "trimaps" / f"{name}.png", np.tile([1, 2, 3, 2], (8, 3)))
    # What the real archive has: a leftover of the archiver, and a PNG called JPEG.
    (root / "annotations" / "trimaps" / f"._{names[0]}.png").write_bytes(b"Mac OS X")
    second = root / "images" / f"{names[1]}.jpg"
    Image.open(second).convert("RGBA").save(second, format="PNG")
    lines = [f"{name} 1 1 1" for name in names]
    write_lists(root / "annotations", {"trainval": lines[:10], "test": ["#Image CLASS", *lines[10:]]})
    return root


def voc(root: Path, train: Sequence[str] = (), val: Sequence[str] = ()) -> Path:
    """VOC's lists with some training images, of which two are held out, and their files."""
    train = train or [*(f"2007_t{n}" for n in range(4)), *committed_ids("voc2012_cut9_val.txt")[:2]]
    val = val or [f"2007_v{n}" for n in range(3)]
    write_lists(root / "ImageSets" / "Segmentation", {"train": train, "val": val})
    for name in (*train, *val):
        photo(root / "JPEGImages" / f"{name}.jpg")
        save_labels(root / "SegmentationClass" / f"{name}.png", RNG.integers(0, 21, (8, 12)), voc_palette(21))
    return root


def trainaug(folder: Path, all_files: bool = False) -> Path:
    """VOC's and SBD's lists at their true sizes; of the files, those of a few images, or all with their content."""
    root = folder / "VOCdevkit" / "VOC2012"
    train, val = [f"t{n}" for n in range(1464)], [f"v{n}" for n in range(1449)]
    write_lists(root / "ImageSets" / "Segmentation", {"train": train, "val": val})
    sbd = folder / "benchmark_RELEASE" / "dataset"
    (sbd / "cls").mkdir(parents=True)
    extra = [f"s{n}" for n in range(10582 - 1464)]
    # SBD's own training list holds images of VOC's val.
    write_lists(
        sbd, {"train": extra[:7000] + train[:900] + val[:600], "val": extra[7000:] + train[900:1000] + val[600:700]}
    )
    for name in ("t0", "v0", "s0"):
        photo(root / "JPEGImages" / f"{name}.jpg")
    for name in ("t0", "v0"):
        save_labels(root / "SegmentationClass" / f"{name}.png", np.full((8, 12), 3), voc_palette(21))
    labels = np.zeros((8, 12), dtype=np.uint8)
    labels[1:3] = 15
    savemat(sbd / "cls" / "s0.mat", {"GTcls": {"Segmentation": labels}})
    savemat(sbd / "cls" / "t0.mat", {"GTcls": {"Segmentation": labels}})
    for name in (*train[1:], *val[1:], *extra[1:]) if all_files else ():
        first = f"{name[0]}0"
        (root / "JPEGImages" / f"{name}.jpg").hardlink_to(root / "JPEGImages" / f"{first}.jpg")
        suffix, masks = (".mat", sbd / "cls") if first == "s0" else (".png", root / "SegmentationClass")
        (masks / f"{name}{suffix}").hardlink_to(masks / f"{first}{suffix}")
    return root
