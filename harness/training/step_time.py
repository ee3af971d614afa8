"""How long training, validation and prediction of a network take here for an image, and a GPU's memory for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from harness.config.job import Job
from harness.optim import build_optimizer
from harness.training.loader import training_loader
from harness.training.loop import TrainingContext, training_step, validate
from harness.training.timing import median_seconds

# On the CPU a step is timed on about so many pixels: an image costs there about as much in a small batch as in a large.
CPU_PIXELS = 2 * 512 * 512
# Images that are validated.
VALIDATED = 4
# The first call warms up. It is the only one where it took longer than this; calls that count take so long together.
LONG_S, ENOUGH_S = 60.0, 3.0
MOST_CALLS = 5


def time_step(job: Job, context: TrainingContext) -> dict[str, float]:
    """Seconds for an image in training and in validation, on the data set's own images, as a job takes them.

    Reading a file for the first time is left out: a job keeps what it has decoded.

    Args:
        job: says recipe and seed.
        context: the network and the data set; its weights are changed.

    Returns:
        `train` and `validate`: seconds an image; on a GPU also `memory`: bytes allocated at the peak.
    """
    recipe = job.recipe
    on_gpu = context.device.type == "cuda"
    ids = context.dataset.ids("train", job.images)
    count = min(len(ids), recipe.batch_size)
    if not on_gpu:
        count = min(count, max(2, CPU_PIXELS // (recipe.size[0] * recipe.size[1])))
    # Parts as large as in training: batch normalization cannot work on single images.
    parts = recipe.accumulate if count == recipe.batch_size else max(1, count // recipe.at_once)
    recipe = recipe.model_copy(update={"accumulate": parts, "batch_size": count})
    job = job.model_copy(update={"recipe": recipe})
    context = replace(context, ema=None)
    model = context.model
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network = torch.compile(model) if recipe.compile else model
    optimizer = build_optimizer(model, recipe.optimizer, context.backbone)
    scaler = torch.amp.GradScaler(context.device.type, enabled=recipe.precision == "fp16")
    loader, batches = training_loader(context.samples, ids[:count], recipe, job.seed, 0, context.device)

    def train() -> None:
        model.train()
        batches.at(0)
        for images, targets in loader:
            float(training_step(images, targets, network, job, context, optimizer, scaler, parts))

    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    times = {"train": _seconds(train, context.device) / count}
    few = job.model_copy(update={"images": VALIDATED})
    if held := context.dataset.ids(job.selection.split, VALIDATED):
        times["validate"] = _seconds(lambda: validate(few, context), context.device) / len(held)
    if on_gpu:
        times["memory"] = float(torch.cuda.max_memory_allocated())
    return times


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    return median_seconds(work, device, long_s=LONG_S, enough_s=ENOUGH_S, most=MOST_CALLS)
