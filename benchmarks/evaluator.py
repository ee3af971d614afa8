"""The evaluator against its peers, side by side in one run, one thread each: `python benchmarks/evaluator.py`.

For each image the best of several repetitions, in processor time, then the median over images; what counts is the
ratio. Masks are synthetic: 512×512 with 21 classes of which 3 to 5 are present and 255 along borders; 1024×1024 with
two classes.
Compiling the kernels is timed by itself and is in no other figure.

With PASCAL VOC under --data-dir (or SEGBENCH_DATA), a whole scoring of its val as well: reading both PNGs, scoring,
folding and storing, each by itself. The predictions are the truth moved by seven pixels.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from medpy.metric import binary as medpy
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from benchmarks.history import Record, record
from harness.metrics import Protocol
from harness.metrics.boundary import band_width
from harness.metrics.surface import surface_distances
from harness.utils.environment import setting

Maps = tuple[np.ndarray, np.ndarray]


def scene(side: int, classes: int, present: int, seed: int) -> Maps:
    """Prediction and target: smooth regions; the prediction's borders are displaced, void lies along the target's."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([[0], rng.choice(np.arange(1, classes), present - 1, replace=False)]).astype(np.uint8)
    fields = np.stack([ndimage.gaussian_filter(rng.random((side, side)), side / 12) for _ in range(present)])
    fields[0] += 0.3 * fields.std()
    noise = np.stack([ndimage.gaussian_filter(rng.random((side, side)), side / 40) for _ in range(present)])
    target = labels[fields.argmax(0)]
    prediction = labels[(fields + 0.15 * fields.std() * (noise - noise.mean()) / noise.std()).argmax(0)]
    if classes > 2:
        edge = np.zeros((side, side), dtype=bool)
        edge[1:] |= target[1:] != target[:-1]
        edge[:, 1:] |= target[:, 1:] != target[:, :-1]
        target[ndimage.binary_dilation(edge, iterations=2)] = 255
    return prediction, target


def pairs(maps: Maps) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """The classes both maps hold, split into binary masks, void in neither: what peers are given."""
    prediction, target = maps
    known = target != 255
    shared = np.intersect1d(np.unique(prediction[known]), np.unique(target[known]))
    return [(int(c), (prediction == c) & known, (target == c) & known) for c in shared]


# -- peers: each does what its users call -------------------------------------------------------------


def bincount(maps: Maps, classes: int) -> object:
    prediction, target = maps
    known = target < classes
    index = classes * target[known].astype(int) + prediction[known]
    return np.bincount(index, minlength=classes**2).reshape(classes, classes)


def calc_hist(maps: Maps, classes: int) -> object:
    prediction, target = maps
    return cv2.calcHist([target, prediction], [0, 1], None, [256, classes], [0, 256, 0, classes])[:classes]


def medpy_distances(split: list[tuple[int, np.ndarray, np.ndarray]]) -> object:
    return [(medpy.hd(p, t), medpy.hd95(p, t), medpy.assd(p, t)) for _, p, t in split]


def monai_distances(split: list[tuple[int, np.ndarray, np.ndarray]]) -> object:
    p, t = (torch.from_numpy(np.stack([s[i] for s in split]))[None] for i in (1, 2))
    return (
        compute_hausdorff_distance(p, t, include_background=True),
        compute_hausdorff_distance(p, t, include_background=True, percentile=95),
        compute_average_surface_distance(p, t, include_background=True, symmetric=True),
    )


def kd_tree_distances(split: list[tuple[int, np.ndarray, np.ndarray]]) -> object:
    found = [surface_distances(p, t, (1.0, 1.0)) for _, p, t in split]
    return [(max(d.to_target.max(), d.to_prediction.max()), d.percentile(95, "directed")) for d in found]


def eroded_band(mask: np.ndarray, distance: int) -> np.ndarray:
    """Boundary IoU as its authors compute it: pad by one, erode 3×3 as often as the band is wide, subtract."""
    padded = cv2.copyMakeBorder(mask.view(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), dtype=np.uint8), iterations=distance)
    return mask.view(np.uint8) - eroded[1:-1, 1:-1]


def opencv_boundary_iou(split: list[tuple[int, np.ndarray, np.ndarray]]) -> object:
    found = []
    for _, p, t in split:
        distance = band_width(*p.shape, Protocol())
        a, b = eroded_band(p, distance), eroded_band(t, distance)
        found.append((((a * b) > 0).sum(), ((a + b) > 0).sum()))
    return found


def davis_f(split: list[tuple[int, np.ndarray, np.ndarray]]) -> object:
    found = []
    for _, p, t in split:
        radius = int(np.ceil(0.008 * np.hypot(*p.shape)))
        y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
        disk = (x * x + y * y <= radius * radius).astype(np.uint8)
        a, b = (boundary_map(m) for m in (p, t))
        hit_a, hit_b = (a & cv2.dilate(b, disk)).sum(), (b & cv2.dilate(a, disk)).sum()
        precision, recall = hit_a / max(1, a.sum()), hit_b / max(1, b.sum())
        found.append(2 * precision * recall / max(1e-9, precision + recall))
    return found


def boundary_map(mask: np.ndarray) -> np.ndarray:
    edge = np.zeros(mask.shape, dtype=np.uint8)
    edge[:-1, :-1] = (
        (mask[:-1, :-1] ^ mask[:-1, 1:]) | (mask[:-1, :-1] ^ mask[1:, :-1]) | (mask[:-1, :-1] ^ mask[1:, 1:])
    )
    return edge


# -- ours, part by part -------------------------------------------------------------------------------


def our_matrix(maps: Maps, classes: int) -> object:
    from harness.metrics import fast, kernels

    prediction, target = maps
    counts = np.zeros((classes + 2, classes + 1), dtype=np.int64)
    blocks = fast._Memory.of(*target.shape).blocks
    kernels.count_pairs(prediction.ravel(), target.ravel(), *blocks, counts)
    return counts


def our_distances(masked: Maps, classes: int, protocol: Protocol) -> object:
    from harness.metrics import fast, kernels

    memory = fast._Memory.of(*masked[0].shape)
    guess, true = memory.points("guess", masked[0]), memory.points("true", masked[1])
    width, longest = masked[0].shape[1], max(len(guess[0]), len(true[0]))
    results = np.zeros((classes, 2, 5))
    kernels.class_distances(
        *guess, *true, width, 0.95, 3.0, 2.0, memory.numbers("squares", longest), memory.columns,
        memory.numbers("order", longest), memory.bins, results,
    )  # fmt: skip
    return results


def our_boundary_iou(masked: Maps) -> object:
    from harness.metrics import fast, kernels

    memory = fast._Memory.of(*masked[0].shape)
    band = band_width(*masked[0].shape, Protocol())
    into = memory.map("guess band"), memory.map("true band")
    for labels, out in zip(masked, into, strict=True):
        fast.mark_bands(labels, band, out, memory)
    counts = np.zeros((256, 3), dtype=np.int64)
    parts = (*masked, *into)
    kernels.count_bands(*(part.ravel() for part in parts), *memory.blocks, counts)
    return counts


def measure(work: Callable[[], object], repetitions: int) -> float:
    """Milliseconds of processor time of the best repetition, after one to warm up.

    Not of the clock: on a busy machine, what takes long would wait for others more often than what is done at once.
    """
    work()
    best = float("inf")
    for _ in range(repetitions):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return 1000 * best


# What the table and the records compare: what is measured, its name in records, ours, and the peers.
COMPARED = (
    ("confusion matrix", "confusion", "our matrix", ("bincount", "cv2.calcHist")),
    ("HD + HD95 + ASSD", "distances", "our distances", ("MedPy", "MONAI", "cKDTree")),
    ("Boundary IoU", "biou", "our BIoU", ("OpenCV BIoU, masks given", "OpenCV BIoU with the split")),
    ("everything", "everything", "ours, everything", ("fastest stack of peers",)),
    (
        "everything, standard protocol",
        "standard",
        "ours, everything, fill and five trimaps",
        ("fastest stack of peers",),
    ),
)
STACK = ("cv2.calcHist", "cKDTree", "OpenCV BIoU, masks given", "DAVIS F")
# Peers by their names in records.
SHORT = {
    "bincount": "bincount", "cv2.calcHist": "opencv", "MedPy": "medpy", "MONAI": "monai", "cKDTree": "ckdtree",
    "OpenCV BIoU, masks given": "masks", "OpenCV BIoU with the split": "split", "fastest stack of peers": "stack",
}  # fmt: skip
# Title, side, classes, how many are present.
KINDS = (
    ("512×512, 21 classes, 3 to 5 present, void borders", 512, 21, (3, 4, 5)),
    ("1024×1024, two classes", 1024, 2, (2,)),
)


def works(maps: Maps, classes: int) -> dict[str, tuple[Callable[[], object], int]]:
    """What is timed on one image, and how often for the best of it."""
    from harness.metrics import image_statistics

    masking, standard = Protocol(void="mask", trimap_radii=(1,), trimap_headline=1), Protocol(trimap="void")
    split = pairs(maps)
    masked = np.where(maps[1] == 255, np.uint8(255), maps[0]), maps[1]
    return {
        "our matrix": (lambda: our_matrix(maps, classes), 20),
        "bincount": (lambda: bincount(maps, classes), 10),
        "cv2.calcHist": (lambda: calc_hist(maps, classes), 10),
        "our distances": (lambda: our_distances(masked, classes, masking), 20),
        "MedPy": (lambda: medpy_distances(split), 2),
        "MONAI": (lambda: monai_distances(split), 2),
        "cKDTree": (lambda: kd_tree_distances(split), 3),
        "our BIoU": (lambda: our_boundary_iou(masked), 20),
        "OpenCV BIoU, masks given": (lambda: opencv_boundary_iou(split), 10),
        "OpenCV BIoU with the split": (lambda: opencv_boundary_iou(pairs(maps)), 10),
        "DAVIS F": (lambda: davis_f(split), 5),
        "ours, everything": (lambda: image_statistics(*maps, classes, 255, masking, "x"), 20),
        "ours, everything, fill and five trimaps": (
            lambda: image_statistics(*maps, classes, 255, standard, "x"), 20,
        ),
    }  # fmt: skip


def with_stack(ms: dict[str, float]) -> dict[str, float]:
    """Milliseconds by name, and the sum of the fastest peers."""
    return ms | {"fastest stack of peers": sum(ms[name] for name in STACK)}


def records(quick: bool) -> list[Record]:
    """Every comparison in turns: a repetition measures all on every image, in the other order each time."""
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    found = []
    repetitions = 2 if quick else 7
    for _, side, classes, present in KINDS[:1] if quick else KINDS:
        scenes = [scene(side, classes, present[n % len(present)], n) for n in range(1 if quick else 6)]
        taken: list[dict[str, float]] = []
        for repetition in range(repetitions):
            times: dict[str, list[float]] = {}
            for maps in scenes:
                all_works = list(works(maps, classes).items())
                for name, (work, best_of) in all_works[:: 1 if repetition % 2 else -1]:
                    times.setdefault(name, []).append(measure(work, best_of))
            taken.append(with_stack({name: statistics.median(values) for name, values in times.items()}))
        prefix = "evaluator" if side == 512 else f"evaluator_{side}"
        found += [
            record(
                f"{prefix}.{short}.{SHORT[peer]}", f"{what}, {side}×{side}, {classes} classes", peer, "ms an image",
                [ms[ours] for ms in taken], [ms[peer] for ms in taken],
            )
            for what, short, ours, peers in COMPARED for peer in peers
        ]  # fmt: skip
    logits = torch.randn(21, 512, 512, generator=torch.Generator().manual_seed(0))
    pairs_of_times = [both_label_maps(logits) for _ in range(repetitions)]
    found.append(
        record(
            "evaluator.labels", "label map of 21×512×512 logits", "argmax", "ms an image",
            [ours for ours, _ in pairs_of_times], [theirs for _, theirs in pairs_of_times],
        )
    )  # fmt: skip
    return found


def run(title: str, side: int, classes: int, present: tuple[int, ...], images: int, console: Console) -> None:
    """Time everything on one kind of image and print the table."""
    times: dict[str, list[float]] = {}
    for seed in range(images):
        maps = scene(side, classes, present[seed % len(present)], seed)
        for name, (work, best_of) in works(maps, classes).items():
            times.setdefault(name, []).append(measure(work, best_of))
    ms = with_stack({name: statistics.median(values) for name, values in times.items()})
    table = Table(title=title, title_justify="left")
    for heading in ("what", "peer", "peer ms", "ours ms", "ratio"):
        table.add_column(heading, justify="left" if heading in ("what", "peer") else "right")
    for what, _, ours, peers in COMPARED:
        for peer in peers:
            table.add_row(what, peer, f"{ms[peer]:.3f}", f"{ms[ours]:.3f}", f"{ms[peer] / ms[ours]:.1f}×")
    console.print(table)


def both_label_maps(logits: torch.Tensor) -> tuple[float, float]:
    """Milliseconds of our label map and of argmax, for logits (K, H, W)."""
    from harness.scoring.predict import label_map

    theirs = measure(lambda: logits.argmax(dim=0).to(torch.uint8), 10)
    return measure(lambda: label_map(logits), 10), theirs


def label_maps(console: Console) -> None:
    """Logits to labels: 21×512×512 in float32, one thread."""
    logits = torch.randn(21, 512, 512, generator=torch.Generator().manual_seed(0))
    ours, theirs = both_label_maps(logits)
    console.print(f"label map of 21×512² logits: argmax {theirs:.2f} ms, ours {ours:.2f} ms, {theirs / ours:.1f}×\n")


def end_to_end(data_dir: Path, console: Console) -> None:
    """Score VOC's val as `bench score --as` does, part by part."""
    from harness.datasets import open_dataset
    from harness.datasets.base import read_labels
    from harness.datasets.palette import save_labels
    from harness.results.submission import score_submission
    from harness.scoring.evaluate import new_evaluator
    from harness.scoring.label_files import predictions_of, score_files

    dataset = open_dataset("voc", "official", data_dir, obtain=False)
    ids = dataset.ids("test")
    protocol = Protocol.model_validate(dataset.info.protocol)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "predictions"
        folder.mkdir()
        for image_id in ids:
            labels = np.roll(dataset.read(image_id).mask, 7, axis=1)
            save_labels(folder / f"{image_id}.png", np.where(labels == 255, 0, labels), dataset.info.palette)
        files = predictions_of(folder, ids)
        took: dict[str, float] = {}

        def take(what: str, work: Callable[[], object]) -> None:
            began = time.perf_counter()
            work()
            took[what] = time.perf_counter() - began

        maps: list[tuple[str, np.ndarray, np.ndarray]] = []
        take(
            "decode both PNGs",
            lambda: maps.extend((i, read_labels(files[i]), read_labels(dataset.files(i).mask)) for i in ids),
        )
        evaluator = new_evaluator(dataset.info, protocol)
        take("score", lambda: [evaluator.update(p, t, i) for i, p, t in maps])
        take("fold", lambda: evaluator.compute().to_dict())
        take("serialise the statistics", lambda: evaluator.statistics().to_bytes())
        for threads in (1, os.cpu_count() or 1):
            fresh = new_evaluator(dataset.info, protocol)
            take(
                f"all images, {threads} thread(s)",
                lambda f=fresh, n=threads: score_files(files, dataset.truth, f, n),
            )
        store = str(Path(name) / "results.db")
        take("bench score --as", lambda: score_submission(dataset, "test", folder, protocol, "x", 0, store))
        import sqlite3

        from harness.results import open_store

        open_store(store).close()
        with sqlite3.connect(store) as connection:
            (blob,) = connection.execute("select length(statistics) from evaluations").fetchone()
    shown = Table(title=f"PASCAL VOC, {len(ids)} images of val, one run", title_justify="left")
    shown.add_column("part")
    shown.add_column("s", justify="right")
    shown.add_column("ms an image", justify="right")
    for what, seconds in took.items():
        shown.add_row(what, f"{seconds:.3f}", f"{1000 * seconds / len(ids):.2f}")
    console.print(shown)
    console.print(f"statistics in the database: {blob / 1024:.0f} KiB, {blob / len(ids):.0f} bytes an image")


def main() -> None:
    """Print both tables."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--images", type=int, default=6)
    options.add_argument("--data-dir", type=Path, default=setting("SEGBENCH_DATA"))
    given = options.parse_args()
    images = given.images
    warnings.simplefilter("ignore")
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    console = Console(width=110)
    began = time.perf_counter()
    import harness.metrics.fast  # noqa: F401

    console.print(f"{platform.processor() or platform.machine()}, {platform.platform()}")
    console.print(
        f"loading the kernels (compiling them where they are not cached): {time.perf_counter() - began:.2f} s"
    )
    for kind in KINDS:
        run(*kind, images, console)
    label_maps(console)
    if given.data_dir is not None:
        end_to_end(Path(given.data_dir), console)


if __name__ == "__main__":
    main()
