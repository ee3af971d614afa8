"""Data sets that are added: the walk through of the docs, and another package's, without touching the project."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets import Dataset, Sample, open_dataset
from harness.datasets.registry import DATASETS
from harness.datasets.shapes import Shapes
from harness.errors import PluginError
from harness.testing import DatasetContract
from harness.utils.registry import Registry
from tests.conftest import ROOT, rows, run_bench

DOCS = (ROOT / "docs" / "add-a-dataset.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCS, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
@pytest.mark.long
def test_the_class_of_the_docs_keeps_the_contract(tmp_path: Path) -> None:
    for text in blocks("python"):
        name = re.match(r'"""(\w+\.py)', text)
        assert name is not None
        (tmp_path / name[1]).write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_scans.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    tests = [name for name in vars(DatasetContract) if name.startswith("test_")]
    assert f"{len(tests)} passed" in done.stdout, done.stdout + done.stderr


def test_the_folder_of_the_docs_is_read(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    root = tmp_path / "mine"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for patient in range(5):
        for scan in "ab":
            name = f"p{patient}_{scan}"
            Image.fromarray(rng.integers(0, 256, (8, 12, 3), dtype=np.uint8)).save(root / "images" / f"{name}.jpg")
            Image.fromarray((rng.random((8, 12)) < 0.5).astype(np.uint8) * 255).save(root / "masks" / f"{name}.png")
    (root / "dataset.yaml").write_text(text)
    dataset = open_dataset(str(root), None, tmp_path)
    assert [len(dataset.ids(split)) for split in ("train", "val", "test")] == [6, 2, 2]
    assert dataset.info.headline == "iou[kidney]"
    assert dataset.group("p3_a") == "p3"
    assert run_bench("check-data", root, cwd=tmp_path).stdout.count("0 error(s)") == 1


class Small(DatasetContract):
    """The contract, for data sets that break it."""

    __test__ = False
    dataset = Shapes


def broken(read: object = None, splits: object = None, group: object = None) -> DatasetContract:
    """A contract for a data set that differs from a sound one in one method."""
    changed = {"read": read, "read_splits": splits, "group": group}
    contract = Small()
    contract.dataset = type("Broken", (Shapes,), {name: f for name, f in changed.items() if f is not None})
    return contract


def test_the_contract_finds_a_data_set_that_breaks_it(tmp_path: Path) -> None:
    def with_noise(self: Shapes, image_id: str) -> object:
        sample = Shapes.read(self, image_id)
        noise = np.random.default_rng().integers(0, 256, sample.image.shape, dtype=np.uint8)
        return Sample(noise, sample.mask)

    def in_two(self: Shapes) -> dict[str, list[str]]:
        found = Shapes.read_splits(self)
        return found | {"test": [*found["test"], found["train"][0]]}

    folders = iter(tmp_path / str(number) for number in range(9))
    with pytest.raises(AssertionError):
        broken(read=with_noise).test_reading_twice_gives_the_same_whatever_was_done_to_the_first(next(folders))
    with pytest.raises(AssertionError):
        broken(splits=in_two).test_no_image_is_in_two_splits_unless_val_is_the_test(next(folders))
    together = broken(group=lambda self, image_id: "the same for all")
    with pytest.raises(AssertionError, match="the same for all"):
        together.test_the_images_of_a_group_stay_in_one_split_or_the_checkup_tells(next(folders))
    together.groups_stay_together = False
    together.test_the_images_of_a_group_stay_in_one_split_or_the_checkup_tells(next(folders))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("json:loads", "is no subclass of harness.datasets.Dataset"),
        ("harness.datasets.shapes:Shapes", "must be the entry point's name, 'other'"),
        ("no.such.module:Set", "No module named"),
    ],
)
def test_what_another_package_announces_and_is_no_data_set_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, message: str
) -> None:
    info = tmp_path / "elsewhere-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[segbench.datasets]\nother = {value}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    fresh: Registry[type[Dataset]] = Registry(
        DATASETS.kind, DATASETS.package, DATASETS.group, DATASETS.listing, check=DATASETS._check
    )
    with pytest.warns(UserWarning, match="elsewhere 2.0"), pytest.raises(PluginError, match=message):
        fresh.get("other")
    assert "other" not in fresh


@pytest.mark.slow
@pytest.mark.long
def test_another_packages_data_set_is_listed_trained_on_and_scored(tmp_path: Path, plugin_site: Path) -> None:
    env = {"PYTHONPATH": f"{plugin_site}{os.pathsep}{ROOT}"}
    listed = json.loads(run_bench("datasets", "--json", cwd=tmp_path, **env).stdout)
    (stripes,) = [d for d in listed if d["name"] == "stripes"]
    assert (stripes["origin"], stripes["license"]) == ("plugin segbench-example 1.2.3", "MIT")
    assert {d["origin"] for d in listed if d["name"] != "stripes"} == {"built in"}
    (tmp_path / "suite.yaml").write_text(
        "title: Stripes\ndatasets: [stripes]\nmodels: [tinynet]\n"
        "recipe: {size: [32, 32], iterations: 2, val_every: 1, batch_size: 2}\n"
    )
    done = run_bench("run", "--suite", "suite.yaml", "--local", cwd=tmp_path, **env)
    assert "1/1 done" in done.stdout
    assert (tmp_path / "data" / "stripes-v1" / "masks" / "train_0.png").exists()
    assert rows(tmp_path, "select state from runs") == [("ok",)]
    records = json.loads(run_bench("export", "json", cwd=tmp_path, **env).stdout)
    assert records[0]["dataset"] == "stripes"
    tests = "from harness.testing import DatasetContract\nfrom segbench_example.stripes import Stripes\n\n\n"
    tests += "class TestStripes(DatasetContract):\n    dataset = Stripes\n"
    (tmp_path / "test_stripes.py").write_text(tests)
    kept = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_stripes.py"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **env},
    )  # fmt: skip
    assert kept.returncode == 0, kept.stdout
