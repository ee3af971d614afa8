"""One split of a trained network: predicted, scored at the original resolution, its label maps kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from torch import Tensor

from harness.config.job import Job
from harness.datasets.palette import save_labels
from harness.metrics import StatisticsTable
from harness.runner.trainer import NetworkHandle
from harness.scoring.batch_loss import batch_losses
from harness.scoring.evaluate import Predicted, evaluate_images, stored_label_maps
from harness.scoring.keep import PREDICTIONS, STATISTICS, evaluation, gallery, kept_label_maps, worst_images
from harness.scoring.predict import as_one_channel, confidence, foreground_probability, label_map
from harness.scoring.samples import DecodedSamples
from harness.tasks.result import Evaluation, GalleryImage, LabelMaps
from harness.tasks.task import Task
from harness.training.loop import image_loss

SCORED_SPLITS = ("val", "test")


@dataclass(frozen=True)
class SplitScores:
    """What scoring a split gave."""

    evaluation: Evaluation
    label_maps: LabelMaps | None = None
    """None where they had been kept before."""
    gallery: list[GalleryImage] = field(default_factory=list)
    predict_s: float = 0.0
    """Seconds of prediction."""
    evaluate_s: float = 0.0
    """Seconds of everything else."""


def predict_and_score(task: Task, samples: DecodedSamples, network: NetworkHandle, split: str) -> SplitScores:
    """Score what a network gives for a split and keep its label maps: image by image, none held for long.

    Args:
        task: says job and folder.
        samples: where the truth comes from.
        network: gives the logits.
        split: `val` or `test`.
    """
    job, dataset, folder = task.job, samples.dataset, task.files.local
    began = time.monotonic()
    predicted = Timed(predicted_images(job, samples, network.logits(split, job.images)))
    with kept_label_maps(folder, split) as kept:
        evaluator = evaluate_images(
            dataset,
            job.protocol,
            predicted,
            job.resources.cpus,
            lambda one: save_labels(kept.folder / f"{one.image_id}.png", one.labels, dataset.info.palette),
        )
        table = with_batch_losses(evaluator.statistics(), job, samples, network, split)
        (kept.folder / STATISTICS).write_bytes(table.to_bytes())
    label_maps = kept.finished
    shown: list[GalleryImage] = []
    if split == "test":
        worst = worst_images(table, len(dataset.info.classes), dataset.info.foreground, job.protocol)
        shown = gallery(dataset, dataset.ids(split, job.images), folder / label_maps.path, worst)
    spent = time.monotonic() - began
    return SplitScores(
        evaluation(dataset, split, evaluator, table), label_maps, shown, predicted.seconds, spent - predicted.seconds
    )


def rescore_split(task: Task, split: str) -> SplitScores:
    """Score the label maps that a run keeps of a split, under the job's protocol."""
    job, dataset = task.job, task.dataset
    began = time.monotonic()
    kept = task.files.fetch(f"{PREDICTIONS}/{split}")
    label_maps = stored_label_maps(kept, dataset.ids(split, job.images))
    evaluator = evaluate_images(dataset, job.protocol, label_maps, job.resources.cpus)
    before = StatisticsTable.from_bytes((kept / STATISTICS).read_bytes())
    scored = evaluation(dataset, split, evaluator, evaluator.statistics().with_scores_of(before))
    return SplitScores(scored, evaluate_s=time.monotonic() - began)


def predicted_images(job: Job, samples: DecodedSamples, logits_of: Iterator[tuple[str, Tensor]]) -> Iterator[Predicted]:
    """Label map, loss, confidence and, on binary sets, the foreground's probability of each image, as it was."""
    info = samples.dataset.info
    table = job.model.label_map
    for image_id, logits in logits_of:
        if table is not None:  # other classes: neither a loss nor a probability of ours
            yield Predicted(image_id, np.asarray(table, dtype=np.uint8)[label_map(logits).numpy()])
            continue
        _, mask, valid = samples.get(image_id)
        loss = image_loss(logits, mask, valid, job.recipe, info.ignore_index)
        logits, score = as_one_channel(logits, job.recipe.loss), None
        if info.foreground is not None and len(info.classes) == 2:
            score = foreground_probability(logits, info.foreground).numpy()
        yield Predicted(image_id, label_map(logits).numpy(), score, loss, confidence(logits).numpy())


def with_batch_losses(
    table: StatisticsTable, job: Job, samples: DecodedSamples, network: NetworkHandle, split: str
) -> StatisticsTable:
    """The statistics with the loss of each batch of a split, where the recipe keeps them."""
    if job.recipe.predict.loss_batch is None or job.model.label_map is not None:
        return table
    ids = samples.dataset.ids(split, job.images)
    found = batch_losses(network.batch_logits(split, job.images), samples, ids, job.recipe)
    return replace(table, batch_loss=np.array(found, dtype=np.float64))


class Timed(Iterator[Predicted]):
    """Items, and the seconds that waiting for them took."""

    def __init__(self, items: Iterator[Predicted]) -> None:
        self._items = items
        self.seconds = 0.0

    def __next__(self) -> Predicted:
        began = time.monotonic()
        try:
            return next(self._items)
        finally:
            self.seconds += time.monotonic() - began
