"""The reference path on maps so small that every figure follows by hand."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from harness.metrics import Protocol, fast
from harness.metrics.boundary import (
    NO_CLASS,
    band_width,
    boundary_maps,
    fill_void,
    inner_band,
    label_changes,
    trimap_distance,
)
from harness.metrics.confusion import check_labels, confusion_matrix
from harness.metrics.evaluator import Evaluator
from harness.metrics.families.region import confusion_scores, ratios
from harness.metrics.image_level import worst
from harness.metrics.statistics import (
    boundary_f_statistics,
    distance_statistics,
    has_kernels,
    image_statistics,
    reference_statistics,
)
from harness.metrics.surface import contour_corners, davis_edge, inner_edge, ordered_sum, surface_distances

ALL = np.ones((3, 4), dtype=bool)


def drawn(*rows: str) -> np.ndarray:
    """A mask from lines of text: `#` is inside."""
    return np.array([[c == "#" for c in row] for row in rows])


def text_of(mask: np.ndarray) -> list[str]:
    return ["".join("#" if v else "." for v in row) for row in mask]


# -- confusion ------------------------------------------------------------------------------------------


def test_the_first_label_that_does_not_exist_is_refused_in_either_map() -> None:
    good, bad = np.zeros((3, 4), dtype=int), np.zeros((3, 4), dtype=int)
    bad[1, 2] = 2
    check_labels(good, good, ALL, 2, strict=True)
    with pytest.raises(ValueError, match=r"the target holds label\(s\) 2 on 1 scored pixel\(s\), outside 0\.\.1"):
        check_labels(good, bad, ALL, 2, strict=True)
    with pytest.raises(ValueError, match="the prediction holds"):
        check_labels(bad, good, ALL, 2, strict=True)
    check_labels(bad, good, ALL, 2, strict=False)
    elsewhere = ALL.copy()
    elsewhere[1, 2] = False
    check_labels(bad, bad, elsewhere, 2, strict=True)


def test_five_of_the_labels_that_do_not_exist_are_named() -> None:
    labels = np.arange(12).reshape(3, 4) + 2
    with pytest.raises(ValueError, match=r"label\(s\) 2, 3, 4, 5, 6 on 12 scored"):
        check_labels(labels, labels, ALL, 2, strict=True)


def test_a_prediction_out_of_range_falls_into_the_last_column() -> None:
    target = np.array([[0, 0, 1, 1]])
    guess = np.array([[0, 2, -1, 7]])
    matrix = confusion_matrix(guess, target, np.ones((1, 4), dtype=bool), 2)
    assert matrix.tolist() == [[1, 0, 1], [0, 0, 2]]


def test_a_prediction_out_of_range_has_no_boundary() -> None:
    target = np.zeros((6, 6), dtype=int)
    guess = target.copy()
    guess[2:4, 2:4] = 2
    protocol = Protocol(out_of_range="fn")
    found = reference_statistics(guess, target, 2, 255, protocol, "a")
    assert [surface.label for surface in found.surfaces] == [0]
    counted = np.ones((6, 6), dtype=bool)
    labels, _ = boundary_maps(guess, target, counted, None, 2, protocol)
    assert sorted(np.unique(labels)) == [NO_CLASS, 0]


# -- the evaluator ---------------------------------------------------------------------------------------


def test_images_without_a_name_are_numbered_on() -> None:
    evaluator, batch = Evaluator(2), np.zeros((2, 4, 4), dtype=int)
    for _ in range(2):
        evaluator.update(batch, batch)
    evaluator.update(batch[0], batch[0])
    assert evaluator.statistics().ids == ("0", "1", "2", "3", "4")


def test_names_come_one_for_each_image_however_many_there_are() -> None:
    batch = np.zeros((2, 4, 4), dtype=int)
    assert [f.image_id for f in Evaluator(2).update(batch, batch, np.array(["a", "b"]))] == ["a", "b"]
    assert [f.image_id for f in Evaluator(2).update(batch[:1], batch[:1], ["one"])] == ["one"]
    assert [f.image_id for f in Evaluator(2).update(batch[:1], batch[:1], np.array(["one"]))] == ["one"]
    assert [f.image_id for f in Evaluator(2).update(batch[:1], batch[:1], "one")] == ["one"]


def test_the_letters_of_one_name_are_not_the_names_of_a_batch() -> None:
    batch = np.zeros((2, 4, 4), dtype=int)
    with pytest.raises(ValueError, match="1 image ids for 2 images"):
        Evaluator(2).update(batch, batch, "ab")


def test_maps_of_true_and_false_are_labels() -> None:
    evaluator = Evaluator(2)
    evaluator.update(np.array([[True, False]]), np.array([[True, True]]))
    assert evaluator.compute().values["pa"] == 0.5
    with pytest.raises(ValueError, match="the prediction holds float64, not integer labels"):
        evaluator.update(np.array([[0.0, 1.0]]), np.array([[0, 1]]))


def test_at_another_size_each_pixel_is_the_one_its_centre_falls_into() -> None:
    small = np.array([[0, 1], [1, 2]])
    large = np.kron(small, np.ones((2, 2), dtype=int))
    for given, size in ((small, (4, 4)), (large, (2, 2)), (small, (2, 2))):
        evaluator = Evaluator(3, protocol=Protocol(size=size))
        evaluator.update(given, given)
        pixels = evaluator.statistics().confusion[:, -1].tolist()
        assert pixels == [n * size[0] * size[1] // 4 for n in (1, 2, 1)]


# -- which path is taken ---------------------------------------------------------------------------------


@pytest.fixture
def asked_anew() -> Iterator[None]:
    has_kernels.cache_clear()
    yield
    has_kernels.cache_clear()


@pytest.mark.usefixtures("asked_anew")
def test_kernels_are_used_where_they_can_be_and_nobody_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGBENCH_NO_KERNELS", raising=False)
    assert has_kernels()
    labels, asked = np.zeros((4, 4), dtype=int), []
    monkeypatch.setattr(fast, "fast_statistics", lambda *given: asked.append(given))
    found = image_statistics(labels, labels, 2, 255, Protocol(), "a")
    assert len(asked) == 1
    assert found.image_id == "a", "what the kernels leave to the reference, it does"
    image_statistics(labels, labels, 2, 255, Protocol(biou_band="euclidean"), "a")
    assert len(asked) == 1 + fast.can_score(Protocol(biou_band="euclidean"), 2, 255)


@pytest.mark.usefixtures("asked_anew")
def test_kernels_are_not_used_where_a_user_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_NO_KERNELS", "1")
    assert has_kernels() is False


@pytest.mark.usefixtures("asked_anew")
def test_kernels_are_not_used_where_numba_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SEGBENCH_NO_KERNELS", raising=False)
    monkeypatch.setitem(sys.modules, "harness.metrics.fast", None)
    assert has_kernels() is False


# -- void ------------------------------------------------------------------------------------------------


def test_void_is_filled_up_to_the_radius_and_ties_take_the_lowest() -> None:
    def filled(radius: int, *labels: int) -> list[int]:
        row = np.array([labels], dtype=np.int32)
        fill_void(row, np.ones(row.shape, dtype=bool), radius)
        return row[0].tolist()

    void = NO_CLASS
    assert filled(0, 0, void, void, void) == [0, void, void, void]
    assert filled(1, 0, void, void, void) == [0, 0, void, void]
    assert filled(2, 0, void, void, void) == [0, 0, 0, void]
    assert filled(5, 2, void, 1) == [2, 1, 1]
    assert filled(5, 2, void, void, 1) == [2, 2, 1, 1]
    assert filled(5, void, void) == [void, void]
    assert filled(5, 3, 3) == [3, 3]


def test_an_image_of_void_alone_has_neither_trimap_nor_surfaces() -> None:
    target = np.full((4, 5), 255)
    found = reference_statistics(np.zeros((4, 5), dtype=int), target, 2, 255, Protocol(), "a")
    assert (found.scored, found.trimap.shape, found.surfaces) == (0, (0, 4), ())


# -- bands -----------------------------------------------------------------------------------------------


def test_the_band_has_one_pixel_at_least_and_halves_are_rounded_to_even() -> None:
    assert band_width(3, 4, Protocol(biou_dilation=0.02)) == 1
    assert band_width(30, 40, Protocol(biou_dilation=0.05)) == 2, "2.5"
    assert band_width(30, 40, Protocol(biou_dilation=0.07)) == 4, "3.5"
    assert band_width(30, 40, Protocol(biou_width=3)) == 3


def test_inner_bands_by_hand() -> None:
    square = np.zeros((9, 9), dtype=bool)
    square[1:8, 1:8] = True
    ring = square.copy()
    ring[2:7, 2:7] = False
    wide = square.copy()
    wide[3:6, 3:6] = False
    for metric in ("chessboard", "euclidean"):
        assert text_of(inner_band(square, 1, metric)) == text_of(ring)
        assert text_of(inner_band(square, 2, metric)) == text_of(wide)


def test_the_trimap_counts_from_either_side_of_a_change() -> None:
    labels = np.array([[0, 0, 0, 1, 1, 1, 1]], dtype=np.int32)
    counted = np.ones((1, 7), dtype=bool)
    counted[0, 1] = False
    protocol = Protocol(trimap="labels", trimap_radii=(1, 3), trimap_headline=3)
    found = trimap_distance(labels, labels, counted, 255, protocol)
    assert found.tolist() == [[3, 4, 1, 1, 2, 3, 4]]
    same = np.zeros((1, 7), dtype=np.int32)
    assert trimap_distance(same, same, counted, 255, protocol).tolist() == [[4] * 7]
    void = np.array([[255, 0, 0, 0, 0, 0, 0]])
    counted = void != 255
    found = trimap_distance(void, same, counted, 255, Protocol(trimap="void", trimap_radii=(1, 3), trimap_headline=3))
    assert found.tolist() == [[4, 1, 2, 3, 4, 4, 4]]


@pytest.mark.parametrize("metric", ["euclidean", "chessboard"])
def test_the_trimap_s_distance_is_the_protocol_s(metric: str) -> None:
    labels = np.zeros((5, 5), dtype=np.int32)
    labels[0, 0] = 1
    protocol = Protocol(trimap_radii=(5,), trimap_headline=5, trimap_band=metric)  # type: ignore[arg-type]
    found = trimap_distance(labels, labels, np.ones((5, 5), dtype=bool), 255, protocol)
    assert found[2, 2] == pytest.approx(1 + math.hypot(2, 1) if metric == "euclidean" else 3)


def test_a_pixel_of_no_class_makes_no_change() -> None:
    labels = np.array([[0, NO_CLASS, 1, 1], [0, 0, 1, NO_CLASS]])
    assert text_of(label_changes(labels)) == ["....", ".##."]


# -- surfaces --------------------------------------------------------------------------------------------


def test_edges_by_hand() -> None:
    mask = drawn("####", "####", "####", "....")
    assert text_of(inner_edge(mask)) == ["####", "#..#", "####", "...."]
    mask = drawn(".....", ".##..", ".##..", ".....")
    assert text_of(davis_edge(mask)) == ["###..", "#.#..", "###..", "....."]
    assert text_of(davis_edge(drawn("..", ".#"))) == ["##", "#."]
    assert text_of(davis_edge(np.ones((3, 3), dtype=bool))) == ["..."] * 3


def test_the_length_of_a_contour_by_hand() -> None:
    cut = math.hypot(2, 5) / 2
    points, length = contour_corners(drawn("##", "##"), (2.0, 5.0))
    found = {tuple(point): value for point, value in zip(points.tolist(), length.tolist(), strict=True)}
    assert found == {
        (0, 0): cut, (0, 1): 5.0, (0, 2): cut, (1, 0): 2.0, (1, 2): 2.0, (2, 0): cut, (2, 1): 5.0, (2, 2): cut,
    }  # fmt: skip
    points, length = contour_corners(drawn("#.", ".#"), (2.0, 5.0))
    assert dict(zip(map(tuple, points.tolist()), length.tolist(), strict=True))[1, 1] == 2 * cut
    points, length = contour_corners(drawn("##", "#."), (2.0, 5.0))
    assert dict(zip(map(tuple, points.tolist()), length.tolist(), strict=True))[1, 1] == cut


def test_the_nearest_point_is_found_in_units_of_the_spacing() -> None:
    one, others = np.zeros((2, 4), dtype=bool), np.zeros((2, 4), dtype=bool)
    one[0, 0] = True
    others[1, 0] = others[0, 3] = True
    found = surface_distances(one, others, (10.0, 1.0))
    assert found is not None
    assert found.to_target.tolist() == [3.0]
    assert found.to_prediction.tolist() == [3.0, 10.0]
    assert surface_distances(one, np.zeros((2, 4), dtype=bool), (1.0, 1.0)) is None
    assert surface_distances(np.zeros((2, 4), dtype=bool), one, (1.0, 1.0)) is None


def test_percentiles_by_each_rule() -> None:
    one, others = np.zeros((1, 9), dtype=bool), np.zeros((1, 9), dtype=bool)
    one[0, :1] = True
    others[0, :3] = True
    found = surface_distances(one, others, (1.0, 1.0))
    assert found is not None
    assert (found.to_target.tolist(), found.to_prediction.tolist()) == ([0.0], [0.0, 1.0, 2.0])
    assert found.percentile(50, "directed") == 1.0
    assert found.percentile(50, "pooled") == 0.5
    assert found.percentile(66, "deepmind") == 1.0
    assert found.percentile(67, "deepmind") == 2.0
    assert found.percentile(100, "deepmind") == 2.0


def test_a_sum_of_distances_is_weighted() -> None:
    assert ordered_sum(np.array([3.0, 1.0, 3.0]), np.array([1.0, 2.0, 0.5])) == 6.5


def test_figures_at_exactly_the_tolerance_are_within_it() -> None:
    square, moved = np.zeros((3, 4), dtype=bool), np.zeros((3, 4), dtype=bool)
    square[1, 1], moved[1, 2] = True, True
    found = distance_statistics(square, moved, Protocol(nsd_tolerance=1.0))
    assert (found["nsd_prediction"], found["nsd_target"], found["hd"], found["hd95"]) == (1.0, 1.0, 1.0, 1.0)
    assert (found["edge_prediction"], found["edge_target"], found["sum_to_target"]) == (1.0, 1.0, 1.0)
    assert distance_statistics(square, moved, Protocol(nsd_tolerance=0.9))["nsd_target"] == 0.0
    # The diagonal of 3×4 pixels is 5.
    within = boundary_f_statistics(square, moved, Protocol(bf_tolerance=0.2))
    assert (within["bf_prediction"], within["bf_target"]) == (1.0, 1.0)
    outside = boundary_f_statistics(square, moved, Protocol(bf_tolerance=0.19))
    assert (outside["bf_prediction"], outside["bf_target"]) == (0.0, 0.0)


@pytest.mark.parametrize("moved", [(0, 1), (1, 0)])
def test_davis_counts_in_pixels_whatever_the_spacing(moved: tuple[int, int]) -> None:
    square = np.zeros((6, 8), dtype=bool)
    square[2:4, 2:4] = True
    other = np.roll(square, moved, axis=(0, 1))
    figures = [
        boundary_f_statistics(square, other, Protocol(bf="davis", bf_tolerance=0.1, spacing=spacing))
        for spacing in ((1.0, 1.0), (7.0, 7.0))
    ]
    assert figures[0] == figures[1]
    assert figures[0]["bf_target"] == 8.0


def test_where_one_map_has_no_boundary_its_length_is_zero_and_distances_are_undefined() -> None:
    square, none = drawn("....", ".##.", "...."), np.zeros((3, 4), dtype=bool)
    found = distance_statistics(square, none, Protocol())
    assert (found["edge_prediction"], found["edge_target"]) == (2.0, 0.0)
    assert (found["nsd_prediction"], found["nsd_target"]) == (0.0, 0.0)
    assert all(math.isnan(found[name]) for name in ("hd", "hd95", "sum_to_target", "sum_to_prediction"))
    edges = boundary_f_statistics(none, square, Protocol())
    assert edges == {"bf_edge_prediction": 0.0, "bf_edge_target": 2.0, "bf_prediction": 0.0, "bf_target": 0.0}


# -- the worst images ------------------------------------------------------------------------------------


def test_the_worst_are_one_at_least_and_rounded_up() -> None:
    scores = np.arange(10.0)
    assert [worst(scores, percent) for percent in (1, 10, 11, 100)] == [0.0, 0.0, 0.5, 4.5]
    assert math.isnan(worst(np.array([]), 5))


# -- regions ---------------------------------------------------------------------------------------------

# Found in part; missed; a false alarm; nowhere; each of a pixel or two.
HIT, ROW, COLUMN = np.array([1, 0, 0, 0]), np.array([2, 1, 0, 0]), np.array([4, 0, 1, 0])
NAN = math.nan


def ratio(name: str, **protocol: str) -> list[float]:
    return ratios(HIT, ROW, COLUMN, Protocol(**protocol))[name].tolist()  # type: ignore[arg-type]


def test_ratios_by_hand() -> None:
    for name, figures in {
        "iou": [0.2, 0.0, 0.0, NAN],
        "accuracy": [0.5, 0.0, NAN, NAN],
        "recall": [0.5, 0.0, NAN, NAN],
        "precision": [0.25, 0.0, 0.0, NAN],
        "dice": [1 / 3, 0.0, 0.0, NAN],
        "f1": [1 / 3, 0.0, 0.0, NAN],
    }.items():
        np.testing.assert_allclose(ratio(name), figures, err_msg=name)
    np.testing.assert_allclose(ratio("f1", f1="mmseg"), [1 / 3, NAN, NAN, NAN])
    for absent, value in {"zero": 0.0, "one": 1.0}.items():
        np.testing.assert_allclose(ratio("iou", absent=absent), [0.2, 0.0, 0.0, value])
        np.testing.assert_allclose(ratio("dice", absent=absent), [1 / 3, 0.0, 0.0, value])


def test_over_the_target_s_classes_a_false_alarm_vanishes() -> None:
    np.testing.assert_allclose(ratio("iou", mean_over="target"), [0.2, 0.0, NAN, NAN])
    np.testing.assert_allclose(ratio("precision", mean_over="target"), [0.25, 0.0, NAN, NAN])


def test_figures_over_classes_by_hand() -> None:
    def values(*rows: list[int]) -> dict[str, float | None]:
        return confusion_scores(np.array(rows), Protocol())[0]

    found = values([2, 1, 0], [0, 1, 0])
    assert found["fwiou"] == pytest.approx(0.75 * 2 / 3 + 0.25 / 2)
    assert found["pa"] == 0.75
    assert found["mpa"] == pytest.approx(5 / 6)
    assert found["miou"] == pytest.approx(7 / 12)
    assert values([3, 1, 0], [0, 1, 0])["fwiou"] == pytest.approx(0.8 * 3 / 4 + 0.2 / 2)
    assert values([1, 0, 0], [0, 0, 0])["fwiou"] == 1.0
    assert values([0, 0, 0], [0, 0, 0])["fwiou"] is None
    assert values([0, 0, 0], [0, 0, 0])["pa"] is None
    assert values([1, 0, 1], [0, 0, 0])["pa"] == 0.5, "a prediction out of range is a miss"


def test_means_over_images_by_hand() -> None:
    evaluator = Evaluator(2, protocol=Protocol(level="image"))
    evaluator.update(np.array([[0, 0, 1, 1]]), np.array([[0, 0, 0, 1]]))
    evaluator.update(np.array([[0, 0, 0, 0]]), np.array([[0, 0, 0, 0]]))
    evaluator.update(np.array([[0, 0, 0, 0]]), np.array([[255, 255, 255, 255]]))
    values = evaluator.compute().values
    assert values["fwiou"] == pytest.approx((0.625 + 1) / 2)
    assert values["pa"] == pytest.approx((0.75 + 1) / 2)
    assert values["miou"] == pytest.approx(((2 / 3 + 1) / 2 + 1 / 2) / 2)
    assert values["mpa"] == pytest.approx(((2 / 3 + 1) / 2 + 1) / 2)


def test_boundary_iou_is_averaged_over_the_images_in_which_either_map_holds_the_class() -> None:
    square, none = np.zeros((6, 6), dtype=int), np.zeros((6, 6), dtype=int)
    square[2:5, 2:5] = 1
    evaluator = Evaluator(2)
    evaluator.update(square, square)
    assert evaluator.compute().image_level["biou_c"] == 1.0
    evaluator.update(none, square)
    assert evaluator.compute().image_level["biou_c"] == 0.5
    evaluator.update(square, none)
    assert evaluator.compute().image_level["biou_c"] == pytest.approx(1 / 3)
