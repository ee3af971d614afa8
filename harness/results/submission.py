"""A submission: label maps that were predicted elsewhere, scored on a data set and ranked with the rest."""

from __future__ import annotations

import os
import time
from pathlib import Path

from harness.config.fingerprint import digest
from harness.datasets import manifest_of
from harness.datasets.base import Dataset, Manifest
from harness.datasets.folder import SAY_VOID, FolderDataset
from harness.datasets.palette import save_labels
from harness.errors import BenchError, DataError
from harness.metrics import EVALUATOR_VERSION, Protocol, Scores
from harness.results import Store, Submission, open_store
from harness.scoring.evaluate import new_evaluator, write_checksums
from harness.scoring.keep import PREDICTIONS, STATISTICS, evaluation, gallery, kept_label_maps, worst_images
from harness.scoring.label_files import Tally, Tick, predictions_of, score_files
from harness.tasks import provenance
from harness.tasks.result import GalleryImage, Result, now
from harness.tasks.stated import PRETRAINED_ON


def score_submission(
    dataset: Dataset,
    split: str,
    predictions: Path,
    protocol: Protocol,
    name: str | None,
    seed: int,
    db: str | None,
    tick: Tick | None = None,
    pretrained_on: tuple[str, ...] | None = None,
) -> tuple[Scores, list[str], Tally]:
    """Score a folder of label maps against a split of a data set.

    Args:
        dataset: the copy that has the truth.
        split: `val` or `test`.
        predictions: one PNG for each image, named by its id.
        protocol: the conventions.
        name: rank it in the database under this name; None only scores.
        seed: which repetition of that name.
        db: the database.
        tick: told how many images are done.
        pretrained_on: the data sets that what made them was pretrained on; None where nobody knows.

    Returns:
        The scores, the suites in which they are ranked now, and how many pixels of the truth hold each label.

    Raises:
        BenchError: a prediction cannot be scored, or the name has other predictions for this split already. Nothing is
            written then.
    """
    ids = dataset.ids(split)
    if not ids:
        raise BenchError(f"{dataset.info.name} ({dataset.variant}) has no {split} image")
    files = predictions_of(predictions, ids)
    evaluator = new_evaluator(dataset.info, protocol)
    threads = os.cpu_count() or 1
    if name is None:
        tally = score_files(files, dataset.truth, evaluator, threads, tick)
        _refuse_doubtful(dataset, tally)
        return evaluator.compute(), [], tally
    submission, fingerprint = _describe(dataset, manifest_of(dataset), protocol, name, seed)
    started, where = now(), provenance.capture(threads)
    store = open_store(db)
    try:
        files_of_run = store.artifacts.run(fingerprint)
        began = time.monotonic()
        with kept_label_maps(files_of_run.local, split) as kept:
            tally = score_files(
                files,
                dataset.truth,
                evaluator,
                threads,
                tick,
                lambda i, labels: save_labels(kept.folder / f"{i}.png", labels, dataset.info.palette),
            )
            _refuse_doubtful(dataset, tally)
            table = evaluator.statistics()
            (kept.folder / STATISTICS).write_bytes(table.to_bytes())
            _refuse_other(store, fingerprint, split, name, seed, write_checksums(kept.folder)[1])
        shown: list[GalleryImage] = []
        if split == "test":
            worst = worst_images(table, len(dataset.info.classes), dataset.info.foreground, protocol)
            shown = gallery(dataset, ids, files_of_run.local / kept.finished.path, worst)
        result = Result(
            fingerprint,
            attempt=1,
            state="ok",
            started=started,
            finished=now(),
            times={"evaluate": time.monotonic() - began},
            evaluations=[evaluation(dataset, split, evaluator, table)],
            gallery=shown,
            label_maps=[kept.finished],
            provenance=where | ({} if pretrained_on is None else {PRETRAINED_ON: list(pretrained_on)}),
        )
        files_of_run.keep(f"{PREDICTIONS}/{split}")
        files_of_run.release()
        suites = store.save_submission(result, submission)
    finally:
        store.close()
    return evaluator.compute(), suites, tally


def _refuse_doubtful(dataset: Dataset, tally: Tally) -> None:
    """Refuse masks in which 255 is void because nobody said otherwise, and can hardly be meant so.

    Raises:
        DataError: it cannot; says what to write where.
    """
    if not isinstance(dataset, FolderDataset) or not dataset.void_is_assumed:
        return
    doubt = tally.doubt(len(dataset.info.classes), dataset.info.ignore_index)
    if doubt:
        raise DataError(f"{dataset.root / dataset.definition.masks}: {doubt}", f"Nothing was scored. {SAY_VOID}")


def _describe(dataset: Dataset, manifest: Manifest, protocol: Protocol, name: str, seed: int) -> tuple[Submission, str]:
    """The submission and its fingerprint."""
    parts = {"kind": "predictions", "name": name, "seed": seed, "data": manifest.hash}
    fingerprint = digest(parts)
    submission = Submission(
        name=name,
        seed=seed,
        parts=parts,
        cell=digest({key: value for key, value in parts.items() if key != "seed"}),
        score_fingerprint=digest({"train": fingerprint, "protocol": protocol.hash, "evaluator": EVALUATOR_VERSION}),
        info=dataset.info,
        variant=dataset.variant,
        manifest=manifest,
        protocol=protocol,
    )
    return submission, fingerprint


def _refuse_other(store: Store, fingerprint: str, split: str, name: str, seed: int, sha256: str) -> None:
    """Refuse other label maps under a name and seed that is taken.

    Raises:
        BenchError: it is taken.
    """
    before = store.submitted(fingerprint, split)
    if before is not None and before != sha256:
        raise BenchError(
            f"{store.name}: {name!r} (seed {seed}) has other predictions for {split} already",
            "Give these another name with --as, or, as a repetition of the same model, another --seed.",
        )
