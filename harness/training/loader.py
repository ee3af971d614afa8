"""Batches for training: samples augmented by a stream that depends on (seed, epoch, index) alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.job import Resources
from harness.config.recipe import Recipe
from harness.losses import Loss
from harness.scoring.samples import CPU, DecodedSamples, derived_seed, seeded
from harness.training.distributed import ProcessGroup

Batch = tuple[Tensor, Tensor]
# One decoded sample: its address (epoch, index), image (3, H, W) and mask (H, W), uint8.
Decoded = tuple[tuple[int, int], Tensor, Tensor]


class DecodedTraining(TorchDataset[Decoded]):
    """Training samples as they are, addressed by (epoch, index); what the loss ignores is void.

    Args:
        samples: where they come from.
        ids: the training images.
        loss: says what counts of a mask.
    """

    def __init__(self, samples: DecodedSamples, ids: list[str], loss: Loss | None = None) -> None:
        self.samples, self.ids, self.loss = samples, ids, loss or Loss()

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, address: tuple[int, int]) -> Decoded:
        """One sample with its address."""
        image, mask, valid = self.samples.get(self.ids[address[1]])
        return address, image, self.loss.target(mask, self.samples.dataset.info.ignore_index, valid)


class Augmentation:
    """A recipe's augmentation: what it draws depends on (seed, epoch, index) alone, on every device.

    Args:
        recipe: says how to augment.
        seed: of the job.
        device: where it computes. A device may round otherwise than another; so a job's device is in its fingerprint.
    """

    def __init__(self, recipe: Recipe, seed: int, device: torch.device = CPU) -> None:
        self.seed, self.device = seed, device
        self.transform = training_transform(recipe.augment, recipe.size, recipe.fill)

    def __call__(self, sample: Decoded) -> Batch:
        """Image (3, h, w) uint8 and mask (h, w) uint8 at the recipe's size.

        Every random number comes from a generator seeded by (seed, epoch, index), on the CPU whatever the device is.
        """
        (epoch, index), image, mask = sample
        with seeded(derived_seed(self.seed, "augment", epoch, index)):
            return augmented(self.transform, image.to(self.device), mask.to(self.device))


class TrainingSamples(TorchDataset[Batch]):
    """Augmented training samples, addressed by (epoch, index)."""

    def __init__(self, decoded: DecodedTraining, augment: Augmentation) -> None:
        self.decoded, self.augment = decoded, augment

    def __len__(self) -> int:
        return len(self.decoded)

    def __getitem__(self, address: tuple[int, int]) -> Batch:
        """Image (3, h, w) uint8 and mask (h, w) uint8 at the recipe's size."""
        return self.augment(self.decoded[address])


class AugmentedHere:
    """Batches of decoded samples, augmented in this process on another device than the one that decoded them."""

    def __init__(self, decoded: DataLoader[Decoded], augment: Augmentation) -> None:
        self.decoded, self.augment = decoded, augment

    def __iter__(self) -> Iterator[Batch]:
        for samples in self.decoded:
            images, masks = zip(*map(self.augment, samples), strict=True)
            yield torch.stack(images), torch.stack(masks)


class EpochBatches:
    """The addresses of each batch of one epoch, shuffled by (seed, epoch); an incomplete last batch is left.

    With fewer samples than a batch holds, the one batch has them all. With weights, samples are drawn with
    replacement, each as often as its weight says.
    """

    def __init__(
        self, count: int, batch_size: int, seed: int, weights: Tensor | None = None, group: ProcessGroup | None = None
    ) -> None:
        self.count, self.batch_size, self.seed = count, min(batch_size, count), seed
        self.weights, self.group = weights, group or ProcessGroup()
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
            yield [(self.epoch, index) for index in part[self.group.rank :: self.group.world_size]]


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


def worker_count(resources: Resources, cached: bool) -> int:
    """Processes that prepare batches beside the one that trains.

    On a GPU, where samples are augmented, none if they are decoded already, else all processors but one, which decode.
    On the CPU one for every four processors, which compute the network.
    """
    if resources.gpus > 0:
        return 0 if cached else max(1, resources.cpus - 1)
    return resources.cpus // 4


def training_loader(
    samples: DecodedSamples,
    ids: list[str],
    recipe: Recipe,
    seed: int,
    workers: int = 0,
    device: torch.device = CPU,
    group: ProcessGroup | None = None,
) -> tuple[Iterable[Batch], EpochBatches]:
    """A loader of training batches, and the batch sampler that tells it the epoch.

    The same seed gives the same batches with any number of workers, decoded before or not.

    Args:
        samples: where the images come from.
        ids: the training images.
        recipe: says batch size, augmentation and sampling.
        seed: of the job.
        workers: processes that prepare batches; 0 prepares them in this one.
        device: where samples are augmented. On the CPU workers do it; for a GPU they only decode.
        group: the processes that train together; this one gets its part of every batch.
    """
    weights = class_balanced_weights(samples, ids) if recipe.sampling == "class_balanced" else None
    batches = EpochBatches(len(ids), recipe.batch_size, seed, weights, group)
    decoded, augment = DecodedTraining(samples, ids, recipe.loss), Augmentation(recipe, seed, device)
    # A generator of its own: an iterator would otherwise draw its base seed from the global one.
    how: dict[str, Any] = {
        "batch_sampler": batches,
        "num_workers": workers,
        "persistent_workers": workers > 0,
        "generator": torch.Generator(),
    }
    if device.type == "cpu":
        return DataLoader(TrainingSamples(decoded, augment), **how), batches
    return AugmentedHere(DataLoader(decoded, collate_fn=list, **how), augment), batches
