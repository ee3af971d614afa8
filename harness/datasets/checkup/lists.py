"""What is wrong with the lists of a data set's splits."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

from harness.datasets.base import SPLITS, Dataset
from harness.datasets.checkup.findings import Finding, some


def check_lists(dataset: Dataset) -> list[Finding]:
    """What is wrong with the splits themselves; no image is opened."""
    found = []
    for split in SPLITS:
        ids = dataset.ids(split)
        for image_id, count in Counter(ids).items():
            if count > 1:
                found.append(Finding("listed twice", f"{split}: {image_id} is {count} times in the list"))
    for one, other in combinations(SPLITS, 2):
        both = set(dataset.ids(one)) & set(dataset.ids(other))
        if not both or (one, other) == ("val", "test"):
            continue  # a variant may choose on the scored images; its rows say so
        message = f"{len(both)} image(s) are in {one} and in {other}: {some(sorted(both))}"
        found.append(Finding("in two splits", message))
    if not dataset.ids("train"):
        found.append(Finding("empty split", "train has no image: it can only be scored", "warning"))
    if not dataset.ids("test"):
        found.append(Finding("empty split", "test has no image"))
    groups = {split: {dataset.group(i) for i in dataset.ids(split)} for split in SPLITS}
    for one, other in (("train", "val"), ("train", "test")):
        shared = groups[one] & groups[other] - set(dataset.ids(one)) - set(dataset.ids(other))
        if shared:
            text = f"{len(shared)} sequence(s) or group(s) have images in {one} and in {other}: {some(sorted(shared))}"
            found.append(Finding("shared group", text, "warning"))
    return found
