"""How long one training step and one prediction of a network take here, and on a GPU how much memory they need."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from harness.config.job import Job
from harness.optim import build_optimizer
from harness.scoring.predict import forward
from harness.training.loop import TrainingContext, training_step

# On the CPU a step is timed on about so many pixels: an image costs there about as much in a small batch as in a large.
CPU_PIXELS = 2 * 512 * 512
# A step that took longer than this is not taken a second time, although the first one also warms up.
LONG_S = 3.0


def time_step(job: Job, context: TrainingContext) -> dict[str, float]:
    """Seconds for an image in training, and in prediction, on images of noise at the recipe's size.

    Args:
        job: says recipe and seed.
        context: the network and the data set's facts; its weights are changed.

    Returns:
        `train` and `predict`: seconds an image; on a GPU also `memory`: bytes allocated at the peak.
    """
    recipe = job.recipe
    on_gpu = context.device.type == "cuda"
    count = (
        recipe.batch_size if on_gpu else min(recipe.batch_size, max(2, CPU_PIXELS // (recipe.size[0] * recipe.size[1])))
    )
    generator = torch.Generator().manual_seed(job.seed)
    images = torch.randint(0, 256, (count, 3, *recipe.size), dtype=torch.uint8, generator=generator)
    classes = len(context.dataset.info.classes)
    targets = torch.randint(0, classes, (count, *recipe.size), dtype=torch.uint8, generator=generator)
    # Parts as large as in training: batch normalization cannot work on single images.
    parts = recipe.accumulate if count == recipe.batch_size else max(1, count // recipe.at_once)
    job = job.model_copy(update={"recipe": recipe.model_copy(update={"accumulate": parts})})
    optimizer = build_optimizer(context.model, recipe.optimizer, context.backbone)
    scaler = torch.amp.GradScaler(context.device.type, enabled=recipe.precision == "fp16")
    context = replace(context, ema=None)

    def train() -> None:
        context.model.train()
        float(training_step(images, targets, context.model, job, context, optimizer, scaler))

    def predict() -> None:
        context.model.eval()
        with torch.inference_mode():
            for part in images.split(recipe.at_once):
                forward(context.model, part.to(context.device), recipe, context.channels, context.stride)

    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    times = {"train": _seconds(train, on_gpu) / count, "predict": _seconds(predict, on_gpu) / count}
    if on_gpu:
        times["memory"] = float(torch.cuda.max_memory_allocated())
    return times


def _seconds(work: Callable[[], None], on_gpu: bool) -> float:
    """Seconds of the second call, or of the first if that was long."""
    spent = 0.0
    for _ in range(2):
        if on_gpu:
            torch.cuda.synchronize()
        began = time.monotonic()
        work()
        if on_gpu:
            torch.cuda.synchronize()
        spent = time.monotonic() - began
        if spent > LONG_S:
            break
    return spent
