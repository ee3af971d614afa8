"""MCC and kappa against torchmetrics and by hand; categories as Cityscapes has them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from harness.datasets.cityscapes import CATEGORIES, CLASSES, Cityscapes
from harness.metrics import Evaluator, Protocol, Scores
from harness.utils.vision import import_torchvision

import_torchvision()

from torchmetrics.functional.classification import (  # noqa: E402 (imports torchvision, which needs the line above)
    multiclass_cohen_kappa,
    multiclass_matthews_corrcoef,
)


def score(prediction: object, target: object, classes: int, **conventions: object) -> Scores:
    evaluator = Evaluator(classes, protocol=Protocol.model_validate(conventions))
    evaluator.update(np.asarray(prediction), np.asarray(target))
    return evaluator.compute()


@pytest.mark.parametrize("seed", range(4))
def test_they_are_torchmetrics(seed: int) -> None:
    rng = np.random.default_rng(seed)
    target = rng.integers(0, 3 + seed, (3, 40, 50))
    guess = np.where(rng.random(target.shape) < 0.6, target, rng.integers(0, 3 + seed, target.shape))
    target[:, :2] = 255
    evaluator = Evaluator(6)
    evaluator.update(guess, target)
    values = evaluator.compute().values
    one, two = (torch.from_numpy(maps[:, 2:]).double().long() for maps in (guess, target))
    assert values["mcc"] == pytest.approx(float(multiclass_matthews_corrcoef(one, two, 6)), abs=1e-6)
    assert values["kappa"] == pytest.approx(float(multiclass_cohen_kappa(one, two, 6)), abs=1e-6)


def test_two_classes_by_hand() -> None:
    # TP 2, FN 1, FP 2, TN 5.
    target = [[1] * 3 + [0] * 7]
    guess = [[1, 1, 0, 1, 1, 0, 0, 0, 0, 0]]
    values = score(guess, target, 2).values
    assert values["mcc"] == pytest.approx((2 * 5 - 2 * 1) / math.sqrt(4 * 3 * 7 * 6))
    chance = (3 * 4 + 7 * 6) / 100
    assert values["kappa"] == pytest.approx((0.7 - chance) / (1 - chance))


def test_one_class_alone_has_no_agreement_beyond_chance() -> None:
    values = score([[0, 0]], [[0, 0]], 2).values
    assert (values["mcc"], values["kappa"]) == (None, None)


def test_a_prediction_out_of_range_agrees_with_nothing() -> None:
    with_extra = score([[0, 1, 7, 1]], [[0, 1, 1, 0]], 2, out_of_range="fn").values
    as_class = score([[0, 1, 2, 1]], [[0, 1, 1, 0]], 3).values
    assert with_extra["kappa"] == pytest.approx(as_class["kappa"])
    assert with_extra["mcc"] == pytest.approx(as_class["mcc"])


def test_image_by_image_they_are_averaged() -> None:
    pairs = [([[0, 1, 1, 0]], [[0, 1, 0, 0]]), ([[0, 1, 1, 1]], [[0, 1, 0, 1]])]
    evaluator = Evaluator(2, protocol=Protocol(level="image"))
    for guess, target in pairs:
        evaluator.update(np.array(guess), np.array(target))
    alone = [score(*pair, 2).values["kappa"] for pair in pairs]
    assert evaluator.compute().values["kappa"] == pytest.approx(np.mean(alone))  # type: ignore[arg-type]


def test_confusions_inside_a_category_are_forgiven() -> None:
    # Classes 0 and 1 are one category, 2 another.
    target, guess = [[0, 0, 1, 1, 2, 2]], [[1, 0, 0, 2, 2, 1]]
    found = score(guess, target, 3, categories=(0, 0, 1))
    assert found.values["category_iou"] == pytest.approx((3 / 5 + 1 / 3) / 2)
    assert score(guess, target, 3).values["category_iou"] is None
    extra = score([[1, 0, 0, 9, 2, 1]], target, 3, categories=(0, 0, 1), out_of_range="fn")
    assert extra.values["category_iou"] == pytest.approx((3 / 5 + 1 / 2) / 2)
    with pytest.raises(ValueError, match="categories of 2 classes"):
        score(guess, target, 3, categories=(0, 1))


def test_cityscapes_has_its_seven_categories() -> None:
    assert len(CATEGORIES) == len(CLASSES) == 19
    assert Cityscapes.info.protocol["categories"] == CATEGORIES
    named: dict[int, list[str]] = {}
    for one, category in zip(CLASSES, CATEGORIES, strict=True):
        named.setdefault(category, []).append(one.name)
    assert list(named.values()) == [
        ["road", "sidewalk"], ["building", "wall", "fence"], ["pole", "traffic light", "traffic sign"],
        ["vegetation", "terrain"], ["sky"], ["person", "rider"],
        ["car", "truck", "bus", "train", "motorcycle", "bicycle"],
    ]  # fmt: skip
