"""Whether void can be meant as a folder's masks are read: nobody may have said that 255 is a class."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from harness.datasets.base import SPLITS, Dataset
from harness.datasets.checkup.findings import Finding
from harness.datasets.folder import SAY_VOID, VOID, FolderDataset
from harness.errors import DataError

# Masks that are looked at, of each split: one with two labels is enough to see that void is meant.
LOOKED_AT = 20


def check_void(dataset: Dataset) -> Iterable[Finding]:
    """Name the folder whose masks hold void and one class alone, where void was assumed and not said."""
    if not isinstance(dataset, FolderDataset) or not dataset.void_is_assumed or len(dataset.info.classes) < 2:
        return
    held: set[int] = set()
    for image_id in itertools.chain.from_iterable(dataset.ids(split, LOOKED_AT) for split in SPLITS):
        try:
            held |= set(np.unique(dataset.truth(image_id)[0]).tolist())
        except DataError:
            continue  # a file that cannot be read is named elsewhere
        if len(held - {VOID}) > 1:
            return
    if VOID in held:
        (left,) = held - {VOID} or {VOID}
        told = "nothing but 255" if left == VOID else f"255 and {left} alone"
        message = f"{dataset.root / dataset.definition.masks}: the masks hold {told}, and 255 is void. {SAY_VOID}"
        yield Finding("one class", message)
