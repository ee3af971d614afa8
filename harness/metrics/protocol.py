"""Protocol: every convention that moves a score, frozen and hashed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator

from harness.utils.canonical import canonical

# Raised, after a release, whenever the same label maps would give other figures under the same protocol.
EVALUATOR_VERSION = 1

# Distances are rounded: three pixels of .1 are more than .3.
_ROUNDED = 1 + 1e-9


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

    boundary_means_over: Literal["union", "target", "both"] = "union"
    """The images over which distances and boundary scores of a class are averaged. `union`: those in which either map
    holds it, so that a missed class and a false alarm cost the image's diagonal (a score: 0), the worst there is
    (MetricsReloaded). `target`: those whose target holds it, so that false alarms vanish. `both`: those in which both
    maps hold it. Boundary IoU follows it where it is averaged over images."""

    distance_unit: Literal["spacing", "diagonal"] = "spacing"
    """What distances are measured in: the unit of `spacing`, or the image's diagonal."""

    structures: Literal["foreground", "all", "none"] = "foreground"
    """Which classes have their skeleton, components and holes counted: the class that counts in a binary set, every
    class but the background (about 60 ms for each in an image of 512×512), or none."""

    categories: tuple[NonNegativeInt, ...] | None = None
    """The category of each class, from 0; None: the data set has none."""

    size: tuple[int, int] | None = None
    """Height and width to which both label maps are brought, by the nearest pixel, before they are scored; None, and
    nothing else, scores at the image's own resolution."""

    level: Literal["dataset", "image"] = "dataset"
    """`dataset`: region scores and Boundary IoU from counts summed over all images. `image`: scored image by image,
    averaged over the images where the score is defined, then over classes (MONAI)."""

    mean_over: Literal["union", "target"] = "union"
    """`union`: region scores of a class count where either map holds it. `target`: only where the target does, so that
    false alarms of an absent class vanish (MONAI, and mean IoU over the classes of the ground truth)."""

    absent: Literal["nan", "zero", "one"] = "nan"
    """IoU and Dice of a class that is absent (see `mean_over`): excluded from the mean, 0, or 1."""

    f1: Literal["dice", "mmseg"] = "dice"
    """`dice`: 2TP / (2TP + FP + FN). `mmseg`: from precision and recall, so that a class that is never predicted is
    undefined and leaves the mean."""

    boundary: Literal["inner", "set", "davis", "deepmind"] = "inner"
    """The points between which distances and NSD are measured. `inner`: pixels of the mask with a 4-neighbour outside
    it, the image's border being outside (MedPy, MONAI). `set`: all pixels of the mask (scikit-image). `davis`: pixels
    that differ from their right, lower or lower right neighbour. `deepmind`: corners between pixels, each weighted by
    the length of the contour there (surface-distance)."""

    hd_percentile: float = Field(95.0, gt=0, le=100)
    """Percentile of the robust Hausdorff distance."""

    hd_percentile_rule: Literal["directed", "pooled", "deepmind"] = "directed"
    """`directed`: maximum of the two directed percentiles (MONAI). `pooled`: of both sets together (MedPy).
    `deepmind`: as directed, by contour length and without interpolation."""

    spacing: tuple[float, float] = (1.0, 1.0)
    """Length of a pixel's side along y and x; distances are in this unit."""

    biou_dilation: float = Field(0.02, gt=0)
    """Width of the Boundary IoU band as a fraction of the image diagonal (Cheng et al. 2021)."""

    biou_width: int | None = Field(None, ge=1)
    """Width of the band in pixels, whatever the image's size; None: by `biou_dilation`."""

    biou_band: Literal["chessboard", "euclidean"] = "chessboard"
    """How the band's width is measured (MetricsReloaded: Euclidean)."""

    bf: Literal["inner", "davis"] = "inner"
    """Boundary F-measure. `inner`: on inner edges. `davis`: on DAVIS's edges, within a whole number of pixels, averaged
    over all images; neither map having an edge scores 1."""

    bf_tolerance: float | None = Field(None, gt=0)
    """Tolerance of the boundary F-measure as a fraction of the image diagonal; None: 0.0075 (Csurka et al. 2013), and
    0.008, rounded up to whole pixels, for `davis`."""

    nsd_tolerance: float = Field(2.0, ge=0)
    """Tolerance of the normalised surface distance, in units of `spacing` (Nikolov et al. 2018)."""

    trimap: Literal["labels", "void"] = "labels"
    """Centre of the trimap band: target label changes, or the target's void pixels (Chen et al. 2018)."""

    trimap_band: Literal["chessboard", "euclidean"] = "chessboard"
    """How the distance from that centre is measured."""

    trimap_radii: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Radii, in pixels, of the trimap bands."""

    trimap_headline: int = 8
    """The radius whose score is `trimap_iou`."""

    @model_validator(mode="after")
    def _agree(self) -> Protocol:
        if self.trimap_headline not in self.trimap_radii:
            raise ValueError(f"trimap_headline {self.trimap_headline} is not one of trimap_radii {self.trimap_radii}")
        if min(self.spacing) <= 0:
            raise ValueError(f"spacing {self.spacing} must be positive")
        return self

    def bf_limit(self, height: int, width: int) -> float:
        """The tolerance of the boundary F-measure on an image, in units of the spacing (`davis`: in pixels)."""
        if self.bf == "davis":
            return math.ceil((self.bf_tolerance or 0.008) * math.hypot(height, width))
        diagonal = math.hypot(height * self.spacing[0], width * self.spacing[1])
        return (self.bf_tolerance or 0.0075) * diagonal * _ROUNDED

    @property
    def nsd_limit(self) -> float:
        """The distance up to which a boundary point is within the NSD's tolerance."""
        return self.nsd_tolerance * _ROUNDED

    @classmethod
    def from_stored(cls, stored: Mapping[str, Any]) -> Protocol:
        """The protocol of what `stored` gave."""
        return cls.model_validate({key: value for key, value in stored.items() if key not in ("smoke", "images")})

    def stored(self, smoke: bool = False, images: int | None = None) -> dict[str, Any]:
        """What the database keeps of the conventions, and what of the data was scored under them.

        Args:
            smoke: whether the figures only say that the parts work; part of the name, too.
            images: how many images of each split were scored; None: all.
        """
        return self.model_dump(mode="json") | self._about(smoke, images)

    def canonical(self, smoke: bool = False, images: int | None = None) -> str:
        """What of `stored` the hash is taken over, as canonical JSON: sorted keys, no spaces."""
        return json.dumps(canonical(self) | self._about(smoke, images), sort_keys=True, separators=(",", ":"))

    def _about(self, smoke: bool, images: int | None) -> dict[str, Any]:
        return {"name": f"{self.name}-smoke" if smoke else self.name, "smoke": smoke, "images": images}

    def hash_of(self, smoke: bool = False, images: int | None = None) -> str:
        """SHA-256 over `canonical` and the evaluator's version; two hashes are never ranked together."""
        return _hash(self, smoke, images)

    @property
    def hash(self) -> str:
        """`hash_of` for scores of all images."""
        return self.hash_of()


def protocol_title(stored: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> str:
    """What a board calls a protocol: its name, and every field that differs from the usual one, `standard, void=mask`.

    Args:
        stored: what `Protocol.stored` gave, or fields of it; those of a newer version count as different.
        usual: fields that follow from the data set (`DatasetInfo.protocol`); the others are usual at their defaults.
    """
    plain = Protocol.model_validate(usual or {}).model_dump(mode="json")
    differing = [
        f"{name}={_told(value)}"
        for name, given in stored.items()
        for value in [list(given) if isinstance(given, tuple) else given]
        if name not in ("name", "smoke", "images") and (name not in plain or plain[name] != value)
    ]
    images = stored.get("images")
    few = [f"{images} images of each split"] if images is not None and not stored.get("smoke") else []
    return ", ".join([str(stored.get("name", "standard")), *differing, *few])


def _told(value: Any) -> str:
    """A field's value in a title."""
    if isinstance(value, list | tuple):
        return "×".join(map(_told, value))
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


@lru_cache(maxsize=256)
def _hash(protocol: Protocol, smoke: bool, images: int | None) -> str:
    # Asked for each of ten thousand jobs, of which all have the same.
    text = f"{EVALUATOR_VERSION}:{protocol.canonical(smoke, images)}"
    return hashlib.sha256(text.encode()).hexdigest()
