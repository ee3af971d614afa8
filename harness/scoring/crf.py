"""The fully connected CRF as the last step of a prediction (Krähenbühl and Koltun, NIPS 2011).

Every pair of pixels is connected; what they cost each other with different labels are two Gaussian kernels, of place
and color and of place alone. Mean-field inference over all pairs is quick because each step is a filter, which
pydensecrf computes on a permutohedral lattice.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from harness.config.recipe import Crf
from harness.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

# The least probability a label keeps: one of zero could never be moved.
LEAST = 1e-12


def require_crf() -> None:
    """See to it that the CRF can be computed here.

    Raises:
        BenchError: its package is not installed; says how to get it.
    """
    if importlib.util.find_spec("pydensecrf") is None:
        raise BenchError(
            "predict.crf: the package pydensecrf2 is not installed",
            'pip install "segbench[crf]" (compiled as it is installed, so a C++ compiler is needed), or leave out '
            "predict.crf.",
        )


def refined(logits: Tensor, image: Tensor, crf: Crf) -> Tensor:
    """Logits after the CRF.

    The kernels are normalized as in the authors' code: by the root of both pixels' sums.

    Args:
        logits: (K, H, W), or one sigmoid channel (1, H, W).
        image: (3, H, W) uint8, as it was before any change of size.
        crf: the CRF's parameters.

    Returns:
        Logits of the same shape, on the same device: their softmax (or sigmoid) is the mean-field's distribution.

    Raises:
        BenchError: the package is not installed.
    """
    require_crf()
    import torch
    from pydensecrf.densecrf import DenseCRF2D

    one_channel = len(logits) == 1
    logits = logits.float()
    chances = torch.cat([(-logits).sigmoid(), logits.sigmoid()]) if one_channel else logits.softmax(dim=0)
    chances = chances.clamp(min=LEAST)
    count, height, width = chances.shape
    field = DenseCRF2D(width, height, count)
    field.setUnaryEnergy((-chances.log()).flatten(1).cpu().contiguous().numpy())
    field.addPairwiseGaussian(sxy=crf.smoothness_distance, compat=crf.smoothness_weight)
    field.addPairwiseBilateral(
        sxy=crf.appearance_distance,
        srgb=crf.appearance_color,
        rgbim=image.permute(1, 2, 0).cpu().contiguous().numpy(),
        compat=crf.appearance_weight,
    )
    found = np.array(field.inference(crf.iterations)).reshape(count, height, width)
    logs = torch.from_numpy(found).to(logits.device).clamp(min=LEAST).log()
    return logs[1:] - logs[:1] if one_channel else logs
