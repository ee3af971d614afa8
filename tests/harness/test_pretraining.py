"""What is known of the weights that a run begins with, and what is declared of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.run import narrowed
from harness.config.load import load_suite
from harness.datasets.registry import DATASETS
from harness.errors import BenchError, PluginError, SuiteError
from harness.models.registry import read_plugin
from harness.results.facts import pretraining, scores_from, search_budget
from harness.results.rows import PREDICTIONS
from harness.runner.plan import make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.stated import stated_facts
from harness.tasks.task import Task
from harness.utils.pretraining import data_set_names, plain_name
from leaderboard.boards.walls import wall_of
from tests.leaderboard.test_tables import DATA, result

FILE = "from torch import nn\nNAME = 'mine'\n{said}\ndef build(num_classes):\n    return nn.Conv2d(3, num_classes, 1)\n"


def planned(home: Path, model: dict[str, Any], said: str = "") -> Task:
    """The task of one model on the generated data set."""
    (home / "mine.py").write_text(FILE.format(said=said))
    (home / "weights.pt").write_bytes(b"weights")
    suite = {
        "title": "One", "datasets": ["shapes"], "models": [model], "seeds": [0],
        "recipe": {"size": [32, 32], "epochs": 1, "batch_size": 4},
    }  # fmt: skip
    (home / "one.yaml").write_text(json.dumps(suite))
    entry = read_plugin(home / "mine.py")
    (task,) = make_plan(load_suite("one.yaml"), None, home / "data", Artifacts("artifacts"), {"mine": entry}).train
    return task


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("none", ()),
        ("None", ()),
        ([], ()),
        ("ImageNet-1k", ("ImageNet",)),
        ("ILSVRC 2012", ("ImageNet",)),
        ("ImageNet-21k", ("ImageNet-21k",)),
        (["SA-1B", "imagenet"], ("ImageNet", "SA-1B")),
        ("imagenet, SA-1B; COCO", ("COCO", "ImageNet", "SA-1B")),
    ],
)
def test_a_data_set_has_one_name_however_it_is_spelled(said: object, names: tuple[str, ...]) -> None:
    assert data_set_names(said) == names
    assert data_set_names(list(names)) == names, "as it is stored"


@pytest.mark.parametrize("said", ["", 1, "ImageNet,", "ImageNet, none", ["ImageNet", "none"], [""], {"a": 1}, None])
def test_what_is_no_name_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match=r"must be|says none"):
        data_set_names(said)


@pytest.mark.parametrize("origin", ["built in", "torchvision", "smp"])
def test_known_networks_say_it_by_their_parameter(origin: str) -> None:
    assert pretraining(origin, {}, False, {}) == ()
    assert pretraining(origin, {"pretrained": "none"}, False, {}) == ()
    assert pretraining(origin, {"pretrained": "imagenet"}, False, {}) == ("ImageNet",)
    assert pretraining(origin, {"pretrained": "instagram"}, False, {}) == ("instagram",)
    assert pretraining(origin, {"pretrained": "weights/mit_b0.pth"}, False, {}) is None, "a place says nothing"
    assert pretraining(origin, {"pretrained": "imagenet"}, True, {}) is None, "weights from a file"


def test_of_strangers_only_a_declaration_is_known() -> None:
    for origin in ("file mine.py", "plugin nets 1.0", PREDICTIONS):
        assert pretraining(origin, {"pretrained": "none"}, False, {}) is None
        assert pretraining(origin, {}, False, {"pretrained_on": []}) == ()
    assert [scores_from(PREDICTIONS, False), scores_from("built in", True), scores_from("built in", False)] == [
        "label maps", "checkpoint", "training",
    ]  # fmt: skip


def test_a_search_of_an_earlier_version_has_its_trials_as_budget() -> None:
    assert search_budget({"trials": 7}) == (7, None)
    assert search_budget({"trials": 7, "spec": {"trials": 20, "hours": 3.0}}) == (20, 3.0)
    assert search_budget(None) is None


def test_a_file_declares_it_as_text(home: Path) -> None:
    assert stated_facts(planned(home, {"name": "mine"}, "PRETRAINED_ON = 'ImageNet-1k'")) == {
        "pretrained_on": ["ImageNet"]
    }
    assert stated_facts(planned(home, {"name": "mine"}, "PRETRAINED_ON = 'none'")) == {"pretrained_on": []}
    assert stated_facts(planned(home, {"name": "mine"})) == {}
    with pytest.raises(PluginError, match=r"mine\.py: PRETRAINED_ON: it must be the name of a data set"):
        planned(home, {"name": "mine"}, "PRETRAINED_ON = 'Image' + str(1)")


def test_a_suite_declares_it_of_given_weights_and_no_fingerprint_moves(home: Path) -> None:
    given = {"name": "unet", "params": {"width": 4, "depth": 2}}
    for weights in ({"start_from": "weights.pt"}, {"checkpoint": "weights.pt"}):
        silent = planned(home, {**given, **weights})
        said = planned(home, {**given, **weights, "pretrained_on": ["COCO", "ImageNet"]})
        assert stated_facts(silent) == {}
        assert stated_facts(said) == {"pretrained_on": ["COCO", "ImageNet"]}
        assert said.fingerprint == silent.fingerprint
    # What a file says of itself does not hold for weights that it is given.
    own = {"name": "mine", "start_from": "weights.pt"}
    assert stated_facts(planned(home, own, "PRETRAINED_ON = 'ImageNet'")) == {}
    assert stated_facts(planned(home, {"name": "mine", "pretrained_on": "none"}, "PRETRAINED_ON = 'ImageNet'")) == {
        "pretrained_on": []
    }


def test_the_command_declares_it_of_a_checkpoint(home: Path) -> None:
    (home / "best.pt").write_bytes(b"weights")
    planned(
        home, {"name": "unet", "params": {"width": 4, "depth": 2}, "pretrained_on": "COCO", "start_from": "weights.pt"}
    )

    def said(weights: Path | None, text: str | None) -> object:
        suite = narrowed("one.yaml", (), None, None, None, weights, None, (), text)
        return suite.models[0].pretrained_on

    best = home / "best.pt"
    assert said(best, "ImageNet-1k, SA-1B") == ("ImageNet", "SA-1B")
    assert said(best, "none") == ()
    assert said(best, None) == ("COCO",), "as the suite says"
    with pytest.raises(SuiteError, match="--pretrained-on needs --checkpoint"):
        said(None, "COCO")
    with pytest.raises(BenchError, match=r"--pretrained-on: .* must be the name"):
        said(best, " ")


def test_a_suite_cannot_deny_what_the_parameter_says(home: Path) -> None:
    with pytest.raises(SuiteError, match="what pspnet starts from is its parameter pretrained"):
        planned(home, {"name": "pspnet", "params": {"pretrained": "imagenet"}, "pretrained_on": "none"})
    with pytest.raises(BenchError, match="must be the name of a data set"):
        planned(home, {"name": "mine", "pretrained_on": 3})


@pytest.mark.parametrize(
    ("dataset", "names", "seen"),
    [
        ("voc", "SBD", True),
        ("voc", "PASCAL VOC 2012 trainval", True),
        ("voc", "pascal-voc-2012", True),
        ("voc", "VOC", True),
        ("voc", "VOC 2012 train", False),
        ("voc", "VOC 2012 trainaug", False),
        ("voc", "ImageNet", False),
        ("voc", "ImageNet-1k, VOC 2012 trainval", True),
        ("voc", "ImageNet + SBD", True),
        ("voc", "COCO, then PASCAL VOC 2012 train and val", True),
        ("voc", "COCO, then VOC 2012 train", False),
        ("cityscapes", "Mapillary, Cityscapes train+val", True),
        ("cityscapes", "Mapillary and Cityscapes train", False),
        ("cityscapes", "Cityscapes", True),
        ("cityscapes", "Cityscapes train", False),
        ("ade20k", "ADE20K", True),
    ],
)
def test_pretraining_that_holds_the_scored_images_is_seen(dataset: str, names: str, seen: bool) -> None:
    data = replace(DATA, name=dataset, title=DATASETS.get(dataset).info.title)
    run = result("a", "x", 0, 0.5, 0.5, data=data, pretrained_on=data_set_names(names))
    assert wall_of(run).saw_test is seen


def test_a_folder_of_ones_own_is_known_by_its_name_and_title() -> None:
    for name in ("D", "D & E_1"):
        assert wall_of(result("a", "x", 0, 0.5, 0.5, pretrained_on=(name,))).saw_test
    assert not wall_of(result("a", "x", 0, 0.5, 0.5, pretrained_on=None)).saw_test
    assert plain_name("D & E_1") == "de1"
