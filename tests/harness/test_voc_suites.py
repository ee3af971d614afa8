"""`voc`: one recipe for all. `voc-published`: what each published figure was got by, row by row."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.expand import expand
from harness.config.job import Job
from harness.config.load import load_suite
from harness.config.recipe import Predict
from harness.datasets import dataset_class
from harness.errors import SuiteError
from harness.models import build
from harness.models.registry import find_model
from harness.runner.suite_run import RunOptions, plan
from harness.scoring.predict import predict_image
from leaderboard.tables.references import load_references
from tests.conftest import REAL_DATA, ROOT, real, run_bench
from tests.harness import copies

INFOS = {"voc": dataset_class("voc").info}


def jobs(name: str) -> dict[str, Job]:
    return {job.model.title: job for job in expand(load_suite(name), INFOS)}


# -- voc ----------------------------------------------------------------------------------------------


def test_every_row_of_voc_has_the_same_recipe_but_for_the_weight_of_further_outputs() -> None:
    found = jobs("voc")
    recipes = {job.recipe.model_copy(update={"loss": None}).model_dump_json() for job in found.values()}
    assert len(recipes) == 1
    assert {job.recipe.loss.terms for job in found.values()} == {next(iter(found.values())).recipe.loss.terms}
    assert {name for name, job in found.items() if job.recipe.loss.aux_weight != 0.4} == {
        "BiSeNet (R18)",
        "DANet (R50)",
        "UNet++ (from scratch)",
    }


SUITES = sorted(path.stem for path in (ROOT / "configs" / "suites").glob("*.yaml"))


@pytest.mark.parametrize("name", SUITES)
def test_further_outputs_count_as_much_as_the_networks_source_says(name: str) -> None:
    """What a network's `build` says of them ("weighs its loss by 0.4"), where the network of the row has any."""
    suite = load_suite(name)
    infos = {d.name: dataset_class(d.name).info for d in suite.datasets}
    for job in {job.model.title: job for job in expand(suite, infos)}.values():
        said = re.search(
            r"weighs? (?:its|their|all three) loss(?:es)? by\s+([\d.]*\d)",
            find_model(job.model.name).load().__doc__ or "",
        )
        if said is None:
            continue
        params = {k: v for k, v in job.model.params.items() if k != "pretrained"}
        with torch.device("meta"):
            several = isinstance(build(job.model.name, 3, **params).train()(torch.zeros(2, 3, 64, 64)), dict)
        assert not several or job.recipe.loss.aux_weight == float(said[1]), job.model.title


def test_every_row_of_voc_computes_the_same_parts_of_a_batch_and_none_is_retried_with_others() -> None:
    assert {(j.recipe.batch_size, j.recipe.at_once, j.resources.oom_retries) for j in jobs("voc").values()} == {
        (32, 8, 0)
    }


def test_rows_from_scratch_say_so() -> None:
    for title, job in jobs("voc").items():
        assert ("from scratch" in title) == (job.model.params.get("pretrained") != "imagenet"), title


# -- voc-published ------------------------------------------------------------------------------------

MMSEG: dict[str, Any] = {
    "name": "voc-mmseg", "size": (512, 512), "iterations": 40000, "epochs": None, "batch": 16, "lr": 0.01, "head": 1.0,
    "momentum": 0.9, "decay": 5e-4, "aux": 0.4, "schedule": "poly", "predict": "whole", "pad": "mean",
    "average": "all",
}  # fmt: skip
SEMSEG = {
    **MMSEG,
    "name": "voc-semseg",
    "size": (473, 473),
    "iterations": None,
    "epochs": 50,
    "head": 10.0,
    "decay": 1e-4,
}
SEMSEG |= {"predict": "slide", "average": "counted"}
VAINF = {**MMSEG, "name": "voc-deeplabv3plus", "size": (513, 513), "iterations": 30000, "lr": 1e-3, "head": 10.0}
VAINF |= {"decay": 1e-4, "pad": "black", "average": "counted"}
EMANET = {**VAINF, "name": "voc-emanet", "lr": 9e-3, "head": 1.0, "pad": "mean", "average": "all"}
# The sum over a picture's 500·375 pixels at a rate of 1e-10 and a decay of 5e-4 is their mean at these.
FCN = {
    **MMSEG, "name": "voc-fcn", "size": (500, 500), "iterations": 100000, "batch": 1, "lr": 1e-10 * 500 * 375,
    "momentum": 0.99, "decay": 5e-4 / (500 * 375), "schedule": "constant",
    "average": "counted",
}  # fmt: skip

AT_ONCE = {**FCN, "iterations": 300000}

# Row -> what its source did, and the mIoU it reports.
PUBLISHED: dict[str, tuple[dict[str, Any], float]] = {
    "FCN-32s": (FCN, 0.636),
    "FCN-16s (at once)": (AT_ONCE, 0.650),
    "FCN-8s (at once)": (AT_ONCE, 0.654),
    "FCN (R50-D8)": (MMSEG, 0.6697),
    "FCN (R101-D8)": (MMSEG, 0.6991),
    "PSPNet (R50-D8)": (MMSEG, 0.7729),
    "PSPNet (R101-D8)": (MMSEG, 0.7852),
    "PSPNet (R50, semseg)": (SEMSEG, 0.7705),
    "PSPNet (R101, semseg)": (SEMSEG, 0.7907),
    "DeepLabV3 (R50-D8)": (MMSEG, 0.7768),
    "DeepLabV3 (R101-D8)": (MMSEG, 0.7792),
    "DeepLabV3+ (R50-D8)": (MMSEG, 0.7681),
    "DeepLabV3+ (R101-D8)": (MMSEG, 0.7862),
    "DeepLabV3+ (R50)": (VAINF, 0.772),
    "DeepLabV3+ (R101)": (VAINF, 0.783),
    "EMANet (R101)": (EMANET, 0.8005),
}


def facts(job: Job) -> dict[str, Any]:
    recipe, optimizer = job.recipe, job.recipe.optimizer
    assert optimizer.name == "sgd"
    return {
        "name": recipe.name, "size": recipe.size, "iterations": recipe.iterations, "epochs": recipe.epochs,
        "batch": recipe.batch_size, "lr": pytest.approx(optimizer.lr), "head": optimizer.head_lr_factor,
        "momentum": optimizer.momentum, "decay": pytest.approx(optimizer.weight_decay, rel=1e-3),
        "aux": recipe.loss.aux_weight, "schedule": recipe.schedule.name, "predict": recipe.predict.mode,
        "pad": recipe.pad, "average": recipe.loss.average,
    }  # fmt: skip


def test_every_row_has_the_recipe_of_its_source() -> None:
    found = jobs("voc-published")
    assert found.keys() == PUBLISHED.keys()
    for title, job in found.items():
        assert facts(job) == PUBLISHED[title][0], title
        assert job.dataset.variant == "trainaug"
        assert job.selection.rule == "last"  # nothing is chosen on the scored images
        assert job.recipe.accumulate == 1  # batch normalization sees the whole batch


def test_rows_named_after_a_source_have_its_network() -> None:
    """What it computes is in test_mmseg_heads.py."""
    for title, job in jobs("voc-published").items():
        name, params = job.model.name, job.model.params
        if job.recipe.name == "voc-mmseg":
            assert (name == "fcn_resnet") or params.get("head") == "mmseg" or not params["align_corners"], title
            assert params.get("channels", 512) == 512
            assert params.get("output_stride", 8) == 8
            assert "contract" not in params
        elif job.recipe.name == "voc-semseg":
            assert (params["contract"], params.get("align_corners", True)) == (False, True), title


def test_every_row_has_one_target_with_its_source() -> None:
    own = [r for r in load_references() if r.suite == "voc-published"]
    assert {r.model: r.rows[0].metrics["miou"] for r in own} == {name: miou for name, (_, miou) in PUBLISHED.items()}
    assert len(own) == len(PUBLISHED)
    assert all(r.source and r.note and len(r.rows) == 1 for r in own)


@pytest.mark.parametrize("name", sorted({str(known["name"]) for known, _ in PUBLISHED.values()}))
def test_a_recipe_says_what_is_expected_what_it_takes_and_how_it_is_run(name: str) -> None:
    path = Path(__file__).resolve().parents[2] / "configs" / "recipes" / f"{name}.yaml"
    comments = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    for part in ("Expected", "Duration: ", "Command: bench run --suite voc-published", "Not as there", "eproduced"):
        assert part in comments


@pytest.mark.parametrize("name", ["voc", "voc-published"])
def test_every_network_can_be_built(name: str) -> None:
    for job in jobs(name).values():
        params = {k: v for k, v in job.model.params.items() if k != "pretrained"}
        with torch.device("meta"):
            assert build(job.model.name, 21, **params) is not None


# -- on copies ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
@real("VOCdevkit")
def test_voc_is_planned_on_the_real_copy() -> None:
    made = plan("voc", RunOptions(data_dir=REAL_DATA), overrides=["seeds=[0]"])
    assert [task.job.model.title for task in made.to_train] == list(jobs("voc"))


def test_voc_is_planned_on_a_made_copy(tmp_path: Path) -> None:
    copies.voc(tmp_path / "data" / "VOCdevkit" / "VOC2012")
    made = plan("voc", RunOptions(data_dir=tmp_path / "data"), overrides=["seeds=[0]"])
    assert [task.job.model.title for task in made.to_train] == list(jobs("voc"))


@pytest.fixture
def trainaug(tmp_path: Path) -> Path:
    """VOC and SBD with all their names, of which many share a file."""
    copies.trainaug(tmp_path / "data", all_files=True)
    return tmp_path


@pytest.mark.long
@pytest.mark.slow
def test_voc_published_is_planned_with_sbd(trainaug: Path) -> None:
    made = plan("voc-published", RunOptions(data_dir=trainaug / "data"))
    assert {task.job.model.title for task in made.to_train} == PUBLISHED.keys()
    (_, _, manifest), *_ = made.datasets.values()
    assert len(manifest.splits["train"]) == 10582


@pytest.mark.slow
@pytest.mark.long
def test_voc_published_can_be_smoked(trainaug: Path) -> None:
    words = ("run", "--suite", "voc-published", "--smoke", "--local", "--data-dir", trainaug / "data")
    models = "FCN (R50-D8),DeepLabV3+ (R50)"
    done = run_bench(*words, "--models", models, cwd=trainaug)
    assert "the ranking says how far each comes" in done.stdout  # the suite's note


@real("VOCdevkit")
def test_without_sbd_one_message_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    copies.voc(tmp_path / "data" / "VOCdevkit" / "VOC2012")
    words = ("run", "--suite", "voc-published", "--dry-run", "--no-timing", "--data-dir", tmp_path / "data")
    done = run_bench(*words, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "The variant trainaug needs SBD, which was not found" in done.stderr
    assert "Traceback" not in done.stderr


# -- what the recipes need ----------------------------------------------------------------------------


def test_fcns_images_stay_as_they_are_in_a_frame_of_void() -> None:
    recipe = jobs("voc-published")["FCN-32s"].recipe
    image = torch.randint(1, 256, (3, 375, 500), dtype=torch.uint8)
    mask = torch.randint(0, 21, (375, 500), dtype=torch.uint8)
    shown, labels = augmented(training_transform(recipe.augment, recipe.size, recipe.fill), image, mask)
    assert shown.shape == (3, 500, 500)
    inside = labels != 255
    assert int(inside.sum()) == 375 * 500
    assert torch.equal(labels[inside].view(375, 500), mask)
    assert torch.equal(shown[:, inside].view(3, 375, 500), image)
    assert shown[:, ~inside].unique(dim=1).flatten().tolist() == [124, 116, 104]


@pytest.mark.parametrize(
    ("how", "seen"), [({"short_side": 512}, (512, 683)), ({"long_side": 512}, (384, 512)), ({}, (375, 500))]
)
def test_an_image_is_predicted_with_the_side_that_the_source_gave_it(
    how: dict[str, int], seen: tuple[int, int]
) -> None:
    sizes = []

    def network(images: Tensor) -> Tensor:
        sizes.append(tuple(images.shape[-2:]))
        return images[:, :2].float()

    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 375, 500), dtype=np.uint8))
    for flip in (False, True):
        made = predict_image(network, image, (473, 473), Predict.model_validate({"mode": "whole", "flip": flip, **how}))
        assert made.shape == (2, 375, 500)
    assert sizes == [seen] * 3


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        ("{mode: whole, short_side: 5, long_side: 5}", "give one of short_side and long_side"),
        ("{mode: resize, short_side: 512}", "the mode resize resizes to the recipe's size"),
    ],
)
def test_a_side_that_cannot_be_is_refused(predict: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load_suite("voc", [f"recipe.predict={predict}"])


MINE = """
datasets: [voc]
models: [{name: unet, recipe: %s}, segnet]
recipe: {epochs: 1, grad_clip: 1.0, optimizer: {name: adam, lr: 1}}
"""


def test_a_networks_recipe_by_name_takes_the_place_of_the_suites(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE % "{base: voc-emanet, batch_size: 4}")
    first, second = expand(load_suite(str(path)), INFOS)
    assert (first.recipe.name, first.recipe.batch_size, first.recipe.iterations) == ("voc-emanet", 4, 30000)
    assert (first.recipe.grad_clip, first.recipe.epochs, first.recipe.optimizer.name) == (None, None, "sgd")
    assert (second.recipe.grad_clip, second.recipe.optimizer.name) == (1.0, "adam")
    changed = expand(load_suite(str(path), ["lr=0.5", "epochs=3"]), INFOS)
    assert [(j.recipe.optimizer.lr, j.recipe.epochs, j.recipe.iterations) for j in changed] == [(0.5, 3, None)] * 2


@pytest.mark.parametrize(
    ("own", "message"),
    [("voc-emamet", "mine.yaml:3: recipe: There is no recipe named 'voc-emamet'. Did you mean 'voc-emanet'"),
     ("{base: voc-fcn, accumulate: 2}", "mine.yaml:3: recipe.*a batch cannot be split"),
     ("[1]", "models.0.recipe")],
)  # fmt: skip
def test_a_broken_recipe_of_a_network_names_its_line(tmp_path: Path, own: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(MINE % own)
    with pytest.raises(SuiteError, match=message):
        load_suite(str(path))
