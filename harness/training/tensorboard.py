"""A training's events for TensorBoard: learning rate, losses, validation scores, sample predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from harness.config.suite import Job
from harness.datasets.base import Dataset
from harness.datasets.palette import palette_image
from harness.scoring.predict import label_map, predictions
from harness.training.loop import Setting

LOG_FOLDER = "tensorboard"
SAMPLES = 3


class TrainingLog:
    """Writes what a unit says of its epochs, and what it predicts for the same few images each time.

    Args:
        folder: the unit's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / LOG_FOLDER
        self._writer: SummaryWriter | None = None

    def _open(self, epoch: int) -> SummaryWriter:
        if self._writer is None:
            # What an earlier attempt wrote of this epoch and later ones is taken back.
            self._writer = SummaryWriter(self._folder, purge_step=epoch)
        return self._writer

    def take(self, message: dict[str, Any]) -> None:
        """Write an epoch's figures; other messages are passed over."""
        if message["kind"] != "epoch":
            return
        epoch = message["epoch"]
        writer = self._open(epoch)
        for name, value in message.items():
            if name not in ("kind", "epoch", "epochs") and isinstance(value, int | float):
                group = "validation" if name.startswith("val_") else "training"
                writer.add_scalar(f"{group}/{name.removeprefix('val_')}", value, epoch)
        writer.flush()

    def draw(self, job: Job, setting: Setting, epoch: int) -> None:
        """Write image, truth and prediction side by side, of val's first images, else of train's."""
        dataset = setting.dataset
        ids = dataset.ids("val", SAMPLES) or dataset.ids("train", SAMPLES)
        shown = predictions(setting.scored, setting.samples, ids, job.recipe, setting.channels, setting.stride)
        for image_id, logits in shown:
            image, mask, _ = setting.samples.get(image_id)
            maps = [mask.numpy(), label_map(logits).cpu().numpy()]
            strip = side_by_side(image, maps, dataset)
            self._open(epoch).add_image(f"samples/{image_id}", strip, epoch, dataformats="HWC")

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()


def side_by_side(image: torch.Tensor, maps: Sequence[np.ndarray], dataset: Dataset) -> np.ndarray:
    """An image (3, H, W) and label maps (H, W) in the data set's colours, as one picture (H, n·W, 3)."""
    coloured = [np.asarray(palette_image(m, dataset.info.palette).convert("RGB")) for m in maps]
    return np.concatenate([image.permute(1, 2, 0).numpy(), *coloured], axis=1)
