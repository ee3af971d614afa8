"""The fully connected CRF as a step of prediction."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.config.expand import expand
from harness.config.fingerprint import train_parts
from harness.config.load import load_suite
from harness.config.recipe import Crf, Predict, Recipe
from harness.datasets import dataset_class
from harness.datasets.shapes import Shapes
from harness.errors import BenchError
from harness.models import build
from harness.runner.plan import make_plan
from harness.scoring.crf import refined, require_crf
from harness.scoring.predict import predictions
from harness.scoring.samples import DecodedSamples
from harness.tasks.artifacts import Artifacts

needs_crf = pytest.mark.skipif(
    importlib.util.find_spec("pydensecrf") is None, reason="the extra crf (pydensecrf2) is not installed"
)
Floats = NDArray[np.float64]


def two_halves(height: int = 24, width: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """A red and a blue half with a little noise (3, H, W), and which is which (H, W)."""
    generator = torch.Generator().manual_seed(0)
    target = (torch.arange(width) >= width // 2).long().expand(height, width)
    image = torch.tensor([[200, 60, 40], [40, 80, 200]])[target].permute(2, 0, 1)
    return (image + torch.randint(0, 12, image.shape, generator=generator)).to(torch.uint8), target


def noisy_logits(target: torch.Tensor, classes: int) -> torch.Tensor:
    """Logits (K, H, W) that say the truth, hardly louder than noise."""
    generator = torch.Generator().manual_seed(1)
    told = torch.nn.functional.one_hot(target, classes).permute(2, 0, 1).float()
    return told + torch.randn(told.shape, generator=generator)


def every_pair(logits: torch.Tensor, image: torch.Tensor, crf: Crf) -> Floats:
    """Mean-field inference (K, H, W) with every pair of pixels written out."""
    classes, height, width = logits.shape
    y, x = np.mgrid[:height, :width]
    place = np.stack([x.ravel(), y.ravel()], axis=1).astype(float)
    color = image.permute(1, 2, 0).reshape(-1, 3).numpy().astype(float)
    away = ((place[:, None] - place[None]) ** 2).sum(-1)
    unlike = ((color[:, None] - color[None]) ** 2).sum(-1)
    kernels = [
        (crf.appearance_weight, away / crf.appearance_distance**2 + unlike / crf.appearance_color**2),
        (crf.smoothness_weight, away / crf.smoothness_distance**2),
    ]
    pull = np.zeros_like(away)
    for weight, exponent in kernels:
        kernel = np.exp(-exponent / 2)
        sums = kernel.sum(1)
        pull += weight * kernel / np.sqrt(sums[:, None] * sums[None])
    unary: Floats = logits.double().log_softmax(0).reshape(classes, -1).numpy()
    found = np.exp(unary)
    for _ in range(crf.iterations):
        found = np.exp(unary + found @ pull)
        found /= found.sum(0)
    return found.reshape(classes, height, width)


@needs_crf
@pytest.mark.parametrize(
    "crf",
    [Crf(), Crf(iterations=1, appearance_distance=20, appearance_color=10), Crf(smoothness_weight=0, iterations=5)],
    ids=["defaults", "one step", "appearance alone"],
)
def test_inference_is_that_of_all_pairs(crf: Crf) -> None:
    image, target = two_halves()
    logits = noisy_logits(target, 3)
    found = refined(logits, image, crf).softmax(0).numpy()
    expected = every_pair(logits, image, crf)
    # The lattice approximates the Gaussians.
    assert np.abs(found - expected).max() < 0.05
    assert np.abs(found - expected).mean() < 0.005
    assert np.abs(expected - logits.softmax(0).numpy()).mean() > 0.1


@needs_crf
def test_noise_goes_and_the_edge_stays() -> None:
    image, target = two_halves()
    logits = noisy_logits(target, 3)
    assert (logits.argmax(0) == target).float().mean() < 0.8
    assert torch.equal(refined(logits, image, Crf()).argmax(0), target)


@needs_crf
def test_without_weights_nothing_is_moved() -> None:
    image, target = two_halves()
    logits = noisy_logits(target, 3)
    found = refined(logits, image, Crf(appearance_weight=0, smoothness_weight=0))
    assert torch.allclose(found, logits.log_softmax(0), atol=1e-4)


@needs_crf
def test_one_sigmoid_channel_is_refined_as_two_classes() -> None:
    image, target = two_halves()
    two = noisy_logits(target, 2)
    found = refined(two[1:] - two[:1], image, Crf())
    assert found.shape == (1, *target.shape)
    expected = refined(two, image, Crf())
    assert torch.allclose(found.sigmoid(), expected.softmax(0)[1:], atol=1e-4)


@needs_crf
def test_a_logit_without_bounds_is_no_accident() -> None:
    image, target = two_halves()
    sure = torch.where(target == 1, torch.inf, -torch.inf)[None]
    assert torch.equal((refined(sure, image, Crf())[0] > 0).long(), target)


@needs_crf
def test_several_sigmoid_channels_of_one_class_are_refined_together(shapes: Shapes) -> None:
    torch.manual_seed(0)
    model, samples, ids = build("unet", 3, width=4, depth=2), DecodedSamples(shapes), shapes.ids("val", 1)

    def predicted(**more: object) -> torch.Tensor:
        given = {"epochs": 1, "size": [64, 64], "loss": {"terms": [{"name": "rgb_bce"}]}, "predict": more}
        recipe = Recipe.model_validate(given)
        return dict(predictions(model, samples, ids, recipe, 3, 16))[ids[0]]

    moved = predicted(crf={})
    assert moved.shape == (3, 64, 64)
    one = torch.logit(predicted().sigmoid().mean(0, keepdim=True))
    assert torch.allclose(moved[1:2], refined(one, samples.get(ids[0])[0], Crf()), atol=1e-5)


@pytest.fixture
def shapes(shapes_home: Path) -> Shapes:
    return Shapes(shapes_home / "data" / Shapes.folders[0])


@needs_crf
@pytest.mark.parametrize("predict", [{}, {"mode": "whole"}, {"mode": "slide", "flip": True}], ids=str)
def test_predictions_are_refined_at_the_original_resolution(shapes: Shapes, predict: dict[str, object]) -> None:
    torch.manual_seed(0)
    model, samples, ids = build("unet", 6, width=4, depth=2), DecodedSamples(shapes), shapes.ids("val", 3)

    def predicted(**more: object) -> dict[str, torch.Tensor]:
        recipe = Recipe.model_validate({"epochs": 1, "size": [32, 32], "batch_size": 2, "predict": {**predict, **more}})
        return dict(predictions(model, samples, ids, recipe, 6, 16))

    plain, moved = predicted(), predicted(crf={"iterations": 3})
    assert list(moved) == ids
    for image_id, logits in plain.items():
        expected = refined(logits, samples.get(image_id)[0], Crf(iterations=3))
        assert torch.equal(moved[image_id], expected)
        assert not torch.allclose(expected.softmax(0), logits.softmax(0), atol=0.01)
    assert model.training


def test_a_suite_with_a_crf_is_refused_where_its_package_is_missing(
    shapes_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "pydensecrf" else there(name, *a))
    with pytest.raises(BenchError, match="pydensecrf2 is not installed") as told:
        require_crf()
    assert "segbench[crf]" in str(told.value.hint)
    suite = load_suite("demo", ("predict.crf={}",))
    with pytest.raises(BenchError, match="pydensecrf2 is not installed"):
        make_plan(suite, None, shapes_home / "data", Artifacts(str(shapes_home / "runs")))


def test_a_crf_is_a_part_of_the_fingerprint() -> None:
    def recipe(*overrides: str) -> dict[str, object]:
        suite = load_suite("demo", overrides)
        job = expand(suite, {d.name: dataset_class(d.name, d.params).info for d in suite.datasets})[0]
        return train_parts(job, "s", "d", None)["recipe"]["predict"]  # type: ignore[no-any-return]

    assert recipe()["crf"] is None
    assert recipe("predict.crf={}")["crf"] == Crf().model_dump(mode="json")
    assert Predict.model_validate({"crf": {}}).crf == Crf()
