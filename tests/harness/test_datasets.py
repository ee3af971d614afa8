from __future__ import annotations

import hashlib
import io
import os
import shutil
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import dataset_class, manifest_of, open_dataset
from harness.datasets.base import read_labels
from harness.datasets.palette import palette_image, voc_palette
from harness.datasets.shapes import Shapes, scene
from harness.datasets.voc import committed_ids
from harness.errors import DataError, UnknownName
from tests.conftest import REAL_DATA, real


@pytest.fixture
def copy(shapes_home: Path, tmp_path: Path) -> Path:
    """A copy of the generated data set that a test may damage."""
    return Path(shutil.copytree(shapes_home / "data" / Shapes.folders[0], tmp_path / "copy"))


def test_shapes_have_every_class_void_and_the_declared_sizes(shapes_home: Path) -> None:
    dataset = Shapes(shapes_home / "data" / Shapes.folders[0])
    seen = np.zeros(256, dtype=np.int64)
    for image_id in dataset.ids("train"):
        sample = dataset.read(image_id)
        assert sample.image.shape == (64, 64, 3)
        seen += np.bincount(sample.mask.ravel(), minlength=256)
    assert set(np.flatnonzero(seen)) == {0, 1, 2, 3, 4, 5, 255}
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [160, 40, 40]


def test_shapes_are_the_same_from_the_same_seed() -> None:
    (a, m), (b, n) = (scene(np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(a, b)
    assert np.array_equal(m, n)


def test_an_unknown_data_set_suggests_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'shapes'"):
        dataset_class("shape")


def test_an_unknown_variant_lists_those_there_are(copy: Path) -> None:
    with pytest.raises(DataError, match="has no variant 'x'") as caught:
        Shapes(copy, "x")
    assert "standard" in str(caught.value)


def test_the_manifest_follows_the_bytes(copy: Path) -> None:
    first = manifest_of(Shapes(copy))
    assert manifest_of(Shapes(copy)) == first
    path = copy / "JPEGImages" / "train_0000.jpg"
    Image.fromarray(scene(np.random.default_rng(9))[0]).save(path)
    second = manifest_of(Shapes(copy))
    assert second.hash != first.hash
    assert second.split_hash("test") == first.split_hash("test")


def test_a_file_of_the_same_size_and_time_with_other_bytes_is_another_file(copy: Path) -> None:
    first = manifest_of(Shapes(copy))
    path = copy / "JPEGImages" / "train_0000.jpg"
    stat, stream = path.stat(), io.BytesIO()
    Image.fromarray(scene(np.random.default_rng(9))[0]).save(stream, "JPEG", quality=20)
    data = stream.getvalue().ljust(stat.st_size, b"\0")
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert manifest_of(Shapes(copy)).hash != first.hash


def damage_missing(copy: Path) -> Path:
    path = copy / "SegmentationClass" / "val_0001.png"
    path.unlink()
    return path


def damage_cut_short(copy: Path) -> Path:
    path = copy / "JPEGImages" / "val_0001.jpg"
    path.write_bytes(path.read_bytes()[:300])
    return path


def damage_no_image(copy: Path) -> Path:
    path = copy / "JPEGImages" / "val_0001.jpg"
    path.write_text("not an image")
    return path


def damage_other_size(copy: Path) -> Path:
    path = copy / "SegmentationClass" / "val_0001.png"
    palette_image(np.zeros((64, 60), int), voc_palette(6)).save(path)
    return path


def damage_unknown_label(copy: Path) -> Path:
    path = copy / "SegmentationClass" / "val_0001.png"
    palette_image(np.full((64, 64), 9), voc_palette(6)).save(path)
    return path


def damage_color_mask(copy: Path) -> Path:
    path = copy / "SegmentationClass" / "val_0001.png"
    Image.new("RGB", (64, 64)).save(path)
    return path


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_missing, "this file is missing"),
        (damage_cut_short, "cannot be decoded"),
        (damage_no_image, "cannot be decoded"),
        (damage_other_size, "the mask is 60×64, its image val_0001.jpg is 64×64"),
        (damage_unknown_label, r"label\(s\) 9 do not exist"),
        (damage_color_mask, "must be a palette or grey image"),
    ],
)
def test_a_damaged_copy_names_the_file(copy: Path, damage: object, message: str) -> None:
    path = damage(copy)  # type: ignore[operator]
    with pytest.raises(DataError, match=message) as caught:
        manifest_of(Shapes(copy))
    assert str(path) in str(caught.value)


def test_a_missing_data_set_says_what_was_looked_for_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset("horse", None, tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "weizmann_horse_db" / "figure_ground") in text
    assert "--data-dir" in text
    assert "bench run --suite demo" in text


def test_palette_indices_survive_writing_and_reading(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 20], [255, 3, 7]], dtype=np.uint8)
    palette_image(labels, voc_palette(21)).save(tmp_path / "m.png")
    assert np.array_equal(read_labels(tmp_path / "m.png"), labels)
    assert voc_palette(21)[1] == (128, 0, 0)
    assert voc_palette(21)[20] == (0, 64, 128)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("voc2012_cut9_val.txt", "9820bc0c15bf5c13b5a606da50f64793f4a526da52c48aabf7a4842ec2c357fc"),
        ("weizmann_horse_70_15_15.txt", "be7e50a5d044af6afb4adb086f48559c8a15a80073cd4d7fd13fef35829976bc"),
        ("weizmann_horse_85_15.txt", "831a70a77429790a32b93c68eb1cda1816487bbaa9e479e19b8697b1701f3c66"),
    ],
)
def test_the_committed_splits_are_what_figures_were_taken_on(name: str, digest: str) -> None:
    text = (resources.files("harness.datasets") / "splits" / name).read_bytes()
    assert hashlib.sha256(text).hexdigest() == digest


def test_the_committed_splits_have_their_sizes() -> None:
    assert len(set(committed_ids("voc2012_cut9_val.txt"))) == 146
    lines = [line.split() for line in committed_ids("weizmann_horse_70_15_15.txt")]
    assert len({name for _, name in lines}) == 327
    assert [sum(part == s for part, _ in lines) for s in ("train", "val", "test")] == [229, 49, 49]
    assert "horse318" not in {name for _, name in lines}


@real("VOCdevkit")
def test_voc_masks_are_palette_indices_and_the_parts_do_not_overlap() -> None:
    dataset = open_dataset("voc", "cut9", REAL_DATA)
    parts = [set(dataset.ids(s)) for s in ("train", "val", "test")]
    assert [len(p) for p in parts] == [297, 33, 346]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    sample = dataset.read("2007_000039")
    assert sample.mask.dtype == np.uint8
    assert set(np.unique(sample.mask)) == {0, 20, 255}


@real("VOCdevkit")
def test_voc_official_says_that_it_selects_on_the_scored_images() -> None:
    assert open_dataset("voc", "official", REAL_DATA).val_is_test
    assert not open_dataset("voc", "cut9", REAL_DATA).val_is_test


@real("weizmann_horse_db")
def test_a_horse_image_has_the_size_of_its_mask_and_two_labels() -> None:
    dataset = open_dataset("horse", None, REAL_DATA)
    for image_id in dataset.ids("val")[:10]:
        sample = dataset.read(image_id)
        assert sample.image.shape[:2] == sample.mask.shape
        assert set(np.unique(sample.mask)) == {0, 1}


@real("DRIVE")
def test_drives_second_observer_against_the_first_gives_the_known_counts() -> None:
    from harness.datasets.drive import Drive
    from harness.metrics import Protocol
    from harness.scoring.evaluate import Predicted, evaluate_images

    dataset = Drive(REAL_DATA / "DRIVE")
    predicted = (Predicted(i, dataset.second_observer(i)) for i in dataset.ids("test"))
    evaluator = evaluate_images(dataset, Protocol(), predicted, threads=2)
    _, true, guess, pixels = evaluator.statistics().confusion.T
    tn, fp, fn, tp = np.bincount(2 * true + guess, weights=pixels)
    assert (tn, fp, fn, tp) == (3851430, 109064, 130181, 447468)
    scores = evaluator.compute()
    assert scores.per_class["dice"][1] == pytest.approx(0.78906, abs=5e-6)
    assert scores.per_class["iou"][1] == pytest.approx(0.65161, abs=5e-6)
    assert scores.values["sensitivity"] == pytest.approx(447468 / (447468 + 130181))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        pytest.param("voc", "VOCdevkit", marks=real("VOCdevkit")),
        pytest.param("drive", "DRIVE", marks=real("DRIVE")),
        pytest.param("horse", "weizmann_horse_db", marks=real("weizmann_horse_db")),
    ],
)
def test_the_truth_alone_is_that_of_the_whole_sample(name: str, folder: str) -> None:
    dataset = open_dataset(name, None, REAL_DATA, obtain=False)
    for image_id in dataset.ids("test")[:3]:
        sample, (mask, valid) = dataset.read(image_id), dataset.truth(image_id)
        assert np.array_equal(mask, sample.mask)
        assert (valid is None) == (sample.valid is None)
        assert valid is None or np.array_equal(valid, sample.valid)


@real("DRIVE")
def test_every_drive_image_has_a_field_of_view_and_255_is_vessel_there() -> None:
    from harness.datasets.drive import Drive

    dataset = Drive(REAL_DATA / "DRIVE", "16-4")
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [16, 4, 20]
    for image_id in (*dataset.ids("train")[:2], *dataset.ids("test")[:2]):
        sample = dataset.read(image_id)
        assert sample.image.shape == (584, 565, 3)
        assert set(np.unique(sample.mask)) == {0, 1}
        assert sample.valid is not None
        assert 0.6 < sample.valid.mean() < 0.75
        assert 0.05 < sample.mask[sample.valid].mean() < 0.25
