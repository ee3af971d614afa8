"""A suite's jobs without their data: what takes training steps on images of noise needs no data set."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from harness.config.expand import expand
from harness.config.job import Job, Resources
from harness.config.suite import Suite
from harness.datasets import dataset_class
from harness.models.registry import find_model
from harness.training.loop import TrainingContext
from harness.training.network import build_network, logit_channels


def jobs_of(suite: Suite, threads: int, gpu: bool = False) -> list[Job]:
    """The jobs of a suite, without weights that would have to be fetched, on one GPU or on so many threads."""
    infos = {d.name: dataset_class(d.name, d.params).info for d in suite.datasets}
    resources = Resources(cpus=threads, gpus=float(gpu))
    found = []
    for job in expand(suite, infos):
        params = {name: value for name, value in job.model.params.items() if name != "pretrained"}
        model = job.model.model_copy(update={"params": params, "label": job.model.title})
        found.append(job.model_copy(update={"model": model, "resources": resources}))
    return found


def context_of(job: Job) -> TrainingContext:
    """A job's network as it trains, with the facts of its data set alone."""
    info, entry = dataset_class(job.dataset.name, job.dataset.params).info, find_model(job.model.name)
    channels = logit_channels(job, info)
    torch.manual_seed(0)
    model = build_network(entry, job, channels)
    if job.recipe.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    data: Any = SimpleNamespace(info=info)  # a step asks nothing else of it
    return TrainingContext(model, entry.stride, channels, data, data, Path(), backbone=entry.backbone)


def noise(job: Job) -> tuple[Tensor, Tensor]:
    """A batch of images (N, 3, h, w) and targets (N, h, w) at the recipe's size."""
    count, classes = job.recipe.batch_size, len(dataset_class(job.dataset.name, job.dataset.params).info.classes)
    images = torch.randint(0, 256, (count, 3, *job.recipe.size), dtype=torch.uint8)
    return images, torch.randint(0, classes, (count, *job.recipe.size), dtype=torch.uint8)
