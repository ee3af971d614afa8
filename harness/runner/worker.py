"""What a training unit does, from the seed to its record. Runs in a child process, or in-process for a debugger.

A unit never raises for what a network does: a failure becomes a record with its reason and traceback.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import shutil
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from harness.config.suite import Job
from harness.datasets import Dataset
from harness.datasets.cache import DecodedStore, NoCache, decoded_store
from harness.datasets.loader import DecodedSamples, derived_seed
from harness.datasets.palette import save_labels
from harness.errors import ArtifactsError, BadModel, BenchError, RunFailure
from harness.metrics import StatisticsTable
from harness.scoring.evaluate import Predicted, evaluate_images, stored_label_maps
from harness.scoring.keep import PREDICTIONS, STATISTICS, evaluation, gallery, kept_predictions
from harness.scoring.predict import foreground_probability, label_map, predictions
from harness.tasks import provenance
from harness.tasks.records import Record, Unit, now
from harness.training.distributed import Ranks, share_batch_norm, together
from harness.training.loop import CHECKPOINTS, RESUME, Emit, Interrupted, Progress, Setting, image_loss, train
from harness.training.prefixes import Milestone, catch_up, reach
from harness.training.step_time import time_step
from harness.training.tensorboard import LOG_FOLDER, TrainingLog

SCORED_SPLITS = ("val", "test")


def run_unit(unit: Unit, emit: Emit, stopping: Callable[[], bool] = lambda: False) -> Record:
    """Do the work of a unit; every failure becomes its record."""
    record = Record(unit.fingerprint, unit.attempt, state="ok", started=now())
    began = time.monotonic()
    try:
        with deterministic(unit.job):
            record.provenance = provenance.capture(unit.job.resources.cpus)
            if unit.timed:
                time_unit(unit, record)
            elif unit.rescore:
                rescore(unit, record)
            else:
                train_and_score(unit, record, emit, stopping)
    except Interrupted as stop:
        record.state, record.reason = "interrupted", str(stop)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        describe_failure(record, error)
    record.finished = now()
    record.times["total"] = time.monotonic() - began
    return record


def describe_failure(record: Record, error: BaseException) -> None:
    """Write into a record why its unit failed."""
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
    record.state = "oom" if out_of_memory else "failed"
    record.error = type(error).__name__
    first = (str(error).strip().splitlines() or [""])[0]
    known = isinstance(error, RunFailure | BenchError)
    record.reason = first if known else f"{type(error).__name__}: {first}".removesuffix(": ")
    record.traceback = "".join(traceback.format_exception(error))


@contextlib.contextmanager
def deterministic(job: Job) -> Iterator[None]:
    """Threads and every seed as the job says, and back afterwards (which matters in-process)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(job.resources.cpus)
    random.seed(job.seed)
    np.random.seed(job.seed % 2**32)  # noqa: NPY002 (strangers' networks may use the global generator)
    torch.manual_seed(derived_seed(job.seed, "init"))
    if job.recipe.deterministic:
        # cuBLAS is only deterministic with a workspace of its own.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(False)


def train_and_score(unit: Unit, record: Record, emit: Emit, stopping: Callable[[], bool]) -> None:
    """Build, train, predict, score, and keep what others will want to see."""
    wanted = unit.job.resources
    # Weights that are only scored need no one to train with.
    count = 1 if unit.job.model.checkpoint is not None else wanted.local_ranks
    with together(count, wanted.gpus > 0, lambda ranks: assist(unit, ranks), unit.meeting) as ranks:
        if ranks.leads:
            lead(unit, record, emit, stopping, ranks)
        else:  # the first process of another machine
            assist(unit, ranks)


def lead(unit: Unit, record: Record, emit: Emit, stopping: Callable[[], bool], ranks: Ranks) -> None:
    """What the unit's own process does: all of it but the other processes' part of the training."""
    job, files = unit.job, unit.files
    fetch_checkpoints(unit)
    dataset = unit.reader
    samples = DecodedSamples(dataset, machine_cache(unit, dataset, record, emit, stopping))
    emit({"kind": "stage", "stage": "building"})
    setting = prepared(unit, dataset, samples, ranks)
    record.parameters = sum(p.numel() for p in setting.model.parameters())
    log = TrainingLog(files.local)
    began = time.monotonic()

    def tell(message: dict[str, Any]) -> None:
        emit(message)
        if not job.smoke:
            log.take(message)

    def keep() -> str:
        try:
            files.keep(CHECKPOINTS)
        except ArtifactsError as error:  # the next checkpoint may succeed; the end of the training insists
            emit({"kind": "stage", "stage": f"training; {error.message}"})
            return f"the checkpoint is only on this machine: {error.message}"
        return ""

    setting.emit, setting.stopping, setting.kept = tell, stopping, keep
    if not job.smoke:
        setting.draw = lambda epoch: log.draw(job, setting, epoch)
    if job.model.checkpoint is not None:
        load_weights(setting.model, Path(job.model.checkpoint))
        score_splits(unit, setting, Progress(), record)
        files.keep(PREDICTIONS)
        return
    milestones = [milestone(share, setting, record, emit, began) for share in unit.shares]
    emit({"kind": "stage", "stage": "training"})
    try:
        catch_up(milestones, setting)
        progress = train(job, setting, lambda at, over: reach(milestones, setting, at, over))
    finally:
        log.close()
    if unit.trial:
        return
    score_splits(unit, setting, progress, record)
    if job.smoke:
        shutil.rmtree(setting.folder)  # weights of a few steps are of no use, and can be gigabytes
    for name in (PREDICTIONS, LOG_FOLDER):
        files.keep(name)
    # Last: where something could not be kept, the next attempt has only that left to do.
    files.forget(f"{CHECKPOINTS}/{RESUME}")
    files.keep(CHECKPOINTS)


def fetch_checkpoints(unit: Unit) -> None:
    """From an object store: what an attempt on another machine left to continue from."""
    for one in (unit, *unit.shares):
        one.files.fetch(CHECKPOINTS)


def assist(unit: Unit, ranks: Ranks) -> None:
    """What another process does: its part of every batch."""
    torch.manual_seed(derived_seed(unit.job.seed, "init"))
    dataset = unit.reader
    unnoted = Record(unit.fingerprint, unit.attempt, state="")
    store = machine_cache(unit, dataset, unnoted, lambda message: None, lambda: False)
    setting = prepared(unit, dataset, DecodedSamples(dataset, store), ranks)
    with contextlib.suppress(Interrupted):  # rank 0 writes the checkpoint, and says so
        train(unit.job, setting)


def prepared(unit: Unit, dataset: Dataset, samples: DecodedSamples, ranks: Ranks) -> Setting:
    """The network, built and with the weights that its training starts from, and what it works with."""
    channels = logit_channels(unit.job, dataset)
    model = build_model(unit, channels, ranks)
    if unit.job.model.start_from is not None:
        start_from(model, Path(unit.job.model.start_from))
    folder = unit.files.local / CHECKPOINTS
    return Setting(model, unit.model.stride, channels, dataset, samples, folder, ranks=ranks)


def machine_cache(
    unit: Unit, dataset: Dataset, record: Record, emit: Emit, stopping: Callable[[], bool]
) -> DecodedStore | None:
    """The machine's cache of the decoded data, built by the first job that needs it; None where there is no room."""
    if not unit.content:
        return None
    told = 0.0

    def tick(done: int, total: int) -> None:
        nonlocal told
        wait()
        if time.monotonic() - told > 1:
            told = time.monotonic()
            emit({"kind": "stage", "stage": f"decoding the data, {100 * done // total} %"})

    def wait() -> None:
        if stopping():
            raise Interrupted("stopped before the training began")

    try:
        return decoded_store(dataset, unit.content, unit.job.resources.cpus, tick, wait)
    except NoCache as reason:
        record.provenance["samples"] = f"decoded into the job's own memory: {reason}"
        return None


def time_unit(unit: Unit, record: Record) -> None:
    """Write the seconds that an image takes in training and in prediction into the record's times."""
    dataset = unit.reader
    channels = logit_channels(unit.job, dataset)
    model = build_model(unit, channels)
    record.parameters = sum(p.numel() for p in model.parameters())
    setting = Setting(model, unit.model.stride, channels, dataset, DecodedSamples(dataset), unit.files.local)
    record.times |= time_step(unit.job, setting)


def score_splits(unit: Unit, setting: Setting, progress: Progress, record: Record) -> None:
    """Score a trained network and write into its record how it was trained."""
    record.times["train"] = progress.seconds
    record.times["train_marginal"] = progress.seconds - progress.shared_seconds
    record.curve = progress.curve
    record.progress = _summary(progress, unit.job)
    for split in SCORED_SPLITS:
        if setting.dataset.ids(split):
            setting.emit({"kind": "stage", "stage": f"scoring {split}"})
            predict_and_score(unit, setting, split, record)


def milestone(share: Unit, setting: Setting, record: Record, emit: Emit, began: float) -> Milestone:
    """A shorter job inside this training: scored when it is reached, and handed in as a record of its own."""
    files = share.files
    folder = files.local / CHECKPOINTS

    def score(model: torch.nn.Module, progress: Progress) -> None:
        own = Record(share.fingerprint, share.attempt, state="ok", started=record.started)
        own.provenance, own.parameters = record.provenance, record.parameters
        score_splits(share, replace(setting, model=model, average=None, folder=folder), progress, own)
        own.finished = now()
        own.times["total"] = time.monotonic() - began
        for name in (PREDICTIONS, CHECKPOINTS):
            files.keep(name)
        files.release()
        emit({"kind": "share", "record": own})

    return Milestone(share.job, folder, score)


def predict_and_score(unit: Unit, setting: Setting, split: str, record: Record) -> None:
    """Predict a split, score it at original resolution and keep its label maps: image by image, none held for long."""
    job, dataset, folder = unit.job, setting.dataset, unit.files.local
    began = time.monotonic()
    predicted = Timed(predicted_images(job, setting, split))
    with kept_predictions(folder, split) as (partial, artifact):
        evaluator = evaluate_images(
            dataset,
            job.protocol,
            predicted,
            job.resources.cpus,
            lambda one: save_labels(partial / f"{one.image_id}.png", one.labels, dataset.info.palette),
        )
        table = evaluator.statistics()
        (partial / STATISTICS).write_bytes(table.to_bytes())
    record.evaluations.append(evaluation(split, evaluator, table))
    record.artifacts.append(artifact)
    if split == "test":
        record.gallery = gallery(dataset, dataset.ids(split, job.images), folder / artifact["path"])
    record.times["predict"] = record.times.get("predict", 0.0) + predicted.seconds
    rest = time.monotonic() - began - predicted.seconds
    record.times["evaluate"] = record.times.get("evaluate", 0.0) + rest


def rescore(unit: Unit, record: Record) -> None:
    """Score the kept label maps under the job's protocol."""
    job = unit.job
    dataset = unit.reader
    began = time.monotonic()
    for split in SCORED_SPLITS:
        ids = dataset.ids(split, job.images)
        if not ids:
            continue
        kept = unit.files.fetch(f"{PREDICTIONS}/{split}")
        evaluator = evaluate_images(dataset, job.protocol, stored_label_maps(kept, ids), job.resources.cpus)
        before = StatisticsTable.from_bytes((kept / STATISTICS).read_bytes())
        record.evaluations.append(evaluation(split, evaluator, evaluator.statistics().with_scores_of(before)))
    record.times["evaluate"] = time.monotonic() - began


def logit_channels(job: Job, dataset: Dataset) -> int:
    """K of the logits: one sigmoid channel for a binary loss on a binary set, else one for each class.

    Raises:
        BenchError: a binary loss on a set that is not binary.
    """
    if job.model.label_map is not None:
        return len(job.model.label_map)
    if not job.recipe.loss.binary:
        return len(dataset.info.classes)
    if len(dataset.info.classes) != 2:
        raise BenchError(f"the loss bce needs a binary data set; {dataset.info.name} has more classes")
    return 1


def start_from(model: torch.nn.Module, path: Path) -> None:
    """Take over every weight of a file that has the name and shape of one of the network's; the others stay new.

    Raises:
        BadModel: there is none.
    """
    own = model.state_dict()
    shared = {n: v for n, v in read_weights(path).items() if n in own and v.shape == own[n].shape}
    if not shared:
        raise BadModel(f"{path.name} has no weight with the name and shape of one of this network's")
    model.load_state_dict(shared, strict=False)


def load_weights(model: torch.nn.Module, path: Path) -> None:
    """Load the weights of a network that was trained before.

    Raises:
        BadModel: they are not this network's; names what is missing and what is too much.
    """
    state, own = read_weights(path), model.state_dict()
    wrong = [f"{n} is missing" for n in own if n not in state]
    wrong += [f"{n} is too much" for n in state if n not in own]
    wrong += [
        f"{n} has shape {tuple(state[n].shape)}, expected {tuple(own[n].shape)}"
        for n in own
        if n in state and state[n].shape != own[n].shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BadModel(f"{path.name} is not of this network: {', '.join(wrong[:3])}{more}")
    model.load_state_dict(state)


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from a file, where it may stand alone or under `model` or `state_dict`.

    Raises:
        BadModel: the file cannot be read as one.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise BadModel(f"{path}: cannot be loaded as weights: {str(error).splitlines()[0]}") from error
    for key in ("model", "state_dict"):
        state = state[key] if isinstance(state, dict) and isinstance(state.get(key), dict) else state
    if not isinstance(state, dict):
        raise BadModel(f"{path}: holds {type(state).__name__}, not a state dict")
    return {name.removeprefix("module."): value for name, value in state.items()}


def build_model(unit: Unit, channels: int, ranks: Ranks | None = None) -> torch.nn.Module:
    """Build the unit's network on the device its job asks for, of several that of its rank.

    Raises:
        BadModel: the builder did not return a network with trainable parameters.
    """
    model = unit.model.load()(channels, **unit.job.model.params)
    if not isinstance(model, torch.nn.Module):
        raise BadModel(f"build returned {type(model).__name__}, expected a torch.nn.Module")
    if not any(p.requires_grad for p in model.parameters()):
        raise BadModel("the network has no trainable parameter")
    if unit.job.resources.gpus <= 0:
        return model
    if ranks is None or ranks.count == 1:
        return model.to(torch.device("cuda"))
    return share_batch_norm(model.to(ranks.device))


def predicted_images(job: Job, setting: Setting, split: str) -> Iterator[Predicted]:
    """Label map, loss and, on binary sets, the foreground's probability of each image, at its original resolution."""
    info = setting.dataset.info
    ids = setting.dataset.ids(split, job.images)
    table = job.model.label_map
    for image_id, logits in predictions(
        setting.model, setting.samples, ids, job.recipe, setting.channels, setting.stride
    ):
        if table is not None:  # other classes: neither a loss nor a probability of ours
            yield Predicted(image_id, np.asarray(table, dtype=np.uint8)[label_map(logits).cpu().numpy()])
            continue
        _, mask, valid = setting.samples.get(image_id)
        score = None
        if info.foreground is not None and len(info.classes) == 2:
            score = foreground_probability(logits, info.foreground).cpu().numpy()
        loss = image_loss(logits, mask, valid, job.recipe, info.ignore_index)
        yield Predicted(image_id, label_map(logits).cpu().numpy(), score, loss)


class Timed(Iterator[Predicted]):
    """Items and the seconds that waiting for them took."""

    def __init__(self, items: Iterator[Predicted]) -> None:
        self._items = items
        self.seconds = 0.0

    def __next__(self) -> Predicted:
        began = time.monotonic()
        try:
            return next(self._items)
        finally:
            self.seconds += time.monotonic() - began


def _summary(progress: Progress, job: Job) -> dict[str, Any]:
    chosen = progress.best_epoch if job.selection.rule == "best" else progress.epoch
    return {
        "epochs": progress.epoch,
        "iterations": progress.iteration,
        "accumulate": job.recipe.accumulate,
        "selected_epoch": chosen if chosen is not None else progress.epoch,
        "selection_score": progress.best_score,
    }
