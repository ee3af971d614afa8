"""Augmentation: what is cut first and resized then is what was resized first and cut then."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.utils.data import DataLoader

from harness.augmentations.transforms.compose import augmented
from harness.augmentations.transforms.compose import training_transform as transform_of
from harness.augmentations.transforms.scaled_cut import (
    ScaledCut,
    by_factor,
    by_fit,
    by_short_side,
    tv_tensors,
    v2,
)
from harness.config.job import Resources
from harness.config.recipe import Recipe
from harness.datasets.shapes import Shapes
from harness.scoring.samples import CPU, DecodedSamples, seeded
from harness.training.loader import Augmentation, AugmentedHere, DecodedTraining, TrainingSamples, worker_count

SMOOTH = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 106, 136, generator=torch.Generator().manual_seed(0)), 7, 1)
IMAGE = (SMOOTH[0] * 255).to(torch.uint8)  # 100×130
MASK = (IMAGE[0] // 32).to(torch.uint8)


def training_transform(recipe: Recipe) -> v2.Transform:
    return transform_of(recipe.augment, recipe.size)


def recipe(*steps: dict[str, object], size: tuple[int, int] = (64, 80)) -> Recipe:
    return Recipe(size=size, epochs=1, augment=steps)  # type: ignore[arg-type]


def test_cutting_first_shows_what_resizing_first_shows() -> None:
    for seed in range(40):
        with seeded(seed):
            cut = ScaledCut((64, 80), by_factor(0.5, 2.0))
            params = cut.make_params([tv_tensors.Image(IMAGE), tv_tensors.Mask(MASK)])
        with seeded(seed):
            image, mask = augmented(cut, IMAGE, MASK)
        assert image.shape == (3, 64, 80)
        assert mask.shape == (64, 80)
        with seeded(seed):
            scaled = by_factor(0.5, 2.0)(100, 130)
        whole = v2.functional.resize(IMAGE, list(scaled), antialias=True)
        left, top, right, bottom = params["padding"]
        inner = image[:, top : 64 - bottom, left : 80 - right]
        rows, columns = params["box"][1:]
        y, x = round(rows.start * scaled[0] / 100), round(columns.start * scaled[1] / 130)
        expected = whole[:, y : y + inner.shape[1], x : x + inner.shape[2]]
        difference = (inner[:, : expected.shape[1], : expected.shape[2]].float() - expected.float()).abs()
        assert difference.mean() < 4, "half a pixel's shift of a smooth picture"
        assert (mask[:top] == 255).all()
        assert (image[:, :top] == 0).all()


def test_factors_are_drawn_evenly_from_their_range() -> None:
    with seeded(0):
        heights = [by_factor(0.5, 2.0)(1000, 500)[0] for _ in range(2000)]
        sides = [by_short_side(260, 1040)(300, 600) for _ in range(2000)]
        fits = [by_fit((64, 80), 0.5, 1.5)(1280, 800) for _ in range(500)]
    assert 500 <= min(heights) < 520
    assert 1980 < max(heights) <= 2000
    assert np.mean(heights) == pytest.approx(1250, abs=30)
    assert {min(s) for s in sides} <= set(range(260, 1041))
    assert all(long == 2 * short for short, long in sides)
    assert max(h for h, _ in fits) <= 96
    assert min(h for h, _ in fits) >= 32


def test_places_of_a_cut_and_of_padding_are_drawn_evenly() -> None:
    cut = ScaledCut((50, 200), by_factor(1.0, 1.0))
    with seeded(0):
        found = [cut.make_params([tv_tensors.Image(IMAGE)]) for _ in range(1000)]
    tops = [p["box"][1].start for p in found]
    lefts = [p["padding"][0] for p in found]
    assert (min(tops), max(tops)) == (0, 50)
    assert (min(lefts), max(lefts)) == (0, 70)
    assert np.mean(tops) == pytest.approx(25, abs=2)
    assert np.mean(lefts) == pytest.approx(35, abs=3)
    assert all(p["padding"][0] + p["padding"][2] == 70 for p in found)


def test_a_cut_full_of_one_class_is_drawn_anew() -> None:
    mask = torch.zeros(100, 130, dtype=torch.uint8)
    mask[:, 100:] = 1
    mask[:10] = 255

    def shares(limit: float) -> list[float]:
        cut = training_transform(recipe({"op": "scale_crop", "scale": (1.0, 1.0), "max_share": limit}, size=(40, 40)))
        found = []
        with seeded(0):
            for _ in range(100):
                part = augmented(cut, IMAGE, mask)[1]
                counts = torch.bincount(part.flatten().long(), minlength=2)[:2].float()
                found.append(float(counts.max() / counts.sum()))
        return found

    free, limited = shares(1.0), shares(0.75)
    assert np.mean(np.array(free) > 0.75) > 0.5
    assert np.mean(np.array(limited) > 0.75) < 0.2


@pytest.mark.parametrize(
    "step",
    [
        {"op": "vflip"},
        {"op": "photometric"},
        {"op": "scale_jitter"},
        {"op": "scale_crop", "short_side": (40, 120)},
        {"op": "scale_crop", "max_share": 0.75},
    ],
)
def test_every_step_keeps_labels_and_ends_at_the_size(step: dict[str, object]) -> None:
    transform = training_transform(recipe(step))
    for seed in range(5):
        with seeded(seed):
            image, mask = augmented(transform, IMAGE, MASK)
        assert image.dtype == mask.dtype == torch.uint8
        assert image.shape == (3, 64, 80)
        assert set(mask.unique().tolist()) <= {*MASK.unique().tolist(), 255}
        with seeded(seed):
            assert torch.equal(image, augmented(transform, IMAGE, MASK)[0])


def test_a_share_above_one_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_share"):
        recipe({"op": "scale_crop", "max_share": 1.5})


def training_samples(home: object, steps: tuple[dict[str, object], ...], device: torch.device = CPU) -> TrainingSamples:
    dataset = Shapes(home / "data" / Shapes.folders[0])  # type: ignore[operator]
    decoded = DecodedTraining(DecodedSamples(dataset), dataset.ids("train"))
    return TrainingSamples(decoded, Augmentation(recipe(*steps), 3, device))


STEPS: tuple[dict[str, object], ...] = ({"op": "scale_crop"}, {"op": "color_jitter"}, {"op": "blur"}, {"op": "hflip"})


def test_the_device_path_gives_the_samples_of_the_cpu_path(shapes_home: object) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    plain, there = training_samples(shapes_home, STEPS), training_samples(shapes_home, STEPS, device)
    for index in range(5):
        (image, mask), (other, truth) = plain[1, index], there[1, index]
        assert other.device.type == device.type
        assert torch.equal(mask, truth.cpu())
        assert (image.float() - other.cpu().float()).abs().mean() < 2


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_augmented_behind_the_loader_are_those_of_the_loader(shapes_home: object, workers: int) -> None:
    samples = training_samples(shapes_home, STEPS)
    batches = [[(1, 0), (1, 3)], [(1, 2), (1, 5)]]
    usual = DataLoader(samples, batch_sampler=batches)
    behind = AugmentedHere(
        DataLoader(samples.decoded, batch_sampler=batches, num_workers=workers, collate_fn=list), samples.augment
    )
    found = list(zip(usual, behind, strict=True))
    assert len(found) == 2
    for (images, masks), (others, truths) in found:
        assert torch.equal(images, others)
        assert torch.equal(masks, truths)


def test_augmenting_moves_no_random_state(shapes_home: object) -> None:
    samples = training_samples(shapes_home, ({"op": "scale_crop"},))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    samples[0, 0]
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("given", "cached", "workers"),
    [
        ({"cpus": 1}, True, 0),
        ({"cpus": 8}, True, 2),
        ({"cpus": 8, "gpus": 1}, True, 0),
        ({"cpus": 8, "gpus": 1}, False, 7),
        ({"cpus": 1, "gpus": 1}, False, 1),
    ],
)
def test_workers_follow_from_what_a_job_has(given: dict[str, float], cached: bool, workers: int) -> None:
    assert worker_count(Resources.model_validate(given), cached) == workers
