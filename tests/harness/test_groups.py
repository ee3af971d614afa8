"""Patient, drive and city of each image are kept with its statistics, for intervals that have to know them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import harness
from harness.datasets.base import Dataset
from harness.datasets.camvid import CamVid
from harness.datasets.cityscapes import Cityscapes
from harness.datasets.palette import save_labels
from harness.metrics import Evaluator, Protocol, StatisticsTable, fold
from harness.metrics.records import ImageStatistics
from tests.harness import copies


def table() -> StatisticsTable:
    evaluator = Evaluator(3)
    rng = np.random.default_rng(0)
    for name in ("a1", "a2", "b1"):
        evaluator.update(rng.integers(0, 3, (6, 8)), rng.integers(0, 3, (6, 8)), name)
    return evaluator.statistics()


def test_groups_are_read_back_and_follow_their_images() -> None:
    grouped = table().with_groups(lambda name: name[0])
    again = StatisticsTable.from_bytes(grouped.to_bytes())
    assert again.groups == ("a", "a", "b")
    assert again.subset(["a2", "b1"]).groups == ("a", "b")
    assert again.with_scores_of(table()).groups == ("a", "a", "b")


def test_without_groups_the_bytes_are_what_they_were() -> None:
    plain = table()
    assert plain.with_groups(lambda name: name).to_bytes() == plain.to_bytes()
    assert StatisticsTable.from_bytes(plain.to_bytes()).groups == ()
    assert StatisticsTable.of(list[ImageStatistics]()).with_groups(str).groups == ()


def test_groups_move_no_score() -> None:
    grouped = table().with_groups(lambda name: name[0])
    assert fold(grouped, 3, Protocol()).to_dict() == fold(table(), 3, Protocol()).to_dict()


@pytest.mark.parametrize(
    ("kind", "groups"), [(Cityscapes, {"lindau"}), (CamVid, {"test_drive"})], ids=["cities", "drives"]
)
def test_the_frames_have_the_groups_of_a_data_set(tmp_path: Path, kind: type[Dataset], groups: set[str]) -> None:
    name = kind.info.name
    root = getattr(copies, name)(tmp_path / kind.folders[0])
    dataset = kind(root)
    for image in dataset.ids("test"):
        path = tmp_path / "guesses" / f"{image}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_labels(path, np.zeros_like(dataset.truth(image)[0]), dataset.info.palette)
    place = str(tmp_path / "results.db")
    harness.score(tmp_path / "guesses", dataset=name, data_dir=tmp_path, rank_as=harness.Ranked("Sky", db=place))
    frame = harness.load_results(place).image_scores
    assert set(frame["group"]) == groups
    assert set(frame["image"]) == set(dataset.ids("test"))


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False], ids=["patients", "no groups"])
def test_a_run_on_a_folder_keeps_the_groups_that_its_definition_names(home: Path, told: bool) -> None:
    mine = home / "mine"
    for folder in ("images", "masks"):
        (mine / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for patient in range(12):
        for part in "ab":
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(
                mine / "images" / f"p{patient}_{part}.png"
            )
            Image.fromarray(rng.integers(0, 2, (32, 32), dtype=np.uint8)).save(
                mine / "masks" / f"p{patient}_{part}.png"
            )
    definition = {"name": "scans", "classes": ["background", "organ"]} | ({"group": r"^(p\d+)_"} if told else {})
    (mine / "dataset.yaml").write_text(json.dumps(definition))
    suite = {
        "title": "Scans", "datasets": [str(mine)], "models": [{"name": "unet", "params": {"width": 4, "depth": 2}}],
        "seeds": [0], "recipe": {"size": [32, 32], "epochs": 1, "batch_size": 4},
    }  # fmt: skip
    (home / "scans.yaml").write_text(json.dumps(suite))
    options = harness.RunOptions(db="scans.db", backend="in-process")
    assert harness.run("scans.yaml", options).ok == 1
    frame = harness.load_results("scans.db").image_scores
    assert len(frame)
    expected = frame["image"].str.partition("_")[0] if told else frame["image"]
    assert (frame["group"] == expected).all()
    # Another protocol scores the kept label maps again, and keeps the groups.
    assert harness.run("scans.yaml", options, overrides=["protocol.void=mask"]).ok == 1
    again = harness.load_results("scans.db").image_scores
    assert again["protocol_hash"].nunique() == 2
    assert set(again["group"]) == set(frame["group"])
