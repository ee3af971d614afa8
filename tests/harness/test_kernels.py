"""The compiled kernels against NumPy and SciPy: the same bits, on masks of every kind."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import numpy as np
import pytest
from scipy import ndimage

from harness.metrics import Evaluator, ImageStatistics, Protocol, has_kernels, image_statistics, reference_statistics
from harness.metrics.fast import can_score, fast_statistics

CASES = 300


def random_case(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, int, Protocol]:
    """Prediction, target, valid region, classes and protocol; sides 1 to 130, from noise to smooth."""
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 131, 2)
    classes = int(rng.integers(1, 22))
    field = rng.random((classes, height, width))
    smooth = rng.choice([0, 1, 3, 8])
    if smooth:
        field = np.stack([ndimage.gaussian_filter(plane, smooth) for plane in field])
    target = field.argmax(0)
    noisy = (field + rng.normal(0, 0.7 * field.std() + 1e-9, field.shape)).argmax(0)
    prediction = noisy if rng.random() < 0.5 else np.roll(target, (2, 3), (0, 1))
    if rng.random() < 0.6:
        target[
            ndimage.gaussian_filter(rng.random((height, width)), rng.choice([0, 2])) < rng.choice([0.1, 0.49, 0.9])
        ] = 255
    valid = None if rng.random() < 0.6 else ndimage.gaussian_filter(rng.random((height, width)), 3) < 0.51
    if rng.random() < 0.1:
        prediction = prediction.copy()
        prediction[0, 0] = 99
    if rng.random() < 0.3:
        prediction, target = prediction.astype(np.uint8), np.asfortranarray(target.astype(np.int16))
    elif rng.random() < 0.5:
        prediction, target = prediction.astype(np.uint8), target.astype(np.uint8)
    protocol = Protocol(
        void=str(rng.choice(["fill", "mask"])),  # type: ignore[arg-type]
        trimap=str(rng.choice(["labels", "void"])),  # type: ignore[arg-type]
        fill_radius=int(rng.choice([0, 2, 10])),
        out_of_range="fn",
    )
    return prediction, target, valid, classes, protocol


def plain(statistics: ImageStatistics) -> dict[str, object]:
    """As values that compare by their bits, NaN included."""
    record = asdict(statistics)
    arrays = [name for name, value in record.items() if isinstance(value, np.ndarray)]
    record |= {name: getattr(statistics, name).tolist() for name in arrays}
    record["loss"] = repr(statistics.loss)
    record["surfaces"] = [
        {k: "nan" if isinstance(v, float) and math.isnan(v) else v for k, v in asdict(s).items()}
        for s in statistics.surfaces
    ]
    return record


def test_the_kernels_are_here() -> None:
    assert has_kernels(), "numba is a dependency; its kernels must load wherever the tests run"


@pytest.mark.parametrize("first", range(0, CASES, 50))
def test_kernels_and_reference_give_the_same_bits(first: int) -> None:
    for seed in range(first, first + 50):
        prediction, target, valid, classes, protocol = random_case(seed)
        fast = fast_statistics(prediction, target, classes, protocol, "x", valid)
        slow = reference_statistics(prediction, target, classes, 255, protocol, "x", valid)
        assert fast is not None
        assert plain(fast) == plain(slow), seed


@pytest.mark.parametrize(
    "change",
    [{"spacing": (2.0, 1.0)}, {"hd_percentile_rule": "pooled"}, {"trimap_radii": (8, 2), "trimap_headline": 8}],
    ids=str,
)
def test_conventions_the_kernels_do_not_know_go_the_slower_way(change: dict[str, object]) -> None:
    protocol = Protocol.model_validate(change)
    assert not can_score(protocol, 3, 255)
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 3, (20, 20)), rng.integers(0, 3, (20, 20))
    expected = reference_statistics(prediction, target, 3, 255, protocol, "x")
    assert plain(image_statistics(prediction, target, 3, 255, protocol, "x")) == plain(expected)


def test_another_ignore_label_gives_the_same_scores() -> None:
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 4, (30, 30)), rng.integers(0, 3, (30, 30))
    other = np.where(target == 3, 255, target)
    one, two = Evaluator(3, ignore_index=3), Evaluator(3)
    one.update(prediction, target)
    two.update(prediction, other)
    assert one.compute() == two.compute()


def test_read_only_maps_as_decoders_return_them_are_scored() -> None:
    prediction, target, valid, classes, protocol = random_case(4)
    expected = plain(image_statistics(prediction, target, classes, 255, protocol, "x", valid))
    maps = [np.ascontiguousarray(m, dtype=np.uint8) for m in (prediction, target)]
    for labels in maps:
        labels.setflags(write=False)
    found = fast_statistics(maps[0], maps[1], classes, protocol, "x", valid)
    assert found is not None
    assert plain(found) == expected
    assert not maps[0].flags.writeable


def test_threads_do_not_share_scratch() -> None:
    cases = [random_case(seed) for seed in range(24)]

    def score(case: tuple[np.ndarray, np.ndarray, np.ndarray | None, int, Protocol]) -> dict[str, object]:
        prediction, target, valid, classes, protocol = case
        return plain(image_statistics(prediction, target, classes, 255, protocol, "x", valid))

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(score, cases * 4))
    assert together == [score(case) for case in cases] * 4


def test_counts_beyond_single_precision_stay_exact() -> None:
    side = 4200  # 17.6 million pixels: more than a float32 can count one by one
    target = np.zeros((side, side), dtype=np.uint8)
    target[0, 0] = 1
    statistics = image_statistics(target, target, 2, 255, Protocol(void="mask"), "big")
    assert statistics.confusion.tolist() == [[0, 0, side * side - 1], [1, 1, 1]]
