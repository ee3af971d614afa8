from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from harness.metrics import Evaluator, Protocol
from harness.metrics.confusion import confusion_matrix, counted_pixels
from harness.metrics.counter import ConfusionCounter, count_on_device
from harness.scoring.predict import label_map
from harness.utils.parallel import in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_order_and_few_items_are_taken_ahead(threads: int) -> None:
    taken = finished = most = 0
    lock = threading.Lock()

    def source() -> Iterator[int]:
        nonlocal taken, most
        for n in range(200):
            with lock:
                taken += 1
                most = max(most, taken - finished)
            yield n

    results = []
    for value in in_order(lambda n: n * n, source(), threads):
        results.append(value)
        with lock:
            finished += 1
    assert results == [n * n for n in range(200)]
    assert most <= 2 * threads + 1


def test_the_first_failure_ends_it() -> None:
    begun = []

    def work(n: int) -> int:
        begun.append(n)
        if n == 3:
            raise RuntimeError("three")
        return n

    with pytest.raises(RuntimeError, match="three"):
        list(in_order(work, range(1000), 2))
    assert len(begun) < 20


def test_thread_count_never_moves_a_bit() -> None:
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, 4, (2, 40, 50)).astype(np.uint8) for _ in range(30)]

    def scored(threads: int) -> Evaluator:
        evaluator = Evaluator(4)
        for found in in_order(lambda n: evaluator.measure(*maps[n], n), range(30), threads):
            evaluator.add(found)
        return evaluator

    assert scored(1).compute() == scored(4).compute()


@pytest.mark.slow
@pytest.mark.long
def test_ten_thousand_images_need_no_more_memory_than_a_few() -> None:
    import tracemalloc

    label = np.zeros((40, 40), dtype=np.uint8)
    label[10:20, 10:20] = 1
    evaluator = Evaluator(2, protocol=Protocol(trimap_radii=(1,), trimap_headline=1))

    def peak(count: int) -> int:
        tracemalloc.start()
        # Maps are made one by one, as predictions are; statistics are folded into nothing here: only maps could grow.
        for _ in in_order(lambda n: evaluator.measure(np.roll(label, n, 0), label, n), range(count), 2):
            pass
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    assert peak(10_000) < peak(100) + 200_000


def random_maps(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    rng = np.random.default_rng(seed)
    prediction, target = rng.integers(-1, 7, (30, 20)), rng.integers(0, 5, (30, 20))
    target[rng.random((30, 20)) < 0.2] = 255
    valid = torch.from_numpy(rng.random((30, 20)) < 0.7) if seed % 2 else None
    return torch.from_numpy(prediction), torch.from_numpy(target), valid


def test_counting_on_a_device_and_through_kernels_is_counting() -> None:
    counter = ConfusionCounter(5)
    total = np.zeros((5, 6), dtype=np.int64)
    for seed in range(12):
        prediction, target, valid = random_maps(seed)
        region = None if valid is None else valid.numpy()
        expected = confusion_matrix(prediction.numpy(), target.numpy(), counted_pixels(target.numpy(), 255, region), 5)
        assert np.array_equal(count_on_device(prediction, target, 5, 255, valid).numpy(), expected)
        assert np.array_equal(count_on_device(prediction.to(torch.int16), target, 5, 255, valid).numpy(), expected)
        for dtype in (torch.int64, torch.uint8):
            shown = torch.where(prediction < 0, 9, prediction).to(dtype)
            counter.update(shown, target.to(dtype), valid)
            total += expected
    assert np.array_equal(counter.matrix(), total)


@pytest.mark.parametrize("shape", [(2, 5, 7), (21, 64, 70), (150, 9, 11), (3, 1, 1)])
def test_label_maps_are_the_argmax_and_ties_take_the_first_class(shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator)
    assert torch.equal(label_map(logits), logits.argmax(0).to(torch.uint8))
    ties = torch.randint(0, 3, shape, generator=generator).float()
    expected = (ties == ties.max(0).values).to(torch.uint8).numpy().argmax(0)
    assert np.array_equal(label_map(ties).numpy(), expected)
    strided = torch.randn((shape[1], shape[2], shape[0]), generator=generator).permute(2, 0, 1)
    assert torch.equal(label_map(strided), strided.argmax(0).to(torch.uint8))
