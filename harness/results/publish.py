"""Results as one file that can be handed on: no data set's images, nothing of the machines that made it."""

from __future__ import annotations

import hashlib
import re
import socket
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import delete, func, select

from harness.datasets import dataset_class
from harness.errors import BenchError, DatabaseError, UnknownName
from harness.results.merge import merge
from harness.results.opening import open_store
from harness.results.schema import Artifact, DatasetRow, GalleryImage, GalleryPrediction, Meta, Run
from harness.results.store import Store
from harness.scoring.keep import spread_evenly
from harness.utils.files import new_file, write_bytes
from harness.utils.version import __version__

MEGABYTE = 1_000_000
LIMIT = 25 * MEGABYTE
# How many images a gallery keeps where the file would be too large, one after the other.
_FEWER = (50, 25, 12, 0)
# The key in `meta` of a published file: the version of the project that wrote it.
PUBLISHED = "published"

# A path from the root, of at least two parts, that is not a part of a URL or of another word.
_PATH = re.compile(r"(?<![\w:/.…])(?:/[\w.+@%=~-]+)+/([\w.+@%=~-]+)")
_TEXTS = ("model_origin", "reason", "error", "traceback")
_RECORDS = ("config", "history", "provenance", "selection", "progress", "search")


def publish(sources: Sequence[str], target: Path, limit: int = LIMIT) -> int:
    """Write the finished runs of databases into one new file, whole or not at all.

    Photographs and truths of data sets that are not generated are left out, as their terms may forbid to hand them on;
    so are label maps, checkpoints, host names and folders. Predictions in galleries, scores, statistics of each image,
    curves, recipes and provenance are there. Where the file would be too large, galleries have fewer images.

    Args:
        sources: databases, paths or URLs; they are only read.
        target: the file, replaced if it is there.
        limit: bytes that it may have.

    Returns:
        How many runs it has.

    Raises:
        DatabaseError: a source cannot be opened.
        BenchError: sources contradict each other, nothing in them is finished, the file would be too large, or
            something of this machine would be in it.
    """
    if not target.parent.is_dir():
        raise BenchError(f"{target.parent}: there is no such folder")
    with new_file(target) as new:
        store = open_store(str(new))
        try:
            for source in sources:
                _take_in(store, source)
            runs = _without_foreign(store)
        finally:
            store.close()
        if not runs:
            raise BenchError(f"{', '.join(sources)}: no run is finished: there is nothing to publish")
        compact(new)
        for count in _FEWER:
            if new.stat().st_size > limit:
                _thin_galleries(new, count)
                compact(new)
        _refuse_size(new, limit)
        _refuse_traces(new, sources)
    return runs


def is_published(store: Store) -> bool:
    """Whether a database is a published file."""
    with store.session() as session:
        return session.get(Meta, PUBLISHED) is not None


def unpacked(file: Path, folder: Path) -> Path:
    """A copy of a published file under its content's hash, where the app can read it; made once.

    Args:
        file: the published file, perhaps where nothing can be written.
        folder: takes the copy.

    Raises:
        DatabaseError: the file cannot be read, or is no published file.
    """
    try:
        content = file.read_bytes()
        copy = folder / f"published-{hashlib.sha256(content).hexdigest()[:16]}.db"
        if not copy.exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_bytes(copy, content)
    except OSError as error:
        raise DatabaseError(f"{file}: the published results cannot be read: {error.strerror}") from error
    store = open_store(str(copy), read_only=True)
    try:
        if not is_published(store):
            raise DatabaseError(f"{file}: is a results database, but not a published one", "Open it with --db.")
    finally:
        store.close()
    return copy


def _take_in(store: Store, source: str) -> None:
    open_store(source, read_only=True).close()  # says what is missing, or how to bring it up to date
    result = merge(store, source, label_maps=False, noted=False)
    if result.conflicts:
        raise BenchError(f"{source} contradicts what is taken in before it: {'; '.join(result.conflicts)}")
    if result.refused:
        raise BenchError(f"{source} is not sound: {'; '.join(result.refused)}", "`bench db check` looks at all of it.")


def _without_foreign(store: Store) -> int:
    """Remove what is not ours to hand on; returns how many runs are left."""
    with store.session() as session:
        session.execute(delete(Artifact))
        generated = {row.test_manifest for row in session.scalars(select(DatasetRow)) if is_generated(row.name)}
        for image in session.scalars(select(GalleryImage)):
            if image.test_manifest not in generated:
                image.image, image.target = b"", b""
        runs = list(session.scalars(select(Run)))
        for run in runs:
            own = {column: getattr(run, column) for column in ("driver", "heartbeat", *_TEXTS, *_RECORDS)}
            for column, value in without_machine(own).items():
                setattr(run, column, value)
        session.merge(Meta(key=PUBLISHED, value=__version__))
        return len(runs)


def without_machine(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a run without what names the machine that it ran on: host, folders, the command that ran it."""
    found = {**row, "driver": None, "heartbeat": None}
    found |= {column: without_paths(row[column]) for column in (*_TEXTS, *_RECORDS)}
    hardware = {k: v for k, v in row["provenance"].get("hardware", {}).items() if k != "host"}
    if hardware:
        found["provenance"] = {**found["provenance"], "hardware": without_paths(hardware)}
    return found


def _thin_galleries(file: Path, count: int) -> None:
    """Keep of each gallery so many images, evenly spread, of those that most runs show."""
    store = open_store(str(file))
    try:
        with store.session() as session:
            for manifest in session.scalars(select(DatasetRow.test_manifest).distinct()).all():
                runs = select(Run.id).join(DatasetRow, Run.manifest == DatasetRow.manifest)
                own = GalleryPrediction.run_id.in_(runs.where(DatasetRow.test_manifest == manifest))
                shown = select(GalleryPrediction.image_id, func.count()).where(own).group_by(GalleryPrediction.image_id)
                counts = [(image, number) for image, number in session.execute(shown.order_by("image_id"))]
                most = max((number for _, number in counts), default=0)
                shared = [image for image, number in counts if number == most]
                kept = spread_evenly(shared, count)
                session.execute(delete(GalleryPrediction).where(own, GalleryPrediction.image_id.not_in(kept)))
                images = delete(GalleryImage).where(GalleryImage.test_manifest == manifest)
                session.execute(images.where(GalleryImage.image_id.not_in(kept)))
    finally:
        store.close()


def is_generated(name: str) -> bool:
    """Whether a data set of this name is one that the project makes itself."""
    try:
        return dataset_class(name).generated
    except UnknownName:  # another package's, or a folder of somebody's own
        return False


def without_paths(value: Any) -> Any:
    """A value of JSON whose texts have only the names of files, not their folders."""
    if isinstance(value, str):
        return _PATH.sub(r"…/\1", value)
    if isinstance(value, dict):
        return {key: without_paths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [without_paths(one) for one in value]
    return value


def compact(file: Path) -> None:
    """One file, without the room of what was removed and without a log beside it."""
    connection = sqlite3.connect(file)
    try:
        connection.execute("PRAGMA journal_mode=DELETE")
        connection.execute("VACUUM")
    finally:
        connection.close()


def _refuse_size(file: Path, limit: int) -> None:
    size = file.stat().st_size
    if size <= limit:
        return
    parts = sorted(_sizes(file), key=lambda part: -part[1])[:3]
    told = ", ".join(f"{name} {bytes_ / MEGABYTE:.1f} MB" for name, bytes_ in parts)
    raise BenchError(
        f"the file would have {size / MEGABYTE:.1f} MB, and may have {limit / MEGABYTE:g} MB: {told}",
        "Leave a database out, or raise --limit.",
    )


def _sizes(file: Path) -> Iterator[tuple[str, int]]:
    """What is large in a database, and how many bytes it takes."""
    connection = sqlite3.connect(file)
    try:
        for name, query in {
            "gallery predictions": "select sum(length(prediction)) from gallery_predictions",
            "gallery photographs and truths": "select sum(length(image) + length(target)) from gallery_images",
            "statistics image by image": "select sum(length(statistics)) from evaluations",
            "scores": "select 40 * count(*) from scores",
            "curves": "select 40 * count(*) from curves",
        }.items():
            yield name, connection.execute(query).fetchone()[0] or 0
    finally:
        connection.close()


def _refuse_traces(file: Path, sources: Sequence[str]) -> None:
    """Look for folders of this machine and its name in the file as it is."""
    folders = {Path.home(), Path.cwd(), *(Path(s).resolve().parent for s in sources if Path(s).exists())}
    traces = {str(folder) for folder in folders if len(folder.parts) > 1}
    if len(host := socket.gethostname()) > 5:
        traces.add(host)
    content = file.read_bytes()
    if found := sorted(trace for trace in traces if trace.encode() in content):
        raise BenchError(
            f"{', '.join(found)} would be in the published file",
            "It stands in a label, a suite or a plugin's source of these results: leave that database out.",
        )
