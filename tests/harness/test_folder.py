"""Any folder of images and masks with a dataset.yaml."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import manifest_of, open_dataset, resolved
from harness.datasets.folder import Definition, FolderDataset
from harness.errors import DataError
from tests.conftest import run_bench

RNG = np.random.default_rng(1)


def make(root: Path, definition: str, count: int = 20, ending: str = ".png", suffix: str = "_mask") -> Path:
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for number in range(count):
        Image.fromarray(RNG.integers(0, 256, (16, 20, 3), dtype=np.uint8)).save(root / "images" / f"p{number}.jpg")
        mask = np.zeros((16, 20), np.uint8)
        mask[4:9, number % 10 : number % 10 + 6] = 255
        Image.fromarray(mask).save(root / "masks" / f"p{number}{suffix}{ending}")
    (root / "dataset.yaml").write_text(definition)
    return root


BASIC = "name: kidney\nclasses: [background, kidney]\nmask_suffix: _mask\nlabels: {0: 0, 255: 1}\n"


def opened(root: Path) -> FolderDataset:
    dataset = open_dataset(str(root), None, root.parent)
    assert isinstance(dataset, FolderDataset)
    return dataset


@pytest.mark.parametrize("ending", [".png", ".gif", ".bmp", ".tif"])
def test_images_and_masks_are_paired_over_endings_and_suffixes(tmp_path: Path, ending: str) -> None:
    dataset = opened(make(tmp_path / "k", BASIC, ending=ending))
    assert dataset.info.name == "kidney"
    assert dataset.info.headline == "iou[kidney]"
    assert [len(dataset.ids(s)) for s in ("train", "val", "test")] == [14, 3, 3]
    sample = dataset.read("p3")
    assert sample.mask.sum() == 30
    assert manifest_of(dataset).hash == manifest_of(opened(tmp_path / "k")).hash


def test_shares_depend_on_names_and_seed_alone_and_keep_groups_together(tmp_path: Path) -> None:
    text = BASIC + "splits: {train: 0.5, test: 0.5}\ngroup: 'p(\\d)'\n"
    dataset = opened(make(tmp_path / "k", text))
    groups = [{dataset.group(i) for i in dataset.ids(s)} for s in ("train", "test")]
    assert not groups[0] & groups[1]
    assert dataset.ids("val") == []
    other = opened(make(tmp_path / "other", text))
    assert other.ids("train") == dataset.ids("train")
    moved = opened(make(tmp_path / "seed", text + "seed: 1\n"))
    assert moved.ids("train") != dataset.ids("train")


def test_lists_may_carry_endings_and_leave_images_out(tmp_path: Path) -> None:
    root = make(tmp_path / "k", BASIC + "splits: {train: a.txt, test: b.txt}\n")
    (root / "a.txt").write_text("\ufeffp1.jpg\r\np2\r\n# p9\n")
    (root / "b.txt").write_text("p3\n")
    (root / "masks" / "p7_mask.png").unlink()
    dataset = opened(root)
    assert [dataset.ids(s) for s in ("train", "val", "test")] == [["p1", "p2"], [], ["p3"]]
    (root / "b.txt").write_text("p77\n")
    with pytest.raises(DataError, match="'p77' is no image"):
        opened(root)


def test_color_coded_masks_go_through_a_table(tmp_path: Path) -> None:
    text = (
        "classes: [sea, land, ice]\npalette: [[0, 0, 255], [0, 255, 0], [255, 255, 255]]\nencoding: colors\n"
        "splits: {train: 1.0, test: 0.0}\n"
    )
    root = make(tmp_path / "arctic", text, count=2, suffix="")
    pixels = np.zeros((16, 20, 3), np.uint8)
    pixels[:, :5], pixels[:, 5:10], pixels[:, 10:15] = (0, 0, 255), (0, 255, 0), (255, 255, 255)
    for number in (0, 1):
        Image.fromarray(pixels).save(root / "masks" / f"p{number}.png")
    dataset = opened(root)
    assert dataset.info.name == "arctic"
    assert dataset.read("p0").mask[0, ::5].tolist() == [0, 1, 2, 255]
    pixels[0, 0] = (1, 2, 3)
    Image.fromarray(pixels).save(root / "masks" / "p1.png")
    with pytest.raises(DataError, match="1,2,3 are not in the table"):
        dataset.read("p1")


def test_a_definition_is_stored_by_the_names_of_its_fields(tmp_path: Path) -> None:
    # Part of the fingerprint of every run on a folder: if this fails, all of them would be trained again.
    text = "name: k\nclasses: [a, b]\nencoding: colors\ncolors: {'0,0,0': 0, '1,1,1': void}\nlicense: MIT\n"
    _, params = resolved(str(make(tmp_path / "k", text)), {}, tmp_path)
    assert params["definition"] == {
        "name": "k", "title": "", "classes": ["a", "b"], "palette": None, "images": "images", "masks": "masks",
        "image_suffix": "", "mask_suffix": "", "encoding": "colors", "labels": None,
        "colors": {"0,0,0": 0, "1,1,1": "void"}, "threshold": None,
        "splits": {"train": 0.7, "val": 0.15, "test": 0.15}, "seed": 0, "group": None,
        "background": 0, "foreground": 1, "license": "MIT", "citation": "", "homepage": "",
    }  # fmt: skip
    assert Definition.model_validate(params["definition"]).model_dump(mode="json") == params["definition"]


def test_a_threshold_cuts_grey_edges(tmp_path: Path) -> None:
    root = make(tmp_path / "k", "classes: [a, b]\nthreshold: 128\nsplits: {train: 1.0}\n", 1, suffix="")
    Image.fromarray(np.tile(np.array([0, 127, 128, 255], np.uint8), (16, 5))).save(root / "masks" / "p0.png")
    assert opened(root).read("p0").mask[0, :4].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [a, b]\nclases: 3\n", "dataset.yaml:2: clases: there is no such field"),
        ("name: k\n", "classes: this field is required"),
        ("classes: [a, b]\nlabels: {0: 0, 255: 7}\n", "there is no class 7"),
        ("classes: [a, b]\nsplits: {train: 0.9, test: 0.3}\n", "add up to at most 1"),
        ("classes: [a, b]\nsplits: {train: x.txt, test: 0.3}\n", "either all are files, or all are shares"),
        ("classes: [a, b]\npalette: [[0, 0, 0]]\n", "1 colors for 2 classes"),
        ("classes: [a, b]\nencoding: colors\ncolors: {'0,0': 1}\n", "is not R,G,B"),
        (
            "classes: [a, b]\ncolors: {'0,0,0': 7}\n",
            "(top level): labels and colors: there is no class 7",
        ),
        ("classes: [a, b]\ncolors: 3\n", "dataset.yaml:2: colors: input should be a valid dictionary"),
        ("classes: [a, b]\ncolors: {}\ncolours: {}\n", "dataset.yaml:3: colours: there is no such field"),
        ("name: voc\nclasses: [a, b]\nmask_suffix: _mask\n", "the name voc is taken"),
        ("classes: [a, b]\n", "p0.jpg: this image has no mask"),
        ("classes: [a, b]\nmask_suffix: _mask\nmasks: labels\n", "there is no such folder"),
    ],
)
def test_mistakes_name_line_and_field(tmp_path: Path, text: str, message: str) -> None:
    root = make(tmp_path / "k", text)
    with pytest.raises(DataError) as caught:
        opened(root)
    assert message in caught.value.message


def test_unknown_values_name_file_and_value(tmp_path: Path) -> None:
    dataset = opened(make(tmp_path / "k", BASIC.replace("255: 1", "254: 1")))
    with pytest.raises(DataError, match=r"p0_mask\.png: value\(s\) 255 are not in the table"):
        manifest_of(dataset)


def test_a_folder_without_a_definition_shows_what_to_write(tmp_path: Path) -> None:
    root = make(tmp_path / "k", BASIC)
    (root / "dataset.yaml").unlink()
    with pytest.raises(DataError, match="this file is missing") as caught:
        opened(root)
    assert "classes: [background, kidney]" in (caught.value.hint or "")


@pytest.mark.slow
@pytest.mark.long
def test_a_suite_on_a_folder_runs_is_ranked_and_moves_without_training_again(tmp_path: Path) -> None:
    make(tmp_path / "mine", BASIC)
    (tmp_path / "suite.yaml").write_text(
        "title: Mine\ndatasets: [{name: folder, params: {path: mine}}]\n"
        "models: [{name: unet, params: {width: 4, depth: 2}}]\n"
        "recipe: {size: [16, 16], epochs: 1, batch_size: 4, augment: [{op: scale_crop, max_share: 0.9}]}\n"
    )
    done = run_bench("run", "--suite", "suite.yaml", "--local", cwd=tmp_path, SEGBENCH_CACHE_GB="0")
    assert "kidney" in done.stdout
    assert "Every job decodes kidney for itself: decoded, the data take 0.00 GB" in done.stdout
    records = json.loads(run_bench("export", "json", cwd=tmp_path).stdout)
    assert records[0]["dataset"] == "kidney"
    (tmp_path / "mine").rename(tmp_path / "moved")
    text = (tmp_path / "suite.yaml").read_text().replace("path: mine", "path: moved")
    (tmp_path / "suite.yaml").write_text(text)
    assert "Nothing to do" in run_bench("run", "--suite", "suite.yaml", "--local", cwd=tmp_path).stdout
    exported = run_bench("export-predictions", "1", "--out", "upload", cwd=tmp_path)
    assert "wrote 3 label maps" in exported.stdout
    assert len(list((tmp_path / "upload").glob("*.png"))) == 3
    again = run_bench("export-predictions", "1", "--out", "upload", cwd=tmp_path, check=False)
    assert again.returncode == 2
    assert "exists already" in again.stderr
