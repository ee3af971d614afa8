"""Folders for files that come and go, which the next command removes where theirs was killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from functools import cache
from pathlib import Path

from harness.results.lease import is_gone, this_driver
from harness.utils.reading import CannotRead, read_text

PREFIX = "segbench-"
# The file in a folder that says whose it is.
OWNER = ".owner"


def scratch_folder(what: str = "") -> Path:
    """A new folder of this process's own, in the machine's folder for temporary files.

    Args:
        what: a word for its name.
    """
    _remove_abandoned_once()
    folder = Path(tempfile.mkdtemp(prefix=PREFIX + (f"{what}-" if what else "")))
    (folder / OWNER).write_text(this_driver())
    return folder


@cache
def _remove_abandoned_once() -> None:
    remove_abandoned()


def remove_abandoned() -> None:
    """Remove such folders of this user whose process is gone: it was killed before it could do so."""
    with contextlib.suppress(OSError):
        for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            if _is_abandoned(path):
                shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    now = time.time()
    with contextlib.suppress(OSError, CannotRead, ValueError):
        found = folder.lstat()
        if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
            # Of another machine or container, whose processes are not seen here, nothing is ever gone at once.
            return is_gone(read_text(folder / OWNER, 1000), now, now)
    return False
