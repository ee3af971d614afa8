"""IoU in a band around borders."""

from __future__ import annotations

from harness.metrics.families.region import ratio_sums
from harness.metrics.metric import Metric, describe
from harness.metrics.sums import ClassSums, Counts, ScoredImages


def trimap_sums(images: ScoredImages, radius: int) -> ClassSums:
    """IoU of each class inside the band of a radius (Kohli et al. 2009; Chen et al. 2018, section 4.4)."""
    protocol = images.protocol.model_copy(update={"level": "dataset"})
    cells = images.table.trimap[images.table.trimap[:, 1] == protocol.trimap_radii.index(radius)]
    return ratio_sums(Counts.of(cells[:, [0, 2, 3, 4]], len(images.table.ids), images.num_classes), protocol, "iou")


describe(
    Metric(
        "trimap_iou",
        "Trimap IoU",
        "mIoU in a band around the target's borders.",
        family="trimap",
        sums=lambda images: trimap_sums(images, images.protocol.trimap_headline),
    )
)
