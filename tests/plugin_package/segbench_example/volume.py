"""Volumetric similarity: does a prediction take as much room as the truth, wherever it lies?"""

import numpy as np

from harness.metrics import ClassSums, Metric, ScoredImages


def volumetric_similarity(images: ScoredImages) -> ClassSums:
    """1 - |P - T| / (P + T), with a class's pixels P in the prediction and T in the target.

    Taha and Hanbury, Metrics for evaluating 3D medical image segmentation, BMC Medical Imaging 2015, section 3.2.

    Args:
        images: their statistics; `images.counts` has the pixels of each image and class.

    Returns:
        What is summed over images, and the figure of each class from the sums; NaN where neither map holds the class.
    """

    def fold(sums: np.ndarray) -> np.ndarray:
        true, predicted = sums[..., 0, :], sums[..., 1, :]
        with np.errstate(invalid="ignore"):
            return 1 - np.abs(predicted - true) / (predicted + true)

    sums = ClassSums(np.stack([images.counts.row, images.counts.column], axis=1), fold)
    return sums.image_by_image(images.scored) if images.protocol.level == "image" else sums


METRIC = Metric(
    name="vs",
    title="VS",
    definition="Volumetric similarity: how alike in area prediction and truth are (Taha and Hanbury 2015).",
    per_class=True,
    sums=volumetric_similarity,
    moved_by=("level",),
)
