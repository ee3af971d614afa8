"""The evaluator against the field's packages, on random masks of every kind, each where the package is right.

Under `void="mask"`, the only mode that they can confirm: void is taken out of both maps before a peer sees them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from medpy.metric import binary as medpy
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_iou,
    compute_surface_dice,
)
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance
from skimage.morphology import disk

from harness.metrics import Evaluator, ImageStatistics, Protocol, Scores, image_statistics
from harness.metrics.boundary import band_width
from harness.metrics.records import ClassSurface
from harness.utils.vision import import_torchvision

import_torchvision()

import torchmetrics  # noqa: E402 (imports torchvision, which needs the line above)

CASES = 520
CHUNK = 130


@dataclass(frozen=True)
class Case:
    """One pair of maps; void where the target is 255."""

    prediction: np.ndarray
    target: np.ndarray
    classes: int

    def masks(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Each class that both maps hold, as two masks without void."""
        known = self.target != 255
        for label in range(self.classes):
            p, t = (self.prediction == label) & known, self.target == label
            if p.any() and t.any():
                yield label, p, t


def make_case(seed: int) -> Case:
    """Sides 1 to 200, most of them small; noise to smooth; with and without void; classes may be absent."""
    rng = np.random.default_rng(seed)
    height, width = (int(1 + 199 * rng.random() ** 4) for _ in range(2))
    classes = int(rng.integers(2, 7))
    field = rng.random((classes, height, width))
    smooth = rng.choice([0, 1, 4, 12])
    if smooth:
        field = np.stack([ndimage.gaussian_filter(plane, smooth) for plane in field])
    target = field.argmax(0).astype(np.uint8)
    prediction = (field + rng.normal(0, 0.6 * field.std() + 1e-9, field.shape)).argmax(0).astype(np.uint8)
    if rng.random() < 0.5:
        prediction = np.roll(target, rng.integers(-4, 5, 2), (0, 1))
    if rng.random() < 0.3:
        prediction[prediction == classes - 1] = 0
    if rng.random() < 0.5:
        void = ndimage.gaussian_filter(rng.random((height, width)), rng.choice([0, 3]))
        target[void < rng.choice([0.05, 0.48])] = 255
    return Case(prediction, target, classes)


def surfaces(case: Case, **conventions: object) -> dict[int, ClassSurface]:
    protocol = Protocol.model_validate({"void": "mask", "trimap_radii": (1,), "trimap_headline": 1, **conventions})
    found = image_statistics(case.prediction, case.target, case.classes, 255, protocol, "x")
    return {surface.label: surface for surface in found.surfaces}


def scores(case: Case, **conventions: object) -> Scores:
    evaluator = Evaluator(case.classes, protocol=Protocol.model_validate({"void": "mask", **conventions}))
    evaluator.update(case.prediction, case.target)
    return evaluator.compute()


def assd(s: ClassSurface) -> float:
    return (s.sum_to_target + s.sum_to_prediction) / (s.edge_target + s.edge_prediction)


chunks = pytest.mark.parametrize("first", range(0, CASES, CHUNK))
# A slow peer: one part among the tests, the others among the trials.
slow_chunks = pytest.mark.parametrize(
    "first", [0, *(pytest.param(first, marks=pytest.mark.long) for first in range(CHUNK, CASES, CHUNK))]
)


def cases(first: int) -> Iterator[Case]:
    return (make_case(seed) for seed in range(first, first + CHUNK))


def check_medpy(case: Case) -> int:
    one, pooled = surfaces(case), surfaces(case, hd_percentile_rule="pooled")
    compared = 0
    directed = vars(medpy)["__surface_distances"]
    for label, p, t in case.masks():
        there, back = directed(p, t, None, 1), directed(t, p, None, 1)
        assert one[label].hd == medpy.hd(p, t)
        assert pooled[label].hd95 == medpy.hd95(p, t)
        assert one[label].hd95 == max(np.percentile(there, 95), np.percentile(back, 95))
        assert assd(one[label]) == pytest.approx(medpy.assd(p, t), abs=1e-11)
        means = one[label].sum_to_target / len(there), one[label].sum_to_prediction / len(back)
        assert means == pytest.approx((medpy.asd(p, t), medpy.asd(t, p)), abs=1e-11)
        compared += 1
    return compared


@chunks
def test_distances_are_medpys_to_the_bit(first: int) -> None:
    assert sum(check_medpy(case) for case in cases(first)) > CHUNK


@st.composite
def any_case(draw: st.DrawFn) -> Case:
    height, width = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    classes = draw(st.integers(2, 5))
    block = draw(st.sampled_from([1, 2, 5, 9]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    labels = rng.integers(0, classes, (2, -(-height // block), -(-width // block))).astype(np.uint8)
    prediction, target = labels.repeat(block, 1).repeat(block, 2)[:, :height, :width].copy()
    if draw(st.booleans()):
        target[rng.random((height, width)) < draw(st.floats(0, 1))] = 255
    return Case(prediction, target, classes)


@settings(max_examples=150, deadline=None)
@given(any_case())
def test_hypothesis_finds_no_case_that_differs_from_medpy_or_the_confusion_matrix(case: Case) -> None:
    check_medpy(case)
    check_confusion(case)
    check_bands(case)


def check_confusion(case: Case) -> None:
    (found,) = Evaluator(case.classes, protocol=Protocol(void="mask")).update(case.prediction, case.target)
    known = case.target != 255
    pairs = case.target[known].astype(int) * case.classes + case.prediction[known]
    expected = np.bincount(pairs, minlength=case.classes**2).reshape(case.classes, case.classes)
    assert np.array_equal(found.dense_confusion(case.classes), expected)


def check_bands(case: Case) -> None:
    """Boundary IoU's bands against the 3×3 erosions of its authors."""
    found = surfaces(case)
    distance = band_width(*case.target.shape, Protocol())
    for label, p, t in case.masks():
        a, b = (m & ~ndimage.binary_erosion(m, np.ones((3, 3)), iterations=distance) for m in (p, t))
        assert (found[label].band_intersection, found[label].band_union) == ((a & b).sum(), (a | b).sum())


@chunks
def test_confusion_and_boundary_iou_bands_are_exact(first: int) -> None:
    for case in cases(first):
        check_confusion(case)
        check_bands(case)


@chunks
def test_region_scores_are_torchmetrics(first: int) -> None:
    """Where a class is absent torchmetrics says 0, which is the mode `absent="zero"`."""
    for case in cases(first):
        if not (case.target != 255).any():
            continue
        prediction, target = torch.from_numpy(case.prediction).long(), torch.from_numpy(case.target).long()
        options = {"num_classes": case.classes, "ignore_index": 255}
        matrix = torchmetrics.functional.classification.multiclass_confusion_matrix(prediction, target, **options)
        (found,) = Evaluator(case.classes, protocol=Protocol(void="mask")).update(case.prediction, case.target)
        assert np.array_equal(found.dense_confusion(case.classes), matrix.numpy())
        ours = scores(case, absent="zero")
        jaccard = torchmetrics.functional.classification.multiclass_jaccard_index(
            prediction, target, average="none", **options
        )
        f1 = torchmetrics.functional.classification.multiclass_f1_score(prediction, target, average="none", **options)
        assert ours.per_class["iou"] == pytest.approx(jaccard.tolist(), abs=1e-6)
        assert ours.per_class["dice"] == pytest.approx(f1.tolist(), abs=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@slow_chunks
def test_distances_iou_and_nsd_are_monais(first: int) -> None:
    """In single precision there. MONAI's mean of directed means, without an empty mask, which it treats otherwise."""
    for case in cases(first):
        found = surfaces(case)
        split = list(case.masks())
        if not split:
            continue
        p, t = (torch.from_numpy(np.stack([m[i] for m in split]))[None] for i in (1, 2))
        of = [found[label] for label, _, _ in split]
        all_classes = {"include_background": True}
        for values, theirs in (
            ([s.hd for s in of], compute_hausdorff_distance(p, t, **all_classes)),
            ([s.hd95 for s in of], compute_hausdorff_distance(p, t, percentile=95, **all_classes)),
            ([assd(s) for s in of], compute_average_surface_distance(p, t, symmetric=True, **all_classes)),
        ):
            assert values == pytest.approx(theirs[0].tolist(), rel=1e-4)
        nsd = [(s.nsd_prediction + s.nsd_target) / (s.edge_prediction + s.edge_target) for s in of]
        limits = [2.0] * len(of)
        theirs = compute_surface_dice(p, t, class_thresholds=limits, **all_classes)
        assert nsd == pytest.approx(theirs[0].tolist(), abs=1e-6)
        iou = scores(case, level="image", mean_over="target").per_class["iou"]
        assert [iou[label] for label, _, _ in split] == pytest.approx(compute_iou(p, t)[0].tolist(), abs=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@chunks
def test_the_deepmind_mode_is_surface_distance(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corners weighted by contour length: HD and HD95 to the bit, means and NSD to 1e-10; any pixel spacing."""
    import surface_distance

    monkeypatch.setattr(np, "Inf", math.inf, raising=False)  # the package is older than NumPy 2
    for number, case in enumerate(cases(first)):
        spacing = ((1.0, 1.0), (2.0, 0.5), (0.7, 1.3))[number % 3]
        found = surfaces(case, boundary="deepmind", hd_percentile_rule="deepmind", spacing=spacing)
        for label, p, t in case.masks():
            theirs = surface_distance.compute_surface_distances(t, p, spacing)
            s = found[label]
            assert s.hd == surface_distance.compute_robust_hausdorff(theirs, 100)
            assert s.hd95 == surface_distance.compute_robust_hausdorff(theirs, 95)
            to_prediction, to_target = surface_distance.compute_average_surface_distance(theirs)
            assert s.sum_to_target / s.edge_prediction == pytest.approx(to_target, abs=1e-10)
            assert s.sum_to_prediction / s.edge_target == pytest.approx(to_prediction, abs=1e-10)
            nsd = (s.nsd_prediction + s.nsd_target) / (s.edge_prediction + s.edge_target)
            assert nsd == pytest.approx(surface_distance.compute_surface_dice_at_tolerance(theirs, 2.0), abs=1e-10)


@chunks
def test_hausdorff_distances_of_whole_masks_are_scikit_images_and_of_edges_scipys(first: int) -> None:
    for case in cases(first):
        edges, sets = surfaces(case), surfaces(case, boundary="set")
        for label, p, t in case.masks():
            assert sets[label].hd == hausdorff_distance(p, t)
            points = [np.argwhere(m & ~ndimage.binary_erosion(m)) for m in (p, t)]
            theirs = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
            assert edges[label].hd == pytest.approx(theirs, abs=1e-12)


def davis_map(mask: np.ndarray) -> np.ndarray:
    """DAVIS's boundary, pixel by pixel: another label to the right, below, or below right of it."""
    height, width = mask.shape
    edge = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            last_row, last_column = y == height - 1, x == width - 1
            right = mask[y, min(x + 1, width - 1)]
            below = mask[min(y + 1, height - 1), x]
            corner = mask[y, x] if last_row or last_column else mask[y + 1, x + 1]
            edge[y, x] = (mask[y, x] != right) | (mask[y, x] != below) | (mask[y, x] != corner)
    return edge


def test_the_davis_mode_is_its_definition() -> None:
    for case in (make_case(seed) for seed in range(40)):
        ours = scores(case, bf="davis").per_class["bf"]
        radius = math.ceil(0.008 * math.hypot(*case.target.shape))
        known = case.target != 255
        for label in range(case.classes if known.any() else 0):
            a, b = davis_map((case.prediction == label) & known), davis_map(case.target == label)
            near_a, near_b = (ndimage.binary_dilation(m, disk(radius)) for m in (a, b))
            if not a.any() and not b.any():
                expected = 1.0
            elif not a.any() or not b.any():
                expected = 0.0
            else:
                precision, recall = (a & near_b).sum() / a.sum(), (b & near_a).sum() / b.sum()
                expected = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
            assert ours[label] == pytest.approx(expected, abs=1e-12)


def statistics_of(case: Case, **conventions: object) -> ImageStatistics:
    return image_statistics(case.prediction, case.target, case.classes, 255, Protocol.model_validate(conventions), "x")


@pytest.mark.parametrize("first", range(0, 100, 50))
def test_euclidean_bands_are_their_definition(first: int) -> None:
    """Boundary IoU after MetricsReloaded (nearer than d to the inner edge), the trimap by straight distance."""
    for case in (make_case(seed) for seed in range(first, first + 50)):
        wide = {"void": "mask", "biou_band": "euclidean", "biou_width": 3, "trimap_band": "euclidean"}
        found = statistics_of(case, **wide)
        of = {s.label: s for s in found.surfaces}
        for label, p, t in case.masks():
            bands = []
            for m in (p, t):
                edge = np.argwhere(m & ~ndimage.binary_erosion(m))
                own = np.argwhere(m)
                square = ((own[:, None, :] - edge[None]) ** 2).sum(-1).min(1) if len(own) * len(edge) < 4e6 else None
                if square is None:
                    break
                band = np.zeros_like(m)
                band[tuple(own[square < 9].T)] = True
                bands.append(band)
            if len(bands) == 2:
                expected = (bands[0] & bands[1]).sum(), (bands[0] | bands[1]).sum()
                assert (of[label].band_intersection, of[label].band_union) == expected
        square_trimap = statistics_of(case, void="mask").trimap
        # A disk lies inside its square: no band has more pixels, the narrowest has as many.
        for index in range(5):
            round_pixels = found.trimap[found.trimap[:, 0] == index, 3].sum()
            pixels = square_trimap[square_trimap[:, 0] == index, 3].sum()
            assert round_pixels <= pixels
            assert index > 0 or round_pixels == pixels


def test_auc_is_torchmetrics_within_the_width_of_a_bin() -> None:
    for seed in range(40):
        rng = np.random.default_rng(seed)
        target = (rng.random((60, 50)) < rng.uniform(0.05, 0.6)).astype(np.uint8)
        target[rng.random(target.shape) < 0.1] = 255
        odds = rng.normal(0, rng.uniform(0.2, 6), target.shape) + 2.0 * (target == 1)
        score = 1 / (1 + np.exp(-odds))
        evaluator = Evaluator(2, foreground=1)
        evaluator.update((score >= 0.5).astype(np.uint8), target, score=score)
        ours = evaluator.compute().values
        known = target != 255
        theirs = torchmetrics.functional.classification.binary_auroc(
            torch.from_numpy(score[known]), torch.from_numpy(target[known]).long()
        )
        assert ours["auc"] == pytest.approx(float(theirs), abs=2e-3)
        # The label map is the score's own at one half: the histogram holds the same counts.
        histogram = evaluator.statistics().histogram
        upper = histogram[:, 1] >= 512
        sensitivity = histogram[upper & (histogram[:, 2] == 1), 3].sum() / (target == 1).sum()
        specificity = histogram[~upper & (histogram[:, 2] == 0), 3].sum() / (target == 0).sum()
        assert (ours["sensitivity"], ours["specificity"]) == (sensitivity, specificity)
