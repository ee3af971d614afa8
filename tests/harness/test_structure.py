"""Skeletons, components and holes: by hand, by the definition of clDice's authors, and against Euler numbers."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from harness.metrics import Evaluator, Protocol, Scores, StatisticsTable, fold
from harness.metrics.records import STRUCTURES
from harness.metrics.structure import structure_counts


def score(pairs: list[tuple[np.ndarray, np.ndarray]], **conventions: object) -> Scores:
    evaluator = Evaluator(2, protocol=Protocol.model_validate(conventions), foreground=1)
    for prediction, target in pairs:
        evaluator.update(np.asarray(prediction, dtype=np.uint8), np.asarray(target, dtype=np.uint8))
    return evaluator.compute()


def blank() -> np.ndarray:
    return np.zeros((20, 30), dtype=np.uint8)


def line(first: int = 5, last: int = 14) -> np.ndarray:
    mask = blank()
    mask[10, first : last + 1] = 1
    return mask


def ring() -> np.ndarray:
    mask = blank()
    mask[4:15, 4:15], mask[5:14, 5:14] = 1, 0
    return mask


def filled() -> np.ndarray:
    mask = blank()
    mask[4:15, 4:15] = 1
    return mask


def random_masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    target = ndimage.gaussian_filter(rng.random((60, 70)), 2) > 0.5
    return np.roll(target, 1, axis=0) ^ (rng.random(target.shape) < 0.02), target


def authors_cldice(prediction: np.ndarray, target: np.ndarray) -> float:
    """The definition of Shit et al.: the share of each skeleton that lies in the other mask, and their Dice."""
    precision = (target * (s := skeletonize(prediction))).sum() / s.sum()
    sensitivity = (prediction * (s := skeletonize(target))).sum() / s.sum()
    return float(2 * precision * sensitivity / (precision + sensitivity))


def test_a_broken_line_by_hand() -> None:
    broken = line()
    broken[10, 8:10] = 0  # two of ten pixels: in two parts
    found = score([(broken, line())]).per_class
    assert found["cldice"][1] == pytest.approx(2 * 1 * 0.8 / 1.8)
    assert found["betti"][1] == found["lesion_count"][1] == 1
    # The line is one lesion, and found; both parts of the prediction meet it.
    assert found["lesion_f1"][1] == 1


@pytest.mark.parametrize("seed", range(5))
def test_cldice_is_its_authors_definition(seed: int) -> None:
    masks = random_masks(seed)
    assert score([masks]).per_class["cldice"][1] == pytest.approx(authors_cldice(*masks), abs=1e-12)


def test_a_vessel_three_times_as_wide_has_nearly_the_skeleton_of_the_thin_one() -> None:
    wide = ndimage.binary_dilation(line(), np.ones((3, 3)))
    found = score([(wide, line())]).per_class
    # Nine of its eleven pixels lie in the line: the ends reach beyond it.
    assert found["cldice"][1] == pytest.approx(2 * 9 / 11 / (9 / 11 + 1))
    assert found["dice"][1] == pytest.approx(2 * 10 / 46)


def test_a_hole_counts_in_the_betti_error_alone() -> None:
    found = score([(filled(), ring())]).per_class
    assert (found["betti"][1], found["lesion_count"][1], found["lesion_f1"][1]) == (1, 0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_components_less_holes_are_the_euler_number(seed: int) -> None:
    p, t = random_masks(seed)
    (row,) = structure_counts(p.astype(np.int32), t.astype(np.int32), [1])
    named = dict(zip(STRUCTURES, row[1:].tolist(), strict=True))
    for name, mask in (("prediction", p), ("target", t)):
        assert named[f"components_{name}"] - named[f"holes_{name}"] == euler_number(mask, connectivity=2)
        assert named[f"components_{name}"] == ndimage.label(mask, np.ones((3, 3)))[1]


def test_lesions_that_are_found_missed_and_seen_by_hand() -> None:
    target, prediction = blank(), blank()
    target[1:3, 1:3] = target[1:3, 10:12] = target[10:12, 1:3] = 1
    prediction[2:4, 2:4] = prediction[1:3, 10:12] = 1  # two of three are met
    prediction[15:17, 20:22] = prediction[15:17, 25:27] = prediction[5, 25] = 1  # and three are there for nothing
    nothing = blank()
    found = score([(prediction, target), (nothing, nothing)]).per_class
    assert found["lesion_f1"][1] == pytest.approx(2 * 2 / (2 * 2 + 3 + 1))
    assert found["lesion_count"][1] == 2
    two = [(prediction, target), (ring(), ring())]
    assert score(two).per_class["lesion_f1"][1] == pytest.approx(2 * 3 / (2 * 3 + 3 + 1))
    assert score(two, level="image").per_class["lesion_f1"][1] == pytest.approx((0.5 + 1) / 2)


def test_a_missed_class_and_a_false_alarm_are_the_worst() -> None:
    pairs = [(line(), line()), (line(), blank()), (blank(), line()), (blank(), blank())]
    for over, cldice, betti in (("union", 1 / 3, 2 / 3), ("target", 1 / 2, 1 / 2), ("both", 1, 0)):
        found = score(pairs, boundary_means_over=over).per_class
        assert found["cldice"][1] == pytest.approx(cldice), over
        assert found["betti"][1] == found["lesion_count"][1] == pytest.approx(betti), over
    assert score(pairs).per_class["lesion_f1"][1] == pytest.approx(2 / (2 + 1 + 1))
    assert score([(blank(), blank())]).values["cldice"] is None


def test_void_belongs_to_no_class_in_either_map() -> None:
    target, prediction = line(), line()
    prediction[2, 2] = 1
    target[1:4, 1:4] = 255
    assert score([(prediction, target)], void="mask").per_class["lesion_count"][1] == 0
    assert score([(prediction, target)], fill_radius=10).per_class["lesion_count"][1] == 1, "filled with background"


def test_which_classes_are_counted_and_that_it_is_kept() -> None:
    target = line() + 2 * np.roll(line(), 5, axis=0)
    for structures, labels in (("all", [1, 2]), ("none", []), ("foreground", [])):
        evaluator = Evaluator(3, protocol=Protocol(structures=structures))  # type: ignore[arg-type]
        evaluator.update(target, target, "a")
        table = StatisticsTable.from_bytes(evaluator.statistics().to_bytes())
        assert table.structures[:, 1].tolist() == labels
        assert fold(table, 3, evaluator.protocol) == evaluator.compute()
        assert (evaluator.compute().values["cldice"] == 1) == bool(labels)
    binary = Evaluator(2, foreground=1)
    binary.update(line(), line())
    assert binary.statistics().structures[:, :2].tolist() == [[0, 1]]
