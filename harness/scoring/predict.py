"""A trained network -> logits and label maps at each image's original resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from harness.config.recipe import Predict, Recipe
from harness.errors import BadModel
from harness.losses import Loss
from harness.metrics import has_kernels
from harness.scoring.crf import refined
from harness.scoring.samples import DecodedSamples
from harness.utils.images import letterbox_margins, normalize, padded, resize_image
from harness.utils.normalization import BLACK

# uint8 images (N, 3, H, W) -> logits (N, K, H, W).
Network = Callable[[Tensor], Tensor]
# What brings an image (C, H, W) to another size.
Resize = Callable[[Tensor, tuple[int, int]], Tensor]


def split_outputs(outputs: Any, channels: int, size: Sequence[int]) -> tuple[Tensor, list[Tensor]]:
    """The main logits and the auxiliary ones of what a network returned.

    Args:
        outputs: a tensor (N, K, H, W), or torchvision's dict with `out` and any others.
        channels: K.
        size: H and W of the input.

    Raises:
        BadModel: the contract is broken; says what came and what was expected.
    """
    if isinstance(outputs, dict):
        if "out" not in outputs:
            raise BadModel(f"forward returned a dict without 'out'; it has {sorted(map(str, outputs))}")
        main, others = outputs["out"], [v for k, v in outputs.items() if k != "out"]
    else:
        main, others = outputs, []
    for tensor in (main, *others):
        if not isinstance(tensor, Tensor):
            raise BadModel(f"forward returned {type(tensor).__name__}, expected a torch tensor of logits")
        if not tensor.is_floating_point():
            raise BadModel(f"forward returned {tensor.dtype}, expected floating-point logits")
        if tensor.ndim != 4 or tensor.shape[1] != channels:
            raise BadModel(
                f"forward returned shape {tuple(tensor.shape)}, expected (N, {channels}, {size[0]}, {size[1]})"
            )
    if tuple(main.shape[-2:]) != tuple(size):
        raise BadModel(
            f"forward returned logits of {tuple(main.shape[-2:])} for an input of {tuple(size)}; they must agree"
        )
    return main, others


def padded_to_stride(images: Tensor, stride: int) -> Tensor:
    """Images (N, 3, H, W) with zeros at the right and bottom, so that the stride divides both sides."""
    height, width = images.shape[-2:]
    return pad(images, (0, -width % stride, 0, -height % stride))


@torch.inference_mode()
def predictions(
    model: nn.Module, samples: DecodedSamples, ids: Sequence[str], recipe: Recipe, channels: int, stride: int
) -> Iterator[tuple[str, Tensor]]:
    """The logits of each image at its original resolution.

    Args:
        model: the network; put into evaluation mode here, and back afterwards.
        samples: where the images come from.
        ids: which images, in order.
        recipe: how they are brought to the network.
        channels: K of the logits.
        stride: the network's stride.

    Yields:
        The image's id and its logits (K, H, W) in float32; where the recipe has a CRF, refined by it.

    Raises:
        BenchError: the recipe has a CRF, and its package is not installed.
    """
    crf = recipe.predict.crf
    for image_id, image, logits in _unrefined(model, samples, ids, recipe, channels, stride):
        if crf is not None:
            # Several channels for one class get what becomes of their mean.
            logits = refined(as_one_channel(logits, recipe.loss), image, crf).expand_as(logits)
        yield image_id, logits


def _unrefined(
    model: nn.Module, samples: DecodedSamples, ids: Sequence[str], recipe: Recipe, channels: int, stride: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each image's id, the image (3, H, W) and the network's logits for it."""
    was_training = model.training
    model.eval()
    try:
        if recipe.predict.mode == "resize" and not recipe.predict.augmented:
            yield from _resized_batches(model, samples, ids, recipe, channels, stride)
            return
        sigmoid = channels in (1, recipe.loss.sigmoid_channels)
        network = partial(forward, model, recipe=recipe, channels=channels, stride=stride)
        for image_id in ids:
            image = samples.image(image_id).to(next(model.parameters()).device)
            yield image_id, image, predict_image(network, image, recipe.size, recipe.predict, sigmoid, recipe.fill)
    finally:
        model.train(was_training)


def _resized_batches(
    model: nn.Module, samples: DecodedSamples, ids: Sequence[str], recipe: Recipe, channels: int, stride: int
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Images at the recipe's size, as many at once as training computes."""
    device, count = next(model.parameters()).device, recipe.at_once
    for first in range(0, len(ids), count):
        part = ids[first : first + count]
        images = [samples.image(image_id) for image_id in part]
        batch = torch.stack([resize_image(image, recipe.size) for image in images])
        logits = forward(model, batch.to(device), recipe, channels, stride)
        for image_id, image, one in zip(part, images, logits, strict=True):
            yield image_id, image, enlarged(one, image.shape[-2:])


def predict_image(
    network: Network,
    image: Tensor,
    size: tuple[int, int],
    how: Predict,
    sigmoid: bool = False,
    fill: Sequence[int] = BLACK,
    resize: Resize = resize_image,
) -> Tensor:
    """The logits (K, H, W) of one image (3, H, W) at its own resolution.

    With test-time augmentation, probabilities are averaged over scales and mirror images, and returned as logits again.

    Args:
        network: gives the logits.
        image: uint8.
        size: the recipe's.
        how: modes, scales and mirror images.
        sigmoid: each channel has a probability of its own; one channel always has.
        fill: the recipe's color of padding.
        resize: brings the image to the network's size.
    """
    height, width = image.shape[-2:]
    base = how.shown_size(height, width)
    if not how.augmented:
        shown = image if base == (height, width) else resize(image, base)
        return enlarged(predict_once(network, shown, size, how, fill, resize), (height, width))
    chances = []
    for scale in how.scales:
        if how.mode in ("resize", "letterbox"):
            shown, at = image, (round(size[0] * scale), round(size[1] * scale))
        else:
            shown, at = resize(image, (max(1, round(base[0] * scale)), max(1, round(base[1] * scale)))), size
        for mirrored in (False, True) if how.flip else (False,):
            logits = predict_once(network, shown.flip(-1) if mirrored else shown, at, how, fill, resize)
            logits = enlarged(logits.flip(-1) if mirrored else logits, (height, width))
            sigmoid = sigmoid or len(logits) == 1
            chances.append(logits.sigmoid() if sigmoid else logits.softmax(dim=0))
    mean = torch.stack(chances).mean(dim=0)
    return torch.logit(mean, eps=1e-7) if sigmoid else mean.clamp(min=1e-12).log()


def predict_once(
    network: Network,
    image: Tensor,
    size: tuple[int, int],
    how: Predict,
    fill: Sequence[int],
    resize: Resize,
) -> Tensor:
    """The logits (K, H, W) of one image (3, H, W), by the mode alone."""
    height, width = image.shape[-2:]
    if how.mode == "whole":
        return network(image[None])[0]
    if how.mode == "slide":
        return slide(network, image, size, how, fill)
    margins = letterbox_margins((height, width), size) if how.mode == "letterbox" else [0, 0, 0, 0]
    left, top, *_ = margins
    framed = padded(image, margins, fill)
    logits = enlarged(network(resize(framed, size)[None])[0], framed.shape[-2:])
    return logits[:, top : top + height, left : left + width]


def slide(network: Network, image: Tensor, window: tuple[int, int], how: Predict, fill: Sequence[int]) -> Tensor:
    """The logits (K, H, W) of overlapping windows, evenly spaced; a smaller image is padded."""
    height, width = image.shape[-2:]
    image = padded(image, (0, 0, max(0, window[1] - width), max(0, window[0] - height)), fill)
    weight = window_weight(window, how.blend).to(image.device)
    total: Tensor | None = None
    seen = torch.zeros(image.shape[-2:], device=image.device)
    for y in starts(image.shape[-2], window[0], how.overlap):
        for x in starts(image.shape[-1], window[1], how.overlap):
            place = (..., slice(y, y + window[0]), slice(x, x + window[1]))
            logits = network(image[place][None])[0] * weight
            if total is None:
                total = torch.zeros((len(logits), *image.shape[-2:]), device=image.device)
            total[place] += logits
            seen[place] += weight
    assert total is not None  # noqa: S101 (there is always a window)
    return (total / seen)[:, :height, :width]


def starts(length: int, window: int, overlap: float) -> list[int]:
    """Where windows begin so that they cover a length, evenly, each overlapping the next by at least a share."""
    rest = length - window
    if rest <= 0:
        return [0]
    steps = math.ceil(rest / max(1.0, window * (1 - overlap)))
    return [round(rest * step / steps) for step in range(steps + 1)]


def window_weight(window: tuple[int, int], blend: str) -> Tensor:
    """How much each pixel (h, w) of a window counts; `gaussian` has a deviation of an eighth of the side (nnU-Net)."""
    if blend == "mean":
        return torch.ones(window)
    sides = [torch.exp(-0.5 * ((torch.arange(n) - (n - 1) / 2) / (n / 8)) ** 2) for n in window]
    return torch.outer(*sides).clamp(min=1e-4)


def enlarged(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Logits (K, h, w) at another size, bilinearly."""
    if tuple(logits.shape[-2:]) == tuple(size):
        return logits
    return interpolate(logits[None], size=tuple(size), mode="bilinear", align_corners=False)[0]


def forward(model: nn.Module, images: Tensor, recipe: Recipe, channels: int, stride: int) -> Tensor:
    """Logits (N, K, H, W) in float32 of uint8 images (N, 3, H, W): normalized, padded, cut back."""
    height, width = images.shape[-2:]
    x = padded_to_stride(normalize(images, recipe.normalize), stride)
    with autocast(images.device, recipe.precision):
        main, _ = split_outputs(model(x), channels, x.shape[-2:])
    return main[..., :height, :width].float()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision as the recipe says; off for fp32."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def as_one_channel(logits: Tensor, loss: Loss) -> Tensor:
    """What labels and probabilities are made of: several sigmoid channels become one, other logits stay as they are.

    Args:
        logits: (K, H, W).
        loss: the recipe's; says whether its channels are several sigmoids for one class.

    Returns:
        (1, H, W), the logit of the mean of the K probabilities; else the logits.
    """
    if len(logits) == 1 or len(logits) != loss.sigmoid_channels:
        return logits
    return torch.logit(logits.sigmoid().mean(dim=0, keepdim=True))


def label_map(logits: Tensor) -> Tensor:
    """Logits (K, H, W) -> labels (H, W) in uint8, on their device.

    Of equal logits the first class counts; one sigmoid channel means class 1 where the logit is positive.
    """
    if logits.shape[0] == 1:
        return (logits[0] > 0).to(torch.uint8)
    if logits.device.type == "cpu" and logits.dtype == torch.float32 and has_kernels():
        from harness.metrics import fast

        return torch.from_numpy(fast.largest_channel(logits.contiguous().numpy()))
    return logits.argmax(dim=0).to(torch.uint8)


def confidence(logits: Tensor) -> Tensor:
    """The probability (H, W) of the label that `label_map` gives: of a softmax, or of one sigmoid channel."""
    if logits.shape[0] == 1:
        return torch.sigmoid(logits[0].abs())
    return torch.exp(logits.amax(dim=0) - torch.logsumexp(logits, dim=0)).clamp(max=1.0)


def foreground_probability(logits: Tensor, foreground: int) -> Tensor:
    """The probability (H, W) of a binary set's foreground from its logits: one sigmoid channel, or two of a softmax."""
    if logits.shape[0] == 1:
        return torch.sigmoid(logits[0] if foreground == 1 else -logits[0])
    return torch.sigmoid(logits[foreground] - logits[1 - foreground])
