"""The five studies: their recipes to the letter where the reports print them."""

from __future__ import annotations

import inspect

import pytest
import torch

from harness.config.expand import expand
from harness.config.job import Job
from harness.config.load import load_suite
from harness.config.recipe import EarlyStop
from harness.datasets import dataset_class
from harness.datasets.drive import Drive
from harness.models import build
from harness.models.registry import find_model
from harness.training.network import logit_channels
from tests.conftest import ROOT


def jobs(name: str) -> list[Job]:
    suite = load_suite(name)
    return expand(suite, {d.name: dataset_class(d.name).info for d in suite.datasets})


def test_study_a_is_twelve_cells_at_a_constant_rate_for_each_of_two_optimizers() -> None:
    found = jobs("fcn-lr-epochs")
    for optimizer in ("adam", "sgd"):
        own = [j.recipe for j in found if j.recipe.optimizer.name == optimizer]
        assert sorted((recipe.optimizer.lr, recipe.epochs) for recipe in own) == [
            (lr, epochs) for lr in (5e-5, 1e-4, 5e-4, 1e-3) for epochs in (50, 100, 150)
        ]
    assert {(j.recipe.batch_size, j.recipe.schedule.name, j.model.params["upsampling"]) for j in found} == {
        (8, "constant", "learned")
    }


def test_study_b() -> None:
    job = jobs("deeplabv3plus-voc")[0]
    recipe = job.recipe
    assert (recipe.size, recipe.batch_size, recipe.epochs) == ((512, 512), 32, 100)
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.weight_decay) == ("adamw", 5e-5, 5e-5)
    assert (recipe.schedule.name, recipe.schedule.power, recipe.schedule.per) == ("poly", 0.9, "epoch")
    assert [step.op for step in recipe.augment] == [
        "resize",
        "rotate",
        "color_jitter",
        "blur",
        "random_resized_crop",
        "hflip",
    ]
    assert (job.dataset.variant, job.selection.metric, job.seed) == ("cut9", "miou", 42)
    assert job.model.params["output_stride"] == 32


@pytest.mark.parametrize("name", ["deeplabv3plus-voc", "deeplabv3plus-voc-report"])
def test_study_b_keeps_the_loss_of_the_report_s_test_batches(name: str) -> None:
    assert {j.recipe.predict.loss_batch for j in jobs(name)} == {32}


def test_study_b_s_own_remedies_differ_from_its_row_in_nothing_else() -> None:
    found = {j.model.label: j for j in jobs("deeplabv3plus-voc")}
    plain = found["DeepLabV3+ (R50, 1/32)"]
    balanced = found["DeepLabV3+ (R50, 1/32, class-balanced)"]
    early = found["DeepLabV3+ (R50, 1/32, early stopping)"]
    assert plain.model.params == balanced.model.params == early.model.params
    assert balanced.recipe == plain.recipe.model_copy(update={"sampling": "class_balanced"})
    assert early.recipe == plain.recipe.model_copy(update={"early_stop": EarlyStop(patience=10)})


def test_study_c() -> None:
    found = jobs("unet-drive")
    assert [j.recipe.epochs for j in found] == [300, 600, 900] * 2
    recipe = found[0].recipe
    assert [logit_channels(j, Drive.info) for j in found] == [3] * 3 + [1] * 3
    assert (recipe.loss.ignore, found[-1].recipe.loss.ignore) == ("nothing", "void")
    assert {j.recipe.predict.loss_batch for j in found} == {2}
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.batch_size, recipe.size) == ("adam", 1e-3, 4, (256, 256))
    assert recipe.loss.binary
    assert recipe.predict.mode == "letterbox"
    assert [step.op for step in recipe.augment] == ["letterbox"]
    assert {j.selection.rule for j in found} == {"last"}


@pytest.mark.parametrize("name", ["horse", "horse-report"])
def test_study_d_trains_each_network_its_own_way(name: str) -> None:
    found = {job.model.label: job for job in jobs(name)}
    unet, unetpp, emanet = found["U-Net"], found["UNet++"], found["EMANet (R50)"]
    one, two, three = unet.recipe, unetpp.recipe, emanet.recipe
    assert {(r.size, r.epochs, r.normalize) for r in (one, two, three)} == {((224, 224), 250, "unit")}
    assert (one.optimizer.name, one.optimizer.lr, one.optimizer.weight_decay) == ("rmsprop", 1e-5, 1e-8)
    assert (two.optimizer.name, two.optimizer.eps, two.optimizer.betas) == ("adam", 0.9, (0.99, 0.999))
    assert two.loss.binary
    assert two.loss.aux_weight == 1
    assert emanet.model.params["bn_momentum"] == 0.1
    assert (three.optimizer.name, three.optimizer.lr, three.optimizer.weight_decay) == ("sgd", 1e-2, 1e-4)
    assert unet.protocol.size == ((224, 224) if name == "horse-report" else None)
    # The report's best epoch is that of the best Boundary IoU, at the size and level that it scores.
    assert unet.selection.metric == ("biou" if name == "horse-report" else "iou[horse]")
    assert unet.validation.model_dump(exclude={"name"}) == unet.protocol.model_dump(exclude={"name"})
    assert unet.dataset.variant == ("85-15" if name == "horse-report" else "70-15-15")


# Images that train, of the sets whose networks have a momentum of their own.
TRAINING_IMAGES = {
    ("horse", "70-15-15"): 229, ("horse", "85-15"): 278, ("voc", "cut9"): 1318, ("voc", "trainaug"): 10582,
}  # fmt: skip


def left_of_initial_statistics(momentum: float, job: Job, share: float) -> float:
    """How much of a batch normalization's initial statistics is left after a share of the training."""
    recipe = job.recipe
    per_epoch = TRAINING_IMAGES[job.dataset.name, job.dataset.variant] // recipe.batch_size
    steps = recipe.iterations or (recipe.epochs or 0) * per_epoch
    return float((1 - momentum) ** (share * steps * recipe.accumulate))


def test_slow_batch_statistics_have_time_to_become_those_of_the_data() -> None:
    """A network is validated with them: as long as they are the initial ones, curve and choice say nothing.

    Those of ImageNet's weights fit images that are normalized as ImageNet's were, until they are the data's own; others
    fit nothing, and have to be gone after a tenth of the training.
    """
    checked = set()
    for path in sorted((ROOT / "configs" / "suites").glob("*.yaml")):
        for job in jobs(path.stem):
            declared = inspect.signature(find_model(job.model.name).load()).parameters.get("bn_momentum")
            if declared is None:
                continue
            momentum = job.model.params.get("bn_momentum", declared.default)
            fits = job.model.params.get("pretrained") == "imagenet" and job.recipe.normalize == "imagenet"
            left = left_of_initial_statistics(momentum, job, share=1.0 if fits else 0.1)
            assert left < 0.01, f"{path.stem}, {job.model.title}: {left:.0%} of the initial statistics are left"
            checked.add(path.stem)
    assert checked >= {"horse", "horse-report", "horse-small", "transfer", "voc", "voc-published"}


def test_study_e_has_the_printed_rates_and_the_papers() -> None:
    found = {j.model.label: j for j in jobs("review")}
    printed = found["DeepLabV3+ (R101, 6-8-12)"].model.params
    assert (printed["rates"], printed["separable"], printed["decoder_convs"]) == ([6, 8, 12], True, 1)
    assert found["U-Net (valid)"].model.params == {"padding": "valid", "norm": False}
    paper, bicubic = (found[f"DeepLabV3+ (R101, 6-12-18{more})"].model.params for more in ("", ", bicubic"))
    assert bicubic == {**paper, "upsampling": "bicubic"}


def test_a_networks_own_recipe_yields_to_set() -> None:
    suite = load_suite("horse", ["optimizer.lr=3e-4", "epochs=2"])
    found = expand(suite, {"horse": dataset_class("horse").info})
    assert {(j.recipe.optimizer.lr, j.recipe.epochs) for j in found} == {(3e-4, 2)}
    assert [j.recipe.optimizer.name for j in found] == ["rmsprop", "adam", "adam", "sgd", "sgd", "sgd", "adamw"]


@pytest.mark.parametrize(
    "name", ["fcn-lr-epochs", "deeplabv3plus-voc", "unet-drive", "horse", "horse-small", "review", "voc"]
)
def test_every_network_of_a_study_can_be_built(name: str) -> None:
    for job in {j.model.title: j for j in jobs(name)}.values():
        params = {k: v for k, v in job.model.params.items() if k != "pretrained"}
        with torch.device("meta"):
            assert build(job.model.name, 2, **params) is not None
