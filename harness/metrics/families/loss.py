"""Losses, which are scores that are kept: the recipe's own, of each image, and of batches where the recipe says so."""

from __future__ import annotations

from harness.metrics.exact import mean
from harness.metrics.metric import Metric, describe
from harness.metrics.records import StatisticsTable
from harness.metrics.sums import mean_of_images

describe(
    Metric(
        "loss",
        "Loss",
        "The recipe's loss, averaged over images.",
        higher_is_better=False,
        family="loss",
        sums=lambda images: mean_of_images(images.table.loss),
    ),
    Metric(
        "batch_loss",
        "Batch loss",
        "The recipe's loss of each batch of `predict.loss_batch` images on the network's own input, averaged over "
        "batches.",
        higher_is_better=False,
        family="loss",
    ),
    Metric(
        "batch_loss_min",
        "Batch loss (min)",
        "The lowest loss of a batch.",
        higher_is_better=False,
        family="loss",
    ),
    Metric(
        "batch_loss_max",
        "Batch loss (max)",
        "The highest loss of a batch.",
        higher_is_better=False,
        family="loss",
    ),
)


def batch_loss_scores(table: StatisticsTable) -> dict[str, float | None]:
    """Mean, lowest and highest loss of a batch; nothing where no batch is kept."""
    losses = table.batch_loss
    if not len(losses):
        return {}
    return {
        "batch_loss": mean(losses),
        "batch_loss_min": mean([losses.min()]),
        "batch_loss_max": mean([losses.max()]),
    }
