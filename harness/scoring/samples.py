"""Decoded samples as tensors, and seeds for streams of random numbers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor

from harness.datasets.base import Dataset, Sample
from harness.datasets.cache import DecodedStore

# Decoded images kept in memory by one job; what does not fit is decoded again each epoch.
CACHE_BYTES = 2 * 1024**3

CPU = torch.device("cpu")


def derived_seed(*parts: int | str) -> int:
    """A 63-bit seed from whole numbers and words; any change of one gives another stream."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The CPU's global generator at a seed, and back where it was afterwards.

    As `torch.random.fork_rng` and `torch.manual_seed`, which take a millisecond; no other device is touched.
    """
    generator = torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)


class DecodedSamples:
    """Samples as tensors: from a machine's cache where there is one, else decoded once as long as they fit into memory.

    Args:
        dataset: the copy.
        store: the machine's cache of it.
        limit: bytes of decoded samples that are kept in this process's memory; a cache's are not counted.
    """

    def __init__(self, dataset: Dataset, store: DecodedStore | None = None, limit: int = CACHE_BYTES) -> None:
        self.dataset, self.store = dataset, store
        self._left = limit
        self._kept: dict[str, Sample] = {}

    def get(self, image_id: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """Image (3, H, W) uint8, whose memory has the channels last; mask (H, W) uint8; valid (H, W) bool or None."""
        sample = self._sample(image_id)
        valid = None if sample.valid is None else torch.from_numpy(sample.valid)
        return torch.from_numpy(sample.image).permute(2, 0, 1), torch.from_numpy(sample.mask), valid

    def image(self, image_id: str) -> Tensor:
        """The image (3, H, W) alone, as `get` gives it; its mask may be closed to this process."""
        if self.store is not None and image_id in self.store:
            return torch.from_numpy(self.store.image(image_id)).permute(2, 0, 1)
        return self.get(image_id)[0]

    def _sample(self, image_id: str) -> Sample:
        if self.store is not None and image_id in self.store:
            return self.store.get(image_id)
        if image_id in self._kept:
            return self._kept[image_id]
        read = self.dataset.read(image_id)
        # Copies: what Pillow decoded cannot be written, which tensors must be able to.
        sample = Sample(read.image.copy(), read.mask.copy(), None if read.valid is None else read.valid.copy())
        size = sample.image.nbytes + sample.mask.nbytes * (1 if sample.valid is None else 2)
        if size <= self._left:
            self._left -= size
            self._kept[image_id] = sample
        return sample
