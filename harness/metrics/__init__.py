"""The standardized evaluator: label maps in, per-image statistics out, scores folded from those."""

from harness.metrics.evaluator import Evaluator
from harness.metrics.metric import Metric, find_metric, higher_is_better
from harness.metrics.protocol import EVALUATOR_VERSION, Protocol
from harness.metrics.records import ImageStatistics, StatisticsTable
from harness.metrics.scores import Scores, fold
from harness.metrics.statistics import has_kernels, image_statistics, reference_statistics
from harness.metrics.sums import ClassSums, ImageSums, ScoredImages

__all__ = [
    "EVALUATOR_VERSION",
    "ClassSums",
    "Evaluator",
    "ImageStatistics",
    "ImageSums",
    "Metric",
    "Protocol",
    "ScoredImages",
    "Scores",
    "StatisticsTable",
    "find_metric",
    "fold",
    "has_kernels",
    "higher_is_better",
    "image_statistics",
    "reference_statistics",
]
