"""Augmentation: changes of training images and their masks. To add one, write a module here that registers it."""

from harness.augmentations.base import AUGMENTATIONS, Augmentation

__all__ = ["AUGMENTATIONS", "Augmentation"]
