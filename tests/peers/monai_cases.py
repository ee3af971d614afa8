"""MONAI's tests of its metrics for masks (Apache-2.0): tests/metrics in its repository."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.peers.adapter import by_channel, by_class, by_image, counts, grid, mask_score, one_hot, scores
from tests.peers.case import Case, Peer

IMAGES = {"level": "image", "mean_over": "target"}
MODE = "level=image, mean_over=target"

# Exclusive masks of three classes in two images, here as label maps.
PREDICTION, TARGET = grid("20 11", "12 20"), grid("12 10", "11 20")
# A class that only one map holds.
LONE_PREDICTION, LONE_TARGET = grid("22 22", "22 22"), grid("00 00", "10 01")
# Masks that overlap, (N, C, H, W).
MANY = np.stack([grid("11 10", "01 00", "01 11"), grid("10 11", "01 11", "01 10")])
MANY_TARGET = np.stack([grid("11 11", "00 00", "00 00"), grid("00 01", "11 00", "00 10")])
FULL, NONE = np.ones((2, 2, 3, 3)), np.zeros((2, 2, 3, 3))

THREE_DIMENSIONS = "Volumes: images here have two dimensions."
OTHER_DISTANCES = "Distances here are Euclidean."
COMPONENTS = "No score for each connected component."
SUMS = "Sums over images: scores here are means."
OVERLAP = "The masks overlap; a label map has one class for each pixel. The next case has the same mean."


def monai_of(function: str, prediction: Any, target: Any, **options: Any) -> Any:
    """What a function of the installed package gives for masks (N, C, H, W)."""
    import torch
    from monai import metrics

    p, t = (torch.as_tensor(np.asarray(m)).float() for m in (prediction, target))
    return getattr(metrics, function)(p, t, **({"include_background": True} | options))


def region(
    name: str, function: str, where: str, pairs: tuple[Any, ...], lone: Any, means: Any, mean: float
) -> list[Case]:
    """The cases that MONAI's tests of Dice and IoU share.

    Args:
        name: of the score.
        function: of MONAI.
        where: its file.
        pairs: the figure of one mask, and those of three classes without the background.
        lone: what is stated of classes that one map alone holds.
        means: means over images of overlapping masks.
        mean: the mean over everything.
    """
    first, others = pairs

    def ours(**conventions: Any) -> Any:
        return by_image(name, PREDICTION, TARGET, 3, **conventions)

    def random(images: bool) -> Any:
        rng = np.random.default_rng(0)
        p, t = rng.integers(0, 3, (2, 6, 9, 12))
        t[0][t[0] == 2] = p[1][p[1] == 2] = 0
        if images:
            return scores(p, t, 3, mean_over="target").image_level[f"{'dice' if name == 'dice' else 'miou'}_i"]
        found = monai_of(function, one_hot(p, 3), one_hot(t, 3)).numpy()
        return np.mean([np.nanmean(row) for row in found])

    single = grid("10 01")[None, None], grid("10 11")[None, None]
    return [
        Case(
            f"{where}: TEST_CASE_1", "one mask of 2×2 pixels", first,
            lambda: mask_score(name, single[0][0, 0], single[1][0, 0]),
            peer=lambda: monai_of(function, *single), needs="monai", tolerance=5e-5,
        ),
        Case(
            f"{where}: TEST_CASE_2", "three classes, two images, without the background", others,
            lambda: [row[1:] for row in ours(**IMAGES)], MODE,
            lambda: monai_of(function, one_hot(PREDICTION, 3), one_hot(TARGET, 3), include_background=False),
            "monai", 5e-5,
        ),
        Case(
            f"{where}: TEST_CASE_3", "classes that the truth lacks are undefined, missed ones 0", lone,
            lambda: by_image(name, LONE_PREDICTION, LONE_TARGET, 3, **IMAGES), MODE,
            lambda: monai_of(function, one_hot(LONE_PREDICTION, 3), one_hot(LONE_TARGET, 3)), "monai",
        ),
        Case(
            f"{where}: TEST_CASE_3", "the same under the standard protocol", lone,
            lambda: by_image(name, LONE_PREDICTION, LONE_TARGET, 3),
            instead=[[0, None, 0], [0, 0, 0]],
            why="A class that is predicted and not there scores 0 here, and is undefined there: false alarms vanish.",
        ),
        Case(
            f"{where}: TEST_CASE_4{', 13 to 15' if name == 'dice' else ''}", "overlapping masks, mean over images",
            means,
            lambda: [mask_score(name, MANY[:, c], MANY_TARGET[:, c], **IMAGES) for c in range(3)], MODE,
            lambda: np.nanmean(monai_of(function, MANY, MANY_TARGET), axis=0), "monai", 1e-4,
        ),
        Case(f"{where}: TEST_CASE_5, 7", "overlapping masks, mean over masks, then images", mean, why=OVERLAP),
        Case(
            f"{where}: TEST_CASE_5", "the same mean on random label maps, classes missing", lambda: random(False),
            lambda: random(True), f"{MODE}: `{'dice' if name == 'dice' else 'miou'}_i`", needs="monai", tolerance=1e-6,
        ),
        Case(f"{where}: TEST_CASE_6, 8", "reduction sum_batch", None, why=SUMS),
        Case(
            f"{where}: TEST_CASE_9, 10", "full masks", np.ones((2, 2)), lambda: by_channel(name, FULL, FULL),
            peer=lambda: monai_of(function, FULL, FULL), needs="monai",
        ),
        Case(
            f"{where}: TEST_CASE_11", "empty masks count as right (ignore_empty=False)", np.ones((2, 2)),
            lambda: by_channel(name, NONE, NONE, absent="one"), "absent=one",
            lambda: monai_of(function, NONE, NONE, ignore_empty=False), "monai",
        ),
        Case(
            f"{where}: TEST_CASE_12", "full prediction of nothing (ignore_empty=False)", np.zeros((2, 2)),
            lambda: by_channel(name, FULL, NONE), "",
            lambda: monai_of(function, FULL, NONE, ignore_empty=False), "monai",
        ),
    ]  # fmt: skip


def confusion() -> list[Case]:
    """MONAI's tests of confusion matrices."""
    where = "test_compute_confusion_matrix.py"
    table = [[[0, 1, 2, 1], [1, 1, 1, 1], [0, 1, 2, 1]], [[1, 0, 3, 0], [1, 0, 2, 1], [1, 1, 2, 0]]]
    means = {
        "recall": ("tpr", [0.5, 0.5, 0.5], 0.5),
        "precision": ("ppv", [0.5, 0.75, 0.25], 0.5),
        "dice": ("f1", [0.5, 0.5833, 0.3333], 0.4722),
        "iou": ("ts", [0.5, 0.4167, 0.25], 0.3889),
    }

    def theirs(metric: str) -> Any:
        return np.nanmean(_confusion_metric(metric), axis=0)

    found = [
        Case(
            f"{where}: TEST_CASE_CONFUSION_MATRIX", "TP, FP, TN, FN of three classes in two images", table,
            lambda: counts(PREDICTION, TARGET, 3),
            peer=lambda: monai_of("get_confusion_matrix", one_hot(PREDICTION, 3), one_hot(TARGET, 3)), needs="monai",
        )
    ]  # fmt: skip
    for name, (metric, figures, mean) in means.items():
        found.append(
            Case(
                f"{where}: TEST_CASES_COMPUTE_SAMPLE", f"{metric}, mean over images, and over classes", [*figures,
                mean],
                lambda name=name: [  # type: ignore[misc]
                    *by_class(name, PREDICTION, TARGET, 3, level="image"),
                    scores(PREDICTION, TARGET, 3, level="image").values["miou" if name == "iou" else name],
                ],
                "level=image",
                lambda metric=metric: [*theirs(metric), np.nanmean(_confusion_metric(metric))],  # type: ignore[misc]
                "monai", 1e-4,
            )
        )  # fmt: skip
    rates = "fpr, tnr, npv, fnr, fdr, for, pt, acc, ba, mcc, fm, bm, mk"
    found += [
        Case(f"{where}: TEST_CASES_COMPUTE_SAMPLE", rates, None,
             why="Of these, binary sets alone have the true negative rate (`specificity`)."),
        Case(f"{where}: TEST_CASES_COMPUTE_SAMPLE_NAN", "reductions sum and sum_batch", None, why=SUMS),
        Case(f"{where}: TEST_CASES_CLF", "classification without pixels", None, why="Label maps only."),
        Case(
            f"{where}: TEST_CASE_PRECISION", "46,137,344 pixels are counted exactly (44 images of 1024×1024)",
            46137344, _many_pixels,
        ),
    ]  # fmt: skip
    return found


def _confusion_metric(metric: str) -> Any:
    from monai.metrics import compute_confusion_matrix_metric

    matrix = monai_of("get_confusion_matrix", one_hot(PREDICTION, 3), one_hot(TARGET, 3))
    return compute_confusion_matrix_metric(metric, matrix).numpy()


def _many_pixels() -> int:
    from harness.metrics import Evaluator

    evaluator, image = Evaluator(2), np.zeros((1024, 1024), dtype=np.uint8)
    for _ in range(44):
        evaluator.update(image, image)
    return int(evaluator.statistics().confusion[:, 3].sum())


def halves() -> tuple[np.ndarray, np.ndarray]:
    """Two images of 480×640; in the first the right part is class 1, ten pixels farther to the right in the truth."""
    prediction, target = np.zeros((2, 2, 480, 640), dtype=np.int64)
    prediction[0, :, 50:] = 1
    target[0, :, 60:] = 1
    return prediction, target


def bars() -> tuple[np.ndarray, np.ndarray]:
    """Two bars of three pixels in an image of 10×10."""
    prediction, target = np.zeros((2, 10, 10), dtype=np.int64)
    prediction[1:4, 1] = 1
    target[5:8, 6] = 1
    return prediction, target


def apart() -> tuple[np.ndarray, np.ndarray]:
    """A square that is predicted as class 1 and is class 2."""
    prediction, target = np.zeros((2, 80, 80), dtype=np.int64)
    prediction[10:20, 10:20] = 1
    target[10:20, 10:20] = 2
    return prediction, target


def surface_dice() -> list[Case]:
    """MONAI's tests of the normalised surface distance."""
    where = "test_surface_dice.py"
    moved = 478 + 480 + 9 * 2
    at_zero = [[1 - moved / (480 * 4 + 48 * 2 + 58 * 2), 1 - moved / (480 * 4 + 588 * 2 + 578 * 2)], [1, None]]
    edges = 36 * 2 + 8 + 4

    def nsd(maps: tuple[np.ndarray, np.ndarray], tolerance: float, classes: int = 2, **more: Any) -> Any:
        return by_image("nsd", *maps, classes, nsd_tolerance=tolerance, **more)

    def theirs(maps: tuple[np.ndarray, np.ndarray], limits: list[float], **options: Any) -> Any:
        p, t = (one_hot(m if m.ndim == 3 else m[None], len(limits)) for m in maps)
        return monai_of("compute_surface_dice", p, t, class_thresholds=limits, **options)

    found = []
    for spacing, sure in (((1.0, 1.0), 10.0), ((0.85, 1.2), 12.0)):
        test = "test_tolerance_euclidean_distance" + ("_with_spacing" if spacing != (1.0, 1.0) else "")
        said = f"spacing={spacing[0]:g},{spacing[1]:g}, " if spacing != (1.0, 1.0) else ""
        found += [
            Case(
                f"{where}: {test}", "an edge ten pixels off, tolerance 0", at_zero,
                lambda spacing=spacing: nsd(halves(), 0, spacing=spacing), f"{said}nsd_tolerance=0",  # type: ignore[misc]
                lambda spacing=spacing: theirs(halves(), [0, 0], spacing=spacing),  # type: ignore[misc]
                "monai", 1e-6,
            ),
            Case(
                f"{where}: {test}", f"the same, tolerance {sure:g}: all within", [[1, 1], [1, None]],
                lambda spacing=spacing, sure=sure: nsd(halves(), sure, spacing=spacing),  # type: ignore[misc]
                f"{said}nsd_tolerance={sure:g}",
                lambda spacing=spacing, sure=sure: theirs(  # type: ignore[misc]
                    halves(), [sure, sure], spacing=spacing
                ),
                "monai", 1e-6,
            ),
        ]  # fmt: skip
    by_hand = at_zero[0]
    found += [
        Case(
            f"{where}: test_tolerance_euclidean_distance", "aggregated: mean over classes, then images",
            (np.mean(by_hand) + 1) / 2,
            lambda: scores(*halves(), nsd_tolerance=0, background=None).values["nsd"],
            "nsd_tolerance=0, background=null",
            instead=((by_hand[0] + 1) / 2 + by_hand[1]) / 2,
            why="Here a class averages over its images first, then classes are averaged: each class counts alike.",
        ),
        *[
            Case(
                f"{where}: test_tolerance_all_distances", f"two bars, Euclidean, tolerances {low:g} and {high:g}",
                figures,
                lambda low=low, high=high: [  # type: ignore[misc]
                    by_class("nsd", *bars(), nsd_tolerance=limit)[c] for c, limit in enumerate((low, high))
                ],
                f"nsd_tolerance={low:g}" + (f" and {high:g}" if high != low else ""),
                lambda low=low, high=high: theirs(bars(), [low, high]),  # type: ignore[misc]
                "monai", 1e-6,
            )
            for low, high, figures in (
                (0, 0, [1 - 12 / edges, 0]),
                (2.8, 5.5, [1 - 3 / edges, 1 - 4 / 6]),
                (3, 6, [1 - 1 / edges, 1 - 2 / 6]),
            )
        ],
        Case(f"{where}: test_tolerance_all_distances", "chessboard and taxicab distance", None, why=OTHER_DISTANCES),
        Case(
            f"{where}: test_not_predicted_not_present", "background, a missed class, a class that is nowhere",
            [1, 0, None], lambda: [by_class("nsd", *apart(), 4, nsd_tolerance=1)[c] for c in (0, 2, 3)],
            "nsd_tolerance=1", lambda: theirs(apart(), [1, 1, 1, 1])[0, [0, 2, 3]], "monai",
        ),
        Case(
            f"{where}: test_not_predicted_not_present", "a class that is predicted and not there", 0,
            lambda: by_class("nsd", *apart(), 4, nsd_tolerance=1)[1], "nsd_tolerance=1",
            lambda: theirs(apart(), [1, 1, 1, 1])[0, 1], "monai",
        ),
        Case(
            f"{where}: test_not_predicted_not_present", "aggregated over the classes", 1 / 3,
            lambda: scores(*apart(), 4, nsd_tolerance=1, background=None).values["nsd"],
            "nsd_tolerance=1, background=null",
        ),
        Case(
            f"{where}: test_not_predicted_not_present", "empty masks: undefined", [[None] * 3] * 2,
            lambda: by_channel("nsd", np.zeros((2, 3, 1, 1)), np.zeros((2, 3, 1, 1))),
            peer=lambda: monai_of("compute_surface_dice", *[np.zeros((2, 3, 1, 1))] * 2, class_thresholds=[1, 1, 1]),
            needs="monai",
        ),
        Case(
            f"{where}: test_not_predicted_not_present", "empty masks, aggregated", 0,
            lambda: scores(np.zeros((2, 1, 1)), np.zeros((2, 1, 1)), 3).values["nsd"], instead=None,
            why="A mean of nothing is undefined here.",
        ),
        Case(f"{where}: test_tolerance_euclidean_distance_3d", "volumes", None, why=THREE_DIMENSIONS),
        Case(f"{where}: test_compute_surface_dice_subvoxel", "volumes, subvoxels", None,
             why=f"{THREE_DIMENSIONS} Subvoxels in two dimensions are `boundary=deepmind`: see surface-distance."),
    ]  # fmt: skip
    return found


def disk(radius: float, centre: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """The middle plane of the spheres in MONAI's tests: a disk in an image of 99×99 pixels."""
    y, x = np.ogrid[:99, :99]
    return ((y * spacing[0] - centre[0]) ** 2 + (x * spacing[1] - centre[1]) ** 2 <= radius**2).astype(np.int64)


# Prediction, truth, spacing: the spheres of MONAI's tests that lie in two dimensions, too.
SPACING = (0.85, 1.2)
DISKS = {
    "the same disk": ((20, (49, 49)), (20, (49, 49)), (1.0, 1.0)),
    "a disk moved by a pixel": ((20, (20, 20)), (20, (19, 19)), (1.0, 1.0)),
    "a large disk moved by a pixel": ((33, (19, 33)), (33, (20, 33)), (1.0, 1.0)),
    "a disk in one of twice the radius": ((20, (20, 33)), (40, (20, 33)), (1.0, 1.0)),
    "a moved disk with spacing": ((20, (20, 20)), (20, (19, 19)), SPACING),
    "a disk in a larger one with spacing": ((15, (20, 33)), (30, (20, 33)), SPACING),
}


def distances(name: str, function: str, where: str, **options: Any) -> list[Case]:
    """MONAI's tests of a distance between boundaries, in two dimensions."""
    found = []
    for what, (one, two, spacing) in DISKS.items():
        p, t = (disk(radius, centre, spacing) for radius, centre in (one, two))
        found.append(
            Case(
                f"{where}: TEST_CASES", f"{what}, in two dimensions",
                lambda p=p, t=t, spacing=spacing: monai_of(  # type: ignore[misc]
                    function, p[None, None], t[None, None], spacing=list(spacing), **options
                ),
                lambda p=p, t=t, spacing=spacing: mask_score(name, p, t, spacing=spacing),  # type: ignore[misc]
                f"spacing={spacing[0]:g},{spacing[1]:g}" if spacing != (1.0, 1.0) else "",
                needs="monai", tolerance=1e-4,
            )
        )  # fmt: skip
    some, none = disk(40, (20, 33)), np.zeros((99, 99), dtype=np.int64)

    def theirs(p: np.ndarray, t: np.ndarray) -> Any:
        return monai_of(function, p[None, None], t[None, None], **options)

    found += [
        Case(
            f"{where}: TEST_CASES", "nothing predicted: infinite", np.inf, lambda: mask_score(name, none, some), "",
            lambda: theirs(none, some), "monai", instead=np.hypot(99, 99),
            why="A missed class costs the image's diagonal, so that means stay finite.",
        ),
        Case(
            f"{where}: TEST_CASES", "nothing there, something predicted: infinite", np.inf,
            lambda: mask_score(name, some, none), "", lambda: theirs(some, none), "monai", instead=np.hypot(99, 99),
            why="A false alarm costs the image's diagonal, so that means stay finite.",
        ),
        Case(
            f"{where}: TEST_CASES_NANS", "both empty: undefined", None, lambda: mask_score(name, none, none), "",
            lambda: theirs(none, none), "monai",
        ),
        Case(
            f"{where}: TEST_CASES_NANS", "both empty, aggregated", 0, lambda: scores(none, none).values[name],
            instead=None, why="A mean of nothing is undefined here; there it is 0, the best distance.",
        ),
    ]  # fmt: skip
    return found


def hausdorff() -> list[Case]:
    """MONAI's tests of distances."""
    where = "test_hausdorff_distance.py"
    p, t = disk(20, (20, 33)), disk(40, (20, 33))
    return [
        *distances("hd", "compute_hausdorff_distance", where),
        Case(
            f"{where}: TEST_CASES", "95th percentile of a disk in one of twice the radius",
            lambda: monai_of("compute_hausdorff_distance", p[None, None], t[None, None], percentile=95),
            lambda: mask_score("hd95", p, t), needs="monai", tolerance=1e-4,
        ),
        Case(f"{where}: TEST_CASES", "spheres: the stated figures", None, why=THREE_DIMENSIONS),
        Case(f"{where}: TEST_CASES", "chessboard and taxicab distance", None, why=OTHER_DISTANCES),
        Case(f"{where}: TEST_CASES", "directed distance", None, why="Distances here are symmetric."),
        Case(f"{where}: TEST_CASES_CC_METRICS", "per_component=True", None, why=COMPONENTS),
        *distances("assd", "compute_average_surface_distance", "test_surface_distance.py", symmetric=True),
        Case("test_surface_distance.py: TEST_CASES", "spheres: the stated figures", None, why=THREE_DIMENSIONS),
        Case("test_surface_distance.py: TEST_CASES", "chessboard and taxicab distance", None, why=OTHER_DISTANCES),
        Case("test_surface_distance.py: TEST_CASES", "one direction (symmetric=False)", None,
             why="Distances here are symmetric; `masd` is the mean of both directions."),
        Case("test_surface_distance.py: TEST_CASES_CC_METRICS", "per_component=True", None, why=COMPONENTS),
    ]  # fmt: skip


def monai() -> Peer:
    """All of them."""
    dice, iou = [[0.5, 0.0], [0.6667, 0.6667]], [[0.3333, 0.0], [0.5, 0.5]]
    lone = [[0, None, None], [0, 0, None]]
    cases = [
        *region("dice", "compute_dice", "test_compute_meandice.py", (0.8, dice), lone, [0.6786, 0.4, 0.6667], 0.689683),
        Case("test_compute_meandice.py: TEST_CASE_16", "per_component=True", None, why=COMPONENTS),
        *region("iou", "compute_iou", "test_compute_meaniou.py", (0.6667, iou), lone, [0.5416, 0.25, 0.5], 0.5555),
        *confusion(),
        *surface_dice(),
        *hausdorff(),
    ]
    about = (
        "`tests/metrics` of MONAI (Apache-2.0). Its scores are of one image; `level=image` averages them as it "
        "does, and "
        "`mean_over=target` leaves out classes that the truth lacks."
    )
    return Peer("MONAI", about, tuple(cases))
