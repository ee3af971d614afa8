"""The training loop: plain PyTorch, read once, downwards.

Nothing random is carried from one epoch to the next: the samples' order, their augmentation and the global
generator are seeded by (seed, epoch). What a run computes at epoch 50 does not depend on how often it was
stopped and continued before.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from harness.config.job import Job
from harness.config.recipe import Recipe
from harness.datasets.base import Dataset
from harness.errors import Diverged
from harness.losses import total_loss
from harness.metrics import find_metric, higher_is_better
from harness.metrics.counter import ConfusionCounter
from harness.metrics.exact import exact_mean
from harness.metrics.families.region import confusion_scores
from harness.metrics.metric import split_metric
from harness.optim import build_optimizer, set_learning_rate
from harness.scoring.evaluate import new_evaluator, pick
from harness.scoring.predict import (
    as_one_channel,
    autocast,
    confidence,
    foreground_probability,
    label_map,
    padded_to_stride,
    predictions,
    split_outputs,
)
from harness.scoring.samples import CPU, DecodedSamples, derived_seed
from harness.tasks.checkpoint_files import BEST, EPOCH, LAST
from harness.tasks.messages import Emit, EpochDone, Stage
from harness.training.distributed import ProcessGroup
from harness.training.loader import training_loader, worker_count
from harness.training.pending_losses import PendingLosses
from harness.utils.files import new_file
from harness.utils.images import normalize

# Seconds between two checkpoints of a running job.
CHECKPOINT_EVERY_S = 60.0

# The checkpoint a training is continued from; removed once its record is complete.
RESUME = "resume.pt"
# What becomes of one that cannot be read.
BROKEN = "resume.broken.pt"

# The scores a learning curve shows besides the losses and the selection's metric.
CURVES = ("miou", "pa", "mpa", "dice")

Reached = Callable[["Progress", bool], None]


class EmaModel:
    """A moving average of a network's weights; its buffers are those of the network as it is."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._inner = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=False)

    @property
    def model(self) -> nn.Module:
        """The network with the averaged weights."""
        return self._inner.module

    def update(self, model: nn.Module) -> None:
        """Take in the weights after an iteration; the first ones are taken as they are."""
        self._inner.update_parameters(model)

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs."""
        return self._inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint."""
        self._inner.load_state_dict(state)


class Interrupted(Exception):
    """The training was asked to stop, and has written a checkpoint."""


@dataclass
class TrainingContext:
    """What a training works with besides the job."""

    model: nn.Module
    stride: int
    channels: int
    dataset: Dataset
    samples: DecodedSamples
    folder: Path
    """Where checkpoints go."""
    emit: Emit = lambda message: None
    """Told of every epoch."""
    stopping: Callable[[], bool] = lambda: False
    """Asked after every iteration."""
    draw_samples: Callable[[int], None] | None = None
    """Called after every validation with the number of epochs: draws sample predictions."""
    ema: EmaModel | None = None
    """The moving average of the weights, where the recipe has one and while it trains."""
    keep_checkpoint: Callable[[], str] = lambda: ""
    """Called after a checkpoint has been written; returns why only this machine has it, where that is so."""
    group: ProcessGroup = field(default_factory=ProcessGroup)
    """The processes that train together."""
    backbone: tuple[str, ...] | None = None
    """The submodules that the network declares as its backbone, for the head's learning rate; None: it does not."""

    @property
    def scored(self) -> nn.Module:
        """The network whose predictions count: the averaged one where there is one."""
        return self.model if self.ema is None else self.ema.model

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.model.parameters()).device


@dataclass
class Progress:
    """Where a training stands; saved with every checkpoint."""

    epoch: int = 0
    """Epochs that are complete."""
    batch: int = 0
    """Batches of the running epoch that are done."""
    iteration: int = 0
    loss_sum: float = 0.0
    """Sum of the running epoch's batch losses."""
    best_epoch: int | None = None
    best_score: float | None = None
    stale: int = 0
    """Validations since the best one."""
    shared_seconds: float = 0.0
    """Of `seconds`, what shorter jobs paid for whose training this one continues."""
    seconds: float = 0.0
    """Time spent so far, earlier attempts included."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """One record for each epoch: its number, losses, learning rate, and validation scores where validated."""


def train(job: Job, context: TrainingContext, reached: Reached = lambda progress, last: None) -> Progress:
    """Train the job's network and leave the selected weights in it.

    The folder gets `best.pt` (if the selection asks for the best epoch), `last.pt`, and `epoch-0050.pt` and the like
    where the recipe says `checkpoint_every`: weights alone. While the training runs, `resume.pt` holds everything
    needed to continue it; one that is found there is continued.

    Args:
        job: the job.
        context: what it works with.
        reached: called after every epoch, and told whether the training is over; its time is not the training's.

    Raises:
        Diverged: the loss is no longer finite; names epoch and iteration.
        Interrupted: the context said to stop; `resume.pt` has been written.
    """
    recipe, model = job.recipe, context.model
    ids = context.dataset.ids("train", job.images)
    workers = worker_count(job.resources, cached=context.samples.store is not None)
    loader, batches = training_loader(context.samples, ids, recipe, job.seed, workers, context.device, context.group)
    per_epoch, parts = len(batches), recipe.parts(batches.batch_size, context.group.world_size)
    total = recipe.iterations or (recipe.epochs or 0) * per_epoch
    epochs = math.ceil(total / per_epoch)
    if recipe.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = context.group.wrap(model)
    forward = torch.compile(forward) if recipe.compile else forward
    context.ema = EmaModel(model, recipe.ema) if recipe.ema is not None else None
    optimizer = build_optimizer(model, recipe.optimizer, context.backbone)
    scaler = torch.amp.GradScaler(context.device.type, enabled=recipe.precision == "fp16")
    progress = load_checkpoint(context, optimizer, scaler) or Progress()
    clock = _Clock(progress)
    losses = PendingLosses(context.device)

    while progress.epoch < epochs:
        epoch = progress.epoch
        if progress.batch == 0:
            # Dropout and whatever else a network draws: the same stream however the epoch was reached, and one of its
            # own for each of several processes.
            own = (context.group.rank,) if context.group.world_size > 1 else ()
            torch.manual_seed(derived_seed(job.seed, "network", epoch, *own))
        model.train()
        batches.at(epoch, progress.batch)
        # Stopped behind the last batch of an epoch, the loop below has nothing left to do: the rate is that batch's.
        rate = set_learning_rate(optimizer, recipe.schedule, max(0, progress.iteration - 1), per_epoch, total)
        upcoming = iter(loader)
        batch = next(upcoming, None)
        while batch is not None:
            rate = set_learning_rate(optimizer, recipe.schedule, progress.iteration, per_epoch, total)
            images, targets = batch
            pending = training_step(images, targets, forward, job, context, optimizer, scaler, parts)
            progress.iteration += 1
            progress.batch += 1
            # Prepared while a GPU still works on this one.
            batch = next(upcoming, None) if progress.iteration < total else None
            progress.loss_sum += losses.add(epoch + 1, progress.iteration, pending)
            if context.group.broadcast_decision(context.stopping()):
                progress.loss_sum += losses.settle()
                problem = save_checkpoint(context, optimizer, scaler, clock.stamp())
                raise Interrupted(f"stopped in epoch {epoch + 1}{problem and f'; {problem}'}")
        progress.loss_sum += losses.settle()
        if not all_finite(model):
            raise Diverged(f"the weights are no longer finite after epoch {epoch + 1}")
        record: dict[str, Any] = {"epoch": epoch + 1, "lr": rate, "train_loss": progress.loss_sum / progress.batch}
        progress.epoch, progress.batch, progress.loss_sum = epoch + 1, 0, 0.0
        if (epoch + 1) % recipe.val_every == 0 or epoch + 1 == epochs:
            if context.group.is_main:
                record |= validate(job, context)
                remember_best(job, context, progress, record)
            if context.draw_samples is not None:
                context.draw_samples(progress.epoch)
        keep_epoch(job, context, progress)
        record["seconds"] = clock.stamp().seconds
        progress.curve.append(record)
        figures = {name: value for name, value in record.items() if name != "epoch"}
        context.emit(EpochDone(progress.epoch, epochs, figures))
        over = progress.epoch == epochs or context.group.broadcast_decision(stops_early(job, progress))
        with clock.paused():
            reached(progress, over)
        if over:
            break
        if context.group.broadcast_decision(clock.due()):
            save_checkpoint(context, optimizer, scaler, clock.stamp())

    if context.ema is not None:
        model.load_state_dict(context.ema.model.state_dict())
        context.ema = None
    if context.group.is_main:
        save_atomically(model.state_dict(), context.folder / LAST)
    if context.group.is_main and job.selection.rule == "best" and progress.best_epoch is not None:
        model.load_state_dict(torch.load(context.folder / BEST, map_location=context.device))
    return progress


def all_finite(model: nn.Module) -> bool:
    """Whether every weight is a number: a loss can hide one that is not."""
    return all(bool(torch.isfinite(value).all()) for value in model.parameters())


def training_step(
    images: Tensor,
    targets: Tensor,
    forward: Callable[[Tensor], Any],
    job: Job,
    context: TrainingContext,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    parts: int,
) -> Tensor:
    """One batch forward and backward; returns its loss, still on the device.

    Args:
        images: (N, 3, h, w) uint8.
        targets: (N, h, w) labels.
        forward: the network, compiled where the recipe says so.
        job: the job.
        context: what it works with.
        optimizer: takes one step.
        scaler: of mixed precision.
        parts: in which the batch is computed, one after another; the same number in every process.
    """
    recipe, model, device, group = job.recipe, context.model, context.device, context.group
    ignore = context.dataset.info.ignore_index
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=device)
    targets = recipe.loss.target(targets, ignore)
    # A part counts by the pixels that its mean is over: so that the parts' losses add up to the whole batch's.
    pixels = group.all_reduce(recipe.loss.pixels(targets, ignore).to(device)).clamp(min=1)
    for part, truth in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
        x = padded_to_stride(normalize(part.to(device), recipe.normalize), context.stride)
        if recipe.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        with autocast(device, recipe.precision):
            share = recipe.loss.pixels(truth, ignore).to(device) / pixels
            loss = output_loss(model, forward(x), truth.to(device), recipe, context) * share
        # Gradients are averaged over the processes, of which each brings its share.
        scaler.scale(loss * group.world_size).backward()
        total += loss.detach()
    if recipe.grad_clip is not None:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), recipe.grad_clip)
    scaler.step(optimizer)
    scaler.update()
    if hasattr(model, "after_step"):
        model.after_step()  # type: ignore[operator]
    if context.ema is not None:
        context.ema.update(model)
    return group.all_reduce(total)


def output_loss(model: nn.Module, outputs: Any, targets: Tensor, recipe: Recipe, context: TrainingContext) -> Tensor:
    """The loss of what the network returned: its own `loss(outputs, target)` if it has one, else the recipe's.

    Raises:
        BadModel: the outputs break the contract.
    """
    height, width = targets.shape[-2:]
    if hasattr(model, "loss"):
        return model.loss(outputs, targets)  # type: ignore[no-any-return, operator]
    size = (height + -height % context.stride, width + -width % context.stride)
    main, auxiliary = split_outputs(outputs, context.channels, size)
    ignore = context.dataset.info.ignore_index
    loss = total_loss(main[..., :height, :width].float(), targets, recipe.loss, ignore)
    for extra in auxiliary:
        if extra.shape[-2:] != main.shape[-2:]:
            extra = nn.functional.interpolate(extra, main.shape[-2:], mode="bilinear", align_corners=False)
        term = total_loss(extra[..., :height, :width].float(), targets, recipe.loss, ignore)
        loss = loss + recipe.loss.aux_weight * term
    return loss


def validate(job: Job, context: TrainingContext) -> dict[str, float | None]:
    """Scores and loss on the selection's split: the very figures that the protocol gives that chooses.

    Where one confusion matrix is enough, no more is counted. The full evaluator runs if the selection asks for a
    distance or a boundary score, or if the protocol scores image by image or at a size of its own.
    """
    info = context.dataset.info
    split = job.selection.split
    ids = context.dataset.ids(split, job.images)
    if not ids:
        return {}
    k = len(info.classes)
    metric, label = split_metric(job.selection.metric)
    protocol = job.validation
    if find_metric(metric).family != "structure":
        # Skeletons and components take longer than all else, each epoch, and nothing here looks at them.
        protocol = protocol.model_copy(update={"structures": "none"})
    simple = protocol.size is None and protocol.level == "dataset"
    wants_all = find_metric(metric).family != "region" or not simple
    evaluator = new_evaluator(info, protocol)
    counter = ConfusionCounter(k, info.ignore_index)
    losses = []
    for image_id, logits in predictions(
        context.scored, context.samples, ids, job.recipe, context.channels, context.stride
    ):
        _, mask, valid = context.samples.get(image_id)
        losses.append(image_loss(logits, mask, valid, job.recipe, info.ignore_index))
        logits = as_one_channel(logits, job.recipe.loss)
        labels = label_map(logits)
        counter.update(labels, mask, valid)
        if wants_all:
            score = None
            if metric == "auc" and info.foreground is not None:
                score = foreground_probability(logits, info.foreground)
            sure = confidence(logits) if find_metric(metric).family == "calibration" else None
            evaluator.update(labels, mask, image_id, valid, score, confidence=sure)
    values, per_class = confusion_scores(counter.matrix(), protocol)
    if wants_all:
        scores = evaluator.compute()
        chosen = pick(scores, job.selection.metric, info)
        if not simple:
            values, per_class = scores.values, scores.per_class
    else:
        chosen = values[metric] if label is None else per_class[metric][info.classes.index(label)]
    record = {"val_loss": exact_mean(losses)} | {f"val_{name}": values[name] for name in CURVES}
    if info.foreground is not None:
        record[f"val_{info.headline}"] = per_class["iou"][info.foreground]
    return record | {f"val_{job.selection.metric}": chosen}


def image_loss(logits: Tensor, mask: Tensor, valid: Tensor | None, recipe: Recipe, ignore_index: int) -> float:
    """The recipe's loss of one image at its original resolution."""
    target = recipe.loss.target(mask, ignore_index, valid)
    return float(total_loss(logits[None], target[None].to(logits.device), recipe.loss, ignore_index))


def remember_best(job: Job, context: TrainingContext, progress: Progress, record: dict[str, Any]) -> None:
    """Keep the weights if the selection's metric improved; an equal score keeps the earlier epoch."""
    score = record.get(f"val_{job.selection.metric}")
    progress.stale += 1
    if score is None:
        return
    sign = 1 if higher_is_better(job.selection.metric) else -1
    if progress.best_score is None or sign * score > sign * progress.best_score:
        progress.best_score, progress.best_epoch, progress.stale = score, record["epoch"], 0
        if job.selection.rule == "best":
            save_atomically(context.scored.state_dict(), context.folder / BEST)


def keep_epoch(job: Job, context: TrainingContext, progress: Progress) -> None:
    """Keep the weights after every so many epochs, where the recipe says so: those that would be scored."""
    every = job.recipe.checkpoint_every
    if every is not None and progress.epoch % every == 0 and context.group.is_main:
        save_atomically(context.scored.state_dict(), context.folder / EPOCH.format(progress.epoch))


def stops_early(job: Job, progress: Progress) -> bool:
    """Whether the recipe's patience is at an end."""
    rule = job.recipe.early_stop
    return rule is not None and progress.stale >= rule.patience


def save_checkpoint(
    context: TrainingContext, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, progress: Progress
) -> str:
    """Write everything a later attempt needs to continue with the same bits; returns why only this machine has it.

    Every process has to ask: each has random numbers of its own.
    """
    streams = context.group.gather(random_state(context.device))
    if not context.group.is_main:
        return ""
    state = {
        "model": context.model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "progress": vars(progress),
        "average": None if context.ema is None else context.ema.state_dict(),
        "streams": streams,
    }
    save_atomically(state, context.folder / RESUME)
    return context.keep_checkpoint()


def random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Where this process's random numbers stand: the processor's, and those of a GPU."""
    return torch.get_rng_state(), torch.cuda.get_rng_state() if device.type == "cuda" else None


def load_checkpoint(
    context: TrainingContext, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler
) -> Progress | None:
    """Continue from the `resume.pt` of rank 0; None where there is none."""
    group, state = context.group, None
    if group.is_main:
        # Loading puts every tensor where it belongs; other processes have other devices.
        state = read_resume(context, context.device if group.world_size == 1 else CPU)
    state = group.broadcast(state)
    if state is None:
        return None
    context.model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scaler.load_state_dict(state["scaler"])
    if context.ema is not None:
        context.ema.load_state_dict(state["average"])
    processor, graphics = state["streams"][group.rank]
    torch.set_rng_state(processor.cpu())
    if graphics is not None:
        torch.cuda.set_rng_state(graphics.cpu())
    return Progress(**state["progress"])


def read_resume(context: TrainingContext, place: torch.device) -> dict[str, Any] | None:
    """What `resume.pt` holds; None where there is none, or one that cannot be read, which is set aside and told."""
    path = context.folder / RESUME
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location=place, weights_only=True)
        if not isinstance(state, dict) or not state.keys() >= {"model", "optimizer", "scaler", "progress", "streams"}:
            raise ValueError("is no checkpoint of a training")
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # noqa: BLE001 (whatever a damaged file makes of reading it)
        path.replace(context.folder / BROKEN)
        first = (str(error).splitlines() or [type(error).__name__])[0]
        context.emit(Stage(f"training anew: {RESUME} cannot be read and is now {BROKEN} ({first[:60]})"))
        return None
    return state


def save_atomically(state: Any, path: Path) -> None:
    """Write a checkpoint in one step; the job that writes it has its folder for itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with new_file(path, only_writer=True) as new:
        # The file's own name is part of its bytes, and they are part of the fingerprint of a job that starts from it.
        torch.save(state, new)


class _Clock:
    """Training time over all attempts, and when the next checkpoint is due."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._before = progress.seconds
        self._started = self._saved = time.monotonic()

    def stamp(self) -> Progress:
        self.progress.seconds = self._before + time.monotonic() - self._started
        return self.progress

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not the training's."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._started += time.monotonic() - began

    def due(self) -> bool:
        if time.monotonic() - self._saved < CHECKPOINT_EVERY_S:
            return False
        self._saved = time.monotonic()
        return True
