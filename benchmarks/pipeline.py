"""The input pipeline against torchvision's reference recipe: images a second, in one run, side by side.

Both prepare PASCAL VOC's training images in batches of 16 at 480×480: the shorter side resized to 260 to 1,040 pixels,
cut, mirrored with a chance of one half, normalized. The reference decodes and transforms in a DataLoader, as
torchvision's references/segmentation do it by default (backend PIL); ours reads the machine's cache.

SEGBENCH_DATA names the folder with VOCdevkit; ../shared/data is looked at too. Without VOC, generated images are taken.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.history import Record, record
from harness.config.recipe import Recipe
from harness.datasets import Dataset, dataset_class, manifest_of, open_dataset
from harness.datasets.base import open_image
from harness.datasets.cache import decoded_store
from harness.scoring.samples import DecodedSamples
from harness.training.loader import training_loader
from harness.utils.environment import setting
from harness.utils.images import normalize
from harness.utils.normalization import IMAGENET_MEAN, IMAGENET_STD
from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision import tv_tensors  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

SIDE, BATCH, BASE = 480, 16, 520
WORKERS = os.cpu_count() or 1
ROUNDS = 3
TRIALS = 3
RECIPE = Recipe(
    size=(SIDE, SIDE),
    epochs=1,
    batch_size=BATCH,
    augment=(  # type: ignore[arg-type]
        {"op": "scale_crop", "short_side": (BASE // 2, BASE * 2)},
        {"op": "hflip"},
    ),
)


class Reference(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Decoded with Pillow, transformed as torchvision's reference training does."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.ids = dataset, dataset.ids("train")
        self.transform = v2.Compose(
            [
                v2.RandomResize(min_size=BASE // 2, max_size=BASE * 2, antialias=True),
                v2.RandomHorizontalFlip(0.5),
                v2.RandomCrop((SIDE, SIDE), pad_if_needed=True, fill={tv_tensors.Mask: 255, "others": 0}),
                v2.PILToTensor(),
                v2.ToDtype({torch.Tensor: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
                v2.Normalize(mean=IMAGENET_MEAN, std=IMAGENET_STD),
            ]
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        files = self.dataset.files(self.ids[index])
        image = open_image(files.image).convert("RGB")
        mask = tv_tensors.Mask(np.array(open_image(files.mask)))
        return self.transform(image, mask)  # type: ignore[no-any-return]


def reference_batches(dataset: Dataset, workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch, the processes started before."""
    loader = torch.utils.data.DataLoader(
        Reference(dataset), BATCH, shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
    )
    while True:
        yield from loader
        yield None  # type: ignore[misc]


def our_batches(samples: DecodedSamples, workers: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Epoch after epoch, normalized as the training loop does it."""
    loader, batches = training_loader(samples, samples.dataset.ids("train"), RECIPE, 0, workers)
    epoch = 0
    while True:
        batches.at(epoch)
        for images, masks in loader:
            yield normalize(images, RECIPE.normalize), masks
        epoch += 1
        yield None  # type: ignore[misc]


def epoch_of(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> tuple[float, int]:
    """Seconds and images of one epoch."""
    began, count = time.perf_counter(), 0
    for batch in batches:
        if batch is None:
            break
        count += len(batch[0])
    return time.perf_counter() - began, count


def moments(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> list[float]:
    """What two outputs are compared by: pixels' mean and deviation, shares of void and background, sharpness."""
    sums = []
    for images, masks in batches:
        valid = (masks != 255).float().mean()
        ground = (masks == 0).float().mean()
        sharp = (images[..., 1:] - images[..., :-1]).abs().mean()
        sums.append([float(images.mean()), float(images.std()), float(valid), float(ground), float(sharp)])
        if len(sums) * BATCH >= 640:
            break
    return np.mean(sums, axis=0).tolist()  # type: ignore[no-any-return]


def endless(batches: Iterator[tuple[torch.Tensor, torch.Tensor]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Without the marks between epochs."""
    return (batch for batch in batches if batch is not None)


def trial(root: str, name: str, variant: str, content: str, start: object, report: object) -> None:
    """A concurrent trial: read two epochs from the cache, then say how much of its memory is its own since it began."""
    torch.set_num_threads(1)
    dataset = dataset_class(name)(Path(root), variant)
    normalize(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), RECIPE.normalize)
    start.wait()  # type: ignore[attr-defined]
    before = own_memory()
    batches = our_batches(DecodedSamples(dataset, decoded_store(dataset, content, 1)), 0)
    epoch_of(batches)
    epoch_of(batches)
    report.put(own_memory() - before)  # type: ignore[attr-defined]


def own_memory() -> int:
    """Bytes that no other process shares, after the C library gave back what it only keeps."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return int(psutil.Process().memory_full_info().uss)


def prepared() -> tuple[Dataset, str, float, DecodedSamples]:
    """VOC, or generated images, in a cache of its own: data set, content hash, seconds to build, samples."""
    torch.set_num_threads(1)
    given = [setting("SEGBENCH_DATA"), str(Path(__file__).parents[2] / "shared" / "data")]
    found = [Path(p) for p in given if p and (Path(p) / "VOCdevkit").is_dir()]
    os.environ["SEGBENCH_CACHE_DIR"] = tempfile.mkdtemp(prefix="segbench-pipeline-")
    dataset = open_dataset("voc", "cut9", found[0]) if found else open_dataset("shapes", None, Path("data"))
    content = manifest_of(dataset).content_hash
    began = time.perf_counter()
    store = decoded_store(dataset, content, WORKERS)
    return dataset, content, time.perf_counter() - began, DecodedSamples(dataset, store)


def some_of(batches: Iterator[tuple[torch.Tensor, torch.Tensor]], count: int) -> float:
    """Images a second of the next batches."""
    began = time.perf_counter()
    images = sum(len(next(batches)[0]) for _ in range(count))
    return images / (time.perf_counter() - began)


def records(quick: bool) -> list[Record]:
    """The next batches of each in turns: without other processes, and with as many as there are processors."""
    dataset, _, _, samples = prepared()
    count, repetitions = (2, 2) if quick else (16, 7)
    found = []
    for workers in (0,) if quick else tuple(dict.fromkeys((0, WORKERS))):
        theirs, ours = endless(reference_batches(dataset, workers)), endless(our_batches(samples, workers))
        rates: list[list[float]] = [[], []]
        for batches in (theirs, ours):
            some_of(batches, 1)
        for turn in range(repetitions):
            both = list(zip(rates, (theirs, ours), strict=True))
            for kept, batches in both[:: 1 if turn % 2 else -1]:
                kept.append(some_of(batches, count))
        what = f"batches of {BATCH} at {SIDE}×{SIDE} of {dataset.info.title}, {workers} processes"
        name = f"pipeline.{'alone' if workers == 0 else 'processes'}"
        found.append(record(name, what, "torchvision's reference", "images/s", rates[1], rates[0], rate=True))
    return found


def main() -> None:
    """Run everything and print the tables."""
    dataset, content, build, samples = prepared()
    store = samples.store
    assert store is not None  # noqa: S101 (it was built)
    decoded = (store.folder / "samples.bin").stat().st_size
    print(f"{dataset.info.title}: {len(dataset.ids('train'))} training images of {len(store)}; {WORKERS} processors")
    print(f"cache built in {build:.2f} s with {WORKERS} threads, {decoded / 1e6:.0f} MB")

    table = Table("processes", "reference images/s", "ours images/s", "ratio", "first batch: reference", "ours")
    for workers in dict.fromkeys((0, WORKERS)):
        theirs, ours = reference_batches(dataset, workers), our_batches(samples, workers)
        first = []
        for batches in (theirs, ours):
            began = time.perf_counter()
            next(batches)
            first.append(time.perf_counter() - began)
            epoch_of(batches)  # the rest of the first epoch
        speeds: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for place, batches in enumerate((theirs, ours)):
                seconds, count = epoch_of(batches)
                speeds[place].append(count / seconds)
        slow, fast = (statistics.median(s) for s in speeds)
        table.add_row(str(workers), f"{slow:.0f}", f"{fast:.0f}", f"{fast / slow:.1f}×", *(f"{s:.2f} s" for s in first))
    console = Console(width=120)
    console.print(table)

    shown = Table("output of 640 images", "mean", "deviation", "not void", "background", "step between pixels")
    for name, batches in (("reference", reference_batches(dataset, WORKERS)), ("ours", our_batches(samples, WORKERS))):
        shown.add_row(name, *(f"{value:.4f}" for value in moments(endless(batches))))
    console.print(shown)

    context = multiprocessing.get_context("spawn")
    start, report = context.Event(), context.Queue()
    arguments = (str(dataset.root), dataset.info.name, dataset.variant, content, start, report)
    processes = [context.Process(target=trial, args=arguments) for _ in range(TRIALS)]
    for process in processes:
        process.start()
    start.set()
    own = [report.get() for _ in processes]
    for process in processes:
        process.join()
    worst = max(own)
    share = 100 * worst / decoded
    print(f"{TRIALS} trials at once: reading adds at most {worst / 1e6:.1f} MB to the memory that is a trial's own,")
    print(f"a batch in it; {share:.1f} % of the decoded data")


if __name__ == "__main__":
    main()
