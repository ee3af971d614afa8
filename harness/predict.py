"""A trained network -> logits and label maps at each image's original resolution."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from harness.datasets.loader import DecodedSamples
from harness.datasets.transforms import normalise, resize_image
from harness.errors import BadModel
from harness.metrics import has_kernels
from harness.recipe import Recipe


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
        The image's id and its logits (K, H, W) in float32.
    """
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        step = recipe.batch_size if recipe.predict.mode == "resize" else 1
        for first in range(0, len(ids), step):
            part = ids[first : first + step]
            images = [samples.get(image_id)[0] for image_id in part]
            if recipe.predict.mode == "resize":
                batch = torch.stack([resize_image(image, recipe.size) for image in images])
            else:
                batch = images[0][None]
            logits = forward(model, batch.to(device), recipe, channels, stride)
            for image_id, image, one in zip(part, images, logits, strict=True):
                size = image.shape[-2:]
                if one.shape[-2:] != size:
                    one = interpolate(one[None], size=size, mode="bilinear", align_corners=False)[0]
                yield image_id, one
    finally:
        model.train(was_training)


def forward(model: nn.Module, images: Tensor, recipe: Recipe, channels: int, stride: int) -> Tensor:
    """Logits (N, K, H, W) in float32 of uint8 images (N, 3, H, W): normalised, padded, cut back."""
    height, width = images.shape[-2:]
    x = padded_to_stride(normalise(images, recipe.normalize), stride)
    with autocast(images.device, recipe.precision):
        main, _ = split_outputs(model(x), channels, x.shape[-2:])
    return main[..., :height, :width].float()


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Mixed precision as the recipe says; off for fp32."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


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


def foreground_probability(logits: Tensor, foreground: int) -> Tensor:
    """The probability (H, W) of a binary set's foreground from its logits: one sigmoid channel, or two of a softmax."""
    if logits.shape[0] == 1:
        return torch.sigmoid(logits[0] if foreground == 1 else -logits[0])
    return torch.sigmoid(logits[foreground] - logits[1 - foreground])
