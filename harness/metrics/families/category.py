"""IoU of categories: groups of classes among which confusions are forgiven."""

from __future__ import annotations

import numpy as np

from harness.metrics.families.region import ratio_sums
from harness.metrics.metric import Metric, describe
from harness.metrics.sums import Counts, ImageSums, ScoredImages


def _category_iou(images: ScoredImages) -> ImageSums:
    """Each class replaced by its category, as in Cityscapes (Cordts et al., CVPR 2016, section 4)."""
    protocol, count = images.protocol, len(images.table.ids)
    if protocol.categories is None:
        return ImageSums(np.zeros((count, 1)), lambda sums: np.full(sums.shape[:-1], np.nan))
    if len(protocol.categories) != images.num_classes:
        raise ValueError(f"the protocol has categories of {len(protocol.categories)} classes, not {images.num_classes}")
    categories = max(protocol.categories) + 1
    to = np.array([*protocol.categories, categories])  # the last: predictions out of range
    cells = images.table.confusion.copy()
    cells[:, 1:3] = to[cells[:, 1:3]]
    return ratio_sums(Counts.of(cells, count, categories), protocol, "iou", images.scored).mean()


describe(
    Metric(
        "category_iou",
        "Category IoU",
        "Mean over the data set's categories of classes (vehicles, nature, …) of their IoU.",
        family="agreement",
        sums=_category_iou,
        moved_by=("level", "mean_over", "absent"),
    )
)
