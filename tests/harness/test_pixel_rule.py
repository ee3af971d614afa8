"""One pixel rule from the file to the score: targets, images, logits and scored maps lie on one another.

The images of these tests carry their own coordinates: red is the column of a pixel, green its row. So an image that was
cut, resized or turned tells where each of its pixels came from, and a mask that holds columns (or rows) as labels tells
where its labels were taken from. Whoever moves one against the other is seen, whatever the step is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.augmentations import AUGMENTATIONS
from harness.augmentations.letterbox import Letterbox
from harness.augmentations.transforms import resize as resize_module
from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.recipe import Predict
from harness.metrics import Evaluator, Protocol
from harness.models.unet import build as build_unet
from harness.scoring.predict import label_map, predict_image
from harness.scoring.samples import seeded
from harness.utils.images import normalize, resize_mask
from harness.utils.pixels import nearest_pixels

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
VOID = 255


# -- the rule itself ------------------------------------------------------------------------------------


@pytest.mark.parametrize("old", [1, 2, 7, 96, 375, 584])
@pytest.mark.parametrize("new", [1, 3, 48, 96, 224, 599])
def test_a_label_comes_from_the_pixel_under_the_new_pixels_centre(old: int, new: int) -> None:
    centres = (np.arange(new) + 0.5) * old / new
    expected = np.minimum(np.floor(centres + 1e-9), old - 1)
    assert np.array_equal(nearest_pixels(old, new), expected)
    one_hot = torch.arange(old, dtype=torch.float64)[None, None]
    exact = nn.functional.interpolate(one_hot, size=new, mode="nearest-exact")[0, 0]
    assert np.array_equal(nearest_pixels(old, new), exact.numpy().astype(np.int64))
    floored = nn.functional.interpolate(one_hot, size=new, mode="nearest")[0, 0]
    assert np.array_equal(nearest_pixels(old, new, "nearest"), floored.numpy().astype(np.int64))


def test_rows_and_columns_are_told_apart_and_the_type_stays() -> None:
    mask = torch.tensor([[0, 1, 2], [3, 4, 255]], dtype=torch.uint8)
    resized = resize_mask(mask, (4, 3))
    assert resized.dtype == torch.uint8
    assert resized.tolist() == [[0, 1, 2], [0, 1, 2], [3, 4, 255], [3, 4, 255]]
    assert torch.equal(resize_mask(mask[None, None], (4, 3))[0, 0], resized)


# -- every augmentation: the mask stays under the image ---------------------------------------------------

GAIN = 2  # grey levels for each column or row


def coordinates(height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """An image (red: its columns, green: its rows, blue: it is no padding), a mask of columns and one of rows."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    image = torch.stack([GAIN * columns, GAIN * rows, torch.full_like(rows, 255)]).to(torch.uint8)
    return image, columns.to(torch.uint8), rows.to(torch.uint8)


def displacement(steps: Sequence[Any], shape: tuple[int, int], size: tuple[int, int], seed: int) -> Floats:
    """How far labels lie from their image, pixel by pixel inside of it: (2, N), rows and columns of the source."""
    image, columns, rows = coordinates(*shape)
    transform = training_transform(steps, size)
    with seeded(seed):
        shown, label_columns = augmented(transform, image, columns)
    with seeded(seed):
        other, label_rows = augmented(transform, image, rows)
    assert torch.equal(shown, other), "the same seed, another image"
    x, y = shown[0].double() / GAIN, shown[1].double() / GAIN
    # Where padding or the border is mixed in, the image does not tell its place.
    inside = (shown[2] == 255) & (label_columns != VOID)
    inside &= (x > 2.5) & (x < shape[1] - 3.5) & (y > 2.5) & (y < shape[0] - 3.5)
    assert inside.sum() > 100
    return torch.stack([(label_rows - y)[inside], (label_columns - x)[inside]]).numpy()


# Steps that change colours would change what the image says of its place; they do not touch the mask (test_transforms).
STEPS: dict[str, dict[str, Any]] = {
    "resize": {},
    "letterbox": {},
    "random_resized_crop": {"scale": (0.3, 1.0)},
    "scale_crop": {"scale": (0.3, 2.0)},
    "scale_jitter": {"scale": (0.5, 2.0)},
    "rotate": {"degrees": 20},
    "hflip": {"p": 0.5},
    "vflip": {"p": 0.5},
}
OF_COLOUR = {"blur", "color_jitter", "photometric"}


def test_every_augmentation_is_in_these_tests() -> None:
    assert {name for name, _ in AUGMENTATIONS.own_items()} == STEPS.keys() | OF_COLOUR


def step(name: str) -> Any:
    return AUGMENTATIONS.get(name).model_validate({"op": name, **STEPS[name]})


SHAPES = [(96, 120), (95, 121), (61, 50)]
SIZES = [(64, 64), (41, 53), (130, 111), (224, 224)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", [*STEPS, "none", "all"])
def test_labels_stay_under_their_image(name: str, size: tuple[int, int], shape: tuple[int, int]) -> None:
    several = {"none": (), "all": ("resize", "rotate", "random_resized_crop", "hflip")}
    steps = [step(one) for one in several.get(name, (name,))]
    both = np.concatenate([displacement(steps, shape, size, seed) for seed in range(4)], axis=1)
    # Each step that resamples takes a label from at most half a pixel away along each axis (of the source, or of the
    # size that an earlier step made), and rounds the image to grey levels, of which a pixel of the source has two.
    resampled = 3 if name == "all" else 2 if name == "rotate" else 1
    pixel = max(1.0, shape[0] / size[0], shape[1] / size[1]) if name == "all" else 1.0
    assert np.abs(both).max() <= (0.5 * pixel + 0.4) * resampled
    assert np.abs(both.mean(axis=1)).max() < 0.2, "labels lie to one side of their image"


@pytest.mark.parametrize("name", ["none", "random_resized_crop", "scale_crop"])
def test_a_planted_displacement_is_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def floored(mask: Tensor, size: Sequence[int], rule: str = "") -> Tensor:
        return resize_mask(mask, size, "nearest")

    monkeypatch.setattr(resize_module, "resize_mask", floored)
    monkeypatch.setattr("harness.augmentations.transforms.scaled_cut.resize_mask", floored)
    with pytest.raises(AssertionError):
        test_labels_stay_under_their_image(name, (41, 53), (95, 121))


# -- every way of predicting: what a network gives at its own size comes back to its place -----------------


def blobs(height: int, width: int, classes: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """A label map of smooth shapes, a few pixels thick."""
    noise = np.random.default_rng(seed).normal(size=(classes, height + 8, width + 8))
    for axis in (1, 2):
        for _ in range(2):
            noise = sum(np.roll(noise, shift, axis) for shift in range(-2, 3)) / 5  # type: ignore[assignment]
    return noise[:, 4:-4, 4:-4].argmax(axis=0).astype(np.uint8)


# What a perfect network says of each class: not quite the same, so that no rounding decides between two.
STRENGTHS = np.array([8.0, 8.03, 8.07])


class Perfect(nn.Module):
    """A network that gives, as logits, the label under the centre of each of its pixels, as a training target has it.

    It reads off the image, which carries its coordinates, which pixel of which grid it is looking at: after any
    resizing, mirroring and cutting into windows. What is padding has no class.
    """

    def __init__(self, truth: NDArray[np.uint8], size: tuple[int, int], how: Predict) -> None:
        super().__init__()
        self.truth, self.how, self.grids = truth, how, grids(truth.shape, size, how)

    def forward(self, images: Tensor) -> Tensor:
        image = images[0].double().numpy()
        inside = image[2] == 255
        y, x = (middle(image[1] / GAIN, inside, 1), middle(image[0] / GAIN, inside, 0))
        known = x[np.isfinite(x)]
        mirrored = bool(known[-1] < known[0])
        x = self.truth.shape[1] - 1 - x if mirrored else x
        # Of the sizes at which images are shown, the one whose pixels are as far apart as here.
        step = np.diff(y[np.isfinite(y)])[3:-3].mean()
        frames = {grid: in_frame(mirror(self.truth, mirrored), grid, self.how) for grid in self.grids}
        grid = min(self.grids, key=lambda one: abs(np.log(step * one[0] / frames[one][0].shape[0])))
        frame, begins = frames[grid]
        rows, columns = (
            indices(line + begin, old, new)
            for line, begin, old, new in zip((y, x), begins, frame.shape, grid, strict=True)
        )
        shown = nearest(frame, grid)[rows][:, columns]
        return torch.from_numpy(np.stack([(shown == k) * STRENGTHS[k] for k in range(3)])).float()[None]


def middle(values: Floats, inside: NDArray[np.bool_], axis: int) -> Floats:
    """The median along an axis of what lies inside; NaN where nothing does."""
    lines = zip(np.moveaxis(values, axis, 1), np.moveaxis(inside, axis, 1), strict=True)
    return np.array([np.median(line[known]) if known.any() else np.nan for line, known in lines])


def indices(line: Floats, old: int, new: int) -> NDArray[np.intp]:
    """Which of `new` pixels of a side are shown, from their places among the `old` ones."""
    known = np.flatnonzero(np.isfinite(line))[3:-3]
    first = np.median((line[known] + 0.5) * new / old - 0.5 - known)
    return np.clip(np.arange(len(line)) + round(float(first)), 0, new - 1)


def bilinear(values: Floats, size: tuple[int, int]) -> Floats:
    """(K, h, w) at another size, pixel centres on pixel centres, in NumPy alone."""
    for axis, new in ((1, size[0]), (2, size[1])):
        old = values.shape[axis]
        at = (np.arange(new) + 0.5) * old / new - 0.5
        values = np.apply_along_axis(lambda line, a=at, n=old: np.interp(a, np.arange(n), line), axis, values)
    return values


def nearest(labels: Labels, size: tuple[int, int]) -> Labels:
    """(h, w) at another size, by the pixel under the centre, in NumPy alone."""
    rows, columns = (
        np.clip(np.floor((np.arange(new) + 0.5) * old / new).astype(int), 0, old - 1)
        for new, old in zip(size, labels.shape, strict=True)
    )
    return labels[rows][:, columns]


def framed(labels: Labels, proportions: tuple[int, int]) -> tuple[Labels, tuple[int, int]]:
    """A map in the middle of a frame of these proportions, with -1 around it, and where it begins."""
    height, width = labels.shape
    tall = max(height, round(width * proportions[0] / proportions[1]))
    wide = max(width, round(height * proportions[1] / proportions[0]))
    frame = np.full((tall, wide), -1)
    top, left = (tall - height) // 2, (wide - width) // 2
    frame[top : top + height, left : left + width] = labels
    return frame, (top, left)


def grids(shape: tuple[int, int], size: tuple[int, int], how: Predict) -> list[tuple[int, int]]:
    """The sizes at which a network is shown an image, one for each scale."""
    if how.mode in ("resize", "letterbox"):
        whole = size
    else:
        side = how.short_side or how.long_side
        factor = 1.0 if side is None else side / (min(shape) if how.short_side else max(shape))
        whole = (round(shape[0] * factor), round(shape[1] * factor))
    return [(round(whole[0] * scale), round(whole[1] * scale)) for scale in how.scales]


def mirror(truth: NDArray[np.uint8], mirrored: bool) -> NDArray[np.uint8]:
    return truth[:, ::-1] if mirrored else truth


def in_frame(truth: NDArray[np.uint8], size: tuple[int, int], how: Predict) -> tuple[Labels, tuple[int, int]]:
    return framed(truth.astype(int), size if how.mode == "letterbox" else truth.shape)


def expected(truth: NDArray[np.uint8], size: tuple[int, int], how: Predict) -> Labels:
    """The labels (H, W) that a perfect network's output becomes, computed without the project."""
    height, width = truth.shape
    chances = []
    for mirrored in (False, True) if how.flip else (False,):
        for at in grids(truth.shape, size, how):
            frame, (top, left) = in_frame(mirror(truth, mirrored), at, how)
            small = nearest(frame, at)
            logits = np.stack([(small == k) * STRENGTHS[k] for k in range(3)])
            back = bilinear(logits, frame.shape)[:, top : top + height, left : left + width]
            back = back[..., ::-1] if mirrored else back
            exponents = np.exp(back - back.max(axis=0))
            chances.append(exponents / exponents.sum(axis=0))
    return np.mean(chances, axis=0).argmax(axis=0)


def iou(labels: Any, truth: NDArray[np.uint8]) -> float:
    evaluator = Evaluator(3)
    evaluator.update(np.asarray(labels).astype(np.uint8), truth)
    return evaluator.compute().to_dict()["miou"]


MODES: list[dict[str, Any]] = [
    {"mode": "resize"},
    {"mode": "letterbox"},
    {"mode": "whole"},
    {"mode": "whole", "short_side": 60},
    {"mode": "whole", "short_side": 111},
    {"mode": "whole", "long_side": 77},
    {"mode": "slide"},
    {"mode": "slide", "short_side": 110, "blend": "gaussian"},
    {"mode": "resize", "flip": True},
    {"mode": "letterbox", "flip": True},
    {"mode": "slide", "long_side": 80, "flip": True},
    {"mode": "resize", "scales": (0.75, 1.0, 1.5)},
    {"mode": "letterbox", "scales": (0.75, 1.25), "flip": True},
    {"mode": "whole", "scales": (0.5, 1.0, 1.7), "flip": True},
]


def moved(logits: Tensor, dy: float, dx: float) -> Tensor:
    """Logits (K, H, W) moved by a part of a pixel or more, the border repeated."""
    height, width = logits.shape[-2:]
    y, x = (torch.arange(n, dtype=torch.float32) - d for n, d in ((height, dy), (width, dx)))
    grid = torch.stack(torch.meshgrid((2 * y + 1) / height - 1, (2 * x + 1) / width - 1, indexing="ij")[::-1], dim=-1)
    return nn.functional.grid_sample(logits[None], grid[None], padding_mode="border", align_corners=False)[0]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [(56, 72), (41, 53), (130, 111)], ids=str)
@pytest.mark.parametrize("how", MODES, ids=lambda how: "-".join(str(v) for v in how.values()))
def test_a_perfect_network_scores_what_its_resolution_allows(
    how: dict[str, Any], size: tuple[int, int], shape: tuple[int, int]
) -> None:
    truth, predict = blobs(*shape), Predict.model_validate(how)
    network = Perfect(truth, size, predict)
    logits = predict_image(network, coordinates(*shape)[0], size, predict)
    score, ceiling = iou(label_map(logits), truth), iou(expected(truth, size, predict), truth)
    assert score == pytest.approx(ceiling, abs=1e-4), "what NumPy alone computes"
    if (predict.mode in ("whole", "slide")) and not (predict.short_side or predict.long_side) and not how.get("scales"):
        assert score == 1.0
    assert ceiling > 0.7
    # A pixel of the network, in pixels of the image: half of it would be seen.
    unit = max(1.0, max(shape[0] / size[0], shape[1] / size[1]) if predict.mode in ("resize", "letterbox") else 1.0)
    for dy, dx in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        for share in (0.5, 1.0):
            other = iou(label_map(moved(logits, dy * share * unit, dx * share * unit)), truth)
            assert other <= score + 1e-9, f"moved by {share} down {dy}, right {dx}: {other} instead of {score}"


# -- the whole way: training target, prediction, score -----------------------------------------------------


@pytest.mark.parametrize("mode", ["resize", "letterbox"])
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_training_targets_given_back_as_logits_score_what_numpy_says(
    shape: tuple[int, int], size: tuple[int, int], mode: str
) -> None:
    truth = blobs(*shape)
    transform = training_transform([Letterbox()] if mode == "letterbox" else [], size)
    image, target = augmented(transform, coordinates(*shape)[0], torch.from_numpy(truth))
    proportions = size if mode == "letterbox" else shape
    wanted = nearest(framed(truth.astype(int), proportions)[0], size)
    assert np.array_equal(target.numpy(), np.where(wanted < 0, VOID, wanted))

    class Given(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert torch.equal(images[0], image), "training and prediction show the network the same image"
            return torch.stack([(target == k) * float(STRENGTHS[k]) for k in range(3)])[None]

    predict = Predict(mode=mode)  # type: ignore[arg-type]
    labels = label_map(predict_image(Given(), coordinates(*shape)[0], size, predict))
    assert iou(labels, truth) == pytest.approx(iou(expected(truth, size, predict), truth), abs=1e-4)


def test_a_protocols_size_follows_the_same_rule() -> None:
    truth, guess = blobs(95, 121), blobs(95, 121, seed=1)
    evaluator = Evaluator(3, protocol=Protocol(size=(41, 53)))
    evaluator.update(guess, truth)
    by_hand = Evaluator(3)
    by_hand.update(nearest(guess.astype(int), (41, 53)), nearest(truth.astype(int), (41, 53)))
    assert evaluator.compute().to_dict()["miou"] == by_hand.compute().to_dict()["miou"]


# -- learning: what a network reaches on what it can see ---------------------------------------------------


def pictures(count: int, side: int = 80) -> list[tuple[Tensor, Tensor]]:
    """Bright bars and blocks on a dark ground, of which the mask is plainly visible: image and mask, in pairs."""
    random, found = np.random.default_rng(0), []
    for _ in range(count):
        mask = np.zeros((side, side), dtype=np.uint8)
        for _ in range(4):
            height, width = (int(n) for n in random.integers(9, 36, size=2))
            top, left = (int(random.integers(0, side - n)) for n in (height, width))
            mask[top : top + height, left : left + width] = 1
        noise = random.normal(0, 8, size=(3, side, side))
        image = np.clip(np.where(mask, 190, 60) + noise, 0, 255).astype(np.uint8)
        found.append((torch.from_numpy(image), torch.from_numpy(mask)))
    return found


def learned(size: int = 16, steps: int = 150) -> tuple[float, float]:
    """The IoU that a small U-Net reaches on new images after training at a size, and that of a perfect one."""
    torch.manual_seed(0)
    network = build_unet(num_classes=2, width=8)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    transform, samples = training_transform([], (size, size)), pictures(40)
    train = [augmented(transform, image, mask) for image, mask in samples[:32]]
    images = normalize(torch.stack([image for image, _ in train]), "unit")
    masks = torch.stack([mask for _, mask in train]).long()
    network.train()
    for number in range(steps):
        part = torch.arange(8) + 8 * (number % 4)
        loss = nn.functional.cross_entropy(network(images[part]), masks[part])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    reached, ceiling = Evaluator(2, foreground=1), Evaluator(2, foreground=1)
    how = Predict(mode="resize")
    with torch.inference_mode():
        for image, mask in samples[32:]:
            logits = predict_image(lambda x: network(normalize(x, "unit")), image, (size, size), how)
            reached.update(label_map(logits), mask)
            ceiling.update(expected(mask.numpy(), (size, size), how).astype(np.uint8), mask.numpy())
    return tuple(one.compute().per_class["iou"][1] for one in (reached, ceiling))  # type: ignore[return-value]


@pytest.mark.slow
def test_a_network_learns_to_the_ceiling_of_its_resolution_and_a_displaced_target_keeps_it_below(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reached, ceiling = learned()
    assert reached > ceiling - 0.03, f"{reached:.3f} of {ceiling:.3f}"
    monkeypatch.setattr(resize_module, "resize_mask", lambda mask, size: resize_mask(mask, size, "nearest"))
    displaced, same = learned()
    assert same == ceiling
    assert displaced < ceiling - 0.06, f"half a pixel of displacement costs nothing: {displaced:.3f} of {ceiling:.3f}"
