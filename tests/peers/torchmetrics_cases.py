"""torchmetrics' tests of its segmentation metrics (Apache-2.0): tests/unittests/segmentation in its repository."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.peers.adapter import by_channel, by_class, by_image, grid, mask_score, one_hot, or_refused, scores
from tests.peers.case import Case, Peer

THREE_DIMENSIONS = "Volumes: images here have two dimensions."
UNRELEASED = "in the repository, and in no release yet"

# Three classes of 16×16 pixels that may overlap, and label maps, as its inputs are drawn.
RANDOM = np.random.default_rng(42)
MASKS = RANDOM.integers(0, 2, (2, 4, 3, 16, 16))
MAPS = RANDOM.integers(0, 3, (2, 4, 32, 32))
FIVE = RANDOM.integers(0, 5, (2, 8, 16, 16))


def ask(function: str, prediction: Any, target: Any, classes: int, **options: Any) -> Any:
    """What a function of the installed package gives."""
    import torch

    from harness.utils.vision import import_torchvision

    import_torchvision()
    from torchmetrics.functional import segmentation

    p, t = (torch.as_tensor(np.asarray(m)) for m in (prediction, target))
    return getattr(segmentation, function)(p, t, num_classes=classes, **options)


def missing() -> tuple[np.ndarray, np.ndarray]:
    """Three images, four classes: of the target's 1 and 3 parts are found; class 3 is predicted where nothing is."""
    prediction, target = np.zeros((2, 3, 10, 10), dtype=np.int64)
    target[0, :6, :6], prediction[0, :3, :3] = 1, 1
    target[0, 6:, 6:], prediction[0, 8:, 8:] = 3, 3
    prediction[1, :2, :2] = 3
    return prediction, target


def dice() -> list[Case]:
    """Its tests of Dice."""
    where = "test_dice.py"

    def theirs(**options: Any) -> Any:
        p, t = (one_hot(m, 4) for m in missing())
        p[:, 0] = t[:, 0] = 0  # in its case, pixels of no other class belong to none
        return ask("dice_score", p, t, 4, average="none", **options)

    test = f"{where}: test_samples_with_missing_classes"
    return [
        Case(
            test, "classes 1, 2 (nowhere) and 3, over all images", [0.4, None, 0.3333],
            lambda: by_class("dice", *missing(), 4)[1:],
            peer=lambda: theirs(aggregation_level="global")[0, 1:], needs="torchmetrics", tolerance=1e-4,
        ),
        Case(
            test, "the same, means over images", [0.4, None, 0.2],
            lambda: by_class("dice", *missing(), 4, level="image")[1:], "level=image",
            lambda: np.nanmean(theirs(aggregation_level="samplewise")[:2], axis=0)[1:], "torchmetrics", 1e-4,
        ),
        Case(
            test, "macro over all images", 0.3667, lambda: scores(*missing(), 4).values["dice"],
            instead=(2 * 244 / (248 + 283) + 0.4 + 1 / 3) / 3, tolerance=1e-4,
            why="There no pixel is background. In a label map the rest is class 0, whose Dice counts in the mean.",
        ),
        Case(test, "micro and weighted averages", None, why="`pa` and `fwiou` are the averages over pixels here."),
        Case(
            f"{where}: test_corner_case_zero_denominator", "masks without a pixel: undefined", [[None] * 3] * 4,
            lambda: by_channel("dice", *[np.zeros((4, 3, 128, 128))] * 2),
            peer=lambda: np.full((4, 3), np.nan) + 0 * ask(
                "dice_score", *[np.zeros((4, 3, 128, 128), dtype=np.int8)] * 2, 3, average="none",
            ).numpy(),
            needs="torchmetrics",
        ),
        Case(
            f"{where}: TestDiceScore", "random label maps of five classes, over all images",
            lambda: ask("dice_score", *FIVE, 5, average="none", input_format="index", aggregation_level="global"),
            lambda: by_class("dice", *FIVE, 5), needs="torchmetrics", tolerance=1e-6,
        ),
        Case(
            f"{where}: TestDiceScore", "macro of the same",
            lambda: ask("dice_score", *FIVE, 5, average="macro", input_format="index", aggregation_level="global"),
            lambda: scores(*FIVE, 5).values["dice"], needs="torchmetrics", tolerance=1e-6,
        ),
        Case(
            f"{where}: TestDiceScore", "each image by itself",
            lambda: ask("dice_score", *FIVE, 5, average="none", input_format="index", aggregation_level="samplewise"),
            lambda: by_image("dice", *FIVE, 5), needs="torchmetrics", tolerance=1e-6,
        ),
        Case("test_generalized_dice_score.py", "generalised Dice", None, why="Not among the metrics here."),
    ]  # fmt: skip


def iou() -> list[Case]:
    """Its tests of mean IoU."""
    where = "test_mean_iou.py: TestMeanIoU"
    two = grid("0111", "0001"), grid("0011", "0000")  # the second image lacks class 1
    two = tuple(m.reshape(2, 1, 4) for m in two)  # type: ignore[assignment]

    def each(prediction: Any, target: Any, classes: int) -> Any:
        return ask("mean_iou", prediction, target, classes, input_format="index", per_class=True)

    return [
        Case(
            where, "random label maps of five classes, each image by itself", lambda: each(*FIVE, 5),
            lambda: by_image("iou", *FIVE, 5), needs="torchmetrics", tolerance=1e-6,
        ),
        Case(
            where, "the mean of all images and classes", lambda: each(*FIVE, 5).mean(),
            lambda: scores(*FIVE, 5).image_level["miou_c"], "`miou_c`", needs="torchmetrics", tolerance=1e-6,
        ),
        Case(
            where, "two images, one without class 1: the mean", (1 / 2 + 2 / 3 + 3 / 4 + 0) / 4,
            lambda: scores(*two).image_level["miou_i"], "`miou_i`", lambda: each(*two, 2).mean(), "torchmetrics", 1e-6,
        ),
        Case(
            where, "the same against the mIoU of the data set", (1 / 2 + 2 / 3 + 3 / 4 + 0) / 4,
            lambda: scores(*two).values["miou"], "", lambda: each(*two, 2).mean(), "torchmetrics", 1e-6,
            instead=(4 / 6 + 2 / 4) / 2,
            why="Its MeanIoU averages the scores of images; `miou` is of one confusion matrix, as PASCAL VOC's is.",
        ),
        Case(
            where, "void (255) in the target", "refused", lambda: scores([[0, 1]], [[0, 255]]).values["miou"], "",
            lambda: or_refused(lambda: each([[[0, 1]]], [[[0, 255]]], 2)), "torchmetrics", instead=1.0,
            why="Its MeanIoU knows no ignored label; void is left out here.",
        ),
    ]  # fmt: skip


def distance() -> list[Case]:
    """Its tests of the Hausdorff distance."""
    where = "test_hausdorff_distance.py: TestHausdorffDistance"

    def theirs(maps: Any, form: str, spacing: Any) -> Any:
        return ask("hausdorff_distance", *maps, 3, include_background=True, input_format=form, spacing=spacing)

    found = []
    for spacing in (None, [2, 2]):
        mode = {} if spacing is None else {"spacing": (2.0, 2.0)}
        said = "" if spacing is None else "spacing=2,2"
        found += [
            Case(
                where, "random overlapping masks of 16×16",
                lambda spacing=spacing: theirs(MASKS, "one-hot", spacing),  # type: ignore[misc]
                lambda mode=mode: by_channel("hd", *MASKS, **mode),  # type: ignore[misc]
                said, needs="torchmetrics", tolerance=1e-5,
            ),
            Case(
                where, "random label maps of 32×32",
                lambda spacing=spacing: theirs(MAPS, "index", spacing),  # type: ignore[misc]
                lambda mode=mode: by_image("hd", *MAPS, 3, **mode),  # type: ignore[misc]
                said, needs="torchmetrics", tolerance=1e-5,
            ),
        ]  # fmt: skip
    wide, moved = np.zeros((2, 10, 30), dtype=np.int64)
    wide[2:5, 2:5] = 1
    moved[2:5, 22:25] = 1
    return [
        *found,
        Case(where, "chessboard and taxicab distance, directed distance", None,
             why="Distances here are Euclidean and symmetric."),
        Case(
            "issue #3300", "images that are not square: 10×30, a square moved by 20 pixels",
            22.8035, lambda: mask_score("hd", wide, moved), "",
            lambda: ask(
                "hausdorff_distance", wide[None], moved[None], 2, include_background=False, input_format="index",
            ),
            "torchmetrics", 1e-4, instead=20.0,
            why="A fault of the peer where height and width differ; its own tests have square images alone.",
        ),
    ]  # fmt: skip


# Hand-drawn masks of its tests, which it has from SciPy's.
DRAWN = (
    grid("00000000 01000000 00000111 00111111 00111100 01111110 01100110 00000000"),
    grid("0000000 0001000 0011100 0111110 0011100 0001000 0000000"),
    grid("0001000 0011100 0111110 1111111 0111110 0011100 0001000"),
    grid("00111 11110 00101 01110 01111"),
    np.ones((3, 1), dtype=np.int64),
    np.ones((5, 1), dtype=np.int64),
    np.ones((3, 3), dtype=np.int64),
)


def edges() -> list[Case]:
    """Its tests of edges and of the distances between them."""
    from harness.metrics.surface import inner_edge, surface_distances

    def eroded() -> Any:
        import torch

        from harness.utils.vision import import_torchvision

        import_torchvision()
        from torchmetrics.functional.segmentation.utils import binary_erosion

        masks = [torch.as_tensor(m)[None, None] for m in DRAWN]
        return [(m - binary_erosion(m, border_value=0)).reshape(-1) for m in masks]

    ring = grid("11111 10001 10001 10001 11111") == 1
    open_ring = grid("11110 10010 10010 10010 11110") == 1

    def measured() -> Any:
        import torch

        from harness.utils.vision import import_torchvision

        import_torchvision()
        from torchmetrics.functional.segmentation.utils import surface_distance

        found = surface_distance(torch.as_tensor(ring), torch.as_tensor(open_ring), spacing=[1, 1])
        return np.sort(found.numpy())

    def ours() -> Any:
        found = surface_distances(ring, open_ring, (1.0, 1.0))
        return None if found is None else np.sort(found.to_target)

    return [
        Case(
            "test_utils.py: test_binary_erosion", "the edges of seven drawn masks, the image's border outside", eroded,
            lambda: [inner_edge(m == 1).astype(np.int64) for m in DRAWN], needs="torchmetrics",
        ),
        Case(
            "test_utils.py: test_surface_distance", "a ring and the same with one side moved: all distances", measured,
            ours, needs="torchmetrics", tolerance=1e-6,
        ),
    ]  # fmt: skip


def block(side: int, top: int, left: int) -> np.ndarray:
    """A square of 4×4 pixels in an image."""
    mask = np.zeros((side, side), dtype=np.int64)
    mask[top : top + 4, left : left + 4] = 1
    return mask


def boundary_f() -> list[Case]:
    """Its tests of the boundary F-score."""
    where = "test_boundary_f_score.py"
    near = 1 / np.hypot(10, 10)
    corner, other = np.zeros((2, 8, 8), dtype=np.int64)
    corner[:3, :3] = other[5:, 5:] = 1
    none, full = np.zeros((8, 8), dtype=np.int64), np.ones((8, 8), dtype=np.int64)
    rng = np.random.default_rng(42)
    noise = rng.integers(0, 2, (2, 16, 16))
    square, cross = np.ones((3, 3), dtype=bool), grid("010 111 010") == 1
    return [
        Case(f"{where}: perfect_match", "the same square", 1, lambda: mask_score("bf", block(8, 2, 2), block(8, 2, 2))),
        Case(f"{where}: mismatch", "squares in two corners", 0, lambda: mask_score("bf", corner, other)),
        Case(
            f"{where}: respects_tolerance", "a square moved by a pixel, width 1", 1,
            lambda: mask_score("bf", block(10, 2, 2), block(10, 2, 3), bf_tolerance=near), "bf_tolerance = 1 px",
        ),
        Case(f"{where}: empty_boundary_cases", "both empty: undefined", None, lambda: mask_score("bf", none, none)),
        Case(f"{where}: empty_boundary_cases", "nothing predicted", 0, lambda: mask_score("bf", none, full)),
        Case(
            f"{where}: empty_boundary_cases", "all predicted, nothing there", 0, lambda: mask_score("bf", full, none),
        ),
        Case(
            f"{where}: TestBoundaryFScore", "random masks of 16×16, width 1", lambda: window_f(*noise, square),
            lambda: mask_score("bf", *noise, bf_tolerance=1 / np.hypot(16, 16)), "bf_tolerance = 1 px",
            instead=window_f(*noise, cross),
            why="Its tolerance is a square of 3×3 pixels, ours a distance: a diagonal neighbour is √2 away.",
        ),
        Case(
            f"{where}: TestBoundaryFScore", "the same, width √2", lambda: window_f(*noise, square),
            lambda: mask_score("bf", *noise, bf_tolerance=1.5 / np.hypot(16, 16)), "bf_tolerance = 1.5 px",
        ),
        Case(f"{where}: supports_3d_inputs", "volumes", None, why=THREE_DIMENSIONS),
    ]  # fmt: skip


def window_f(prediction: np.ndarray, target: np.ndarray, window: np.ndarray) -> float:
    """The boundary F-score by its tests' definition: inner edges, matched within a window."""
    from scipy import ndimage

    a, b = ((m == 1) & ~ndimage.binary_erosion(m == 1) for m in (prediction, target))
    near_a, near_b = (ndimage.binary_dilation(m, window) for m in (a, b))
    precision, recall = (a & near_b).sum() / a.sum(), (b & near_a).sum() / b.sum()
    return float(2 * precision * recall / (precision + recall))


def surface_dice() -> list[Case]:
    """Its tests of the surface Dice score, which measures along contours as surface-distance does."""
    where = "test_surface_dice_score.py"
    here, moved, none = block(8, 2, 2), block(8, 2, 3), np.zeros((8, 8), dtype=np.int64)
    contour = {"boundary": "deepmind"}

    def nsd(prediction: Any, target: Any, tolerance: float, **more: Any) -> Any:
        return mask_score("nsd", prediction, target, nsd_tolerance=tolerance, **contour, **more)

    def monais(spacing: list[float]) -> Any:
        import torch
        from monai.metrics import compute_surface_dice

        p, t = (torch.as_tensor(one_hot(m, 3)).float() for m in MAPS)
        return compute_surface_dice(
            p, t, class_thresholds=[1.0, 1.5, 2.0], include_background=True, spacing=spacing, use_subvoxels=True
        )

    def ours(spacing: list[float]) -> Any:
        found = [
            by_image("nsd", *MAPS, 3, nsd_tolerance=limit, spacing=tuple(spacing), **contour)
            for limit in (1.0, 1.5, 2.0)
        ]
        return [[found[c][n][c] for c in range(3)] for n in range(len(found[0]))]

    mode = "boundary=deepmind"
    return [
        Case(f"{where}: perfect_match", "the same square", 1, lambda: nsd(here, here, 1), mode),
        Case(f"{where}: tolerance_sensitivity", "a square moved by a pixel, tolerance 1", 1,
             lambda: nsd(here, moved, 1), mode),
        Case(f"{where}: empty_and_one_sided_cases", "a class that is nowhere: undefined", None,
             lambda: nsd(none, none, 1), mode),
        Case(f"{where}: empty_and_one_sided_cases", "a class that is predicted and not there", 0,
             lambda: nsd(here, none, 1), mode),
        *[
            Case(
                f"{where}: TestSurfaceDiceScore", f"random label maps, spacing {spacing[0]:g}, {spacing[1]:g}, "
                "against MONAI's subvoxels, its reference",
                lambda spacing=spacing: monais(spacing),  # type: ignore[misc]
                lambda spacing=spacing: ours(spacing),  # type: ignore[misc]
                mode, needs="monai", tolerance=1e-5,
            )
            for spacing in ([1.0, 1.0], [1.5, 0.5])
        ],
        Case(f"{where}: functional_3d_reference", "volumes", None, why=THREE_DIMENSIONS),
    ]  # fmt: skip


def torchmetrics() -> Peer:
    """All of them."""
    about = (
        "`tests/unittests/segmentation` of torchmetrics (Apache-2.0). Most of its tests compare random input with "
        "MONAI or "
        f"scikit-learn; here the installed torchmetrics is asked. The boundary F-score and surface Dice are "
        f"{UNRELEASED}."
    )
    return Peer("torchmetrics", about, (*dice(), *iou(), *distance(), *edges(), *boundary_f(), *surface_dice()))
