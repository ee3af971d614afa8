"""IoU in a band around borders."""

from __future__ import annotations

from harness.metrics.confusion import sum_cells
from harness.metrics.exact import Array
from harness.metrics.families.region import region_scores
from harness.metrics.metric import Metric, describe
from harness.metrics.protocol import Protocol
from harness.metrics.records import StatisticsTable

describe(Metric("trimap_iou", "Trimap IoU", "mIoU in a band around the target's borders.", family="trimap"))


def trimap_ious(table: StatisticsTable, num_classes: int, protocol: Protocol) -> dict[int, Array]:
    """IoU of each class inside the band of each radius (Kohli et al. 2009; Chen et al. 2018, section 4.4)."""
    scores = {}
    for index, radius in enumerate(protocol.trimap_radii):
        cells = table.trimap[table.trimap[:, 1] == index]
        confusion = sum_cells(cells[:, 2], cells[:, 3], cells[:, 4], num_classes)
        scores[radius] = region_scores(confusion, protocol)["iou"]
    return scores
