"""The loss, which is a score that is kept: the recipe's own, of each image."""

from harness.metrics.metric import Metric, describe

describe(
    Metric("loss", "Loss", "The recipe's loss, averaged over images.", higher_is_better=False, family="loss"),
)
