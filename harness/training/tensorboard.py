"""A training's events for TensorBoard: learning rate, losses, validation scores, sample predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from harness.config.job import Job
from harness.datasets.base import Dataset
from harness.datasets.palette import palette_image
from harness.scoring.predict import as_one_channel, label_map, predictions
from harness.tasks.messages import EpochDone
from harness.training.loop import TrainingContext

LOG_FOLDER = "tensorboard"
SAMPLES = 3


class TrainingLog:
    """Writes the figures of each epoch, and what the network predicts for the same few images each time.

    Args:
        folder: the run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LOG_FOLDER
        self._writer: SummaryWriter | None = None

    def _open(self, epoch: int) -> SummaryWriter:
        if self._writer is None:
            # What an earlier attempt wrote of this epoch and later ones is taken back.
            self._writer = SummaryWriter(self._folder, purge_step=epoch)
        return self._writer

    def write(self, done: EpochDone) -> None:
        """Write an epoch's figures."""
        writer = self._open(done.epoch)
        for name, value in done.figures.items():
            if isinstance(value, int | float):
                group = "validation" if name.startswith("val_") else "training"
                writer.add_scalar(f"{group}/{name.removeprefix('val_')}", value, done.epoch)
        writer.flush()

    def draw(self, job: Job, context: TrainingContext, epoch: int) -> None:
        """Write image, truth and prediction side by side, of val's first images; without a val of train's first one."""
        dataset = context.dataset
        ids = dataset.ids("val", SAMPLES) or dataset.ids("train", 1)
        shown = predictions(context.scored, context.samples, ids, job.recipe, context.channels, context.stride)
        for image_id, logits in shown:
            image, mask, _ = context.samples.get(image_id)
            maps = [mask.numpy(), label_map(as_one_channel(logits, job.recipe.loss)).cpu().numpy()]
            strip = side_by_side(image, maps, dataset, max(job.recipe.size))
            self._open(epoch).add_image(f"samples/{image_id}", strip, epoch, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def side_by_side(image: torch.Tensor, maps: Sequence[np.ndarray], dataset: Dataset, side: int) -> np.ndarray:
    """An image (3, H, W) and label maps (H, W) in the data set's colours, as one picture (h, n·w, 3).

    Larger ones are made smaller: the longer side to `side` pixels. A picture of each of 900 epochs has to stay a file
    that can be kept.
    """
    photo = Image.fromarray(image.permute(1, 2, 0).numpy())
    coloured = [palette_image(m, dataset.info.palette) for m in maps]
    scale = min(1.0, side / max(photo.size))
    width, height = (max(1, round(length * scale)) for length in photo.size)
    pictures = [
        photo.resize((width, height), Image.Resampling.BILINEAR),
        *(one.resize((width, height), Image.Resampling.NEAREST).convert("RGB") for one in coloured),
    ]
    return np.concatenate([np.asarray(picture) for picture in pictures], axis=1)
