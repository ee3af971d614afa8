"""Cases worked out by hand: two masks small enough to count on paper."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.metrics import Evaluator, Protocol, Scores, StatisticsTable, fold, reference_statistics
from harness.metrics.boundary import band_width, fill_void, inner_band, label_changes
from harness.metrics.surface import inner_edge, surface_distances


def score(prediction: object, target: object, classes: int = 2, **conventions: object) -> Scores:
    evaluator = Evaluator(classes, protocol=Protocol.model_validate(conventions))
    evaluator.update(np.asarray(prediction), np.asarray(target))
    return evaluator.compute()


def square(side: int, first: int, last: int) -> np.ndarray:
    mask = np.zeros((side, side), dtype=np.int64)
    mask[first : last + 1, first : last + 1] = 1
    return mask


def test_g1_a_hole_of_one_pixel() -> None:
    target = square(11, 1, 9)
    prediction = target.copy()
    prediction[5, 5] = 0
    assert inner_edge(target == 1).sum() == 32
    assert inner_edge(prediction == 1).sum() == 36
    result = score(prediction, target)
    assert result.per_class["hd"][1] == 3
    assert result.per_class["hd95"][1] == 3
    assert result.per_class["assd"][1] == pytest.approx(12 / 68, abs=1e-15)
    assert score(prediction, target, hd_percentile_rule="pooled").per_class["hd95"][1] == pytest.approx(1.95)
    # Every pixel of the mask counts as its boundary, or the corners of pixels do.
    assert score(prediction, target, boundary="set").per_class["hd"][1] == 1
    assert score(prediction, target, boundary="deepmind").per_class["hd"][1] == 4


def test_g2_two_single_pixels() -> None:
    target, prediction = np.zeros((9, 9), dtype=int), np.zeros((9, 9), dtype=int)
    target[2, 2] = prediction[5, 6] = 1
    assert score(prediction, target).per_class["hd"][1] == 5


def test_g3_a_tail() -> None:
    target = square(40, 10, 19)
    prediction = target.copy()
    prediction[14, 20:36] = 1
    result = score(prediction, target)
    assert inner_edge(target == 1).sum() == 36
    assert inner_edge(prediction == 1).sum() == 51
    assert result.per_class["hd"][1] == 16
    assert result.per_class["hd95"][1] == 13.5
    assert result.per_class["assd"][1] == pytest.approx(137 / 87, abs=1e-15)
    assert score(prediction, target, hd_percentile_rule="pooled").per_class["hd95"][1] == pytest.approx(11.7)
    corners = {"boundary": "deepmind", "hd_percentile_rule": "deepmind"}
    assert score(prediction, target, **corners).per_class["hd95"][1] == 14
    distances = surface_distances(prediction == 1, target == 1, (1.0, 1.0))
    assert distances is not None
    assert (distances.to_target <= 2).sum() == 37
    assert (distances.to_prediction <= 2).all()


def test_g4_a_shift_by_one_column() -> None:
    target = square(10, 2, 7)
    prediction = np.roll(target, 1, axis=1)
    one, two = (inner_band(m == 1, 1) for m in (prediction, target))
    assert ((one & two).sum(), (one | two).sum()) == (10, 30)
    one, two = (inner_band(m == 1, 2) for m in (prediction, target))
    assert ((one & two).sum(), (one | two).sum()) == (24, 40)
    assert score(prediction, target).per_class["iou"][1] == 30 / 42


def test_g5_one_class_fills_the_image() -> None:
    mask = np.ones((6, 6), dtype=bool)
    assert inner_edge(mask).sum() == 20
    assert inner_band(mask, 1).sum() == 20


def test_g6_void_and_a_label_that_does_not_exist_under_it() -> None:
    target = np.array([[0, 0, 1, 255], [0, 1, 1, 255]])
    prediction = np.array([[0, 1, 1, 1], [0, 1, 0, 9]])
    evaluator = Evaluator(3)
    (image,) = evaluator.update(prediction, target)
    assert image.dense_confusion(3).tolist() == [[2, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert image.ignored == 2
    result = evaluator.compute()
    assert result.per_class["iou"] == [0.5, 0.5, None]
    assert result.values["miou"] == 0.5
    assert result.values["pa"] == 4 / 6


def test_a_perfect_prediction_scores_one_and_zero_wherever_defined() -> None:
    rng = np.random.default_rng(0)
    target = np.repeat(np.repeat(rng.integers(0, 4, (6, 8)), 5, axis=0), 5, axis=1)
    result = score(target, target, classes=5)
    for name in ("miou", "pa", "mpa", "fwiou", "dice", "precision", "recall", "f1", "biou", "bf", "nsd", "trimap_iou"):
        assert result.values[name] == 1, name
    for name in ("hd", "hd95", "assd", "masd"):
        assert result.values[name] == 0, name
    assert result.undefined["iou"] == 1


@pytest.mark.parametrize("shape", [(10, 30), (30, 10)])
def test_a_missed_class_and_a_false_alarm_cost_the_diagonal(shape: tuple[int, int]) -> None:
    target, prediction = np.zeros(shape, dtype=int), np.zeros(shape, dtype=int)
    target[2:5, 2:5] = 1
    prediction[6:8, 6:8] = 2
    result = score(prediction, target, classes=3)
    for label in (1, 2):
        assert result.per_class["hd"][label] == math.hypot(*shape)
        assert [result.per_class[name][label] for name in ("biou", "bf", "nsd")] == [0, 0, 0]
    ignored = score(prediction, target, classes=3, boundary_means_over="target")
    assert ignored.per_class["hd"][1] == math.hypot(*shape)
    assert [ignored.per_class[name][2] for name in ("hd", "bf", "nsd")] == [None, None, None]
    both = score(prediction, target, classes=3, boundary_means_over="both")
    assert both.per_class["hd"][1:] == [None, None]
    assert result.missed == [0, 1, 0]
    assert result.spurious == [0, 0, 1]
    assert result.variants["hd"]["both"] is None
    assert result.variants["hd"]["penalised"] == math.hypot(*shape)
    assert result.variants["hd"]["fraction"] == 1


def test_a_class_painted_into_images_that_lack_it_counts_in_every_boundary_score() -> None:
    """Twenty images, the class in ten, moved by two pixels; the second model paints it into the other ten, too."""
    square, none = np.zeros((30, 40), dtype=int), np.zeros((30, 40), dtype=int)
    square[5:15, 5:15] = 1
    moved = np.roll(square, 2, axis=1)
    names = ("hd", "hd95", "assd", "masd", "nsd", "bf")
    found = {}
    for over in ("union", "target"):
        for alarm in (none, square):
            evaluator = Evaluator(2, protocol=Protocol(boundary_means_over=over))  # type: ignore[arg-type]
            for prediction, target in [(moved, square), (alarm, none)] * 10:
                evaluator.update(prediction, target)
            found[over, alarm.any()] = evaluator.compute()
    for name in names:
        quiet, loud = (found["union", alarm].values[name] for alarm in (False, True))
        worst = 50.0 if name in ("hd", "hd95", "assd", "masd") else 0.0
        assert quiet is not None
        assert loud == pytest.approx((quiet + worst) / 2), name
        assert found["target", True].values[name] == quiet == found["target", False].values[name], name
    biou = [found["union", alarm].image_level["biou_c"] for alarm in (False, True)]
    assert biou[1] == pytest.approx(biou[0] / 2)  # type: ignore[operator]
    assert found["target", True].image_level["biou_c"] == biou[0]


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.1, 0.1), (0.7, 0.7)])
def test_a_boundary_at_the_tolerance_is_within_it_whatever_the_spacing(spacing: tuple[float, float]) -> None:
    square = np.zeros((30, 30), dtype=int)
    square[5:15, 5:15] = 1
    side = spacing[0]
    for tolerance, whole in ((3 * side, True), (2.99 * side, False)):
        conventions = {"spacing": spacing, "nsd_tolerance": float(f"{tolerance:.6g}")}
        found = score(np.roll(square, 3, axis=1), square, **conventions).per_class["nsd"][1]
        assert (found == 1) == whole, (tolerance, found)


def test_a_class_that_is_there_and_never_predicted_has_precision_zero() -> None:
    result = score([[0, 0], [0, 0]], [[0, 1], [0, 0]], classes=3)
    assert result.per_class["precision"] == [3 / 4, 0, None]
    assert result.per_class["accuracy"] == [1, 0, None]


def test_image_without_a_scored_pixel_is_skipped_and_counted() -> None:
    evaluator = Evaluator(2)
    evaluator.update(np.zeros((2, 4, 4), int), np.stack([np.full((4, 4), 255), np.zeros((4, 4), int)]))
    result = evaluator.compute()
    assert (result.n_images, result.skipped) == (1, 1)
    assert result.values["miou"] == 1


def test_a_predicted_label_out_of_range_is_refused_or_counted_as_a_miss() -> None:
    target, prediction = np.array([[0, 1]]), np.array([[0, 7]])
    with pytest.raises(ValueError, match=r"prediction holds label\(s\) 7 on 1 scored"):
        score(prediction, target)
    result = score(prediction, target, out_of_range="fn")
    assert result.per_class["iou"] == [1, 0]
    with pytest.raises(ValueError, match="target holds"):
        score(target, prediction)
    with pytest.raises(ValueError, match="-1"):
        score(np.array([[0, -1]]), target)


def test_fill_gives_void_the_nearest_label_and_ties_to_the_lowest() -> None:
    labels = np.array([[1, -1, -1, -1, 0]], dtype=np.int32)
    fill_void(labels, np.ones((1, 5), bool), 10)
    assert labels.tolist() == [[1, 1, 0, 0, 0]]
    deep = np.array([[1, -1, -1, -1, -1, -1]], dtype=np.int32)
    fill_void(deep, np.ones((1, 6), bool), 2)
    assert deep.tolist() == [[1, 1, 1, -1, -1, -1]]


def test_pixels_outside_the_valid_region_are_never_filled_or_scored() -> None:
    target = np.zeros((8, 8), dtype=int)
    target[:, 4:] = 1
    prediction = target.copy()
    prediction[:, 6:] = 0
    valid = np.ones((8, 8), dtype=bool)
    valid[:, 6:] = False
    evaluator = Evaluator(2)
    evaluator.update(prediction, target, valid=valid)
    result = evaluator.compute()
    assert result.values["miou"] == 1
    assert result.values["hd"] == 0


def test_band_width_rounds_halves_to_even() -> None:
    assert band_width(75, 100, Protocol()) == 2
    assert band_width(512, 512, Protocol()) == 14
    assert band_width(1024, 2048, Protocol()) == 46
    assert band_width(3, 3, Protocol()) == 1
    assert band_width(512, 512, Protocol(biou_width=3)) == 3


def test_the_image_border_is_no_label_change() -> None:
    labels = np.zeros((5, 6), dtype=np.int32)
    assert not label_changes(labels).any()
    labels[:, 3:] = 1
    assert label_changes(labels).sum() == 10


def test_trimap_around_void_counts_only_pixels_near_it() -> None:
    target = np.zeros((40, 40), dtype=int)
    target[:, 20:22] = 255
    target[:, 22:] = 1
    prediction = np.zeros((40, 40), dtype=int)
    prediction[:, 21:] = 1
    prediction[:, 0] = 1  # far from void: outside every band
    result = score(prediction, target, trimap="void")
    assert result.trimap[8] == 1
    assert result.values["miou"] < 1  # type: ignore[operator]


@pytest.mark.parametrize("shape", [(1, 7), (7, 1), (1, 1), (63, 64), (64, 65), (65, 63)])
def test_any_side_works_and_a_swap_of_the_maps_keeps_the_symmetric_distances(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    a, b = rng.integers(0, 3, shape), rng.integers(0, 3, shape)
    one, two = score(a, b, classes=3), score(b, a, classes=3)
    for kind in ("hd", "hd95", "assd"):
        assert one.variants[kind]["both"] == two.variants[kind]["both"]


def test_order_batches_and_merging_never_move_a_bit() -> None:
    rng = np.random.default_rng(1)
    targets, predictions = rng.integers(0, 5, (9, 20, 30)), rng.integers(0, 5, (9, 20, 30))
    names = [f"i{n}" for n in range(9)]
    whole = Evaluator(5)
    whole.update(predictions, targets, names)
    parts = [Evaluator(5) for _ in range(3)]
    for i in rng.permutation(9):
        parts[i % 3].update(predictions[i], targets[i], names[i])
    for other in parts[1:]:
        parts[0].merge(other)
    assert parts[0].compute() == whole.compute()


def test_statistics_survive_storage_and_fold_over_any_subset() -> None:
    rng = np.random.default_rng(2)
    evaluator = Evaluator(4)
    targets, predictions = rng.integers(0, 4, (4, 16, 16)), rng.integers(0, 4, (4, 16, 16))
    evaluator.update(predictions, targets, list("abcd"))
    table = StatisticsTable.from_bytes(evaluator.statistics().to_bytes())
    assert fold(table, 4, evaluator.protocol) == evaluator.compute()
    alone = Evaluator(4)
    alone.update(predictions[[1, 3]], targets[[1, 3]], ["b", "d"])
    assert fold(table.subset(["d", "b"]), 4, evaluator.protocol) == alone.compute()


def test_torch_maps_any_dtype_and_strides_give_the_same_bits() -> None:
    import torch

    rng = np.random.default_rng(3)
    target, prediction = rng.integers(0, 3, (12, 14)), rng.integers(0, 3, (12, 14))
    expected = score(prediction, target, classes=3)
    assert score(prediction.astype(np.uint8), target.astype(np.int16), classes=3) == expected
    evaluator = Evaluator(3)
    evaluator.update(torch.from_numpy(prediction.T.copy()).T, torch.from_numpy(target)[:, :])
    assert evaluator.compute() == expected


@pytest.mark.parametrize(
    ("prediction", "target", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), "must both be"),
        (np.zeros((2, 3)), np.zeros((2, 3), int), "not integer labels"),
    ],
    ids=["shapes differ", "floats"],
)
def test_maps_that_cannot_be_compared_are_refused(prediction: object, target: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        score(prediction, target)


@pytest.mark.parametrize("void", ["fill", "mask"])
def test_void_is_no_class_in_any_dtype(void: str) -> None:
    target = square(20, 5, 12)
    target[4, 4:14] = 255
    prediction = square(20, 5, 13)
    scores = []
    for dtype in (np.int64, np.int16, np.uint8):
        conventions = Protocol.model_validate({"void": void})
        image = reference_statistics(prediction.astype(dtype), target.astype(dtype), 2, 255, conventions, "x")
        scores.append(fold(StatisticsTable.of([image]), 2, conventions))
    assert scores[0] == scores[1] == scores[2]


def test_an_empty_evaluator_has_no_score_and_does_not_fail() -> None:
    result = Evaluator(3).compute()
    assert set(result.values.values()) == {None}
    assert result.n_images == 0


def test_the_protocol_hash_depends_on_every_convention() -> None:
    changed = {
        "name": "other", "void": "mask", "fill_radius": 3, "out_of_range": "fn", "background": None,
        "background_in_boundary_means": True, "absent": "zero", "hd_percentile": 90.0,
        "hd_percentile_rule": "pooled", "spacing": (2.0, 1.0), "biou_dilation": 0.01, "bf_tolerance": 0.01,
        "nsd_tolerance": 1.0, "trimap": "void", "trimap_radii": (1, 8), "trimap_headline": 1,
        "level": "image", "mean_over": "target", "f1": "mmseg", "boundary": "set", "biou_width": 2,
        "biou_band": "euclidean", "bf": "davis", "trimap_band": "euclidean", "size": (8, 8),
            "boundary_means_over": "both", "distance_unit": "diagonal",
                "structures": "all", "categories": (0, 1),
    }  # fmt: skip
    assert set(changed) == set(Protocol.model_fields)
    hashes = {Protocol.model_validate({k: v}).hash for k, v in changed.items()} | {Protocol().hash}
    hashes |= {Protocol().hash_of(smoke=True), Protocol().hash_of(images=3)}
    assert len(hashes) == len(changed) + 3


def test_relabelling_moves_the_scores_with_the_labels() -> None:
    rng = np.random.default_rng(4)
    targets, predictions = rng.integers(0, 5, (2, 3, 12, 16)).repeat(3, 2).repeat(3, 3)
    targets[:, 5:7] = 255
    order = rng.permutation(5)
    renamed = np.full(256, 255)
    renamed[:5] = order
    one = score(predictions, targets, classes=5, background=None)
    two = score(renamed[predictions], renamed[targets], classes=5, background=None)
    assert one.values == two.values
    assert one.image_level == two.image_level
    for name, figures in one.per_class.items():
        assert [two.per_class[name][order[c]] for c in range(5)] == figures, name


def test_everything_void_is_undefined_and_breaks_nothing() -> None:
    void = np.full((7, 9), 255)
    for how in ("fill", "mask"):
        result = score(np.zeros((7, 9), dtype=int), void, classes=3, void=how)
        assert set(result.values.values()) == {None}
        assert (result.n_images, result.skipped) == (0, 1)
