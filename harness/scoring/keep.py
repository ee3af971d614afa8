"""What is kept of a scored split: statistics, label maps with their checksums, and a small gallery."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.base import Dataset, read_labels
from harness.datasets.palette import palette_image, png_bytes
from harness.metrics import Evaluator, StatisticsTable
from harness.scoring.evaluate import write_checksums
from harness.tasks.result import Evaluation, GalleryImage, LabelMaps
from harness.utils.files import new_folder

GALLERY_IMAGES = 12
GALLERY_SIDE = 224
# The folder of a run's label maps, one for each split.
PREDICTIONS = "predictions"
# Beside the label maps: losses and score histograms, which another protocol needs again.
STATISTICS = "statistics.npz"


def evaluation(dataset: Dataset, split: str, evaluator: Evaluator, table: StatisticsTable) -> Evaluation:
    """The record of one scored split; its statistics know the group of each image."""
    return Evaluation(split, evaluator.scores_of(table), table.with_groups(dataset.group).to_bytes())


@dataclass
class Kept:
    """Label maps of a split that are being written."""

    folder: Path
    """Where they are written."""
    label_maps: LabelMaps | None = None

    @property
    def finished(self) -> LabelMaps:
        """What the database notes of them, once all are written."""
        if self.label_maps is None:
            raise ValueError("the label maps are still being written")
        return self.label_maps


@contextlib.contextmanager
def kept_label_maps(folder: Path, split: str) -> Iterator[Kept]:
    """A folder to write a split's label maps into.

    Checksums are added at the end, and only then does the folder take its place: a split is there whole or not at all.
    """
    final = folder / PREDICTIONS / split
    final.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(final, overwrite=True, only_writer=True) as new:
        kept = Kept(new)
        yield kept
        kept.label_maps = LabelMaps(split, f"{PREDICTIONS}/{split}", *write_checksums(new))


def gallery(dataset: Dataset, ids: Sequence[str], predictions_folder: Path) -> list[GalleryImage]:
    """Small copies of evenly spaced images with truth and prediction: the same images for every network."""
    step = max(1, len(ids) / GALLERY_IMAGES)
    chosen = [ids[int(i * step)] for i in range(min(GALLERY_IMAGES, len(ids)))]
    shown = []
    for image_id in chosen:
        photo, target = pictures(dataset, image_id)
        prediction = _small_map(read_labels(predictions_folder / f"{image_id}.png"), dataset)
        shown.append(GalleryImage(image_id, photo, target, prediction))
    return shown


def pictures(dataset: Dataset, image_id: str) -> tuple[bytes, bytes]:
    """Small copies of a photograph (JPEG) and its truth (palette PNG)."""
    sample = dataset.read(image_id)
    height, width = sample.mask.shape
    photo = io.BytesIO()
    small = Image.fromarray(sample.image).resize(_small(height, width), Image.Resampling.BILINEAR)
    small.save(photo, "JPEG", quality=85)
    return photo.getvalue(), _small_map(sample.mask, dataset)


def _small_map(labels: NDArray[np.uint8], dataset: Dataset) -> bytes:
    image = palette_image(labels, dataset.info.palette)
    return png_bytes(image.resize(_small(*labels.shape), Image.Resampling.NEAREST))


def _small(height: int, width: int) -> tuple[int, int]:
    """Width and height of a small copy."""
    scale = min(1.0, GALLERY_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
