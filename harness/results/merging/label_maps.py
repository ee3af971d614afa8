"""A stranger's label maps: plain files that their list of checksums names, each compared with it before it appears."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from harness.datasets.base import problem_of_id
from harness.errors import ArtifactsError
from harness.results.merging.figures import read_statistics
from harness.results.merging.limits import MEGABYTE, Clock, Limits
from harness.results.schema import Artifact
from harness.scoring.evaluate import CHECKSUMS
from harness.scoring.keep import PREDICTIONS, STATISTICS
from harness.tasks.artifacts import Artifacts, RunFiles
from harness.utils.files import new_folder
from harness.utils.text import plain_line

_ENTRY = re.compile(r"([0-9a-f]{64})  (.+)")
_CHUNK = 1 << 20
# Nothing is followed or waited for: a link is an error, a pipe is opened and then seen not to be a file.
_CAREFUL = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class LabelMapSource:
    """Where the other database's label maps are, and how much of them is taken."""

    place: Artifacts
    limits: Limits
    clock: Clock
    name: str
    """Of the other database."""

    def has(self, fingerprint: str, kept: Sequence[Artifact]) -> bool:
        """Whether there is anything of a run's label maps.

        Raises:
            ArtifactsError: the place cannot be read.
        """
        files = self.place.run(fingerprint)
        return bool(kept) and any(os.path.lexists(files.local / one.path) or files.has(one.path) for one in kept)

    def copy(self, fingerprint: str, kept: Sequence[Artifact], num_classes: int, target: Path) -> None:
        """Copy and compare the label maps of a run.

        Args:
            fingerprint: of the run; 64 hexadecimal digits.
            kept: what the database says of them, a split each.
            num_classes: K.
            target: an empty folder, which takes a folder for each split.

        Raises:
            ValueError: a file is no plain file, is not the one that was written, or is too large; names it.
            ArtifactsError: the place cannot be read.
            DatabaseError: the time is over.
        """
        files = self.place.run(fingerprint)
        for split in kept:
            if files.remote:
                self._fetch(files, split)
            with self._folder(files, split.path) as folder:
                self._copy_split(folder, split, num_classes, target / split.split)
        files.release()

    def _fetch(self, files: RunFiles, split: Artifact) -> None:
        """From a store, only what the list of checksums names."""
        path = files.fetch(f"{split.path}/{CHECKSUMS}")
        try:
            names = _entries(path.read_bytes(), split, self.limits)
        except OSError as error:
            raise ValueError(f"{split.path}/{CHECKSUMS} is missing") from error
        for name in names:
            self.clock.check(self.name)
            files.fetch(f"{split.path}/{name}")

    @contextlib.contextmanager
    def _folder(self, files: RunFiles, path: str) -> Iterator[int]:
        """The descriptor of a split's folder; no part of the way to it, from the run's folder on, may be a link."""
        try:
            folder = os.open(files.local.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ValueError(f"{files.local.parent}: {error.strerror}") from error
        with _steps_into(folder, [files.local.name, *path.split("/")]) as inner:
            yield inner

    def _copy_split(self, folder: int, split: Artifact, num_classes: int, target: Path) -> None:
        with _opened(folder, CHECKSUMS) as file:
            listed = file.read(MEGABYTE + 200 * self.limits.label_map_files)
        entries = _entries(listed, split, self.limits)
        left = self.limits.split_bytes
        for name, digest in entries.items():
            self.clock.check(self.name)
            place = target / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with _opened(folder, name) as file, place.open("xb") as copy:
                left -= _copied(file, copy, name, digest, min(left, self.limits.label_map_bytes))
            if name == STATISTICS:
                read_statistics(place.read_bytes(), num_classes, self.limits)
        target.mkdir(parents=True, exist_ok=True)
        (target / CHECKSUMS).write_bytes(listed)


def _entries(listed: bytes, split: Artifact, limits: Limits) -> dict[str, str]:
    """File name -> SHA-256, of the very list that the database names.

    Raises:
        ValueError: it is another list, or names what can be no label map.
    """
    if hashlib.sha256(listed).hexdigest() != split.sha256:
        raise ValueError(f"{split.path}/{CHECKSUMS} is not the list that the database names")
    found: dict[str, str] = {}
    for line in listed.decode().split("\n"):
        if not line:
            continue
        entry = _ENTRY.fullmatch(line)
        name = entry[2] if entry else ""
        odd = not name or problem_of_id(name.removesuffix(".png")) or not (name.endswith(".png") or name == STATISTICS)
        if entry is None or odd or name in found:
            raise ValueError(f"{split.path}/{CHECKSUMS} names {plain_line(name or line, 80)!r}, which is no label map")
        found[name] = entry[1]
    if len(found) != split.files or len(found) > limits.label_map_files:
        raise ValueError(f"{split.path} has {len(found)} files, the database says {split.files}")
    return found


def _copied(file: IO[bytes], copy: IO[bytes], name: str, digest: str, most: int) -> int:
    """Copy a file whose SHA-256 is known; returns its bytes."""
    size, found = 0, hashlib.sha256()
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        if size > most:
            raise ValueError(f"{plain_line(name)}: is too large")
        found.update(chunk)
        copy.write(chunk)
    if found.hexdigest() != digest:
        raise ValueError(f"{plain_line(name)}: is not the file that was written (SHA-256 differs)")
    return size


@contextlib.contextmanager
def _steps_into(folder: int, parts: Sequence[str]) -> Iterator[int]:
    """Go down from an open folder, which is closed; yields the last one."""
    try:
        for part in parts:
            try:
                inner = os.open(part, _CAREFUL | os.O_DIRECTORY, dir_fd=folder)
            except OSError as error:
                raise ValueError(f"{plain_line(part)}: is no plain folder ({error.strerror})") from error
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


@contextlib.contextmanager
def _opened(folder: int, name: str) -> Iterator[IO[bytes]]:
    """A plain file below an open folder.

    Raises:
        ValueError: it is missing, a link, a device or anything else, or stands behind a link.
    """
    *above, last = name.split("/")
    with _steps_into(os.dup(folder), above) as inner:
        try:
            number = os.open(last, _CAREFUL, dir_fd=inner)
        except OSError as error:
            raise ValueError(f"{plain_line(name)}: is missing or no plain file ({error.strerror})") from error
        with os.fdopen(number, "rb") as file:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                raise ValueError(f"{plain_line(name)}: is no plain file")
            yield file


class Staged:
    """Label maps that are copied and compared, beside the place where they will be; used as a context, which tidies up.

    Args:
        place: of our runs' files.
    """

    def __init__(self, place: Artifacts) -> None:
        self._place = place
        self._waiting: dict[str, Path] = {}
        self._uploaded: set[str] = set()
        self._placed: dict[str, tuple[Path, Path]] = {}

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *error: object) -> None:
        for fingerprint in [*self._waiting, *self._uploaded]:
            self.drop(fingerprint)

    def take(self, source: LabelMapSource, fingerprint: str, kept: Sequence[Artifact], num_classes: int) -> bool:
        """Copy a run's label maps; returns whether there were any, and room for them.

        Raises:
            ValueError: they are not what they should be.
            ArtifactsError: a place cannot be read or written.
        """
        files = self._place.run(fingerprint)
        if not source.has(fingerprint, kept) or (files.remote and files.has(PREDICTIONS)):
            return False
        made = not files.local.exists()
        try:
            files.local.mkdir(parents=True, exist_ok=True)
            staged = files.local / (PREDICTIONS if files.remote else f".{PREDICTIONS}.merged")
            with new_folder(staged, overwrite=True, only_writer=True) as new:
                source.copy(fingerprint, kept, num_classes, new)
            if files.remote:
                self._uploaded.add(fingerprint)
                files.keep(PREDICTIONS)
            else:
                self._waiting[fingerprint] = staged
        except BaseException as error:
            if made:
                shutil.rmtree(files.local, ignore_errors=True)
            if isinstance(error, OSError):
                raise ArtifactsError(f"{files.local}: cannot be written: {error.strerror or error}") from error
            raise
        return True

    def __contains__(self, fingerprint: str) -> bool:
        return fingerprint in self._waiting or fingerprint in self._uploaded

    def put_in_place(self, merge_id: int, taken: Set[str]) -> None:
        """Move label maps to where they belong, which takes no time; what lies there is kept under another name.

        Args:
            merge_id: of this merge.
            taken: the fingerprints of the runs that were taken over.

        Raises:
            ArtifactsError: they cannot be moved.
        """
        try:
            for fingerprint in [one for one in self._waiting if one in taken]:
                staged = self._waiting[fingerprint]
                final = staged.with_name(PREDICTIONS)
                aside = set_aside(final, merge_id)
                if final.exists():
                    final.replace(aside)
                self._placed[fingerprint] = final, aside
                staged.replace(final)
                del self._waiting[fingerprint]
        except OSError as error:
            raise ArtifactsError(f"{self._place.location}: cannot be written: {error.strerror or error}") from error

    def settle(self, taken: Set[str]) -> None:
        """The database has these runs: their label maps stay."""
        for fingerprint in self._uploaded & taken:
            self._place.run(fingerprint).release()
        self._uploaded -= taken

    def roll_back(self) -> None:
        """The database does not have the runs: everything as before."""
        for fingerprint, (final, aside) in self._placed.items():
            shutil.rmtree(final, ignore_errors=True)
            if aside.exists():
                aside.replace(final)
            self.drop(fingerprint)
            with contextlib.suppress(OSError):  # it has other files
                final.parent.rmdir()

    def drop(self, fingerprint: str) -> None:
        """Remove what was copied for a run."""
        staged = self._waiting.pop(fingerprint, None)
        if staged is not None:
            shutil.rmtree(staged, ignore_errors=True)
            with contextlib.suppress(OSError):  # it has other files
                staged.parent.rmdir()
        if fingerprint in self._uploaded:
            self._uploaded.discard(fingerprint)
            self._place.run(fingerprint).discard(PREDICTIONS)


def set_aside(final: Path, merge_id: int) -> Path:
    """What a run's label maps are called that were there before those of a merge."""
    return final.with_name(f"{final.name}.before-merge-{merge_id}")
