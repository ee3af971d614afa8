"""`bench bundle`: what a reviewer needs to check a suite's figures, as one archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from sqlalchemy import select

from harness.config.load import load_suite, suite_files
from harness.errors import ArtifactsError, BenchError, DataError, UnknownName
from harness.results.bundling.part import write_part
from harness.results.schema import Artifact, Evaluation, Run, SuiteEntry
from harness.results.store import Store
from harness.scoring.evaluate import CHECKSUMS, verify_checksums
from harness.tasks.artifacts import RunFiles
from harness.utils.files import new_file
from harness.utils.text import plain_line
from harness.utils.version import __version__

# Raised when an archive can no longer be read as before.
FORMAT = 1
RESULTS, FACTS, SUITE, README = "results.db", "bundle.json", "suite.yaml", "README.txt"
LABEL_MAPS, PLUGINS, PROTOCOLS = "label_maps", "plugins", "protocols"

_README = """{suite}: results of a segbench suite, to be checked

  {results}        the suite's rows: figures, statistics of each image, curves, recipes, provenance
  label_maps/       what each run predicted, one folder a run and split, with checksums
  plugins/          the source of networks from single files
  protocols/        how it was scored
  {suite_file}        the suite{no_suite}
  bundle.json       what is here, and what is not
  SHA256SUMS        of every other file: sha256sum --check SHA256SUMS

Photographs and truths are not here: they are the data set's, and yours if you have a copy.

With segbench {version} (pip install segbench):

  bench verify THIS.tar.gz                      checksums; every figure folded anew from its statistics
  bench verify THIS.tar.gz --data-dir DIR       the label maps scored anew, too, against your own copy of the data
  bench leaderboard --db {results}           the board (unpack first)
  bench replay RUN --db {results} --data-dir DIR     train a row again from its record
"""


@dataclass
class Bundled:
    """What went into an archive."""

    suite: str
    runs: int = 0
    files: int = 0
    label_maps: int = 0
    """Splits of runs whose label maps are in it."""
    left_out: list[str] = field(default_factory=list)
    """What is not in it, and why, a line each."""


def write_bundle(store: Store, suite: str, target: Path, label_maps: bool = True) -> Bundled:
    """Write a suite's results as one archive, whole or not at all; the same results give the same bytes.

    Args:
        store: has the results; it is only read.
        suite: its name, or its file, which then goes into the archive.
        target: the `.tar.gz`, replaced if it is there.
        label_maps: whether they go into it: without them nobody can score them anew.

    Raises:
        UnknownName: the database has no such suite.
        BenchError: nothing of it is finished, or the archive cannot be written.
    """
    name, file = _suite_of(suite)
    _refuse_unknown(store, name)
    bundled = Bundled(name)
    with tempfile.TemporaryDirectory(prefix="segbench-bundle-") as scratch:
        database = Path(scratch) / RESULTS
        runs = write_part(store, name, database)
        if not runs:
            raise BenchError(f"{store.name}: no run of suite {name} is finished: there is nothing to hand on")
        bundled.runs = len(runs)
        if unfinished := _unfinished(store, name):
            bundled.left_out.append(f"{unfinished} run(s) that are not finished")
        try:
            with new_file(target) as new, _archive(new, name) as archive:
                _fill(archive, store, runs, database, file, label_maps, bundled)
        except OSError as error:
            raise BenchError(f"{target}: cannot be written: {error.strerror or error}") from error
    return bundled


def _suite_of(suite: str) -> tuple[str, Path | None]:
    """A suite's name, and its file where there is one."""
    if suite.endswith((".yaml", ".yml")):
        return load_suite(suite).name, Path(suite).expanduser()
    return suite, suite_files().get(suite)


def _refuse_unknown(store: Store, name: str) -> None:
    with store.session() as session:
        known = set(session.scalars(select(SuiteEntry.suite).distinct()))
    if name not in known:
        raise UnknownName.of("suite in this database", name, known, "bench status")


def _unfinished(store: Store, name: str) -> int:
    with store.session() as session:
        states = session.scalars(
            select(Run.state).join(SuiteEntry, SuiteEntry.run_id == Run.id).where(SuiteEntry.suite == name)
        )
        return sum(state in ("pending", "running", "interrupted") for state in states)


class _Archive:
    """An archive in which the same files give the same bytes: in a fixed order, without times, users and modes."""

    def __init__(self, tar: tarfile.TarFile, top: str) -> None:
        self._tar, self._top = tar, top
        self.sums: dict[str, str] = {}

    def add(self, name: str, data: bytes | Path) -> None:
        """Add a file under a name."""
        with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
            info = tarfile.TarInfo(f"{self._top}/{name}")
            info.size = len(data) if isinstance(data, bytes) else data.stat().st_size
            info.mode = 0o644
            reader = _Hashing(file)
            self._tar.addfile(info, reader)
        self.sums[name] = reader.digest.hexdigest()


class _Hashing(io.RawIOBase):
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """Some bytes."""
        found = self._file.read(size)
        self.digest.update(found)
        return found


@contextmanager
def _archive(path: Path, suite: str) -> Iterator[_Archive]:
    with (
        path.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0, compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        archive = _Archive(tar, f"{suite}-bundle")
        yield archive
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(archive.sums.items()))
        archive.add(CHECKSUMS, lines.encode())


def _fill(
    archive: _Archive,
    store: Store,
    runs: Sequence[Run],
    database: Path,
    suite_file: Path | None,
    label_maps: bool,
    bundled: Bundled,
) -> None:
    told = {"suite": bundled.suite, "results": RESULTS, "version": __version__, "suite_file": SUITE}
    no_suite = "" if suite_file else " (not here: the database has every job in full)"
    archive.add(README, _README.format(**told, no_suite=no_suite).encode())
    if suite_file is None:
        bundled.left_out.append("the suite's file: name it instead of the suite to put it in")
    else:
        archive.add(SUITE, suite_file)
    archive.add(RESULTS, database)
    protocols = protocol_files(store, [run.id for run in runs])
    for name, data in protocols.values():
        archive.add(name, data)
    plugins = {run.id: file for run in runs if (file := plugin_file(run)) is not None}
    for name, data in dict(plugins.values()).items():
        archive.add(name, data)
    bundled.left_out += [
        f"run {run.id}: the weights that it began with, {Path(str(given)).name}"
        for run in runs
        for given in (run.config.get("model", {}).get(key) for key in ("checkpoint", "start_from"))
        if given
    ]
    kept = _label_maps(archive, store, runs, label_maps, bundled)
    facts = {
        "format": FORMAT,
        "segbench": __version__,
        "suite": bundled.suite,
        "runs": [
            {
                "run": run.id,
                "model": run.model,
                "seed": run.seed,
                "state": run.state,
                "fingerprint": run.fingerprint,
                "plugin": plugins[run.id][0] if run.id in plugins else None,
                "label_maps": kept.get(run.id, {}),
            }
            for run in runs
        ],
        "protocols": {key: name for key, (name, _) in protocols.items()},
        "left_out": bundled.left_out,
    }
    archive.add(FACTS, _json(facts))
    bundled.files = len(archive.sums) + 1


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()


def protocol_files(store: Store, numbers: Sequence[int]) -> dict[str, tuple[str, bytes]]:
    """The protocols of some runs' scores: hash -> the name of a file, and what is in it."""
    found: dict[str, dict[str, Any]] = {}
    with store.session() as session:
        for number in numbers:
            rows = select(Evaluation.protocol_hash, Evaluation.protocol).where(Evaluation.run_id == number)
            found |= {row.protocol_hash: row.protocol for row in session.execute(rows)}
    return {key: (f"{PROTOCOLS}/{key[:16]}.json", _json(protocol)) for key, protocol in sorted(found.items())}


def plugin_file(run: Run) -> tuple[str, bytes] | None:
    """The file of a run's network, by its name in the archive; None where it is not a single file's."""
    if not run.model_source:
        return None
    source = run.model_source.encode()
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", run.model_name)[:60]
    return f"{PLUGINS}/{plain}-{hashlib.sha256(source).hexdigest()[:12]}.py", source


def _label_maps(
    archive: _Archive, store: Store, runs: Sequence[Run], wanted: bool, bundled: Bundled
) -> dict[int, dict[str, str]]:
    """The label maps that are kept, as their checksums say they were written; returns their folders."""
    found: dict[int, dict[str, str]] = {}
    with store.session() as session:
        kept = list(session.scalars(select(Artifact).order_by(Artifact.run_id, Artifact.split)))
    if not wanted:
        bundled.left_out.append("all label maps: they were not wanted")
        return found
    by_number = {run.id: run for run in runs}
    place = store.artifacts
    for artifact in kept:
        run = by_number.get(artifact.run_id)
        if run is None:
            continue
        files = place.run(run.fingerprint)
        try:
            folder = _checked(files, artifact)
        except (DataError, ArtifactsError) as error:
            bundled.left_out.append(f"label maps of run {run.id}, {artifact.split}: {_without_folder(error.message)}")
            continue
        name = f"{LABEL_MAPS}/{run.fingerprint[:16]}/{artifact.split}"
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.add(f"{name}/{path.relative_to(folder).as_posix()}", path)
        files.release()
        found.setdefault(run.id, {})[artifact.split] = name
        bundled.label_maps += 1
    return found


def _checked(files: RunFiles, artifact: Artifact) -> Path:
    """The folder of a split's label maps.

    Raises:
        DataError: it is not what the run wrote.
    """
    folder = files.fetch(artifact.path)
    verify_checksums(folder)
    if hashlib.sha256((folder / CHECKSUMS).read_bytes()).hexdigest() != artifact.sha256:
        raise DataError(f"{folder / CHECKSUMS}: is not what the run wrote")
    return folder


def _without_folder(message: str) -> str:
    """A message that does not name folders of this machine."""
    return re.sub(r"(?:/[^/\s:]+)+/", "", plain_line(message))
