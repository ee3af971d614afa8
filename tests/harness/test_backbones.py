"""What networks declare as their backbone, and the learning rates that follow from it."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.config.expand import expand
from harness.config.fingerprint import train_parts
from harness.config.job import ModelChoice
from harness.config.load import load_suite
from harness.config.recipe import Recipe
from harness.errors import BadModel, PluginError, SuiteError
from harness.models import build
from harness.models.registry import ModelEntry, find_model, known_models, read_plugin
from harness.optim.build import parameter_groups
from harness.runner.plan import make_plan
from harness.tasks.artifacts import Artifacts
from harness.training.network import build_network
from tests.harness.test_models import SMALL

HEAD_RATE = {"name": "sgd", "lr": 0.1, "head_lr_factor": 10}


def optimizer_options(**options: Any) -> Any:
    return Recipe.model_validate({"epochs": 1, "optimizer": {**HEAD_RATE, **options}}).optimizer


def rates(model: nn.Module, backbone: tuple[str, ...] | None, **options: Any) -> dict[str, float]:
    """The learning rate that every parameter trains at, by name."""
    groups = parameter_groups(model, optimizer_options(**options), backbone)
    found = {id(p): g["lr"] for g in groups for p in g["params"]}
    return {name: found[id(p)] for name, p in model.named_parameters() if p.requires_grad}


def test_bisenets_context_path_trains_at_the_backbones_rate_and_the_rest_at_the_heads() -> None:
    found = rates(build("bisenet", 3, **SMALL["bisenet"]), find_model("bisenet").backbone)
    assert {rate for name, rate in found.items() if name.startswith("context.")} == {0.1}
    assert {rate for name, rate in found.items() if not name.startswith("context.")} == {1.0}


def test_a_network_that_is_never_pretrained_has_one_rate() -> None:
    assert set(rates(build("unet", 3, width=4), find_model("unet").backbone).values()) == {0.1}


def test_a_name_is_not_taken_for_another_that_begins_with_it() -> None:
    model = nn.ModuleDict({"body": nn.Conv2d(1, 1, 1), "body_head": nn.Conv2d(1, 1, 1)})
    found = rates(model, ("body",))
    assert (found["body.weight"], found["body_head.weight"]) == (0.1, 1.0)


def test_without_a_declaration_a_heads_rate_is_refused_and_one_rate_for_all_is_not() -> None:
    with pytest.raises(BadModel, match="does not say what its backbone is"):
        rates(nn.Conv2d(1, 1, 1), None)
    assert set(rates(nn.Conv2d(1, 1, 1), None, head_lr_factor=1).values()) == {0.1}


# -- what is declared is what pretrained weights fill ----------------------------------------------

# Forms as small as ImageNet's weights allow.
PRETRAINED: dict[str, dict[str, Any]] = {
    "refinenet": {"backbone": "resnet18", "channels": 8},
    "pspnet": {"backbone": "resnet18", "channels": 8, "deep_stem": False},
    "deeplabv1": {},
    "deeplabv2": {"backbone": "resnet18"},
    "deeplabv3": {"backbone": "resnet18", "channels": 8},
    "deeplabv3plus": {"backbone": "resnet18", "channels": 8},
    "bisenet": {},
    "emanet": {"backbone": "resnet18", "channels": 16, "bases": 8, "deep_stem": False},
    "danet": {"backbone": "resnet18", "channels": 16},
    "fcn_resnet": {"backbone": "resnet18", "channels": 8},
    "fcn32s": {},
    "fcn16s": {},
    "fcn8s": {},
    "segnet": {},
    "torchvision/fcn_resnet50": {},
    "torchvision/lraspp_mobilenet_v3_large": {},
}


@pytest.fixture
def weights_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torchvision's weights without a download: the right names and shapes, every value 0.5."""
    from harness.utils.vision import import_torchvision

    import_torchvision()
    from torchvision.models import WeightsEnum, get_model

    def state(self: WeightsEnum, *_: object, **__: object) -> dict[str, torch.Tensor]:
        with torch.device("meta"):
            own = get_model(type(self).__name__.removesuffix("_Weights").lower(), weights=None).state_dict()
        return {name: torch.full(value.shape, 0.5).to(value.dtype) for name, value in own.items()}

    monkeypatch.setattr(WeightsEnum, "get_state_dict", state)


def filled(model: nn.Module) -> set[str]:
    """The parameters whose every value is that of `weights_at_hand`."""
    return {name for name, value in model.named_parameters() if bool((value == 0.5).all())}


# Of three networks on VGG16 one is quick enough.
SELDOM = {"fcn16s", "fcn32s"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow, pytest.mark.long] if n in SELDOM else []) for n in PRETRAINED],
)
@pytest.mark.usefixtures("weights_at_hand")
def test_the_declared_backbone_is_exactly_what_pretrained_weights_fill(name: str) -> None:
    entry = find_model(name)
    model = entry.load()(3, pretrained="imagenet", **PRETRAINED[name])
    assert entry.backbone
    declared = {n for n, _ in model.named_parameters() if n.startswith(tuple(f"{b}." for b in entry.backbone))}
    assert declared == filled(model)


def test_every_network_of_the_project_declares_its_backbone() -> None:
    own = {name: e.backbone for name, e in known_models().items() if e.origin in ("built in", "torchvision")}
    assert all(names is not None for names in own.values())
    # Those that have one take weights from elsewhere, and say so in a parameter.
    for name, params in SMALL.items():
        takes = "pretrained" in signature(find_model(name).load()).parameters or name.startswith("fcn")
        assert bool(own[name]) == takes, name
        model = build(name, 3, **params)
        for part in own[name] or ():
            assert list(model.get_submodule(part).parameters())


def test_networks_of_segmentation_models_pytorch_keep_their_weights_in_the_encoder() -> None:
    pytest.importorskip("segmentation_models_pytorch", reason="the extra zoo is not installed")
    entry = find_model("smp/Unet/resnet18")
    found = rates(entry.load()(3), entry.backbone)
    assert {name.split(".")[0] for name, rate in found.items() if rate == 0.1} == {"encoder"}


# -- a stranger's file -----------------------------------------------------------------------------

STRANGER = """
from torch import nn

NAME = "stranger"
STRIDE = 4
{line}


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.trunk = nn.Conv2d(3, 4, 3, padding=1)
        self.top = nn.Conv2d(4, num_classes, 1)

    def forward(self, x):
        return self.top(self.trunk(x))


def build(num_classes):
    return Net(num_classes)
"""
SUITE = """
name: mine
datasets: [shapes]
models: [stranger]
recipe: {epochs: 1, size: [32, 32], optimizer: {name: sgd, lr: 0.1, head_lr_factor: FACTOR}}
"""


def stranger(folder: Path, line: str) -> ModelEntry:
    path = folder / "stranger.py"
    path.write_text(STRANGER.format(line=line))
    return read_plugin(path)


def plan_with(folder: Path, entry: ModelEntry, factor: float) -> Any:
    path = folder / "mine.yaml"
    path.write_text(SUITE.replace("FACTOR", str(factor)))
    suite = load_suite(str(path), ())
    return make_plan(suite, None, folder, Artifacts(str(folder / "runs")), {entry.name: entry})


def test_a_strangers_backbone_trains_at_its_rate(tmp_path: Path) -> None:
    entry = stranger(tmp_path, 'BACKBONE = ("trunk",)')
    (task,) = plan_with(tmp_path, entry, 10).train
    model = build_network(task.model, task.job, 3)
    assert rates(model, task.model.backbone) == {
        "trunk.weight": 0.1, "trunk.bias": 0.1, "top.weight": 1.0, "top.bias": 1.0,
    }  # fmt: skip


def test_a_heads_rate_for_a_stranger_that_declares_nothing_is_refused_before_anything_runs(tmp_path: Path) -> None:
    entry = stranger(tmp_path, "")
    with pytest.raises(
        SuiteError, match=r"head_lr_factor is 10, but the network stranger \(file stranger.py\)"
    ) as told:
        plan_with(tmp_path, entry, 10)
    assert "BACKBONE = (" in str(told.value.hint)
    assert len(plan_with(tmp_path, entry, 1).train) == 1


def test_a_search_over_the_heads_rate_is_refused_alike(tmp_path: Path) -> None:
    entry = stranger(tmp_path, "")
    path = tmp_path / "mine.yaml"
    space = "search: {space: {optimizer.head_lr_factor: {uniform: [1, 20]}}, trials: 1}\n"
    path.write_text(SUITE.replace("FACTOR", "1") + space)
    with pytest.raises(SuiteError, match="head_lr_factor is searched"):
        make_plan(load_suite(str(path), ()), None, tmp_path, Artifacts(str(tmp_path / "r")), {entry.name: entry})


def test_a_declared_name_that_is_no_submodule_is_named(tmp_path: Path) -> None:
    entry = stranger(tmp_path, 'BACKBONE = ("trunk", "trnk")')
    (task,) = plan_with(tmp_path, entry, 1).train
    with pytest.raises(
        BadModel, match="BACKBONE names 'trnk', which is no submodule of the network; it has trunk, top"
    ):
        build_network(task.model, task.job, 3)


@pytest.mark.parametrize("value", ['"trunk"', "3", "(1,)", '("",)', "tuple(names)", "None"])
def test_a_declaration_that_is_no_tuple_of_names_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(PluginError, match="must be a tuple of names of submodules"):
        stranger(tmp_path, f"BACKBONE = {value}")


# -- fingerprints ----------------------------------------------------------------------------------


def part(name: str, factor: float = 10, **choice: Any) -> Any:
    """What the train fingerprint says of a network's backbone."""
    suite = load_suite("demo", (f"optimizer={{name: sgd, lr: 0.1, head_lr_factor: {factor}}}",))
    from harness.datasets import dataset_class

    job = expand(suite, {d.name: dataset_class(d.name, d.params).info for d in suite.datasets})[0]
    job = job.model_copy(update={"model": ModelChoice(name=name, **choice)})
    entry = find_model(name)
    return train_parts(job, "s", "d", None, entry.backbone).get("backbone")


def test_the_backbone_counts_where_the_head_has_a_rate_of_its_own() -> None:
    assert part("bisenet") == ["context"]
    assert part("unet") == []
    assert part("torchvision/fcn_resnet50") == ["backbone"]
    # One rate for everything: the groups do not matter.
    assert part("bisenet", factor=1) is None
    # Scored as it is: nothing is trained.
    assert part("bisenet", checkpoint="weights.pt") is None
