"""Shared training: one training serves every job that differs from it in nothing but a smaller number of epochs.

Where the learning rate does not depend on the length, the first 50 epochs of 150 are the training of 50. Epochs are
seeded one by one, and scoring draws no random number and moves no buffer, so that what is scored at a milestone has the
bits of the job trained alone.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from harness.config.job import Job
from harness.scoring.samples import CPU
from harness.tasks.checkpoint_files import BEST, EPOCH, LAST
from harness.training.loop import (
    RESUME,
    Progress,
    TrainingContext,
    read_resume,
    remember_best,
    save_atomically,
    validate,
)
from harness.utils.files import write_text

# Where a shorter job's training stands, beside its weights.
PROGRESS = "progress.json"


@dataclass(frozen=True)
class Milestone:
    """A shorter job inside a longer training."""

    job: Job
    folder: Path
    """Where its checkpoints go."""
    score: Callable[[nn.Module, Progress], None]
    """Scores a network with its selected weights, and hands in its result."""

    @property
    def epochs(self) -> int:
        """After how many epochs it ends."""
        return self.job.recipe.epochs or 0


def reach(milestones: Sequence[Milestone], context: TrainingContext, progress: Progress, last: bool) -> None:
    """Score the milestones that end with an epoch; with `last`, all that are left, since they would have ended too.

    Args:
        milestones: of this training.
        context: the training's.
        progress: of the training, after the epoch; it and the network stay as they are.
        last: whether the training is over.
    """
    for milestone in milestones:
        if milestone.epochs == progress.epoch or (last and milestone.epochs > progress.epoch):
            with torch.random.fork_rng(devices=[context.device] if context.device.type == "cuda" else []):
                own = keep(milestone, context, progress)
                milestone.score(selected(milestone, context), own)
            progress.shared_seconds = progress.seconds


def keep(milestone: Milestone, context: TrainingContext, progress: Progress) -> Progress:
    """Write the shorter job's own checkpoints and progress; it validates its last epoch, as it would alone."""
    own = replace(progress, curve=[dict(record) for record in progress.curve])
    milestone.folder.mkdir(parents=True, exist_ok=True)
    if (context.folder / BEST).exists():
        shutil.copyfile(context.folder / BEST, milestone.folder / BEST)
    record = own.curve[-1]
    if "val_loss" not in record:
        record |= validate(milestone.job, context)
        remember_best(milestone.job, replace(context, folder=milestone.folder), own, record)
    save_atomically(context.scored.state_dict(), milestone.folder / LAST)
    every = milestone.job.recipe.checkpoint_every
    for epoch in range(every, progress.epoch + 1, every) if every else ():
        share(context.folder / EPOCH.format(epoch), milestone.folder)
    write_text(milestone.folder / PROGRESS, json.dumps(asdict(own)))
    return own


def share(path: Path, folder: Path) -> None:
    """The same file in another folder, where it is there: as a link, which takes no room, or else as a copy."""
    target = folder / path.name
    if not path.exists():
        return
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def selected(milestone: Milestone, context: TrainingContext) -> nn.Module:
    """A copy of the network with the weights that the shorter job selects."""
    model = copy.deepcopy(context.scored)
    best = milestone.folder / BEST
    chosen = best if milestone.job.selection.rule == "best" and best.exists() else milestone.folder / LAST
    model.load_state_dict(torch.load(chosen, map_location=context.device))
    return model


def catch_up(milestones: Sequence[Milestone], context: TrainingContext) -> None:
    """Before an interrupted training continues: score the milestones that it had passed without handing in a result.

    Where what they need is no longer there, the training begins anew.
    """
    state = read_resume(context, CPU) if milestones else None
    if state is None:
        return
    passed = [m for m in milestones if m.epochs <= state["progress"]["epoch"]]
    if any(not (m.folder / PROGRESS).exists() for m in passed):
        (context.folder / RESUME).unlink()
        return
    for milestone in passed:
        own = Progress(**json.loads((milestone.folder / PROGRESS).read_text()))
        milestone.score(selected(milestone, context), own)
