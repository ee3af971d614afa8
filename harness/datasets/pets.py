"""Oxford-IIIT Pet: cats and dogs of 37 breeds, cut out roughly, with a border of doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.datasets.base import Dataset, DatasetInfo, SampleFiles, Say, Tick, read_labels, read_list
from harness.datasets.download import Archive, fetch_archives
from harness.datasets.registry import register
from harness.errors import DataError

# A trimap's own values.
PET, BACKGROUND, BORDER = 1, 2, 3
HELD_OUT_EVERY = 10

# Trimap value -> label; anything else is unknown, and stays what it is.
_LABELS = np.arange(256, dtype=np.uint8)
_LABELS[[0, PET, BACKGROUND, BORDER]] = 254, 1, 0, 255


@register
class OxfordPets(Dataset):
    """Oxford-IIIT Pet as a binary set: images/*.jpg, annotations/trimaps/*.png, annotations/{trainval,test}.txt.

    In a trimap 1 is the pet, 2 the background and 3 its border, which is void here. Some files called .jpg are PNG or
    have four channels; files that begin with a dot are leftovers of an archiver.
    """

    info = DatasetInfo(
        name="pets",
        title="Oxford-IIIT Pet",
        classes=("background", "pet"),
        palette=((0, 0, 0), (200, 120, 60)),
        variants={"cut10": "every 10th image of the official trainval is val; official test (3,669) is the test"},
        foreground=1,
        trimap="void",
        homepage="the Oxford-IIIT Pet data set's home page (images.tar.gz, annotations.tar.gz)",
        license="CC BY-SA 4.0",
        citation="Parkhi et al., Cats and Dogs, CVPR 2012",
    )
    folders = ("oxford-iiit-pet", "pets")
    marker = "annotations/trainval.txt"

    def read_splits(self) -> dict[str, list[str]]:
        """The official lists, of which trainval is cut."""
        trainval, test = self._read_list("trainval"), self._read_list("test")
        held_out = set(trainval[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
        return {
            "train": [i for i in trainval if i not in held_out],
            "val": [i for i in trainval if i in held_out],
            "test": test,
        }

    def _read_list(self, name: str) -> list[str]:
        path = self.root / "annotations" / f"{name}.txt"
        ids = [line.split()[0] for line in read_list(path) if line.strip() and not line.startswith("#")]
        if not ids:
            raise DataError(f"{path}: this list is empty")
        return ids

    def files(self, image_id: str) -> SampleFiles:
        """Photograph and trimap."""
        return SampleFiles(
            self.root / "images" / f"{image_id}.jpg", self.root / "annotations" / "trimaps" / f"{image_id}.png"
        )

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone."""
        labels: NDArray[np.uint8] = _LABELS[read_labels(self.files(image_id).mask)]
        return labels, None

    def group(self, image_id: str) -> str:
        """The breed."""
        return image_id.rsplit("_", 1)[0]

    @classmethod
    def obtain(cls, data_dir: Path, say: Say, tick: Tick | None = None) -> Path:
        """Download both archives, as torchvision names them."""
        from harness.utils.vision import import_torchvision

        import_torchvision()
        from torchvision.datasets import OxfordIIITPet

        archives = [Archive(url, checksum) for url, checksum in OxfordIIITPet._RESOURCES]
        return fetch_archives(cls, archives, ".", data_dir, say, tick)
