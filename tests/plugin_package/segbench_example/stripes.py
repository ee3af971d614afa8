"""Stripes: generated images of two classes, a complete data set of another package."""

from pathlib import Path

import numpy as np
from PIL import Image

from harness.datasets import DatasetInfo, GeneratedDataset, SampleFiles, read_labels

SIZES = {"train": 6, "val": 2, "test": 2}


class Stripes(GeneratedDataset):
    """A bright stripe on dark ground: images/NAME.png and masks/NAME.png."""

    info = DatasetInfo(
        name="stripes",
        title="Stripes (generated)",
        classes=("ground", "stripe"),
        palette=((0, 0, 0), (250, 200, 60)),
        variants={"standard": "6 train, 2 val, 2 test"},
        foreground=1,
        license="MIT",
    )
    folders = ("stripes-v1",)
    marker = "masks"

    @classmethod
    def write(cls, root: Path) -> None:
        for folder in ("images", "masks"):
            (root / folder).mkdir()
        for number, (split, count) in enumerate(SIZES.items()):
            for place in range(count):
                rng = np.random.default_rng([number, place])
                mask = np.zeros((32, 32), dtype=np.uint8)
                mask[:, 4 + 3 * place : 12 + 3 * place] = 1
                image = rng.integers(0, 80, (32, 32, 3)) + 160 * mask[..., None]
                Image.fromarray(image.astype(np.uint8)).save(root / "images" / f"{split}_{place}.png")
                Image.fromarray(mask).save(root / "masks" / f"{split}_{place}.png")

    def read_splits(self):
        return {split: [f"{split}_{place}" for place in range(count)] for split, count in SIZES.items()}

    def files(self, image_id):
        return SampleFiles(self.root / "images" / f"{image_id}.png", self.root / "masks" / f"{image_id}.png")

    def truth(self, image_id):
        return read_labels(self.files(image_id).mask), None
