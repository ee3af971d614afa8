"""What an augmentation must be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from harness.utils.options import Component
from harness.utils.registry import Registry
from harness.utils.vision import import_torchvision

if TYPE_CHECKING:
    from torchvision.transforms import v2

    from harness.utils.normalization import Color

AUGMENTATIONS: Registry[type[Augmentation]] = Registry(
    "augmentation", "harness.augmentations", "segbench.augmentations", "docs/data.md"
)


class Augmentation(Component, ABC):
    """One step of a recipe's augmentation: its options, and the transform that they describe.

    A subclass has `op: Literal["its name"] = "its name"`, its own options, and `transform`. It is imported wherever a
    suite is read, so its module imports torch and torchvision inside of `transform` only, after `import_torchvision()`.
    """

    op: str

    @abstractmethod
    def transform(self, size: tuple[int, int], fill: Color) -> v2.Transform:
        """The transform, of torchvision's second version, applied to image and mask alike.

        It works on `tv_tensors.Image` (3, H, W) uint8 and `tv_tensors.Mask` (H, W) uint8, changes no label to another
        (new pixels are void, 255, of the color `fill`), and draws every random number from torch's global generator.

        Args:
            size: height and width of the recipe; whatever comes out is resized to it after the last step.
            fill: the recipe's color of new pixels.
        """


def with_chance(transform: v2.Transform, p: float) -> v2.Transform:
    """A transform that is applied with a chance; nothing is drawn where it always is."""
    import_torchvision()
    from torchvision.transforms import v2

    return transform if p >= 1 else v2.RandomApply([transform], p)
