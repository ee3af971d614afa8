"""Whether a network knows when it is right: from the confidence in each pixel's predicted label."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.special import digamma

from harness.metrics.confidence import bin_confidences
from harness.metrics.exact import Array, divide, total
from harness.metrics.histogram import area_under_curve
from harness.metrics.metric import Metric, describe
from harness.metrics.sums import ImageSums, ScoredImages

_CONFIDENCE = bin_confidences()
# As many groups of equal width in confidence as Guo et al. use.
_GROUPS = 15
_GROUP = np.minimum((_CONFIDENCE * _GROUPS).astype(int), _GROUPS - 1)


def _expected_calibration_error(wrong: Array, right: Array) -> Array:
    """Guo et al., On Calibration of Modern Neural Networks, ICML 2017, equation 3."""
    pixels = wrong + right
    gaps = (right - pixels * _CONFIDENCE) @ np.eye(_GROUPS)[_GROUP]
    return divide(total(np.abs(gaps)), total(pixels))


def _brier(wrong: Array, right: Array) -> Array:
    """The mean squared difference of the confidence and whether the label is right (1) or not (0)."""
    return divide(total(right * (1 - _CONFIDENCE) ** 2 + wrong * _CONFIDENCE**2), total(wrong + right))


def _confidence_auroc(wrong: Array, right: Array) -> Array:
    """Area under the ROC curve of the confidence as a sign that the label is right."""
    return area_under_curve(wrong[..., ::-1], right[..., ::-1])


def _risk_coverage(wrong: Array, right: Array) -> Array:
    """The mean over all coverages of the share of errors among the most confident pixels.

    Geifman and El-Yaniv, Selective Classification for Deep Neural Networks, NeurIPS 2017. Pixels of one bin come in any
    order: after j of its n pixels (E + je/n) of (N + j) are errors, and the mean over j has a closed form.
    """
    pixels = wrong + right
    ahead, errors = np.cumsum(pixels, axis=-1) - pixels, np.cumsum(wrong, axis=-1) - wrong
    rate = np.nan_to_num(divide(wrong, pixels))
    harmonic = digamma(ahead + pixels + 1) - digamma(ahead + 1)
    return divide(total(rate * pixels + (errors - rate * ahead) * harmonic), total(pixels))


def _confidence(
    name: str, title: str, definition: str, figure: Callable[[Array, Array], Array], higher_is_better: bool = False
) -> Metric:
    def sums(images: ScoredImages) -> ImageSums:
        return ImageSums(images.confidences, lambda sums: figure(*np.split(sums, 2, axis=-1)))

    return Metric(name, title, definition, higher_is_better=higher_is_better, family="calibration", sums=sums)


describe(
    _confidence(
        "ece",
        "ECE",
        "Expected calibration error of the predicted label's probability, 15 groups (Guo et al. 2017).",
        _expected_calibration_error,
    ),
    _confidence("brier", "Brier", "Brier score of the predicted label's probability.", _brier),
    _confidence(
        "confidence_auroc",
        "Confidence AUROC",
        "How well confidence tells right pixels from wrong ones: area under the ROC curve.",
        _confidence_auroc,
        higher_is_better=True,
    ),
    _confidence("aurc", "AURC", "Area under the risk-coverage curve (Geifman and El-Yaniv 2017).", _risk_coverage),
)
