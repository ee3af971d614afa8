"""Samples for training: decoded once, augmented by a stream that depends on (seed, epoch, index) alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness.datasets.base import Dataset
from harness.datasets.transforms import augmented, training_transform
from harness.recipe import Recipe

# Decoded images kept in memory by one job; what does not fit is decoded again each epoch.
CACHE_BYTES = 2 * 1024**3


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from whole numbers and words; any change of one gives another stream."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


class DecodedSamples:
    """Samples as tensors, decoded once as long as they fit into memory."""

    def __init__(self, dataset: Dataset, limit: int = CACHE_BYTES) -> None:
        self.dataset = dataset
        self._left = limit
        self._kept: dict[str, tuple[Tensor, Tensor, Tensor | None]] = {}

    def get(self, image_id: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """Image (3, H, W) uint8, mask (H, W) uint8 and valid (H, W) bool or None."""
        if image_id in self._kept:
            return self._kept[image_id]
        sample = self.dataset.read(image_id)
        image = torch.from_numpy(sample.image.copy()).permute(2, 0, 1).contiguous()
        mask = torch.from_numpy(sample.mask.copy())
        valid = None if sample.valid is None else torch.from_numpy(sample.valid.copy())
        size = image.numel() + mask.numel() * (1 if valid is None else 2)
        if size <= self._left:
            self._left -= size
            self._kept[image_id] = (image, mask, valid)
        return image, mask, valid


class TrainingSamples(TorchDataset[tuple[Tensor, Tensor]]):
    """Augmented training samples, addressed by (epoch, index)."""

    def __init__(self, samples: DecodedSamples, ids: list[str], recipe: Recipe, seed: int) -> None:
        self.samples, self.ids, self.seed = samples, ids, seed
        self.ignore_index = samples.dataset.info.ignore_index
        self.transform = training_transform(recipe)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, address: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Image (3, h, w) uint8 and mask (h, w) uint8 at the recipe's size."""
        epoch, index = address
        image, mask, valid = self.samples.get(self.ids[index])
        if valid is not None:
            mask = torch.where(valid, mask, torch.full_like(mask, self.ignore_index))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derived_seed(self.seed, "augment", epoch, index))
            return augmented(self.transform, image, mask)


class EpochBatches:
    """The addresses of each batch of one epoch, shuffled by (seed, epoch); an incomplete last batch is left.

    With fewer samples than a batch holds, the one batch has them all. With weights, samples are drawn with
    replacement, each as often as its weight says.
    """

    def __init__(self, count: int, batch_size: int, seed: int, weights: Tensor | None = None) -> None:
        self.count, self.batch_size, self.seed = count, min(batch_size, count), seed
        self.weights = weights
        self.epoch = 0
        self.start = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return self.count // self.batch_size

    def at(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and the batch to begin with (after an interruption)."""
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "shuffle", self.epoch))
        if self.weights is None:
            order = torch.randperm(self.count, generator=generator).tolist()
        else:
            order = torch.multinomial(self.weights, self.count, replacement=True, generator=generator).tolist()
        for batch in range(self.start, len(self)):
            part = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield [(self.epoch, index) for index in part]


def class_balanced_weights(samples: DecodedSamples, ids: list[str]) -> Tensor:
    """How often each image is drawn: by the rarest class it holds, inversely to how many images hold that class."""
    ignore, classes = samples.dataset.info.ignore_index, len(samples.dataset.info.classes)
    held = torch.zeros(len(ids), classes, dtype=torch.bool)
    for row, image_id in enumerate(ids):
        _, mask, valid = samples.get(image_id)
        inside = mask != ignore if valid is None else (mask != ignore) & valid
        held[row, mask[inside].long().unique()] = True
    images = held.sum(dim=0).clamp(min=1).double()
    return (held / images).max(dim=1).values.clamp(min=1e-12)


def training_loader(
    samples: DecodedSamples, ids: list[str], recipe: Recipe, seed: int, cpus: int
) -> tuple[DataLoader[tuple[Tensor, Tensor]], EpochBatches]:
    """A loader of training batches, and the batch sampler that tells it the epoch."""
    weights = class_balanced_weights(samples, ids) if recipe.sampling == "class_balanced" else None
    batches = EpochBatches(len(ids), recipe.batch_size, seed, weights)
    loader = DataLoader(
        TrainingSamples(samples, ids, recipe, seed),
        batch_sampler=batches,
        num_workers=0 if cpus < 4 else cpus // 2,
        # A generator of its own: an iterator would otherwise draw its base seed from the global one.
        generator=torch.Generator(),
    )
    return loader, batches
