"""Images a second of training: our loop against a bare one, torchvision's reference loop, and Lightning with smp.

All loops train the same network from the same weights on the same batches in the same order, with the same loss and
optimizer. What they are:

- `bare`: forward, loss, backward, step over batches that lie ready; nothing else. In our precision and format.
- `ours`: harness.training's loop as `bench run` uses it, with its loader, checks and bookkeeping.
- `torchvision`: the steps of torchvision's references/segmentation/train.py as it comes: fp32, a DataLoader with
  workers, samples normalized one by one, loss and learning rate logged each step.
- `lightning`: a LightningModule with the steps of segmentation_models.pytorch's example as it comes: fp32, its
  normalization inside the network, its statistics of every batch (lightning and segmentation-models-pytorch, by pip).

The loops take turns, and the median of their steps counts. In fp32 the mean loss of every loop has to be that of the
bare one, or the program ends with 1.

    python benchmarks/training.py                       the studies' networks at their sizes: about half an hour
    python benchmarks/training.py --quick               small ones, to see that it works
"""

from __future__ import annotations

import argparse
import importlib.util
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.history import Record, record
from benchmarks.networks import context_of, jobs_of
from harness.config.job import Job
from harness.config.load import load_suite
from harness.datasets.base import Dataset, Sample
from harness.optim import build_optimizer
from harness.scoring.predict import autocast, split_outputs
from harness.scoring.samples import DecodedSamples, derived_seed
from harness.training.loader import training_loader
from harness.training.loop import TrainingContext, output_loss, train
from harness.utils.images import normalize

# Network: its suite, and its label there. The sizes are the suites'.
NETWORKS = {
    "U-Net": ("horse-report", "U-Net"),
    "UNet++": ("horse-report", "UNet++"),
    "EMANet": ("horse-report", "EMANet (R50, from scratch)"),
    "FCN-8s": ("fcn-lr-epochs", "FCN-8s (Adam)"),
    "DeepLabV3+ (R50)": ("deeplabv3plus-voc", "DeepLabV3+ (R50, 1/16)"),
}
# Steps that warm up, and are left out.
WARM = 2
# Largest difference of mean losses that rounding explains, as a share: between loops, between turns of a loop on a GPU,
# whose sums have no fixed order, and of a compiled network, which rounds in other places.
TOLERANCE, ON_GPU, COMPILED = 1e-3, 1e-3, 1e-2


@dataclass
class Trained:
    """What a loop did."""

    seconds: list[float] = field(default_factory=list)
    """Of each step after the first ones."""
    losses: list[float] = field(default_factory=list)
    """The mean loss of each epoch."""


class Noise(Dataset):
    """Images of noise at the recipe's size, in memory: what a job keeps after its first epoch."""

    marker, folders = "", ()

    def __init__(self, job: Job, info: Any, count: int) -> None:
        self.info = info  # type: ignore[misc]
        generator = np.random.default_rng(0)
        size, classes = job.recipe.size, len(info.classes)
        self._samples = {
            f"{n:04}": Sample(
                generator.integers(0, 256, (*size, 3), dtype=np.uint8),
                generator.integers(0, classes, size, dtype=np.uint8),
                None,
            )
            for n in range(count)
        }
        self.variant, self.root = "noise", Path()
        self._splits = {"train": list(self._samples), "val": [], "test": []}

    def read(self, image_id: str) -> Sample:
        """A sample."""
        return self._samples[image_id]

    def read_splits(self) -> dict[str, list[str]]:
        """Training images alone: nothing is validated."""
        return self._splits

    def files(self, image_id: str) -> Any:
        """There are none."""
        raise NotImplementedError

    def truth(self, image_id: str) -> Any:
        """The mask."""
        return self._samples[image_id].mask, None


@dataclass
class Given:
    """What every loop starts from."""

    job: Job
    context: TrainingContext
    weights: dict[str, Tensor]
    device: torch.device
    threads: int

    @property
    def epochs(self) -> int:
        """The length."""
        return self.job.recipe.epochs or 1

    def restart(self, channels_last: bool) -> nn.Module:
        """The network with the first weights, in a memory format."""
        model = self.context.model
        model.load_state_dict(self.weights)
        layout = torch.channels_last if channels_last else torch.contiguous_format
        return model.to(memory_format=layout).train()  # type: ignore[call-overload,no-any-return]

    def batches(self) -> Iterator[tuple[int, list[Tensor]]]:
        """Epoch after epoch the batches that our loader makes: images and masks in uint8."""
        loader, order = self.loader()
        for epoch in range(self.epochs):
            order.at(epoch)
            yield epoch, [tuple(batch) for batch in loader]  # type: ignore[misc]

    def seed(self, epoch: int) -> None:
        """What dropout draws in an epoch, as our loop seeds it."""
        torch.manual_seed(derived_seed(self.job.seed, "network", epoch))

    def loader(self) -> Any:
        """Our loader, and what tells it the epoch."""
        ids = self.context.dataset.ids("train")
        return training_loader(self.context.samples, ids, self.job.recipe, self.job.seed, 0, self.device)

    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        """The recipe's loss."""
        return output_loss(self.context.model, outputs, targets, self.job.recipe, self.context)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """The recipe's, which does after a step what the network wants done then."""
        built = build_optimizer(model, self.job.recipe.optimizer, self.context.backbone)
        if hasattr(model, "after_step"):
            built.register_step_post_hook(lambda *_: model.after_step())
        return built

    def synchronize(self) -> None:
        """Wait for the device: what is timed is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def with_format(job: Job, precision: str, channels_last: bool) -> Job:
    """The job in a precision and memory format."""
    recipe = job.recipe.model_copy(update={"precision": precision, "channels_last": channels_last})
    return job.model_copy(update={"recipe": recipe})


def ours(given: Given, precision: str, channels_last: bool, compiled: bool = False) -> Trained:
    """The loop of the harness."""
    given.restart(channels_last)
    job, found, marks = with_format(given.job, precision, channels_last), Trained(), [0.0]
    job = job.model_copy(update={"recipe": job.recipe.model_copy(update={"compile": compiled})})

    def after_a_step() -> bool:
        given.synchronize()
        marks.append(time.perf_counter())
        return False

    with tempfile.TemporaryDirectory() as folder:
        context = replace(
            given.context,
            folder=Path(folder),
            stopping=after_a_step,
            emit=lambda message: found.losses.append(message.figures["train_loss"]),
        )
        train(job, context)
    per_epoch = (len(marks) - 1) // given.epochs
    # Between the last step of an epoch and the first of the next there is what an epoch ends with.
    found.seconds = [b - a for n, (a, b) in enumerate(pairwise(marks)) if n % per_epoch >= WARM]
    return found


def bare(given: Given, precision: str, channels_last: bool) -> Trained:
    """Nothing but the steps."""
    model = given.restart(channels_last)
    optimizer = given.optimizer(model)
    found = Trained()
    for epoch, batches in given.batches():
        ready = []
        for images, masks in batches:
            x = normalize(images, given.job.recipe.normalize).to(given.device)
            ready.append((x.contiguous(memory_format=torch.channels_last) if channels_last else x, masks))
        given.seed(epoch)
        losses = []
        for n, (x, masks) in enumerate(ready):
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            with autocast(given.device, precision):
                loss = given.loss(model(x), masks.to(given.device))
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            given.synchronize()
            if n >= WARM:
                found.seconds.append(time.perf_counter() - began)
        found.losses.append(float(torch.stack(losses).double().mean()))
    return found


class Prepared(TorchDataset[tuple[Tensor, Tensor]]):
    """The samples of the batches, normalized one by one, as the peers' data sets do it."""

    def __init__(self, batches: list[Any], how: Any, normalized: bool) -> None:
        self.images, self.masks = (torch.cat([batch[part].cpu() for batch in batches]) for part in (0, 1))
        self.how, self.normalized = how, normalized

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        return normalize(image[None], self.how)[0] if self.normalized else image, self.masks[index].long()


def torchvision(given: Given) -> Trained:
    """The steps of torchvision's reference, as it comes."""
    model = given.restart(channels_last=False)
    recipe, found = given.job.recipe, Trained()
    optimizer = given.optimizer(model)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=10**9, power=0.9)
    for epoch, batches in given.batches():
        samples = Prepared(batches, recipe.normalize, normalized=True)
        loader = DataLoader(
            samples, recipe.batch_size, num_workers=given.threads, drop_last=True, generator=torch.Generator()
        )
        given.seed(epoch)
        meters: dict[str, list[float]] = {"loss": [], "lr": []}
        began = time.perf_counter()
        for n, (images, masks) in enumerate(loader):
            x, y = images.to(given.device), masks.to(given.device)
            loss = given.loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            meters["loss"].append(loss.item())
            meters["lr"].append(optimizer.param_groups[0]["lr"])
            given.synchronize()
            if n >= WARM:
                found.seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
        found.losses.append(statistics.fmean(meters["loss"]))
    return found


def lightning(given: Given) -> Trained:
    """Lightning's Trainer on a module with the steps of smp's example, as it comes."""
    import lightning as pl
    import segmentation_models_pytorch as smp

    model, recipe, found = given.restart(channels_last=False), given.job.recipe, Trained()
    context = given.context
    classes = len(context.dataset.info.classes)
    marks: list[float] = []

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.outputs: list[dict[str, Tensor]] = []

        def training_step(self, batch: Any, index: int) -> Tensor:
            images, masks = batch
            outputs = self.model(normalize(images, recipe.normalize))
            loss = given.loss(outputs, masks)
            size = (
                masks.shape[-2] + -masks.shape[-2] % context.stride,
                masks.shape[-1] + -masks.shape[-1] % context.stride,
            )
            logits = split_outputs(outputs, context.channels, size)[0].detach()
            labels = logits.argmax(dim=1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long()
            labels = nn.functional.interpolate(labels[:, None].float(), masks.shape[-2:])[:, 0].long()
            tp, fp, fn, tn = smp.metrics.get_stats(labels, masks, mode="multiclass", num_classes=max(2, classes))
            self.log("train_loss", loss, prog_bar=True)
            self.outputs.append({"loss": loss.detach(), "tp": tp, "fp": fp, "fn": fn, "tn": tn})
            return loss

        def on_train_epoch_start(self) -> None:
            given.seed(self.current_epoch)

        def on_train_batch_end(self, *words: Any) -> None:
            given.synchronize()
            marks.append(time.perf_counter())

        def on_train_epoch_end(self) -> None:
            parts = {k: torch.cat([one[k] for one in self.outputs]) for k in ("tp", "fp", "fn", "tn")}
            smp.metrics.iou_score(**parts, reduction="micro")
            found.losses.append(float(torch.stack([one["loss"] for one in self.outputs]).double().mean()))
            found.seconds.extend(b - a for a, b in list(pairwise(marks))[WARM - 1 :])
            self.outputs.clear()
            marks.clear()

        def configure_optimizers(self) -> Any:
            optimizer = given.optimizer(self.model)
            return {"optimizer": optimizer}

    by_epoch = dict(given.batches())

    class Data(pl.LightningDataModule):
        def train_dataloader(self) -> Any:
            epoch = self.trainer.current_epoch
            return DataLoader(
                Prepared(by_epoch[epoch], recipe.normalize, normalized=False),
                recipe.batch_size,
                num_workers=given.threads,
                generator=torch.Generator(),
            )

    trainer = pl.Trainer(
        max_epochs=given.epochs,
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=1,
        accelerator="gpu" if given.device.type == "cuda" else "cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Module(), Data())
    return found


def loops_of(asked: argparse.Namespace) -> dict[str, Callable[[Given], Trained]]:
    """The loops, in the order in which they take turns."""
    fast = ("bf16", True)
    found: dict[str, Callable[[Given], Trained]] = {
        "bare, fp32": lambda given: bare(given, "fp32", False),
        "ours, fp32": lambda given: ours(given, "fp32", False),
    }
    # A processor without such arithmetic imitates it, ten times as slowly as fp32.
    imitated = asked.device == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()
    if not (asked.quick and imitated):
        found["bare, bf16 channels-last"] = lambda given: bare(given, *fast)
        found["ours, bf16 channels-last"] = lambda given: ours(given, *fast)
    if asked.compile:
        found["ours, bf16 channels-last compiled"] = lambda given: ours(given, *fast, compiled=True)
    if asked.peers:
        found["torchvision, as it comes"] = torchvision
        if all(importlib.util.find_spec(package) for package in ("lightning", "segmentation_models_pytorch")):
            found["lightning with smp, as it comes"] = lightning
    return found


def measured(name: str, asked: argparse.Namespace) -> tuple[Given, dict[str, Trained]]:
    """Every loop's turns on one network."""
    suite_name, label = NETWORKS[name]
    suite = load_suite(suite_name)
    suite = suite.model_copy(
        update={"models": tuple(m for m in suite.models if m.title == label), "seeds": (0,), "grid": {}}
    )
    job = jobs_of(suite, asked.threads, gpu=asked.device == "cuda")[0]
    size = (asked.size, asked.size) if asked.size else job.recipe.size
    batch = min(asked.batch, job.recipe.batch_size)
    changed = {
        "size": size, "batch_size": batch, "accumulate": 1, "epochs": asked.epochs, "iterations": None, "ema": None,
        "augment": (), "schedule": {"name": "constant"}, "val_every": asked.epochs, "compile": False,
        "precision": "fp32", "channels_last": False, "checkpoint_every": None,
    }  # fmt: skip
    recipe = type(job.recipe).model_validate(job.recipe.model_dump() | changed)
    selection = job.selection.model_copy(update={"rule": "last"})
    job = job.model_copy(update={"recipe": recipe, "selection": selection})
    context = context_of(job)
    context.dataset = Noise(job, context.dataset.info, (asked.steps + WARM) * batch)
    context.samples = DecodedSamples(context.dataset)
    weights = {key: value.clone() for key, value in context.model.state_dict().items()}
    given = Given(job, context, weights, torch.device(asked.device), asked.threads)
    found: dict[str, Trained] = {}
    for turn in range(asked.repeats):
        for loop, function in loops_of(asked).items():
            one = function(given)
            known = found.setdefault(loop, Trained(losses=one.losses))
            known.seconds += one.seconds
            if not np.allclose(known.losses, one.losses, rtol=ON_GPU if asked.device == "cuda" else 0, atol=0):
                raise SystemExit(f"{name}: {loop}: turn {turn + 1} has other losses than the first: {one.losses}")
    return given, found


def table(name: str, given: Given, found: dict[str, Trained]) -> tuple[Table, list[str]]:
    """The figures of one network, and what is wrong with its losses."""
    recipe = given.job.recipe
    batch = recipe.batch_size
    rates = {loop: batch / statistics.median(one.seconds) for loop, one in found.items()}
    shown = Table(title=f"{name}, {recipe.size[0]}×{recipe.size[1]}, batches of {batch}")
    for column in ("loop", "images/s", "ms an image", "of bare, same settings", "ours bf16 is", "mean losses"):
        shown.add_column(column, justify="left" if column == "loop" else "right")
    wrong, best = [], rates.get("ours, bf16 channels-last")
    for loop, one in found.items():
        settings = loop.partition(", ")[2]
        base = rates.get(f"bare, {settings.removesuffix(' compiled')}")
        shown.add_row(
            loop,
            f"{rates[loop]:.3g}",
            f"{1e3 / rates[loop]:.0f}",
            "" if base is None else f"{rates[loop] / base:.1%}",
            "" if best is None else f"{best / rates[loop]:.2f}×",
            " ".join(f"{loss:.6f}" for loss in one.losses),
        )
        expected = found["bare, bf16 channels-last" if "bf16" in loop else "bare, fp32"].losses
        if not np.allclose(one.losses, expected, rtol=COMPILED if "compiled" in loop else TOLERANCE):
            wrong.append(f"{name}: {loop}: mean losses {one.losses}, of the bare loop {expected}")
    return shown, wrong


# Loops that are compared: ours, the other, and the other's name in records.
COMPARED = (
    ("ours, fp32", "bare, fp32", "bare_fp32"),
    ("ours, bf16 channels-last", "bare, bf16 channels-last", "bare_bf16"),
    ("ours, fp32", "torchvision, as it comes", "torchvision_fp32"),
    ("ours, bf16 channels-last", "torchvision, as it comes", "torchvision"),
    ("ours, bf16 channels-last", "lightning with smp, as it comes", "lightning"),
)


def records(quick: bool) -> list[Record]:
    """Images a second of each loop, turn by turn.

    Raises:
        SystemExit: the loops' losses differ.
    """
    asked = options().parse_args(["--quick", "--networks", "U-Net"] if quick else ["--repeats", "3"])
    quickly(asked)
    torch.set_num_threads(asked.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    found = []
    for name in asked.networks:
        given, loops = measured(name, asked)
        _, wrong = table(name, given, loops)
        if wrong:
            raise SystemExit("; ".join(wrong))
        recipe = given.job.recipe
        what = f"training steps of {name}, {recipe.size[0]}×{recipe.size[1]}, batches of {recipe.batch_size}"
        rates = {loop: turns(one, asked.repeats, recipe.batch_size) for loop, one in loops.items()}
        short = "".join(c if c.isalnum() else "_" for c in name.lower().replace("+", "p")).strip("_")
        if quick:
            short += "_small"
        found += [
            record(f"training.{short}.{peer}", f"{what}: {ours}", theirs, "images/s", rates[ours], rates[theirs],
                   rate=True)
            for ours, theirs, peer in COMPARED if ours in rates and theirs in rates
        ]  # fmt: skip
    return found


def turns(one: Trained, repeats: int, batch: int) -> list[float]:
    """Images a second of each turn of a loop, by the median of its steps."""
    steps = len(one.seconds) // repeats
    return [batch / statistics.median(one.seconds[n * steps : (n + 1) * steps]) for n in range(repeats)]


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--steps", type=int, default=4, help="that count, in each epoch and turn")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2, help="turns of each loop")
    parser.add_argument("--batch", type=int, default=4, help="images of a step, as far as the study has more")
    parser.add_argument("--size", type=int, default=0, help="side of the images; 0 is the study's")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--compile", action="store_true", help="our loop with a compiled network too")
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--quick", action="store_true", help="small images, few steps")
    return parser


def quickly(asked: argparse.Namespace) -> None:
    """Cut down what --quick cuts down."""
    if asked.quick:
        asked.size, asked.steps, asked.batch, asked.repeats = 64, 2, 2, 1


def main() -> int:
    """Print a table for each network; returns 1 where losses differ."""
    asked = options().parse_args()
    quickly(asked)
    torch.set_num_threads(asked.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(f"torch {torch.__version__}, {asked.device}, {asked.threads} threads, load {os.getloadavg()[0]:.1f}")
    problems: list[str] = []
    for name in asked.networks:
        shown, wrong = table(name, *measured(name, asked))
        console.print(shown)
        problems += wrong
    console.print(f"load at the end {os.getloadavg()[0]:.1f}")
    for problem in problems:
        console.print(problem, markup=False)
    if asked.peers and "lightning" not in sys.modules:
        console.print("lightning with smp: not installed; pip install lightning segmentation-models-pytorch")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
