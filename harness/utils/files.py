"""Files and folders that appear whole or not at all: written beside their place, then moved there in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from harness.utils.parallel import in_order

# Files whose data are sent to the disk at once.
_THREADS = 8


@contextlib.contextmanager
def new_file(target: Path, *, only_writer: bool = False) -> Iterator[Path]:
    """Write a file in one step: a reader sees what was there before or all of the new file, also after a power cut.

    Args:
        target: where the file appears when the block ends without an error; a file that is there is replaced. Its
            folder must exist.
        only_writer: nobody else writes this target now, so that whatever lies beside it is of a writer that was
            killed, and is removed.

    Yields:
        Where to write it. It has the target's own name, because some libraries look at the name of what they write.

    Raises:
        OSError: it cannot be written. After this or any other error the target is as before, and nothing is beside it.
    """
    with scratch_beside(target, only_writer=only_writer) as scratch:
        path = scratch / target.name
        yield path
        move(path, target)


@contextlib.contextmanager
def new_folder(target: Path, *, overwrite: bool = False, only_writer: bool = False) -> Iterator[Path]:
    """Fill a folder that appears in one step.

    Args:
        target: where the folder appears when the block ends without an error. The folder above it must exist.
        overwrite: remove a folder that is there, immediately before; else it is an error, and stays.
        only_writer: as for `new_file`.

    Yields:
        An empty folder to write into.

    Raises:
        OSError: it cannot be written, or the target exists. After this or any other error nothing is left beside it.
    """
    with scratch_beside(target, only_writer=only_writer) as scratch:
        path = scratch / target.name
        path.mkdir()
        yield path
        move(path, target, overwrite=overwrite)


def write_bytes(target: Path, data: bytes) -> None:
    """Write a file in one step, as `new_file` does."""
    with new_file(target) as path:
        path.write_bytes(data)


def write_text(target: Path, text: str) -> None:
    """Write a text file (UTF-8) in one step, as `new_file` does."""
    with new_file(target) as path:
        path.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def scratch_beside(target: Path, *, only_writer: bool = False) -> Iterator[Path]:
    """A folder on the target's file system, of this writer's own, that is gone after the block.

    Args:
        target: beside which it is; the folder above must exist.
        only_writer: as for `new_file`.
    """
    if only_writer:
        remove_leftovers(target)
    scratch = target.with_name(f".{target.name}.{uuid4().hex[:12]}.partial")
    try:
        scratch.mkdir()
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def move(path: Path, target: Path, *, overwrite: bool = False) -> None:
    """Move a file or folder that is written to its place on the same file system, once its data are on the disk.

    Args:
        path: a finished file or folder.
        target: where it goes; a file there is replaced.
        overwrite: remove a folder that is there.

    Raises:
        OSError: the disk did not take the data, or there is a folder.
    """
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    for _ in in_order(_to_disk, files, threads=min(_THREADS, len(files))):
        pass
    if overwrite:
        shutil.rmtree(target, ignore_errors=True)
    path.replace(target)


def _to_disk(path: Path) -> None:
    # Without this, a power cut can leave a file in its place whose data were not written yet.
    with path.open("rb") as file:
        os.fsync(file.fileno())


def remove_leftovers(target: Path) -> None:
    """Remove what writers that were killed left beside a target, which nobody else writes now."""
    for path in target.parent.iterdir():
        if path.name.startswith(f".{target.name}.") and path.name.endswith(".partial"):
            shutil.rmtree(path, ignore_errors=True)
