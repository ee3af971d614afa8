"""`bench verify`: every figure of an archive, against its own statistics and, with the data at hand, its label maps."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from harness.datasets import Dataset, Manifest, dataset_class, manifest_of, open_dataset, resolved
from harness.datasets import data_dir as data_folder
from harness.errors import BenchError, DataError
from harness.metrics import Protocol, Scores, StatisticsTable, fold
from harness.results.bundling.unpack import ArchiveLimits, Unpacked, unpack
from harness.results.bundling.write import FACTS, FORMAT, LABEL_MAPS, RESULTS, plugin_file, protocol_files
from harness.results.check import contradictions, expected_scores
from harness.results.merging.clean import BAD, cleaned
from harness.results.merging.limits import Limits
from harness.results.merging.models import problem_of
from harness.results.merging.source import opened
from harness.results.publish import is_generated
from harness.results.schema import Artifact, DatasetRow, Evaluation, Run, Score
from harness.results.scored_as import copy_key
from harness.results.store import Store
from harness.scoring.evaluate import CHECKSUMS, evaluate_images, stored_label_maps
from harness.utils.text import plain_line, plain_values

_FACTS_BYTES = 50_000_000


@dataclass(frozen=True)
class RunVerified:
    """What was found of one run."""

    run: int
    title: str
    state: str
    figures: int = 0
    """Stored figures, all of which its statistics give."""
    label_maps: str = "–"
    """Whether they are in the archive and what the run wrote."""
    rescored: str = "–"
    """How many figures its label maps give, scored anew against this machine's copy of the data."""
    problems: tuple[str, ...] = ()


@dataclass
class Verified:
    """What was found in an archive."""

    suite: str
    version: str
    """Of the segbench that wrote it."""
    rows: list[RunVerified] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What is wrong, a line each."""
    notes: list[str] = field(default_factory=list)
    """What could not be checked, and why."""
    left_out: list[str] = field(default_factory=list)
    """What the archive says is not in it."""

    @property
    def exit_code(self) -> int:
        """0: everything that was checked agrees. 1: something does not."""
        return int(bool(self.problems))

    @property
    def summary(self) -> str:
        """The end of it, in a line."""
        figures = sum(row.figures for row in self.rows)
        anew = sum(row.rescored.endswith("agree") for row in self.rows)
        if self.problems:
            return f"Not as it says: {len(self.problems)} problem(s)."
        told = f"{anew} of {len(self.rows)} runs were scored anew from their label maps"
        return f"All of it agrees: {figures:,} figures of {len(self.rows)} runs follow from their statistics; {told}."

    def record(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {**asdict(self), "exit_code": self.exit_code, "summary": self.summary}


def verify_bundle(archive: Path, data_dir: str | Path | None = None, limits: ArchiveLimits | None = None) -> Verified:
    """Check an archive that a stranger wrote.

    Every file is compared with its checksum, every row with what a row has to be, every figure with what its statistics
    give. Where this machine has the data set, label maps are scored anew, and every figure that follows from label maps
    is compared; losses and areas under curves need the network, and are taken from the statistics.

    Args:
        archive: the file.
        data_dir: where data sets are; generated ones are made.
        limits: how much it may unpack to.

    Raises:
        BenchError: it is no bundle, is damaged, or holds what no bundle holds.
    """
    with tempfile.TemporaryDirectory(prefix="segbench-verify-") as scratch:
        there, work = Path(scratch) / "bundle", Path(scratch) / "work"
        there.mkdir()
        work.mkdir()
        unpacked = unpack(archive, there, limits)
        facts = _facts(archive, unpacked)
        found = Verified(plain_line(str(facts.get("suite"))), plain_line(str(facts.get("segbench"))))
        found.problems += unpacked.problems
        found.left_out = [plain_line(str(line)) for line in facts.get("left_out", [])][:100]
        if RESULTS not in unpacked.sums:
            raise BenchError(f"{archive}: is no bundle: it has no {RESULTS}")
        with opened(str(there / RESULTS), work, Limits()) as source:
            sound = cleaned(source, work / "sound.db")
            try:
                found.problems += sound.refused
                found.notes += [
                    f"metrics that are not installed here: {name}" for name in sorted(sound.unknown_metrics)
                ]
                if sound.unfinished:
                    found.problems.append(f"{sound.unfinished} run(s) are not finished: no bundle has those")
                _Checker(sound.store, unpacked, data_dir, found).run()
            finally:
                sound.store.close()
        found.problems += _not_listed(facts, found)
    return found


def _facts(archive: Path, unpacked: Unpacked) -> dict[str, Any]:
    path = unpacked.folder / FACTS
    try:
        if path.stat().st_size > _FACTS_BYTES:
            raise ValueError("it is too large")
        facts = plain_values(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        raise BenchError(f"{archive}: is no bundle: {FACTS} cannot be read: {plain_line(str(error))}") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("left_out", []), list):
        raise BenchError(f"{archive}: is no bundle: {FACTS} is not what it should be")
    if facts.get("format") != FORMAT:
        raise BenchError(
            f"{archive}: has format {plain_line(str(facts.get('format')))}, this version reads format {FORMAT}",
            "Verify it with the version of segbench that wrote it.",
        )
    return facts


def _not_listed(facts: dict[str, Any], found: Verified) -> list[str]:
    """Where the list of runs is another than the database's."""
    listed = facts.get("runs", [])
    numbers = {one.get("run") for one in listed if isinstance(one, dict)} if isinstance(listed, list) else set()
    have = {row.run for row in found.rows}
    refused = len([line for line in found.problems if line.startswith("run ")])
    if have <= numbers and len(numbers) <= len(have) + refused:
        return []
    return [f"{FACTS} lists other runs than {RESULTS} has"]


def _same_images(manifest: Manifest, data: DatasetRow, split: str) -> bool:
    """Whether a copy has the very images of a split that were scored; of others than test only the whole is known."""
    return copy_key(manifest.hash, data.scored_as) == data.manifest or (
        split == "test" and manifest.split_hash("test") == data.test_manifest
    )


class _Checker:
    """Looks at every run of a database whose rows are sound."""

    def __init__(self, store: Store, unpacked: Unpacked, data_dir: str | Path | None, found: Verified) -> None:
        self._store, self._unpacked, self._found = store, unpacked, found
        self._folder = data_folder(data_dir)
        self._copies: dict[str, tuple[Dataset, Manifest] | str] = {}

    def run(self) -> None:
        """Look at all of them."""
        with self._store.session() as session:
            numbers = list(session.scalars(select(Run.id).order_by(Run.id)))
        self._files(numbers)
        for number in numbers:
            row = self._row(number)
            self._found.rows.append(row)
            self._found.problems += [f"run {row.run} ({row.title}): {problem}" for problem in row.problems]

    def _files(self, numbers: Sequence[int]) -> None:
        """Compare the protocols' and networks' files with what the rows have."""
        wanted = dict(protocol_files(self._store, numbers).values())
        with self._store.session() as session:
            for number in numbers:
                file = plugin_file(session.get_one(Run, number))
                wanted |= dict([file] if file else [])
        for name, data in wanted.items():
            if self._unpacked.sums.get(name) != hashlib.sha256(data).hexdigest():
                self._found.problems.append(f"{name} is missing, or is not what the runs were made with")

    def _row(self, number: int) -> RunVerified:
        with self._store.session() as session:
            run = session.get_one(Run, number)
            data = session.get_one(DatasetRow, run.manifest)
            kept = list(session.scalars(select(Artifact).where(Artifact.run_id == number)))
            evaluations = list(session.scalars(select(Evaluation).where(Evaluation.run_id == number)))
            of_run = select(Evaluation.id).where(Evaluation.run_id == number)
            count = session.scalar(select(func.count()).select_from(Score).where(Score.evaluation_id.in_(of_run))) or 0
            session.expunge_all()
        row = RunVerified(number, f"{run.model} on {data.name}, seed {run.seed}", run.state, count)
        splits, problems = self._label_maps(run, kept)
        if kept:
            told = f"{len(splits)} of {len(kept)} splits"
            row = replace(row, label_maps=told if splits or problems else "not in it")
        row = replace(row, problems=tuple(problems))
        return self._scored_anew(row, run, data, evaluations, splits) if splits else row

    def _label_maps(self, run: Run, kept: Sequence[Artifact]) -> tuple[dict[str, Path], list[str]]:
        """The splits whose label maps are in the archive, if they are those that the run wrote."""
        found, problems = {}, []
        for artifact in kept:
            name = f"{LABEL_MAPS}/{run.fingerprint[:16]}/{artifact.split}"
            listed = self._unpacked.sums.get(f"{name}/{CHECKSUMS}")
            if listed is None:
                continue
            if listed != artifact.sha256:
                problems.append(f"label maps of {artifact.split} are not those that the run wrote")
                continue
            # Every file of the archive has been compared with its checksum; here with that of the run.
            found[artifact.split] = self._unpacked.folder / name
        return found, problems

    def _scored_anew(
        self, row: RunVerified, run: Run, data: DatasetRow, evaluations: Sequence[Evaluation], splits: dict[str, Path]
    ) -> RunVerified:
        copy = self._copy(run, data)
        if isinstance(copy, str):
            if copy not in self._found.notes:
                self._found.notes.append(copy)
            return replace(row, rescored="no data here")
        dataset, manifest = copy
        compared, differ, problems = 0, 0, list(row.problems)
        for one in evaluations:
            if one.split not in splits:
                continue
            if not _same_images(manifest, data, one.split):
                note = f"{data.name}: the {one.split} images here are others: its label maps are not scored anew"
                self._found.notes += [note] if note not in self._found.notes else []
                continue
            try:
                count, wrong = self._compared(dataset, one, data, splits[one.split])
            except (*BAD, DataError, OSError) as error:
                problems.append(f"{one.split}: its label maps cannot be scored: {problem_of(error)}")
                continue
            compared, differ = compared + count, differ + len(wrong)
            problems += [f"{one.split}, scored anew: {problem}" for problem in wrong[:3]]
            if len(wrong) > 3:
                problems.append(f"{one.split}, scored anew: {len(wrong) - 3} more figures are other ones")
        told = f"{compared - differ} of {compared} agree" if compared else "other images here"
        return replace(row, rescored=told, problems=tuple(problems))

    def _compared(self, dataset: Dataset, one: Evaluation, data: DatasetRow, maps: Path) -> tuple[int, list[str]]:
        """Score the label maps of a split anew; returns how many figures were compared, and which are others."""
        protocol = Protocol.from_stored(one.protocol)
        before = StatisticsTable.from_bytes(one.statistics)
        ids = dataset.ids(one.split, one.protocol.get("images"))
        if tuple(ids) != before.ids:
            return 1, ["other images were scored than this split has here"]
        evaluator = evaluate_images(dataset, protocol, stored_label_maps(maps, ids), os.cpu_count() or 1)
        table = evaluator.statistics().with_scores_of(before)
        folded: Scores = fold(table, len(data.classes), protocol, data.foreground)
        with self._store.session() as session:
            rows = session.scalars(select(Score).where(Score.evaluation_id == one.id)).all()
            stored = {(s.metric, s.class_index): s.value for s in rows}
        expected = {key: value for key, value in expected_scores(folded).items() if key in stored}
        return len(expected), list(contradictions(stored, expected, data.classes))

    def _copy(self, run: Run, data: DatasetRow) -> tuple[Dataset, Manifest] | str:
        """This machine's copy of a run's data set, or why there is none."""
        key = data.manifest
        if key not in self._copies:
            try:
                self._copies[key] = self._open(run, data)
            except (BenchError, OSError) as error:
                first = str(getattr(error, "message", error)).splitlines()[0]
                self._copies[key] = f"{data.name} cannot be opened here, so its label maps are not scored anew: {first}"
        return self._copies[key]

    def _open(self, run: Run, data: DatasetRow) -> tuple[Dataset, Manifest] | str:
        choice = run.config.get("dataset", {})
        params: dict[str, Any] = {}
        name = data.name
        if choice.get("params"):
            # A folder of somebody's own: what its labels mean is read from the reviewer's copy, never from the archive.
            place = Path(str(choice["params"].get("path", ""))).name
            root = next((p for p in (self._folder / place, self._folder) if (p / "dataset.yaml").is_file()), None)
            if not place or root is None:
                return f"{name} is a folder of somebody's own, and is not in {self._folder}: name it with --data-dir"
            name, params = resolved("folder", {"path": str(root.resolve())}, self._folder)
        generated = is_generated(name)
        dataset = open_dataset(name, data.variant, self._folder, obtain=generated, params=params)
        if list(dataset_class(name, params).info.classes) != list(data.classes):
            return f"{name} has other classes here: its label maps are not scored anew"
        return dataset, manifest_of(dataset)
