"""What is kept of a scored split: statistics, label maps with their checksums, and a small gallery."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets.base import Dataset, read_labels
from harness.datasets.palette import palette_image, png_bytes
from harness.metrics import Evaluator, Protocol, StatisticsTable
from harness.metrics.image_figures import headline_figure, image_figures
from harness.metrics.sums import ScoredImages
from harness.scoring.evaluate import write_checksums
from harness.tasks.result import Evaluation, GalleryImage, LabelMaps
from harness.utils.files import new_folder

# The gallery: images that all networks show, spread evenly and drawn at random, those that one predicted worst, pixels
# along the longer side, and bytes that one run's predictions may have together.
GALLERY_IMAGES = 100
RANDOM_IMAGES = 16
WORST_IMAGES = 12
GALLERY_SIDE = 512
GALLERY_BYTES = 500_000
# The folder of a run's label maps, one for each split.
PREDICTIONS = "predictions"
# Beside the label maps: losses and score histograms, which another protocol needs again.
STATISTICS = "statistics.columns"


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


def gallery(
    dataset: Dataset, ids: Sequence[str], predictions_folder: Path, worst: Sequence[str] = ()
) -> list[GalleryImage]:
    """Small copies of images with truth and prediction: the same ones for every network, and its worst.

    Those that every network has are spread evenly over the split, and some are drawn at random, so that nothing about
    their order decides what is seen.

    Predictions have at most `GALLERY_BYTES` together. Where they would have more, images are left out so that those
    that stay are still spread evenly.

    Args:
        dataset: the copy of the data.
        ids: the images that were scored, in order.
        predictions_folder: has their label maps.
        worst: more images, which this network predicted worst.
    """
    shown: list[GalleryImage] = []
    left = GALLERY_BYTES
    for image_id in dict.fromkeys((*worst, *at_random(ids)[:RANDOM_IMAGES], *spread_evenly(ids, GALLERY_IMAGES))):
        labels = read_labels(predictions_folder / f"{image_id}.png")
        prediction = _small_map(labels, dataset)
        if (left := left - len(prediction)) < 0:
            break
        shown.append(GalleryImage(image_id, *pictures(dataset, image_id), prediction))
    place = {image_id: index for index, image_id in enumerate(ids)}
    return sorted(shown, key=lambda one: place[one.image_id])


def worst_images(table: StatisticsTable, classes: int, foreground: int | None, protocol: Protocol) -> list[str]:
    """The images with the lowest headline score, worst first; those where it is undefined are none of them.

    Args:
        table: the statistics of a split.
        classes: K.
        foreground: the class that counts in a binary set.
        protocol: the conventions.
    """
    metric = headline_figure(foreground)
    figures = image_figures(ScoredImages(table, classes, protocol), [metric])[metric]
    order = np.argsort(figures, kind="stable")  # NaN last
    return [table.ids[i] for i in order[:WORST_IMAGES] if not np.isnan(figures[i])]


def spread_evenly(ids: Sequence[str], count: int) -> list[str]:
    """Evenly spaced ids, in an order of which every beginning is spread about evenly, too."""
    count = min(count, len(ids))
    bits = max(1, (count - 1).bit_length())
    order = sorted(range(count), key=lambda i: int(f"{i:0{bits}b}"[::-1], 2))
    return [ids[i * len(ids) // count] for i in order]


def at_random(ids: Sequence[str]) -> list[str]:
    """Ids in a random order, by SHA-256: always the same, whatever their own order and whichever others there are."""
    return sorted(ids, key=lambda image_id: hashlib.sha256(image_id.encode()).digest())


def pictures(dataset: Dataset, image_id: str) -> tuple[bytes, bytes]:
    """Small copies of a photograph (JPEG) and its truth (palette PNG)."""
    sample = dataset.read(image_id)
    height, width = sample.mask.shape
    photo = io.BytesIO()
    small = Image.fromarray(sample.image).resize(_small(height, width), Image.Resampling.BILINEAR)
    small.save(photo, "JPEG", quality=85, optimize=True)
    return photo.getvalue(), _small_map(sample.mask, dataset)


def _small_map(labels: NDArray[np.uint8], dataset: Dataset) -> bytes:
    palette = dataset.info.palette
    image = palette_image(labels, palette).resize(_small(*labels.shape), Image.Resampling.NEAREST)
    if labels.max(initial=0) < len(palette):  # no void: with fewer colours a pixel takes fewer bits
        image.putpalette([channel for colour in palette for channel in colour])
    return png_bytes(image)


def _small(height: int, width: int) -> tuple[int, int]:
    """Width and height of a small copy."""
    scale = min(1.0, GALLERY_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))
