"""Importing torchvision where its compiled operators do not fit the installed torch.

The torchvision wheel on the package index is built against the CUDA build of torch. Beside a CPU build its
import fails with "operator torchvision::nms does not exist", because it registers shape functions for
operators that its library, which cannot be loaded, would have defined. Nothing here needs these operators.
Defining their signatures first lets the import pass; where the operators exist, nothing is touched.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

_SIGNATURES = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_library: object | None = None  # keeps the definitions alive


def import_torchvision() -> ModuleType:
    """Import torchvision, with the missing operators' signatures defined where they are missing."""
    global _library
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    for name in [n for n in sys.modules if n == "torchvision" or n.startswith("torchvision.")]:
        del sys.modules[name]
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for signature in _SIGNATURES:
        if not hasattr(torch.ops.torchvision, signature.split("(")[0]):
            library.define(signature)
    _library = library
    return importlib.import_module("torchvision")


def is_shimmed() -> bool:
    """Whether the definitions above were needed in this process."""
    return _library is not None
