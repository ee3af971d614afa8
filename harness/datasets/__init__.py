"""Data sets: one file each, in their original layout, known by the name they register."""

from harness.datasets.base import SPLITS, Dataset, DatasetInfo, Manifest, Sample, SampleFiles, read_labels, read_rgb
from harness.datasets.generated import GeneratedDataset
from harness.datasets.library import (
    data_dir,
    dataset_class,
    dataset_names,
    dataset_origin,
    find_copy,
    open_dataset,
    resolved,
)
from harness.datasets.manifest import manifest_of

__all__ = [
    "SPLITS",
    "Dataset",
    "DatasetInfo",
    "GeneratedDataset",
    "Manifest",
    "Sample",
    "SampleFiles",
    "data_dir",
    "dataset_class",
    "dataset_names",
    "dataset_origin",
    "find_copy",
    "manifest_of",
    "open_dataset",
    "read_labels",
    "read_rgb",
    "resolved",
]
