"""Where a network's logits look: they move with the image, by as many pixels, at every size."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from harness.models import build
from harness.models.registry import find_model
from harness.scoring.predict import padded_to_stride
from tests.harness.test_models import SMALL

# Parts that look at the whole image, or take the greatest value around: what they add to the others is left out.
SILENT = ("contexts", "pool", "tail", "weigh", "attention.conv2", "attention.project", "pooling.links")
# Forms of the small networks that are upsampled in another way.
FORMS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in SMALL if name != "segnet"),  # SegNet puts values back where they came from
    ("fcn32s", {"padding": "same"}),
    ("pspnet", {"align_corners": False}),
    ("pspnet", {"output_stride": 16}),
    ("emanet", {"align_corners": False}),
    ("unetpp", {"up": "learned"}),
    ("unet", {"padding": "valid"}),
    ("deeplabv2", {"scales": (1.0, 0.75, 0.5)}),
    ("deeplabv3", {"head": "mmseg"}),
    ("deeplabv3plus", {"head": "mmseg"}),
    ("deeplabv3plus", {"upsampling": "bicubic"}),
]


def looking_straight(model: nn.Module) -> nn.Module:
    """The same network, but for what its layers compute: each passes on the mean of the channels where it looks.

    What remains is where it looks: strides, poolings and upsampling.
    """
    for layer in list(model.modules()):
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.weight)
            middle = tuple(side // 2 for side in layer.kernel_size)
            nn.init.constant_(layer.weight[(..., *middle)], 1 / layer.weight.shape[1])
        elif isinstance(layer, nn.Linear) or (isinstance(layer, nn.ConvTranspose2d) and layer.kernel_size == (2, 2)):
            nn.init.constant_(layer.weight, 1 / layer.weight.shape[isinstance(layer, nn.Linear)])
        if isinstance(getattr(layer, "bias", None), Tensor):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        for own, child in layer.named_children():
            if isinstance(child, nn.BatchNorm2d | nn.LayerNorm | nn.GELU):
                setattr(layer, own, nn.Identity())
            elif isinstance(child, nn.MaxPool2d):  # the greatest value of a ramp is that of its end
                pool = nn.AvgPool2d(child.kernel_size, child.stride, child.padding, child.ceil_mode, False)
                setattr(layer, own, pool)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if any(f"{part}." in name for part in SILENT) or name.endswith("shift"):
            nn.init.zeros_(value)
    return model.eval()


def places_seen(model: nn.Module, stride: int, side: int) -> list[Tensor]:
    """The column that each column of the logits sees in each row (side, side), and the row that each row sees."""
    ramp = torch.arange(side, dtype=torch.float32)
    images = torch.stack([ramp.expand(side, -1), ramp[:, None].expand(-1, side), torch.ones(side, side)])
    # Small, for activations that end at 6.
    images = images[:, None].expand(-1, 3, -1, -1) * 1e-4
    with torch.no_grad():
        columns, rows, whole = model(padded_to_stride(images, stride))[:, 0, :side, :side]
    return [columns / whole, (rows / whole).T]


@pytest.mark.parametrize(("name", "own"), FORMS, ids=[f"{n}-{'-'.join(map(str, o.values()))}" for n, o in FORMS])
def test_an_image_moved_by_the_stride_moves_the_logits_by_the_stride(name: str, own: dict[str, Any]) -> None:
    stride = find_model(name).stride
    model = looking_straight(build(name, 2, **{**SMALL[name], **own}))
    # The networks that take every size score at 1/8 or 1/16 within.
    step = own.get("output_stride", max(stride, 8))
    sides = range(64, 97) if step < 32 else range(192, 225, 3)
    # Away from the border, where places are repeated.
    margin = (sides[0] - step - 1) // 2
    for side in sides:
        for seen in places_seen(model, stride, side):
            moved = (seen[:, step:] - seen[:, :-step])[margin:-margin, margin : side - step - margin]
            assert float((moved - step).abs().max()) < 0.05, f"at {side}×{side}"


@pytest.mark.parametrize("name", ["pspnet", "emanet"])
def test_with_corners_on_corners_every_pixel_is_scored_where_it_is(name: str) -> None:
    model = looking_straight(build(name, 2, **SMALL[name]))
    for side in range(64, 97):
        for seen in places_seen(model, find_model(name).stride, side):
            inner = seen[16:-16, 16:-16]  # zeros follow
            assert torch.allclose(inner, torch.arange(16.0, side - 16).expand_as(inner), atol=1e-3), f"at {side}×{side}"
