"""A run's kept label maps in the format of its data set's test server."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.datasets import Dataset
from harness.datasets.base import read_labels
from harness.errors import BenchError
from harness.scoring.evaluate import verify_checksums
from harness.utils.files import new_folder


def write_server_files(dataset: type[Dataset], kept: Path, target: Path) -> int:
    """Write every label map of a split as the server wants it; returns how many there are.

    The copy of the data is not needed. The target appears whole or not at all.

    Args:
        dataset: knows names and encoding.
        kept: the folder of label maps that a run left.
        target: a folder that does not exist yet.

    Raises:
        BenchError: label maps are missing or changed, or the target exists or cannot be written.
    """
    verify_checksums(kept)
    if target.exists():
        raise BenchError(f"{target}: exists already; name another folder")
    files = sorted(kept.rglob("*.png"))
    # Names and encoding need neither root nor splits.
    writer = dataset.__new__(dataset)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_folder(target) as new:
            for path in files:
                image_id = path.relative_to(kept).with_suffix("").as_posix()
                name, image = writer.server_file(image_id, np.asarray(read_labels(path)))
                (new / name).parent.mkdir(parents=True, exist_ok=True)
                image.save(new / name, format="PNG")
    except OSError as error:
        raise BenchError(f"{target}: cannot be written: {error.strerror}") from error
    return len(files)
