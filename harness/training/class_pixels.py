"""What a loss takes from the training images: the pixels of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from harness.config.job import Job
from harness.losses import Loss
from harness.losses.class_weights import ClassPixels
from harness.scoring.samples import DecodedSamples
from harness.tasks.task import Task


def with_prepared_loss(task: Task, samples: DecodedSamples) -> Task:
    """The task, and those whose trainings are part of it, with weights of classes by rule made numbers.

    One whose loss takes nothing from the training images is returned as it is.
    """
    dataset, job = samples.dataset, task.job
    if job.model.label_map is not None:  # its classes are not the data set's: it has no loss
        return task
    loss = job.recipe.loss.prepared(lambda: class_pixels(samples, dataset.ids("train", job.images), job.recipe.loss))
    if loss == job.recipe.loss:
        return task
    shorter = tuple(replace(one, job=_with_loss(one.job, loss)) for one in task.shorter)
    return replace(task, job=_with_loss(job, loss), shorter=shorter)


def one_step(task: Task) -> Job:
    """The job of a task of which a single step is measured: how much a class weighs does not matter."""
    classes = len(task.dataset.info.classes)
    alike = ClassPixels([1] * classes, [classes] * classes)
    return _with_loss(task.job, task.job.recipe.loss.prepared(lambda: alike))


def _with_loss(job: Job, loss: Loss) -> Job:
    return job.model_copy(update={"recipe": job.recipe.model_copy(update={"loss": loss})})


def class_pixels(samples: DecodedSamples, ids: Sequence[str], loss: Loss) -> ClassPixels:
    """Count the pixels of each class at the images' original resolution; what the loss ignores does not count."""
    info = samples.dataset.info
    pixels = torch.zeros(len(info.classes), dtype=torch.int64)
    around = torch.zeros_like(pixels)
    for image_id in ids:
        _, mask, valid = samples.get(image_id)
        labels = loss.target(mask, info.ignore_index, valid)
        own = torch.bincount(labels[labels != info.ignore_index].long(), minlength=len(pixels))
        pixels += own
        around += (own > 0) * own.sum()
    return ClassPixels(pixels.tolist(), around.tolist())
