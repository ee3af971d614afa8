"""Data sets that are not at hand, in small copies of their layout: every trap that is known of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.datasets import dataset_class, dataset_names, dataset_origin, manifest_of, open_dataset
from harness.datasets.ade20k import Ade20k
from harness.datasets.camvid import CamVid
from harness.datasets.chase import ChaseDb1
from harness.datasets.cityscapes import CLASSES, HELD_OUT_CITIES, TRAIN_IDS, Cityscapes
from harness.datasets.drive import Drive
from harness.datasets.horse import WeizmannHorse
from harness.datasets.pets import OxfordPets
from harness.datasets.shapes import Shapes
from harness.datasets.voc import Voc
from harness.errors import DataError
from harness.testing import DatasetContract
from tests.conftest import REAL_DATA, real
from tests.harness import copies


class TestAde20k(DatasetContract):
    dataset = Ade20k
    make_copy = staticmethod(copies.ade20k)


class TestCamVid(DatasetContract):
    dataset = CamVid
    make_copy = staticmethod(copies.camvid)


class TestChaseDb1(DatasetContract):
    dataset = ChaseDb1
    make_copy = staticmethod(copies.chase)


class TestCityscapes(DatasetContract):
    dataset = Cityscapes
    make_copy = staticmethod(copies.cityscapes)


class TestDrive(DatasetContract):
    dataset = Drive
    make_copy = staticmethod(copies.drive)


class TestWeizmannHorse(DatasetContract):
    dataset = WeizmannHorse
    make_copy = staticmethod(copies.horse)


class TestOxfordPets(DatasetContract):
    dataset = OxfordPets
    groups_stay_together = False  # every breed is in every split
    make_copy = staticmethod(copies.pets)


class TestShapes(DatasetContract):
    dataset = Shapes


class TestVoc(DatasetContract):
    dataset = Voc
    variants = ("cut9", "official")  # trainaug is tested below: its lists have 10,582 images
    make_copy = staticmethod(copies.voc)


def test_every_data_set_of_the_project_keeps_the_contract() -> None:
    tested = {cls.dataset for cls in DatasetContract.__subclasses__() if cls.__module__ == __name__}
    assert tested == {dataset_class(name) for name in dataset_names() if dataset_origin(name) == "built in"}


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    return copies.cityscapes(tmp_path / "cityscapes")


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
    copies.grey(path, np.full((8, 12), 200))
    with pytest.raises(DataError, match=r"label id\(s\) 200 do not exist"):
        manifest_of(Cityscapes(cityscapes))


def test_cityscapes_server_wants_label_ids(cityscapes: Path) -> None:
    labels = np.array([[0, 13, 18]], dtype=np.uint8)
    name, image = Cityscapes(cityscapes).server_file("val/lindau/lindau_000000_000019", labels)
    assert name == "lindau_000000_000019.png"
    assert np.asarray(image).tolist() == [[7, 26, 33]]


def test_ade20k_loses_its_zero_in_one_place_and_gets_it_back_for_the_server(tmp_path: Path) -> None:
    copies.ade20k(tmp_path)
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
    copies.chase(tmp_path)
    dataset = ChaseDb1(tmp_path, "16-4-8")
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [16, 4, 8]
    assert [len(ChaseDb1(tmp_path).ids(s)) for s in ("train", "val", "test")] == [20, 0, 8]
    children = [{dataset.group(i) for i in dataset.ids(s)} for s in ("train", "val", "test")]
    assert not children[0] & children[1]
    assert not (children[0] | children[1]) & children[2]
    assert np.unique(dataset.read("Image_01L").mask).tolist() == [0, 1]
    assert dataset.second_observer("Image_01L").sum() == 24


def test_pets_trimaps_become_pet_background_and_void(tmp_path: Path) -> None:
    dataset = OxfordPets(copies.pets(tmp_path))
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [9, 1, 10]
    sample = dataset.read("Abyssinian_1")
    assert sample.mask[0, :4].tolist() == [1, 0, 255, 0]
    assert sample.image.shape == (8, 12, 3)
    copies.grey(tmp_path / "annotations" / "trimaps" / "Abyssinian_3.png", np.zeros((8, 12)))
    with pytest.raises(DataError, match="254 do not exist"):
        dataset.read("Abyssinian_3")


@pytest.fixture
def trainaug(tmp_path: Path) -> Path:
    return copies.trainaug(tmp_path)


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
