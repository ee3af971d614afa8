"""Data sets that are not at hand, in small copies of their layout: every trap that is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from harness.datasets import manifest_of, open_dataset
from harness.datasets.ade20k import Ade20k
from harness.datasets.camvid import CamVid
from harness.datasets.chase import ChaseDb1
from harness.datasets.cityscapes import CLASSES, HELD_OUT_CITIES, TRAIN_IDS, Cityscapes
from harness.datasets.palette import save_labels, voc_palette
from harness.datasets.pets import OxfordPets
from harness.datasets.voc import Voc
from harness.errors import DataError
from tests.conftest import REAL_DATA, real

RNG = np.random.default_rng(0)


def photo(path: Path, size: tuple[int, int] = (12, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(path)


def grey(path: Path, labels: NDArray[np.integer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels.astype(np.uint8)).save(path)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    root = tmp_path / "cityscapes"
    for split, cities in (("train", ["aachen", *HELD_OUT_CITIES]), ("val", ["lindau"])):
        for city in cities:
            name = f"{split}/{city}/{city}_000000_000019"
            photo(root / "leftImg8bit" / f"{name}_leftImg8bit.png")
            labels = np.arange(96).reshape(8, 12) % 34
            labels[0, 0] = 255  # a license plate: -1 in a byte
            grey(root / "gtFine" / f"{name}_gtFine_labelIds.png", labels)
    return root


def test_cityscapes_labels_come_from_label_ids_through_one_table(cityscapes: Path) -> None:
    dataset = Cityscapes(cityscapes)
    assert dataset.ids("train") == ["train/aachen/aachen_000000_000019"]
    assert [dataset.group(i) for i in dataset.ids("val")] == sorted(HELD_OUT_CITIES)
    assert dataset.ids("test") == ["val/lindau/lindau_000000_000019"]
    mask = dataset.read(dataset.ids("test")[0]).mask
    assert mask[0, 0] == 255, "a license plate is void"
    assert mask[0, 7] == 0, "7 is road"
    assert mask[2, 2] == 13, "26 is car"
    assert mask[2, 5] == 255, "29, a caravan, is void"
    assert mask[2, 9] == 18, "33 is bicycle"
    assert [c.label_id for c in CLASSES] == sorted(c.label_id for c in CLASSES)
    assert len(dataset.info.classes) == 19
    assert int((TRAIN_IDS != 255).sum()) == 19
    assert Cityscapes(cityscapes, "official").val_is_test


def test_cityscapes_train_ids_files_are_not_taken_for_label_ids(cityscapes: Path) -> None:
    path = next((cityscapes / "gtFine" / "val").rglob("*.png"))
    grey(path, np.full((8, 12), 200))
    with pytest.raises(DataError, match=r"label id\(s\) 200 do not exist"):
        manifest_of(Cityscapes(cityscapes))


def test_cityscapes_server_wants_label_ids(cityscapes: Path) -> None:
    labels = np.array([[0, 13, 18]], dtype=np.uint8)
    name, image = Cityscapes(cityscapes).server_file("val/lindau/lindau_000000_000019", labels)
    assert name == "lindau_000000_000019.png"
    assert np.asarray(image).tolist() == [[7, 26, 33]]


def test_ade20k_loses_its_zero_in_one_place_and_gets_it_back_for_the_server(tmp_path: Path) -> None:
    for part, count in (("training", 40), ("validation", 3)):
        for number in range(count):
            name = f"{part}/ADE_{part[:5]}_{number:08}"
            photo(tmp_path / "images" / f"{name}.jpg")
            labels = np.zeros((8, 12), int)
            labels[0, :3] = 1, 150, number % 150
            grey(tmp_path / "annotations" / f"{name}.png", labels)
    dataset = Ade20k(tmp_path)
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [38, 2, 3]
    mask = dataset.read(dataset.ids("test")[0]).mask
    assert mask[0, :3].tolist() == [0, 149, 255]
    assert len(dataset.info.classes) == len(set(dataset.info.classes)) == 150
    assert dataset.info.classes[0] == "wall"
    assert dataset.info.classes[149] == "flag"
    name, image = dataset.server_file("validation/ADE_valid_00000000", mask[:1, :2])
    assert (name, np.asarray(image).tolist()) == ("ADE_valid_00000000.png", [[1, 150]])


def test_chase_keeps_both_eyes_of_a_child_together(tmp_path: Path) -> None:
    for child in range(1, 15):
        for side in "LR":
            photo(tmp_path / f"Image_{child:02}{side}.jpg")
            drawn = np.zeros((8, 12), bool)
            drawn[2:4] = True
            for observer in ("1st", "2nd"):
                Image.fromarray(drawn).save(tmp_path / f"Image_{child:02}{side}_{observer}HO.png")  # one bit a pixel
    dataset = ChaseDb1(tmp_path, "16-4-8")
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [16, 4, 8]
    assert [len(ChaseDb1(tmp_path).ids(s)) for s in ("train", "val", "test")] == [20, 0, 8]
    children = [{dataset.group(i) for i in dataset.ids(s)} for s in ("train", "val", "test")]
    assert not children[0] & children[1]
    assert not (children[0] | children[1]) & children[2]
    assert np.unique(dataset.read("Image_01L").mask).tolist() == [0, 1]
    assert dataset.second_observer("Image_01L").sum() == 24


def test_pets_trimaps_become_pet_background_and_void(tmp_path: Path) -> None:
    names = [f"Abyssinian_{n}" for n in range(20)]
    for name in names:
        photo(tmp_path / "images" / f"{name}.jpg")
        grey(tmp_path / "annotations" / "trimaps" / f"{name}.png", np.tile([1, 2, 3, 2], (8, 3)))
    # What the real archive has: a leftover of the archiver, and a PNG called JPEG.
    (tmp_path / "annotations" / "trimaps" / f"._{names[0]}.png").write_bytes(b"Mac OS X")
    Image.open(tmp_path / "images" / f"{names[1]}.jpg").convert("RGBA").save(
        tmp_path / "images" / f"{names[1]}.jpg", format="PNG"
    )
    lines = [f"{name} 1 1 1" for name in names]
    (tmp_path / "annotations" / "trainval.txt").write_text("\n".join(lines[:10]) + "\n")
    (tmp_path / "annotations" / "test.txt").write_text("#Image CLASS\n" + "\n".join(lines[10:]) + "\n")
    dataset = OxfordPets(tmp_path)
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [9, 1, 10]
    sample = dataset.read(names[1])
    assert sample.mask[0, :4].tolist() == [1, 0, 255, 0]
    assert sample.image.shape == (8, 12, 3)
    grey(tmp_path / "annotations" / "trimaps" / f"{names[3]}.png", np.zeros((8, 12)))
    with pytest.raises(DataError, match="254 do not exist"):
        dataset.read(names[3])


@pytest.fixture
def trainaug(tmp_path: Path) -> Path:
    """VOC's and SBD's lists at their true sizes; of the files, those of a few images."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    train, val = [f"t{n}" for n in range(1464)], [f"v{n}" for n in range(1449)]
    (lists / "train.txt").write_text("\n".join(train))
    (lists / "val.txt").write_text("\n".join(val))
    sbd = tmp_path / "benchmark_RELEASE" / "dataset"
    (sbd / "cls").mkdir(parents=True)
    extra = [f"s{n}" for n in range(10582 - 1464)]
    # SBD's own training list holds images of VOC's val.
    (sbd / "train.txt").write_text("\n".join(extra[:7000] + train[:900] + val[:600]))
    (sbd / "val.txt").write_text("\n".join(extra[7000:] + train[900:1000] + val[600:700]))
    for name in ("t0", "v0", "s0"):
        photo(root / "JPEGImages" / f"{name}.jpg")
    for name in ("t0", "v0"):
        save_labels(root / "SegmentationClass" / f"{name}.png", np.full((8, 12), 3), voc_palette(21))
    labels = np.zeros((8, 12), dtype=np.uint8)
    labels[1:3] = 15
    savemat(sbd / "cls" / "s0.mat", {"GTcls": {"Segmentation": labels}})
    savemat(sbd / "cls" / "t0.mat", {"GTcls": {"Segmentation": labels}})
    return root


def test_trainaug_has_10582_images_and_none_of_val(trainaug: Path) -> None:
    dataset = Voc(trainaug, "trainaug")
    assert len(dataset.ids("train")) == 10582
    assert not set(dataset.ids("train")) & set(dataset.ids("val"))
    assert len(dataset.ids("test")) == 1449
    assert dataset.val_is_test
    assert dataset.read("t0").mask[0, 0] == 3, "VOC's own mask where it has one"
    sample = dataset.read("s0")
    assert sample.mask[:4, 0].tolist() == [0, 15, 15, 0]
    assert dataset.file_name(dataset.files("s0").mask) == "SBD/cls/s0.mat"


def test_trainaug_without_sbd_or_with_parts_of_lists_says_what_is_wrong(trainaug: Path) -> None:
    sbd = trainaug.parents[1] / "benchmark_RELEASE"
    (sbd / "dataset" / "val.txt").write_text("s1\n")
    with pytest.raises(DataError, match="expected 10582"):
        Voc(trainaug, "trainaug")
    sbd.rename(sbd.with_name("elsewhere"))
    with pytest.raises(DataError, match="needs SBD") as caught:
        open_dataset("voc", "trainaug", trainaug.parents[1], obtain=False)
    assert str(trainaug.parents[1] / "benchmark_RELEASE") in caught.value.message
    assert "benchmark.tgz" in (caught.value.hint or "")


def test_a_broken_sbd_mask_names_its_file(trainaug: Path) -> None:
    path = trainaug.parents[1] / "benchmark_RELEASE" / "dataset" / "cls" / "s0.mat"
    path.write_bytes(b"MATLAB 5.0 no more")
    with pytest.raises(DataError, match=r"s0\.mat: cannot be read as a mask of SBD"):
        Voc(trainaug, "trainaug").read("s0")


def test_vocs_server_wants_palette_pngs_in_its_tree(trainaug: Path) -> None:
    name, image = Voc(trainaug).server_file("2008_000001", np.array([[0, 15]], dtype=np.uint8))
    assert name == "results/VOC2012/Segmentation/comp6_test_cls/2008_000001.png"
    assert image.mode == "P"
    assert np.asarray(image).tolist() == [[0, 15]]
    assert np.asarray(image.convert("RGB"))[0, 1].tolist() == [192, 128, 128]


@real("CamVid")
def test_camvids_void_is_255_and_its_lists_are_names() -> None:
    dataset = CamVid(REAL_DATA / "CamVid")
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [92, 26, 59]
    seen = np.zeros(256, dtype=np.int64)
    for image_id in dataset.ids("val"):
        sample = dataset.read(image_id)
        assert sample.image.shape == (360, 480, 3)
        seen += np.bincount(sample.mask.ravel(), minlength=256)
    assert set(np.flatnonzero(seen)) <= {*range(11), 255}
    assert seen[255] > 0
    assert dataset.group(dataset.ids("val")[0]) == "0016E5"
