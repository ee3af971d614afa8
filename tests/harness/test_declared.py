"""What a network's file declares takes effect, stands in the job, and is shown; what the suite says comes first."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from bench.status import stale_parts
from harness.config.expand import Smoke
from harness.config.job import Job
from harness.config.load import load_suite
from harness.errors import PluginError, SuiteError
from harness.models.declaration import read_declaration
from harness.models.registry import ModelEntry, read_plugin
from harness.results import open_store
from harness.results.schema import Run
from harness.runner.plan import Plan, make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.stated import stated_facts
from harness.utils.images import normalize
from leaderboard.boards.board import boards
from leaderboard.boards.notes import board_notes, declared_facts
from leaderboard.queries.load import load_runs

NET = """
from torch import nn
NAME = "{name}"
{said}
def build(num_classes):
    return nn.Conv2d(3, num_classes, 1)
"""
SAID = """
STRIDE = 4
NORMALIZE = "symmetric"
SIZE = (48, 64)
REQUIRES = ("torch>=1",)
AUTHORS = ["A. Author", "B. Author"]
PAPER = "A paper, 2026"
LICENSE = "MIT"
"""


def entry(folder: Path, said: str = SAID, name: str = "own") -> ModelEntry:
    (folder / f"{name}.py").write_text(NET.format(name=name, said=said))
    return read_plugin(folder / f"{name}.py")


def planned(
    home: Path, entry: ModelEntry, overrides: tuple[str, ...] = (), smoke: Smoke | None = None, **suite: Any
) -> Plan:
    recipe = {"size": [32, 32], "epochs": 1, "normalize": "unit"}
    told = {"datasets": ["shapes"], "models": [entry.name], "recipe": recipe, **suite}
    (home / "s.yaml").write_text(yaml.safe_dump(told))
    loaded = load_suite(str(home / "s.yaml"), overrides)
    return make_plan(loaded, None, home / "data", Artifacts("artifacts"), {entry.name: entry}, smoke)


def job(plan: Plan) -> Job:
    return plan.train[0].job


def test_what_it_declares_takes_the_place_of_the_recipes_and_stands_in_the_fingerprint(home: Path) -> None:
    plan = planned(home, entry(home))
    recipe = job(plan).recipe
    assert (recipe.normalize, recipe.size) == ("symmetric", (48, 64))
    assert plan.train[0].parts["recipe"]["normalize"] == "symmetric"
    silent = planned(home, entry(home, ""))
    assert (job(silent).recipe.normalize, job(silent).recipe.size) == ("unit", (32, 32))


@pytest.mark.parametrize(
    ("suite", "overrides"),
    [
        ({"models": [{"name": "own", "recipe": {"normalize": "imagenet"}}]}, ()),
        ({"grid": {"normalize": ["imagenet"]}}, ()),
        ({}, ("normalize=imagenet",)),
        ({}, ("recipe.normalize=imagenet",)),
    ],
    ids=["of this network", "grid", "--set", "--set recipe."],
)
def test_what_is_said_on_purpose_comes_first(home: Path, suite: dict[str, Any], overrides: tuple[str, ...]) -> None:
    recipe = job(planned(home, entry(home), overrides, **suite)).recipe
    assert (recipe.normalize, recipe.size) == ("imagenet", (48, 64)), "and of its size nobody said anything"


def test_a_suite_file_does_not_speak_for_the_command_line(home: Path) -> None:
    with pytest.raises(SuiteError, match="given: only the command line says what it gives"):
        planned(home, entry(home), given=["normalize"])


def test_a_smoke_run_leaves_a_network_the_size_it_declares(home: Path) -> None:
    assert job(planned(home, entry(home), smoke=Smoke(side=32))).recipe.size == (48, 64)
    assert job(planned(home, entry(home, ""), smoke=Smoke(side=32))).recipe.size == (32, 32)


def test_the_board_says_what_was_declared_and_used(home: Path) -> None:
    plan = planned(home, entry(home))
    store = open_store(str(home / "results.db"))
    store.register(plan.jobs, plan.datasets)
    (board,) = boards(load_runs(store))
    facts = declared_facts(board.rows[0])
    assert facts == {
        "authors": ["A. Author", "B. Author"], "paper": "A paper, 2026", "license": "MIT",
        "requires": [f"torch {version('torch')}"], "normalize": "symmetric", "size": [48, 64],
    }  # fmt: skip
    assert board_notes(board, ["miou"]) == [
        "own: by A. Author, B. Author; A paper, 2026; license MIT; input normalized as its file says: symmetric; "
        f"input size as its file says: 48×64; needs torch {version('torch')}"
    ]
    store.close()
    overruled = planned(home, entry(home), ("normalize=imagenet",))
    assert "normalize" not in stated_facts(overruled.train[0])["declared"], "it did not take effect"


def test_versions_of_required_packages_count_as_the_source_does(home: Path) -> None:
    one = entry(home)
    plain = entry(home, SAID.replace("REQUIRES", "# REQUIRES"))
    assert one.source_hash != replace(one, requires=()).source_hash
    assert plain.source_hash == replace(plain, requires=()).source_hash
    plan = planned(home, one)
    store = open_store(str(home / "results.db"))
    store.register(plan.jobs, plan.datasets)
    with store.session() as session:
        run = session.get_one(Run, 1)
    assert stale_parts(run, home / "data") == []
    run.parts = {**run.parts, "model_source": "0" * 64}
    assert [line.split(":")[0] for line in stale_parts(run, home / "data")] == ["model_source"]
    store.close()


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('NORMALIZE = "caffe"', "NORMALIZE = 'caffe' must be one of imagenet, unit, symmetric"),
        ("SIZE = (50, 64)\nSTRIDE = 4", r"SIZE = \(50, 64\) must be height and width, whole multiples of the stride 4"),
        ('SIZE = "large"', "SIZE = 'large' must be"),
        ("REQUIRES = 3", "REQUIRES = 3 must be a text, or a tuple of texts"),
        ("REQUIRES = [x]", r"REQUIRES = \(not a plain constant\)"),
        ("AUTHORS = ['']", "AUTHORS"),
    ],
)
def test_what_cannot_be_meant_is_refused(said: str, message: str) -> None:
    with pytest.raises(PluginError, match=f"net.py: {message}" if "(" not in said[:8] else message):
        read_declaration(said, "net.py")


def test_what_is_no_requirement_is_refused(home: Path) -> None:
    with pytest.raises(PluginError, match="'a b c' is no requirement"):
        planned(home, entry(home, 'REQUIRES = "a b c"'))


def test_symmetric_images_lie_between_minus_one_and_one() -> None:
    found = normalize(torch.tensor([0, 255], dtype=torch.uint8).reshape(1, 1, 1, 2).expand(1, 3, 1, 2), "symmetric")
    assert np.array_equal(np.unique(found.numpy()), [-1, 1])
