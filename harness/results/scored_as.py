"""What is scored of a copy's images: its table of labels, classes and void. The same files can be read in several ways.

Scores are only compared where it is the same. A copy's row in the database is therefore one of files *and* labels.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from harness.config.fingerprint import digest
from harness.datasets.base import DatasetInfo, Manifest
from harness.results.schema import DatasetRow


def scored_as(info: DatasetInfo) -> str:
    """SHA-256 over what is scored of a data set's images, whatever it is called.

    The files of the regions that count belong to the manifest.
    """
    return digest(
        {
            "labels": info.labels,
            "classes": list(info.classes),
            "foreground": info.foreground,
            "void": info.ignore_index,
        }
    )


def dataset_key(info: DatasetInfo, manifest: Manifest) -> str:
    """What names the row of a copy: its files; where a definition says what its labels mean, that as well."""
    return digest({"files": manifest.hash, "scored_as": scored_as(info)}) if info.labels else manifest.hash


def enter_dataset(session: Session, info: DatasetInfo, variant: str, manifest: Manifest) -> str:
    """Make sure that a copy has a row that says of it what is true today; returns the row's key.

    A row of an earlier version, which did not note what is scored, is completed. One of the same files that says
    something else (the data set has other classes since) stays, and today's stands beside it.

    Args:
        session: the transaction.
        info: the data set.
        variant: its variant.
        manifest: of the copy.
    """
    key, today = dataset_key(info, manifest), scored_as(info)
    row = session.get(DatasetRow, key)
    if row is not None and not row.scored_as and agrees(row, info):
        row.scored_as = today
    if row is not None and row.scored_as != today:
        key = digest({"files": manifest.hash, "scored_as": today})
        row = session.get(DatasetRow, key)
    if row is None:
        session.add(dataset_row(key, info, variant, manifest))
        session.flush()
    return key


def agrees(row: DatasetRow, info: DatasetInfo) -> bool:
    """Whether a row has the classes of a data set, and the one that counts."""
    return (tuple(row.classes), row.foreground) == (info.classes, info.foreground)


def dataset_row(key: str, info: DatasetInfo, variant: str, manifest: Manifest) -> DatasetRow:
    """The row of a copy of a data set."""
    return DatasetRow(
        manifest=key,
        name=info.name,
        title=info.title,
        variant=variant,
        test_manifest=manifest.split_hash("test"),
        classes=list(info.classes),
        palette=[list(color) for color in info.palette],
        foreground=info.foreground,
        counts={split: len(files) for split, files in manifest.splits.items()},
        scored_as=scored_as(info),
    )
