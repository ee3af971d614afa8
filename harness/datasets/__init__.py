"""Data sets: one file each, in their original layout."""

from harness.datasets.base import SPLITS, Dataset, DatasetInfo, Manifest, Sample
from harness.datasets.library import (
    data_dir,
    dataset_class,
    dataset_names,
    find_copy,
    open_dataset,
    resolved,
)
from harness.datasets.manifest import manifest_of

__all__ = [
    "SPLITS",
    "Dataset",
    "DatasetInfo",
    "Manifest",
    "Sample",
    "data_dir",
    "dataset_class",
    "dataset_names",
    "find_copy",
    "manifest_of",
    "open_dataset",
    "resolved",
]
