"""`bench new-model`: a file to begin with."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

TEMPLATE = '''\
"""{name}: what it is, in a line."""

from torch import nn

NAME = "{name}"  # what suites and boards call it
STRIDE = 4  # height and width of the input are padded to multiples of it
PRETRAINED_ON = "none"  # what its first weights were trained on, e.g. "ImageNet-1k"; boards rank apart by it
BACKBONE = ()  # the submodules that pretrained weights fill, e.g. ("encoder",)
AUTHORS = ""  # this and the next two are shown beside its figures
PAPER = ""
LICENSE = ""
# REQUIRES = ("timm>=1.0",)  # packages that it needs
# NORMALIZE = "unit"  # imagenet, unit or symmetric: where it needs another input than the suite's recipe gives
# SIZE = (512, 512)  # where it needs a size of its own


class Net(nn.Module):
    """Two strided convolutions, and logits at the size of the image. Replace it."""

    def __init__(self, num_classes, width):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        )
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, x):  # (N, 3, H, W), H and W multiples of STRIDE
        logits = self.head(self.body(x))
        return nn.functional.interpolate(logits, x.shape[-2:], mode="bilinear")  # (N, num_classes, H, W)


def build(num_classes, width=16):  # what else it takes is set by --param width=32, or by a suite's params
    return Net(num_classes, width)
'''


def new_model(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="A file that does not exist yet.")],
) -> None:
    """Write a model file to begin with: a small network that trains, with everything a file can say of itself.

    Example: bench new-model my_net.py
    """
    from bench.export import write_whole
    from harness.errors import BenchError
    from harness.models.registry import known_models

    if file.suffix != ".py":
        raise BenchError(f"{file}: a model file ends in .py", f"For example: bench new-model {file.name}.py")
    if file.exists():
        raise BenchError(f"{file}: is there already; it was left alone")
    if not file.parent.is_dir():
        raise BenchError(f"{file.parent}: there is no such folder")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "_", file.stem)
    if name in known_models():
        raise BenchError(f"{file}: {name} is a network that comes with the project", "Choose another name.")
    write_whole(file, TEMPLATE.format(name=name))
    print(f"wrote {file}\nNext: bench check-model {file}\nThen: bench submit {file} --suite demo")
