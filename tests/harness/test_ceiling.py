"""Ceilings: perfect at the input size, against hand computations and an independent NumPy one, on real data too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from harness.config.job import DatasetChoice, Job, ModelChoice, Resources, Selection
from harness.config.recipe import Predict, Recipe
from harness.datasets import open_dataset
from harness.datasets.base import Dataset, DatasetInfo, SampleFiles
from harness.datasets.palette import save_labels
from harness.metrics import Evaluator, Protocol
from harness.scoring import ceiling as module
from harness.scoring.ceiling import ceiling, ceiling_key, input_text, perfect_labels, takes_seconds
from tests.conftest import REAL_DATA, Bench, real, rows, run_bench

Labels = NDArray[np.uint8]
VOID = 255


class Drawn(Dataset):
    """A binary data set whose truths are given."""

    info: ClassVar[DatasetInfo] = DatasetInfo(
        "drawn", "Drawn", ("ground", "line"), ((0, 0, 0), (255, 0, 0)), {"all": ""}, foreground=1
    )
    folders, marker = (), ""

    def __init__(self, *masks: list[list[int]] | Labels) -> None:
        self.masks = {str(i): np.array(mask, dtype=np.uint8) for i, mask in enumerate(masks)}
        self.reads = 0
        super().__init__(Path("nowhere"))

    def read_splits(self) -> dict[str, list[str]]:
        return {"train": [], "val": [], "test": list(self.masks)}

    def files(self, image_id: str) -> SampleFiles:
        raise NotImplementedError

    def truth(self, image_id: str) -> tuple[Labels, None]:
        self.reads += 1
        return self.masks[image_id], None


def job(size: tuple[int, int], predict: dict[str, Any], protocol: dict[str, Any] | None = None, **facts: Any) -> Job:
    return Job(
        suite="s",
        dataset=DatasetChoice(name="drawn"),
        model=ModelChoice(name="unet"),
        recipe=Recipe.model_validate({"epochs": 1, "size": size, "predict": predict}),
        seed=0,
        selection=Selection(),
        protocol=Protocol.model_validate(protocol or {}),
        resources=Resources(),
        grid={},
        **facts,
    )


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "caches"))
    return tmp_path / "caches" / "ceilings.json"


def stripe(column: int, side: int = 16) -> Labels:
    mask = np.zeros((side, side), dtype=np.uint8)
    mask[:, column] = 1
    return mask


# -- by hand ---------------------------------------------------------------------------------------------------------


def test_thin_lines_at_half_size_by_hand() -> None:
    """Pixel i of the half has its centre at 2i+1: a line in an even column is lost, one in an odd column is seen.

    Resized back it weighs .75 in its own column and in the one before, .25 in the next two: two columns are
    predicted, of which one is right. Both lines together: 16 of 32 + 16 pixels.
    """
    how: dict[str, Any] = {"mode": "resize"}
    assert np.flatnonzero(perfect_labels(stripe(7), VOID, (8, 8), Predict(**how))[3]).tolist() == [6, 7]
    assert not perfect_labels(stripe(6), VOID, (8, 8), Predict(**how)).any()
    found = ceiling(job((8, 8), how), Drawn(stripe(7), stripe(6)), "m")
    # A line is within the band along its own boundary: Boundary IoU is the IoU.
    assert found == {"input": "8×8 (resize)", "scores": {"iou[line]": 16 / 48, "biou": 16 / 48}}


def test_a_line_that_is_met_at_every_third_pixel_is_worth_what_a_hand_computes() -> None:
    """A third of 24 is 8; pixel i has its centre at 3i+1. Back, it weighs 1, 2/3 and 1/3 at distances 0, 1 and 2."""
    found = ceiling(job((8, 8), {"mode": "resize"}), Drawn(stripe(10, 24)), "m")
    assert found["scores"]["iou[line]"] == 1 / 3
    assert ceiling(job((8, 8), {"mode": "resize"}), Drawn(stripe(11, 24)), "n")["scores"]["iou[line]"] == 0


def test_labels_scored_at_the_input_size_have_no_ceiling_at_odd_factors() -> None:
    """The protocol's own resizing takes the middle pixel of three, where the prediction is right."""
    noise = np.random.default_rng(0).integers(0, 2, (24, 36), dtype=np.uint8)
    at_size = job((8, 12), {"mode": "resize"}, {"size": (8, 12)})
    assert ceiling(at_size, Drawn(noise), "m")["scores"] == {"iou[line]": 1.0, "biou": 1.0}
    assert ceiling(job((8, 12), {"mode": "resize"}), Drawn(noise), "m")["scores"]["iou[line]"] < 0.6


@pytest.mark.parametrize("how", [{"mode": "whole"}, {"mode": "slide", "overlap": 0.5}, {"mode": "slide", "flip": True}])
@pytest.mark.parametrize("void", ["fill", "mask"])
def test_nothing_is_lost_at_the_images_own_size(how: dict[str, Any], void: str) -> None:
    mask = np.random.default_rng(1).integers(0, 3, (21, 30), dtype=np.uint8)
    mask[mask == 2] = VOID
    mask[5:16, 5:25] = VOID
    evaluator = Evaluator(2, VOID, Protocol(void=void, fill_radius=3), foreground=1)  # type: ignore[arg-type]
    evaluator.update(perfect_labels(mask, VOID, (16, 16), Predict.model_validate(how)), mask)
    scores = evaluator.compute()
    assert (scores.values["miou"], scores.values["biou"]) == (1.0, 1.0)
    drawn = Drawn(mask)
    assert ceiling(job((16, 16), how), drawn, "m")["scores"] == {"iou[line]": 1.0, "biou": 1.0}
    assert drawn.reads == 0, "that needs no computation"


def test_absent_classes_that_count_zero_are_in_the_way_of_1() -> None:
    found = ceiling(job((16, 16), {"mode": "whole"}, {"absent": "zero"}), Drawn(np.zeros((9, 9), np.uint8)), "m")
    assert found["scores"]["iou[line]"] == 0


# -- void and padding ------------------------------------------------------------------------------------------------


def test_void_takes_nothing_from_scored_pixels() -> None:
    """A border of void between two classes, wider than a pixel of the input: all that is scored is right."""
    mask = np.zeros((24, 24), dtype=np.uint8)
    mask[:, 9:14] = VOID
    mask[:, 14:] = 1
    for size in ((8, 8), (6, 6), (5, 7)):
        predicted = perfect_labels(mask, VOID, size, Predict(mode="resize"))
        assert (predicted == mask)[mask != VOID].all(), size
    assert (perfect_labels(np.full((9, 9), VOID, np.uint8), VOID, (8, 8), Predict()) == 0).all()


def test_black_padding_takes_nothing_from_the_images_border() -> None:
    """10×16 in a square of 16 at a quarter: the last row is nearer to a pixel of the padding than to its own."""
    mask = np.zeros((10, 16), dtype=np.uint8)
    mask[5:] = 1
    for how in ({"mode": "letterbox"}, {"mode": "letterbox", "flip": True, "scales": (1.0, 2.0)}):
        predicted = perfect_labels(mask, VOID, (4, 4), Predict.model_validate(how))
        assert (predicted[-1] == 1).all()
        assert (predicted[0] == 0).all()


# -- an independent computation --------------------------------------------------------------------------------------


def centres(old: int, new: int) -> NDArray[np.float64]:
    """Where the centres of `new` pixels lie among `old` ones, counted from the centre of the first."""
    return (np.arange(new) + 0.5) * old / new - 0.5


def nearest(mask: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    rows_, columns = (np.floor(centres(o, n) + 0.5).astype(int) for o, n in zip(mask.shape, size, strict=True))
    return mask[np.ix_(rows_, columns)]


def bilinear(maps: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Maps (K, h, w) at another size: weights by the distance between centres, borders repeated."""
    for axis, (old, new) in enumerate(zip(maps.shape[1:], size, strict=True), start=1):
        place = centres(old, new).clip(0, old - 1)
        low = np.minimum(place.astype(int), old - 1)
        high, share = np.minimum(low + 1, old - 1), place - low
        share = share.reshape([-1 if a == axis else 1 for a in range(3)])
        maps = maps.take(low, axis) * (1 - share) + maps.take(high, axis) * share
    return maps


def filled(mask: Labels) -> Labels:
    """Void takes the nearest label, of equally near ones the lowest; on large images whichever SciPy finds first."""
    if not (mask == VOID).any() or (mask == VOID).all():
        return mask
    if mask.size > 10_000:
        places = ndimage.distance_transform_edt(mask == VOID, return_distances=False, return_indices=True)
        return mask[tuple(places)]
    found, known = mask.copy(), np.argwhere(mask != VOID)
    for y, x in np.argwhere(mask == VOID):
        far = ((known - (y, x)) ** 2).sum(axis=1)
        found[y, x] = min(mask[tuple(place)] for place in known[far == far.min()])
    return found


def scores_of_classes(mask: Labels, size: tuple[int, int], how: dict[str, Any], classes: int) -> NDArray[np.float64]:
    """Probabilities or logits (K, H, W) of the perfect network, written anew from docs/metrics.md."""
    height, width = mask.shape
    hot = (filled(mask) == np.arange(classes)[:, None, None]).astype(float)
    side = how.get("short_side", how.get("long_side"))
    base = (height, width)
    if side is not None:
        factor = side / (min if "short_side" in how else max)(height, width)
        base = (round(height * factor), round(width * factor))
    found: list[NDArray[np.float64]] = []
    scales, flips = how.get("scales", (1.0,)), (False, True) if how.get("flip") else (False,)
    for scale in scales:
        for flip in flips:
            framed = how["mode"] in ("resize", "letterbox")
            shown = hot[:, :, ::-1] if flip and framed else hot
            top = left = 0
            if how["mode"] == "letterbox":
                tall = max(height, round(width * size[0] / size[1]))
                wide = max(width, round(height * size[1] / size[0]))
                top, left = (tall - height) // 2, (wide - width) // 2
                margins = ((0, 0), (top, tall - height - top), (left, wide - width - left))
                shown = np.pad(shown, margins)
            at = tuple(round(s * scale) for s in (size if framed else base))
            small = np.stack([nearest(one, at) for one in shown])  # type: ignore[arg-type]
            if flip and not framed:  # whole and slide: the resized image is mirrored
                small = small[:, :, ::-1]
            back = bilinear(16 * small, shown.shape[1:])[:, top : top + height, left : left + width]
            found.append(back[:, :, ::-1] if flip else back)
    if len(found) == 1:
        return found[0]
    powers = [np.exp(one - one.max(axis=0)) for one in found]
    return np.asarray(np.mean([one / one.sum(axis=0) for one in powers], axis=0))


def blobs(shape: tuple[int, int], seed: int, void: bool) -> Labels:
    random = np.random.default_rng(seed)
    mask = (ndimage.gaussian_filter(random.random(shape), 2.0) * 300 % 3).astype(np.uint8)
    if void:
        mask[ndimage.gaussian_filter(random.random(shape), 1.5) > 0.56] = VOID
    return mask


@pytest.mark.parametrize("shape", [(40, 57), (33, 24)], ids=str)
@pytest.mark.parametrize(
    "how",
    [
        {"mode": "resize"},
        {"mode": "letterbox"},
        {"mode": "whole", "short_side": 13},
        {"mode": "whole", "long_side": 90},
        {"mode": "slide", "short_side": 20, "overlap": 0.5, "blend": "gaussian"},
        {"mode": "slide", "long_side": 29},
        {"mode": "resize", "scales": (0.5, 1.0, 1.5)},
        {"mode": "letterbox", "flip": True},
        {"mode": "whole", "scales": (0.5, 1.0), "flip": True},
        {"mode": "slide", "scales": (0.75, 2.0)},
    ],
    ids=str,
)
def test_label_maps_of_every_mode_are_those_of_an_independent_computation(
    how: dict[str, Any], shape: tuple[int, int]
) -> None:
    for void in (True, False):
        mask = blobs(shape, 3, void)
        predicted = perfect_labels(mask, VOID, (16, 20), Predict.model_validate(how))
        expected = scores_of_classes(mask, (16, 20), how, 3)
        first, second = np.sort(expected, axis=0)[::-1][:2]
        told = first - second > 1e-5  # where two classes are as likely, either may be taken
        assert told.mean() > 0.8
        assert (predicted == expected.argmax(axis=0))[told].all()


def independent(dataset: Dataset, ids: list[str], size: tuple[int, int], mode: str, at: int | None) -> dict[str, Any]:
    """IoU of each class over all images and mean over images, and Boundary IoU of the foreground, by plain NumPy."""
    classes = len(dataset.info.classes)
    counts, bands, of_images, bands_of_images = np.zeros((3, classes)), np.zeros(2), [], []
    for image_id in ids:
        mask, valid = dataset.truth(image_id)
        guess = scores_of_classes(mask, size, {"mode": mode}, classes).argmax(axis=0)
        ok = (mask != VOID) if valid is None else (mask != VOID) & valid
        if at is not None:
            mask, guess, ok = (nearest(one, (at, at)) for one in (mask, guess, ok))
        own = np.array(
            [
                [np.sum((mask == c) & ok), np.sum((guess == c) & ok), np.sum((mask == c) & (guess == c) & ok)]
                for c in range(classes)
            ]
        ).T
        counts += own
        of_images.append(own[2] / np.maximum(1, own[0] + own[1] - own[2]))
        width = max(1, round(0.02 * float(np.hypot(*mask.shape))))
        edge = [inner(one == 1, width) & ok for one in (mask, guess)]
        band = np.array([np.sum(edge[0] & edge[1]), np.sum(edge[0] | edge[1])])
        bands += band
        bands_of_images.append(band[0] / max(1, band[1]))
    union = counts[0] + counts[1] - counts[2]
    return {
        "iou": np.where(union > 0, counts[2] / np.maximum(union, 1), np.nan),
        "biou": bands[0] / max(1, bands[1]),
        "iou_of_images": np.mean(of_images, axis=0),
        "biou_of_images": np.mean(bands_of_images),
    }


def inner(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels within `width` of the outside, in rows, columns and diagonals; beyond the image is outside."""
    kept = ndimage.binary_erosion(mask, np.ones((3, 3), bool), iterations=width, border_value=0)
    return mask & ~kept


def measured(name: str, variant: str, size: int, mode: str, protocol: dict[str, Any] | None = None) -> Any:
    dataset = open_dataset(name, variant, REAL_DATA, obtain=False)
    asked = job((size, size), {"mode": mode}, {**dataset.info.protocol, **(protocol or {})})
    return dataset, ceiling(asked, dataset, f"{name} {variant}", 2)["scores"]


@real("DRIVE")
@pytest.mark.slow
def test_drive_in_a_square_of_256() -> None:
    dataset, found = measured("drive", "official", 256, "letterbox")
    own = independent(dataset, dataset.ids("test"), (256, 256), "letterbox", None)
    assert found["iou[vessel]"] == pytest.approx(own["iou"][1], abs=1e-4)
    assert found["biou"] == pytest.approx(own["biou"], abs=1e-4)
    assert found["iou[vessel]"] == pytest.approx(0.7096, abs=5e-4)


@real("weizmann_horse_db")
@pytest.mark.slow
@pytest.mark.parametrize(("size", "iou", "biou"), [(224, 0.9924, 0.9770), (96, 0.9610, 0.8782)], ids=str)
def test_horses_at_their_own_resolution(size: int, iou: float, biou: float) -> None:
    dataset, found = measured("horse", "85-15", size, "resize")
    own = independent(dataset, dataset.ids("test"), (size, size), "resize", None)
    assert found["iou[horse]"] == pytest.approx(own["iou"][1], abs=1e-4)
    assert found["biou"] == pytest.approx(own["biou"], abs=1e-4)
    assert (found["iou[horse]"], found["biou"]) == (pytest.approx(iou, abs=5e-4), pytest.approx(biou, abs=5e-4))


@real("weizmann_horse_db")
@pytest.mark.slow
def test_horses_scored_at_224_image_by_image_as_study_d_has_them() -> None:
    dataset, found = measured("horse", "85-15", 224, "resize", {"size": (224, 224), "level": "image"})
    own = independent(dataset, dataset.ids("test"), (224, 224), "resize", 224)
    assert found["iou[horse]"] == pytest.approx(own["iou_of_images"][1], abs=1e-4)
    assert found["biou"] == pytest.approx(own["biou_of_images"], abs=1e-4)
    assert found["biou"] == pytest.approx(0.9943, abs=5e-4)


@real("VOCdevkit")
@pytest.mark.slow
def test_voc_at_96_whose_borders_are_void() -> None:
    dataset = open_dataset("voc", None, REAL_DATA, obtain=False)
    asked = job((96, 96), {"mode": "resize"}, dataset.info.protocol, images=60)
    found = ceiling(asked, dataset, "voc", 2)["scores"]
    own = independent(dataset, dataset.ids("test", 60), (96, 96), "resize", None)
    assert found["miou"] == pytest.approx(np.nanmean(own["iou"]), abs=2e-4)
    assert found["miou"] > 0.995


# -- once, and kept --------------------------------------------------------------------------------------------------


def test_a_ceiling_is_computed_once_and_kept(cache: Path) -> None:
    drawn, asked = Drawn(stripe(7)), job((8, 8), {"mode": "resize"})
    first = ceiling(asked, drawn, "m")
    reads = drawn.reads
    assert reads
    assert ceiling(asked, drawn, "m") == first
    assert drawn.reads == reads
    assert json.loads(cache.read_text()) == {ceiling_key(asked, "m"): first["scores"]}


def test_what_decides_a_ceiling_has_a_key_of_its_own() -> None:
    how = {"mode": "letterbox"}
    keys = [
        ceiling_key(job((16, 16), how), "m"),
        ceiling_key(job((16, 16), how), "n"),
        ceiling_key(job((16, 17), how), "m"),
        ceiling_key(job((16, 16), {"mode": "resize"}), "m"),
        ceiling_key(job((16, 16), {**how, "flip": True}), "m"),
        ceiling_key(job((16, 16), how, {"void": "mask"}), "m"),
        ceiling_key(job((16, 16), how, images=3), "m"),
    ]
    assert len(set(keys)) == len(keys)
    same = {**how, "crf": {}, "loss_batch": 2}
    assert ceiling_key(job((16, 16), same), "m") == keys[0], "neither is a matter of resolution"


def test_before_a_run_only_what_takes_seconds_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, asked = Drawn(stripe(7), stripe(6)), job((8, 8), {"mode": "resize"})
    monkeypatch.setattr(module, "QUICK_PIXELS", 2 * 256)
    assert takes_seconds(asked, drawn, "m")
    scaled = job((8, 8), {"mode": "resize", "scales": (0.5, 1.0)})
    assert not takes_seconds(scaled, drawn, "m"), "twice the pixels"
    assert takes_seconds(job((8, 8), {"mode": "whole"}), drawn, "m")
    ceiling(scaled, drawn, "m")
    assert takes_seconds(scaled, drawn, "m"), "now it is known"
    assert not takes_seconds(scaled, drawn, "of another copy")


@pytest.mark.parametrize(
    ("predict", "text"),
    [
        ({"mode": "resize"}, "16×20 (resize)"),
        ({"mode": "letterbox", "flip": True}, "16×20 (letterbox; flip)"),
        ({"mode": "whole"}, "the image's own size (whole)"),
        ({"mode": "whole", "short_side": 512}, "a short side of 512 (whole)"),
        ({"mode": "slide", "long_side": 99}, "a long side of 99 (slide; windows of 16×20)"),
        (
            {"mode": "slide", "scales": (0.5, 1), "flip": True},
            "the image's own size (slide; windows of 16×20; scales 0.5, 1; flip)",
        ),
    ],
    ids=str,
)
def test_an_input_size_in_words(predict: dict[str, Any], text: str) -> None:
    assert input_text(job((16, 20), predict).recipe) == text


# -- where it is shown, from the run to the database -----------------------------------------------------------------


def test_a_run_keeps_the_ceiling_with_its_test_scores(finished: Path) -> None:
    kept = {
        split: json.loads(stored) for split, stored in rows(finished, "select distinct split, ceiling from evaluations")
    }
    assert kept["val"] == {}, "val is not what boards show"
    assert kept["test"]["input"] == "32×32 (resize)"
    miou, biou = (kept["test"]["scores"][name] for name in ("miou", "biou"))
    assert 0.5 < biou < miou < 1
    best = rows(finished, "select max(value) from scores where metric = 'miou'")[0][0]
    assert best < miou


def test_a_dry_run_tells_the_ceilings_and_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = home / "sizes.yaml"
    suite.write_text(
        "datasets: [shapes]\nmodels: [{name: unet, params: {width: 4, depth: 2}}, "
        "{name: unet, label: whole, recipe: {predict: {mode: whole}}}]\n"
        "recipe: {epochs: 1, size: [32, 32]}\nseeds: [0, 1]\n"
    )
    told = run_bench("run", "--suite", suite, "--dry-run", "--no-timing", cwd=home).stdout
    (small,) = [line for line in told.splitlines() if "32×32 (resize)" in line]
    (whole,) = [line for line in told.splitlines() if "the image's own size (whole)" in line]
    assert whole.split()[-3:] == ["mIoU", "1.0000", "1.0000"]
    assert 0.5 < float(small.split()[-2]) < 1
    assert "what resolution alone costs" in " ".join(told.split())
    assert not (home / "results.db").exists()


def test_label_maps_from_elsewhere_have_no_ceiling(bench: Bench, home: Path) -> None:
    dataset = open_dataset("shapes", None, home / "data", obtain=False)
    (home / "guesses").mkdir()
    for image_id in dataset.ids("test"):
        save_labels(home / "guesses" / f"{image_id}.png", np.zeros((64, 64), np.uint8), dataset.info.palette)
    bench("score", "-p", "guesses", "--dataset", "shapes", "--as", "Elsewhere")
    assert rows(home, "select ceiling from evaluations") == [("{}",)]
