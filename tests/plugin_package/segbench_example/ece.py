"""Expected calibration error: do pixels that get a probability of 0.8 turn out right in 80 of 100 cases?"""

import numpy as np

from harness.metrics import Metric, Protocol, StatisticsTable
from harness.metrics.histogram import BINS, LIMIT

# As many bins of equal width in confidence as Guo et al. use.
CONFIDENCE_BINS = 15


def expected_calibration_error(
    statistics: StatisticsTable, num_classes: int, protocol: Protocol, foreground: int | None
) -> float | None:
    """The mean over pixels of |accuracy - confidence| of their bin (Guo et al., ICML 2017, equation 3).

    The stored histograms count the pixels of each image by the foreground's probability, in bins of equal width in
    log-odds. A pixel's probability is taken to be that of the middle of its bin, which is off by less than 0.004.
    Its confidence is the probability of the label that was predicted, which lies between one half and 1.

    Args:
        statistics: of any set of images.
        num_classes: 2.
        protocol: not needed: void pixels are not in the histograms.
        foreground: of the data set.

    Returns:
        A share in 0 to 0.5, or None where no probabilities were kept.
    """
    bins, positive, pixels = statistics.histogram[:, 1:].T
    if not len(pixels):
        return None
    odds = (bins + 0.5) * (2 * LIMIT / BINS) - LIMIT
    probability = 1 / (1 + np.exp(-odds))
    confidence = np.maximum(probability, 1 - probability)
    right = np.where(positive == (probability >= 0.5), pixels, 0)
    place = np.minimum(((confidence - 0.5) * 2 * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    total, hits, mass = (
        np.bincount(place, weights=w, minlength=CONFIDENCE_BINS) for w in (pixels, right, pixels * confidence)
    )
    return float(np.abs(hits - mass).sum() / total.sum())


METRIC = Metric(
    name="ece",
    title="ECE",
    definition="Expected calibration error of the foreground's probability, 15 bins (Guo et al. 2017).",
    higher_is_better=False,
    foreground_only=True,
    compute=expected_calibration_error,
)
