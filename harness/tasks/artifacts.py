"""Where runs keep checkpoints, logs and label maps: a folder that every machine sees, or an object store.

A run always works in a local folder. Where the place is a folder, that is the run's folder in it; where it is a URL,
it is one in the machine's cache, out of which files are copied to the store, and into which another machine fetches
them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.errors import ArtifactsError
from harness.utils.caches import caches_home
from harness.utils.files import new_file, new_folder

# Where an object appears whole or not at all; elsewhere a file is written beside its place, and then moved.
OBJECT_STORES = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "memory")
TRANSFERS = 8


class Artifacts:
    """The place of all runs' files.

    Args:
        location: a folder, or a URL that fsspec or PyArrow can open (`s3://bucket/runs`).
    """

    def __init__(self, location: str | Path) -> None:
        self.location = str(location)

    @property
    def exists(self) -> bool:
        """Whether anything can be there: a folder that has been made, or any URL."""
        return is_url(self.location) or Path(self.location).is_dir()

    @classmethod
    def named(cls, given: str) -> Artifacts:
        """What a user wrote.

        Raises:
            ArtifactsError: a URL without a place in it, or with a password.
        """
        if not is_url(given):
            return cls(Path(given).expanduser().resolve())
        parts = urlsplit(given)
        if parts.scheme in ("file", "local"):
            return cls(Path(parts.path).resolve())
        if parts.username or parts.password:
            bare = f"{parts.scheme}://…@{parts.hostname}{parts.path}"
            raise ArtifactsError(
                f"--artifacts {bare}: credentials would be kept in the database",
                "Leave them to the environment, e.g. AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
            )
        if not parts.netloc and not parts.path:
            raise ArtifactsError(f"--artifacts {given}: does not name a place")
        return cls(given.rstrip("/"))

    def run(self, fingerprint: str) -> RunFiles:
        """The files of one run, by its train fingerprint."""
        return self.of(fingerprint[:16])

    def of(self, name: str) -> RunFiles:
        """The files in one folder, by its name."""
        if not is_url(self.location):
            return RunFiles(str(Path(self.location, name)))
        parts = urlsplit(self.location)
        return RunFiles(parts._replace(path=f"{parts.path}/{name}").geturl())

    def check(self) -> None:
        """Write a file there and remove it.

        Raises:
            ArtifactsError: the place cannot be written; says why.
        """
        files = self.of(f"check-{os.getpid()}")
        try:
            files.local.mkdir(parents=True, exist_ok=True)
            (files.local / "check").write_text("")
            files.keep("check")
            files.forget("check")
        except OSError as error:
            raise ArtifactsError(f"{self.location}: cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(files.local, ignore_errors=True)


class RunFiles:
    """The files of one run, by their names in its folder.

    Args:
        location: the run's folder, or its URL.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self.remote = is_url(location)
        self.local = _work_folder(location) if self.remote else Path(location)
        """Where this machine reads and writes them."""

    def fetch(self, name: str) -> Path:
        """Make a file or folder of the store's, if it has it, one of this machine's; returns where it would be.

        Raises:
            ArtifactsError: the store cannot be read.
        """
        if self.remote:
            with self._told("read"):
                root = self._path(name)
                self._each(
                    self._copy_here,
                    [(path, self.local / name / _below(path, root)) for path in self._files(root)],
                )
        return self.local / name

    def keep(self, name: str, written_once: str = "") -> None:
        """Make the store's copy of a file or folder equal to this machine's; what is not here is left alone.

        Args:
            name: of the file or folder.
            written_once: a pattern of file names that are not copied again where the store has them in full.

        Raises:
            ArtifactsError: the store cannot be written.
        """
        here = self.local / name
        if not self.remote or not here.exists():
            return
        with self._told("written"):
            root = self._path(name)
            sources = sorted(p for p in here.rglob("*") if p.is_file()) if here.is_dir() else [here]
            targets = {str(p): "/".join([root, *p.relative_to(here).parts]) for p in sources}
            there = self._sizes(root)
            new = {
                source: target
                for source, target in targets.items()
                if not (fnmatch(Path(source).name, written_once) and there.get(target) == Path(source).stat().st_size)
            }
            self._each(self._copy_there, list(new.items()))
            if here.is_dir():
                for path in there.keys() - set(targets.values()):
                    self._store.rm_file(path)

    def forget(self, name: str) -> None:
        """Remove a file, here and from the store, if it is there.

        Raises:
            ArtifactsError: the store cannot be written.
        """
        (self.local / name).unlink(missing_ok=True)
        if self.remote and self.has(name):
            with self._told("written"):
                self._store.rm_file(self._path(name))

    def discard(self, name: str) -> None:
        """Remove a folder with all that is in it, here and from the store, if it is there.

        Raises:
            ArtifactsError: the store cannot be written.
        """
        shutil.rmtree(self.local / name, ignore_errors=True)
        if self.remote:
            with self._told("written"):
                for path in self._files(self._path(name)):
                    self._store.rm_file(path)

    def has(self, name: str) -> bool:
        """Whether the place has a file or folder.

        Raises:
            ArtifactsError: the store cannot be read.
        """
        if not self.remote:
            return (self.local / name).exists()
        with self._told("read"):
            return bool(self._files(self._path(name)))

    def release(self) -> None:
        """Give the machine's copies up, where the store has them."""
        if self.remote:
            shutil.rmtree(self.local, ignore_errors=True)

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_url(self.location)

    @property
    def _store(self) -> Any:
        return self._opened[0]

    def _path(self, name: str) -> str:
        return f"{self._opened[1].rstrip('/')}/{name}"

    def _files(self, path: str) -> list[str]:
        """A file, or every file below a folder; none where there is nothing."""
        return list(self._sizes(path))

    def _sizes(self, path: str) -> dict[str, int | None]:
        """The same with their sizes, where the store says them."""
        self._store.invalidate_cache()
        found = self._store.find(path, detail=True).items()
        return {file: facts.get("size") for file, facts in found if facts["type"] == "file"}

    def _copy_here(self, source: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with new_file(target) as new:
            self._store.get_file(source, str(new))

    def _copy_there(self, source: str, target: str) -> None:
        if self._whole:
            self._store.put_file(source, target)
            return
        self._store.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._store.put_file(source, f"{target}.partial")
        self._store.mv(f"{target}.partial", target)

    @property
    def _whole(self) -> bool:
        return urlsplit(self.location).scheme in OBJECT_STORES

    def _each(self, copy: Callable[[Any, Any], None], pairs: list[tuple[Any, Any]]) -> None:
        if not self._whole or len(pairs) < 2:
            for pair in pairs:
                copy(*pair)
            return
        with ThreadPoolExecutor(TRANSFERS) as pool:
            list(pool.map(lambda pair: copy(*pair), pairs))

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Whatever a store's client raises, as one message that names the store."""
        try:
            yield
        except ArtifactsError:
            raise
        except Exception as error:
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ArtifactsError(f"{self.location}: cannot be {what}: {first}") from error


def transfer(source: RunFiles, target: RunFiles, name: str) -> Path | None:
    """Copy a folder of one run's files to another place; it appears whole.

    Returns:
        Where the copy is on this machine; None where the source has none, or the target has one.

    Raises:
        ArtifactsError: a store cannot be read or written.
    """
    if target.has(name) or not source.has(name):
        return None
    here = source.fetch(name)
    final = target.local / name
    final.parent.mkdir(parents=True, exist_ok=True)
    with new_folder(final, overwrite=True, only_writer=True) as new:
        shutil.copytree(here, new, dirs_exist_ok=True)
    target.keep(name)
    source.release()
    return final


def open_url(url: str) -> tuple[Any, str]:
    """A file system of fsspec's interface and the path on it; PyArrow's own where fsspec lacks a package for one.

    Raises:
        ArtifactsError: neither can open it.
    """
    import fsspec

    try:
        # A query, such as an endpoint's address, is PyArrow's way of saying it.
        if not urlsplit(url).query:
            store, path = fsspec.core.url_to_fs(url)
            return store, path
        missing: Exception | None = None
    except (ImportError, ValueError) as error:
        missing = error
    try:
        from fsspec.implementations.arrow import ArrowFSWrapper
        from pyarrow.fs import FileSystem

        inner, path = FileSystem.from_uri(url)
    except (ImportError, OSError, ValueError, TypeError) as error:
        first = str(missing or error).splitlines()[0]
        raise ArtifactsError(
            f"{url}: cannot be opened: {first}", "Install the fsspec package for that store."
        ) from error
    return ArrowFSWrapper(inner), path


def _work_folder(location: str) -> Path:
    """Where this machine works on the files of a URL: the same for every attempt of a run."""
    return caches_home() / "work" / hashlib.sha256(location.encode()).hexdigest()[:16]


def is_url(location: str) -> bool:
    """Whether a place is named by a URL, and not as a folder."""
    return "://" in location


def _below(path: str, root: str) -> str:
    return path.removeprefix(root).lstrip("/")
