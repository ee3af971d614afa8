"""Protocol: every convention that moves a score, frozen and hashed."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

# Raised whenever the same label maps would give other figures under the same protocol.
EVALUATOR_VERSION = 1


class Protocol(BaseModel):
    """How label maps are scored. Results of different hashes are never ranked together.

    Confusion-based metrics always drop pixels that are void in the target or not valid.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "standard"
    """What the board calls it; part of the hash, so that a renamed protocol stays apart."""

    void: Literal["fill", "mask"] = "fill"
    """Void for the boundary metrics. `fill`: a void target pixel near a valid one takes the nearest valid
    label. `mask`: void pixels belong to no class in either map."""

    fill_radius: int = Field(10, ge=0)
    """Pixels (Euclidean) up to which `fill` reaches; deeper void is masked."""

    out_of_range: Literal["raise", "fn"] = "raise"
    """A predicted label outside 0..K-1 on a scored pixel: an error, or a miss without a false positive."""

    background: int | None = 0
    """The class left out of the means of distances and boundary scores; None: all classes count."""

    background_in_boundary_means: bool = False
    """True keeps the background in those means. mIoU always keeps it, as VOC does."""

    absent: Literal["nan", "zero", "one"] = "nan"
    """IoU and Dice of a class that neither map holds: excluded from the mean, 0, or 1."""

    hd_percentile: float = Field(95.0, gt=0, le=100)
    """Percentile of the robust Hausdorff distance."""

    hd_percentile_rule: Literal["directed", "pooled"] = "directed"
    """`directed`: maximum of the two directed percentiles (MONAI). `pooled`: of both sets together (MedPy)."""

    spacing: tuple[float, float] = (1.0, 1.0)
    """Length of a pixel's side along y and x; distances are in this unit."""

    biou_dilation: float = Field(0.02, gt=0)
    """Width of the Boundary IoU band as a fraction of the image diagonal (Cheng et al. 2021)."""

    bf_tolerance: float = Field(0.0075, gt=0)
    """Tolerance of the boundary F-measure as a fraction of the image diagonal (Csurka et al. 2013)."""

    nsd_tolerance: float = Field(2.0, ge=0)
    """Tolerance of the normalised surface distance, in units of `spacing` (Nikolov et al. 2018)."""

    trimap: Literal["labels", "void"] = "labels"
    """Centre of the trimap band: target label changes, or the target's void pixels (Chen et al. 2018)."""

    trimap_radii: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Chebyshev radii, in pixels, of the trimap bands."""

    trimap_headline: int = 8
    """The radius whose score is `trimap_iou`."""

    smoke: bool = False
    """True for `--smoke` runs: their figures say that the parts work, and nothing else."""

    images: int | None = None
    """Score only this many images of each split; None scores all."""

    def canonical(self) -> str:
        """The protocol as canonical JSON: sorted keys, no spaces."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """SHA-256 over the protocol and the evaluator's version."""
        return hashlib.sha256(f"{EVALUATOR_VERSION}:{self.canonical()}".encode()).hexdigest()
