"""A loss, an optimizer, a schedule and an augmentation are each added in one place: here, or in another package."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from harness.augmentations import AUGMENTATIONS, Augmentation
from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.expand import expand, with_values
from harness.config.fields import check_recipe_path
from harness.config.fingerprint import train_fingerprint, train_parts
from harness.config.job import Job
from harness.config.load import load_suite
from harness.config.recipe import Recipe
from harness.datasets.shapes import Shapes
from harness.errors import SuiteError
from harness.losses import LOSSES, LossTerm, total_loss
from harness.models.sources import module_hash
from harness.optim import (
    OPTIMIZERS,
    SCHEDULES,
    Optimizer,
    Schedule,
    build_optimizer,
    learning_rate_factor,
    set_learning_rate,
)
from tests.conftest import TINY, Bench

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color


class Brier(LossTerm):
    """Mean squared distance of the probabilities from the truth."""

    name: Literal["brier"] = "brier"
    power: float = 2.0

    def compute(self, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        truth = torch.nn.functional.one_hot(target.long().clamp(max=logits.shape[1] - 1), logits.shape[1])
        return ((logits.softmax(1) - truth.permute(0, 3, 1, 2)).abs() ** self.power).mean()


class Asgd(Optimizer):
    name: Literal["asgd"] = "asgd"
    lambd: float = 1e-4

    def build(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.ASGD(groups, lr=self.lr, lambd=self.lambd, weight_decay=self.weight_decay)


class Halving(Schedule):
    depends_on_length = False
    name: Literal["halving"] = "halving"
    every: int = 1

    def factor(self, t: int, length: int) -> float:
        return float(0.5 ** (t // self.every))


class Invert(Augmentation):
    op: Literal["invert"] = "invert"
    p: float = 1.0

    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        from torchvision.transforms import v2

        return v2.RandomInvert(self.p)


OWN = (
    (LOSSES, "brier", Brier),
    (OPTIMIZERS, "asgd", Asgd),
    (SCHEDULES, "halving", Halving),
    (AUGMENTATIONS, "invert", Invert),
)


@pytest.fixture
def registered() -> Iterator[None]:
    for registry, name, kind in OWN:
        registry.register(name)(kind)  # type: ignore[attr-defined]
    yield
    for registry, name, _ in OWN:
        del registry._items[name]  # type: ignore[attr-defined]


def recipe(**fields: object) -> Recipe:
    return Recipe.model_validate({"epochs": 1, "size": [16, 16], **fields})


def write(folder: Path, fields: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(f"datasets: [shapes]\nmodels: [unet]\nrecipe:\n  epochs: 1\n{fields}\n")
    return str(path)


def test_a_registered_loss_is_computed_with_its_options(registered: None) -> None:
    loss = recipe(loss=["ce", {"name": "brier", "power": 1, "weight": 2}]).loss
    logits, target = torch.randn(1, 3, 4, 4), torch.randint(0, 3, (1, 4, 4))
    ce, brier = (term.compute(logits, target, 255) for term in loss.terms)
    assert isinstance(loss.terms[1], Brier)
    assert total_loss(logits, target, loss, 255).item() == pytest.approx((ce + 2 * brier).item())


def test_a_registered_optimizer_and_schedule_train(registered: None) -> None:
    own = recipe(optimizer={"name": "asgd", "lr": 0.5, "lambd": 0.1}, schedule={"name": "halving", "warmup": 1})
    optimizer = build_optimizer(nn.Conv2d(1, 1, 1), own.optimizer)
    assert isinstance(optimizer, torch.optim.ASGD)
    assert optimizer.param_groups[0]["lambd"] == 0.1
    assert [learning_rate_factor(own.schedule, i, 5, 10) for i in range(4)] == [1, 0.5, 0.25, 0.125]
    assert set_learning_rate(optimizer, own.schedule, 1, 5, 10) == 0.25


def test_a_registered_augmentation_changes_the_images(registered: None) -> None:
    own = recipe(augment=[{"op": "invert"}])
    image, mask = torch.zeros(3, 16, 16, dtype=torch.uint8), torch.ones(16, 16, dtype=torch.uint8)
    changed, same = augmented(training_transform(own.augment, own.size), image, mask)
    assert (changed == 255).all()
    assert torch.equal(same, mask)


@pytest.mark.parametrize(
    ("fields", "line", "message"),
    [
        ("  loss: [ce, dicee]", 5, "loss.terms.1.name: there is no loss named 'dicee'. Did you mean 'dice'"),
        ("  optimizer:\n    lr: 1\n    name: sgdd", 7, "optimizer.name: there is no optimizer named 'sgdd'. Did you"),
        ("  schedule: {name: poli}", 5, "schedule.name: there is no schedule named 'poli'. Did you mean 'poly'?"),
        (
            "  augment:\n  - {op: hflip}\n  - {op: vflop}",
            7,
            "augment.1.op: there is no augmentation named 'vflop'. Did",
        ),
        ("  augment: [{p: 1}]", 5, "augment.0.op: this field is required"),
        ("grid:\n  optimizer.name: [sgd, adm]", 6, "optimizer.name: there is no optimizer named 'adm'. Did you mean"),
        ("  optimizer: {momentum: 0.9}", 5, "the optimizer adamw has no such field; these have it: rmsprop, sgd"),
        ("  schedule: {name: step, powr: 1}", 5, "schedule.powr: there is no such field"),
        ("  optimizer: {name: sgd, momentum: 2}", 5, "optimizer.momentum: input should be less than 1 (given: 2)"),
        ("  optimizer: sgd", 5, "optimizer: a mapping of fields is needed"),
        ("  loss: [bce, dice, ohem]", 5, "bce works on one sigmoid channel and cannot be summed with ohem"),
        ("  loss: [rgb_bce, dice]", 5, "rgb_bce works on 3 sigmoid channels and cannot be summed with dice"),
    ],
    ids=lambda value: str(value)[:25].strip().replace("\n", " "),
)
def test_a_mistake_is_one_message_with_file_line_and_field(
    tmp_path: Path, fields: str, line: int, message: str
) -> None:
    path = write(tmp_path, fields)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    (told,) = str(caught.value).splitlines()
    assert told.startswith(f"{path}:{line}: ")
    assert message in told


def test_what_works_on_one_channel_only_is_not_summed_with_what_needs_several(registered: None) -> None:
    with pytest.raises(ValidationError, match="cannot be summed with brier"):
        recipe(loss=["bce", "brier"])
    assert recipe(loss=["bce", "dice", "lovasz"]).loss.binary
    assert not recipe(loss=["brier", "dice"]).loss.binary


def test_something_else_under_a_name_is_refused() -> None:
    LOSSES.register("wrong")(Invert)  # type: ignore[type-var, arg-type]
    try:
        with pytest.raises(ValidationError, match=r"no subclass of harness\.losses\.base\.LossTerm"):
            recipe(loss="wrong")
    finally:
        del LOSSES._items["wrong"]


def test_the_optimizer_is_adamw_where_none_is_named() -> None:
    assert recipe(optimizer={"lr": 3e-3}).optimizer.name == "adamw"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["optimizer={name: sgd}"], {"name": "sgd", "lr": 0.5, "weight_decay": 0.25}),
        (["optimizer.name=sgd", "optimizer.momentum=0.5"], {"name": "sgd", "momentum": 0.5}),
        (["optimizer.name=rmsprop"], {"name": "rmsprop", "lr": 0.5, "eps": 0.125}),
        (["optimizer.lr=2"], {"name": "adam", "lr": 2, "betas": (0.5, 0.5)}),
    ],
)
def test_another_optimizer_keeps_of_the_base_what_it_has_too(
    tmp_path: Path, overrides: list[str], expected: dict[str, object]
) -> None:
    path = write(tmp_path, "  optimizer: {name: adam, lr: 0.5, weight_decay: 0.25, betas: [0.5, 0.5], eps: 0.125}")
    (job,) = expand(load_suite(path, overrides), {"shapes": Shapes.info})
    found = job.recipe.optimizer.model_dump()
    assert {key: found[key] for key in expected} == expected


def test_a_grid_goes_over_kinds_and_a_search_draws_them(tmp_path: Path) -> None:
    path = write(tmp_path, "  schedule: {name: step, every: 3}\ngrid: {schedule.name: [step, poly, cosine]}")
    jobs = expand(load_suite(path), {"shapes": Shapes.info})
    assert [job.recipe.schedule.name for job in jobs] == ["step", "poly", "cosine"]
    drawn = with_values(jobs[0], {"optimizer.name": "sgd", "optimizer.momentum": 0.25, "lr": 0.5})
    assert drawn.recipe.optimizer.model_dump(include={"name", "momentum", "lr"}) == {
        "name": "sgd",
        "momentum": 0.25,
        "lr": 0.5,
    }


def test_an_axis_may_be_an_option_of_any_kind(registered: None) -> None:
    for path in ("momentum", "optimizer.nesterov", "optimizer.lambd", "schedule.power", "early_stop.patience", "size"):
        check_recipe_path(path)
    with pytest.raises(ValueError, match=r"Did you mean 'optimizer\.momentum'"):
        check_recipe_path("optimizer.momentun")


def tiny_job(*overrides: str) -> Job:
    return expand(load_suite(str(TINY), overrides), {"shapes": Shapes.info})[0]


def test_a_stored_job_is_read_as_it_was() -> None:
    job = tiny_job("optimizer={name: adam, lr: 0.5}", "schedule={name: step, every: 3}", "loss=[focal, dice]")
    assert Job.from_stored(json.loads(json.dumps(job.model_dump(mode="json")))) == job


def test_a_stored_job_whose_loss_is_gone_says_so(registered: None) -> None:
    stored = tiny_job("loss=brier").model_dump(mode="json")
    del LOSSES._items["brier"]
    try:
        with pytest.raises(SuiteError, match="there is no loss named 'brier'"):
            Job.from_stored(stored)
    finally:
        LOSSES.register("brier")(Brier)


def test_a_new_kind_enters_the_fingerprint_with_its_own_fields(registered: None) -> None:
    parts = train_parts(tiny_job("loss=[brier]", "optimizer={name: asgd}", "schedule.name=halving"), "s", "d")
    assert parts["recipe"]["loss"]["terms"] == [{"name": "brier", "weight": 1.0, "power": 2.0}]
    assert set(parts["recipe"]["optimizer"]) == set(Asgd.model_fields)
    assert set(parts["recipe"]["schedule"]) == set(Halving.model_fields)
    other = train_parts(tiny_job("loss=[{name: brier, power: 1}]", "optimizer={name: asgd}"), "s", "d")
    assert train_fingerprint(parts) != train_fingerprint(other)


def test_the_code_of_another_package_s_parts_belongs_to_the_fingerprint(registered: None) -> None:
    ours = train_parts(tiny_job("loss=ce"), "s", "d")
    assert "components" not in ours, "ours go by the training's version"
    theirs = train_parts(tiny_job("loss=[ce, brier]", "optimizer={name: asgd}"), "s", "d")
    assert theirs["components"] == [module_hash(Brier.__module__)]


@pytest.mark.slow
@pytest.mark.long
def test_an_installed_package_adds_one_of_each(bench: Bench, home: Path, plugin_site: Path) -> None:
    (home / "mine.yaml").write_text(
        "datasets: [shapes]\n"
        "models: [{name: unet, params: {width: 4, depth: 2}}]\n"
        "recipe:\n"
        "  size: [32, 32]\n"
        "  iterations: 2\n"
        "  optimizer: {name: adagrad, lr: 0.01, lr_decay: 0.1}\n"
        "  schedule: {name: linear, end: 0.5}\n"
        "  loss: [ce, {name: tversky, alpha: 0.4}]\n"
        "  augment: [{op: grayscale, p: 1}]\n"
    )
    words = ("run", "--suite", "mine.yaml", "--local")
    assert "1/1 done" in bench(*words, PYTHONPATH=str(plugin_site)).stdout
    assert "Nothing to do" in bench(*words, PYTHONPATH=str(plugin_site)).stdout
    without = bench(*words, check=False)
    assert without.returncode == 2
    assert "optimizer.name: there is no optimizer named 'adagrad'" in without.stderr
