"""What each compatibility mode of the protocol changes, on masks small enough to count; and scores of images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.metrics import Evaluator, Protocol, Scores, StatisticsTable, fold
from harness.metrics.image_level import worst
from harness.metrics.metric import class_score_names, names_of, score_names

# Two images: the first holds classes 0 and 1, the second class 0 alone, and 1 is predicted there on one pixel.
TARGETS = np.array([[[0, 0, 1, 1]], [[0, 0, 0, 0]]])
PREDICTIONS = np.array([[[0, 1, 1, 1]], [[0, 0, 0, 1]]])


def score(
    predictions: object = PREDICTIONS, targets: object = TARGETS, classes: int = 2, **conventions: object
) -> Scores:
    evaluator = Evaluator(classes, protocol=Protocol.model_validate(conventions))
    evaluator.update(np.asarray(predictions), np.asarray(targets))
    return evaluator.compute()


def test_scores_of_the_data_set_sum_pixels_over_images() -> None:
    result = score()
    assert result.per_class["iou"] == [4 / 6, 2 / 4]
    assert result.values["pa"] == 6 / 8


def test_scores_of_images_count_each_image_alike() -> None:
    result = score(level="image")
    assert result.per_class["iou"] == [pytest.approx((1 / 2 + 3 / 4) / 2), pytest.approx((2 / 3 + 0) / 2)]
    assert result.values["pa"] == (3 / 4 + 3 / 4) / 2
    assert result.values["miou"] == pytest.approx((5 / 8 + 1 / 3) / 2)


def test_false_alarms_of_a_class_the_target_lacks_vanish_when_the_mean_is_over_the_target() -> None:
    result = score(level="image", mean_over="target")
    assert result.per_class["iou"] == [pytest.approx(5 / 8), pytest.approx(2 / 3)]
    whole = score([[[0, 1]]], [[[0, 0]]], mean_over="target")
    assert whole.per_class["iou"] == [1 / 2, None]
    assert whole.values["miou"] == 1 / 2
    assert score([[[0, 1]]], [[[0, 0]]]).values["miou"] == 1 / 4


@pytest.mark.parametrize(("absent", "miou"), [("nan", 1.0), ("zero", 2 / 3), ("one", 1.0)])
def test_an_absent_class_is_left_out_or_counted(absent: str, miou: float) -> None:
    assert score([[[0, 1]]], [[[0, 1]]], classes=3, absent=absent).values["miou"] == miou


def test_a_class_that_is_never_predicted_leaves_mmsegs_f1() -> None:
    maps = [[[0, 0, 0]]], [[[0, 0, 1]]]
    assert score(*maps).values["f1"] == pytest.approx((4 / 5 + 0) / 2)
    assert score(*maps, f1="mmseg").values["f1"] == pytest.approx(4 / 5)
    assert score(*maps, f1="mmseg").values["dice"] == pytest.approx((4 / 5 + 0) / 2)


def test_spacing_gives_distances_their_unit() -> None:
    target, prediction = np.zeros((9, 9), dtype=int), np.zeros((9, 9), dtype=int)
    target[2, 2] = prediction[5, 6] = 1
    assert score(prediction, target, spacing=(2.0, 0.5)).per_class["hd"][1] == math.hypot(6, 2)


def test_davis_counts_images_without_the_object_as_drawn_well() -> None:
    disc = np.zeros((2, 20, 20), dtype=int)
    disc[0, 5:15, 5:15] = 1
    assert score(disc, disc, bf="davis").per_class["bf"][1] == 1
    missed = np.zeros_like(disc)
    assert score(missed, disc, bf="davis").per_class["bf"][1] == 0.5
    assert score(missed, disc).per_class["bf"][1] == 0


def test_a_protocol_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="trimap_headline 8 is not one of"):
        Protocol(trimap_radii=(1, 2))
    with pytest.raises(ValueError, match="positive"):
        Protocol(spacing=(0.0, 1.0))


def test_scores_averaged_over_images_and_over_the_worst_of_them() -> None:
    # One class, ten images whose IoU is 0.1, 0.2, … 1.
    targets = np.zeros((10, 1, 10), dtype=int)
    predictions = np.stack([np.r_[np.zeros(n, dtype=int), np.ones(10 - n, dtype=int)][None] for n in range(1, 11)])
    result = score(predictions, targets, mean_over="target").image_level
    assert result["miou_i"] == result["miou_c"] == pytest.approx(0.55)
    assert result["miou_i_5"] == result["miou_i_1"] == pytest.approx(0.1)
    deciles = [sum(range(1, n + 1)) / (10 * n) for n in range(1, 11)]
    assert result["miou_i_q"] == result["miou_c_q"] == pytest.approx(sum(deciles) / 10)
    dice = [2 * n / (n + 10) for n in range(1, 11)]
    assert result["dice_c"] == pytest.approx(sum(dice) / 10)


def test_the_worst_images_are_at_least_one_and_rounded_up() -> None:
    ascending = np.arange(1.0, 42.0)
    assert worst(ascending, 1) == 1
    assert worst(ascending, 5) == 2  # 2.05 images: three of them, 1, 2 and 3
    assert math.isnan(worst(np.zeros(0), 5))


def test_miou_i_and_miou_c_weigh_images_and_classes_as_in_wang_et_al() -> None:
    result = score().image_level
    assert result["miou_i"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + (3 / 4 + 0) / 2) / 2)
    assert result["miou_c"] == pytest.approx(((1 / 2 + 3 / 4) / 2 + (2 / 3 + 0) / 2) / 2)


def binary(**more: object) -> Evaluator:
    evaluator = Evaluator(2, foreground=1)
    evaluator.update([[0, 0, 1, 1]], [[0, 0, 0, 1]], **more)  # type: ignore[arg-type]
    return evaluator


def test_a_binary_set_has_auc_sensitivity_and_specificity() -> None:
    result = binary(score=[[0.1, 0.2, 0.7, 0.6]]).compute()
    assert [result.values[name] for name in names_of("binary")] == [2 / 3, 1, 2 / 3]
    assert binary().compute().values["auc"] is None
    assert "auc" not in score().values


def test_the_foreground_has_every_name_the_scores_over_classes_have() -> None:
    result = binary().compute()
    assert result.foreground is not None
    over_pixels = {"mcc", "kappa", "category_iou", "ece", "brier", "confidence_auroc", "aurc"}
    assert set(result.foreground) == {*score_names(None), *class_score_names()} - over_pixels
    assert result.foreground["miou"] == result.foreground["iou"] == 1 / 2
    assert result.foreground["f1"] == result.foreground["dice"] == 2 / 3
    assert result.foreground["hd"] == result.per_class["hd"][1]


def test_the_dictionary_has_the_promised_keys() -> None:
    record = binary(loss=0.25).compute().to_dict()
    assert record["loss"] == 0.25
    promised = {
        *score_names(None), "auc", "sensitivity", "specificity", "foreground", "trimap", "per_class", "image_level",
        "undefined", "missed", "spurious", "n_images", "protocol", "protocol_hash",
    }  # fmt: skip
    assert promised <= set(record)
    assert all(len(values) == 2 for values in record["per_class"].values())


@pytest.mark.parametrize("bad", [[[0.1, 0.2, 1.7, 0.6]], [[0.1, 0.2, math.nan, 0.6]]], ids=["above one", "nan"])
def test_a_score_that_is_no_probability_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        binary(score=bad)


def test_a_score_needs_a_foreground_and_the_shape_of_its_target() -> None:
    with pytest.raises(ValueError, match="foreground=CLASS"):
        Evaluator(2).update([[0]], [[0]], score=[[0.5]])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="shaped like the target"):
        binary(score=[[0.5]])


def test_losses_and_histograms_survive_storage_subsets_and_another_protocol() -> None:
    evaluator = Evaluator(2, foreground=1)
    rng = np.random.default_rng(0)
    for name in "abc":
        target = rng.integers(0, 2, (8, 9))
        evaluator.update(target, target, name, score=rng.random((8, 9)), loss=rng.random())
    table = StatisticsTable.from_bytes(evaluator.statistics().to_bytes())
    assert fold(table, 2, evaluator.protocol, 1) == evaluator.compute()
    assert fold(table.subset("b"), 2, evaluator.protocol, 1).loss == table.loss[1]
    bare = Evaluator(2, foreground=1, protocol=Protocol(void="mask"))
    for name in "cab":
        bare.update([[1]], [[1]], name)  # type: ignore[arg-type]
    again = bare.scores_of(bare.statistics().with_scores_of(table))
    assert again.loss == evaluator.compute().loss
    assert again.values["auc"] == evaluator.compute().values["auc"]


def test_evaluators_of_different_foregrounds_are_not_merged() -> None:
    with pytest.raises(ValueError, match="foreground"):
        binary().merge(Evaluator(2))


def test_scores_at_another_size_take_the_nearest_pixels() -> None:
    target = np.zeros((6, 8), dtype=int)
    target[:, 4:] = 1
    evaluator = Evaluator(2, protocol=Protocol(size=(3, 4)))
    (image,) = evaluator.update(target, target)
    assert (image.height, image.width, image.scored) == (3, 4, 12)
    assert image.dense_confusion(2).tolist() == [[6, 0], [0, 6]]
    doubled = Evaluator(2, protocol=Protocol(size=(12, 16)))
    doubled.update(target, target)
    assert doubled.statistics().shape[0].tolist() == [12, 16, 192, 0]
