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
    """What names the row of a copy: its files and what is scored of them."""
    return copy_key(manifest.hash, scored_as(info))


def copy_key(files: str, labels: str) -> str:
    """The same of a manifest's hash and what `scored_as` gave."""
    return digest({"files": files, "scored_as": labels})


def enter_dataset(session: Session, info: DatasetInfo, variant: str, manifest: Manifest) -> None:
    """Make sure that a copy has a row.

    Args:
        session: the transaction.
        info: the data set.
        variant: its variant.
        manifest: of the copy.
    """
    key = dataset_key(info, manifest)
    if session.get(DatasetRow, key) is None:
        session.add(_row(key, info, variant, manifest))
        session.flush()


def _row(key: str, info: DatasetInfo, variant: str, manifest: Manifest) -> DatasetRow:
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
