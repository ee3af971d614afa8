"""Where the time of a training step and of a prediction goes, for the networks of the studies.

Each network takes steps as its suite's job does, on images of noise at the study's size, under torch.profiler. What
operators took is summed in groups: what belongs to the network (convolutions, normalization, activations, pooling and
the like), and what does not (copies between formats and precisions, loss, optimizer, preparation of images, the rest).

    python benchmarks/step_profile.py                                  every network in fp32, and in bf16 channels-last
    python benchmarks/step_profile.py --networks unet --top 15         one network, with its most expensive operators
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch.profiler import ProfilerActivity, profile

from benchmarks.history import Record, alone
from benchmarks.networks import context_of, jobs_of, noise
from harness.config.job import Job
from harness.config.load import load_suite
from harness.optim import build_optimizer
from harness.scoring.predict import forward
from harness.training.loop import TrainingContext, training_step

# A study's network: its suite, and its label there.
NETWORKS = {
    "unet_strided": ("unet-drive", "U-Net (study C)"),
    "unet": ("horse-report", "U-Net"),
    "unetpp": ("horse-report", "UNet++"),
    "emanet": ("horse-report", "EMANet (R50, from scratch)"),
    "deeplabv3plus": ("deeplabv3plus-voc", "DeepLabV3+ (R50, 1/16)"),
    "fcn8s": ("fcn-lr-epochs", "FCN-8s (Adam)"),
}
FORMATS = (("fp32", False), ("bf16", True))
# Operators by what they do: the first group counts of which a part is in the operator's name.
GROUPS = {
    "convolution": ("conv", "mkldnn_reorder", "mm", "linear"),
    "normalization": ("batch_norm", "layer_norm", "group_norm"),
    "activation": ("relu", "gelu", "sigmoid", "threshold", "elu", "hardtanh", "dropout", "bernoulli"),
    "pooling, upsampling, joining": ("pool", "upsample", "interpolate", "cat", "pad"),
    "copies": ("copy_", "contiguous", "clone", "to_copy", "fill_", "zero_"),
    "loss": ("softmax", "nll_loss", "cross_entropy", "binary_cross_entropy", "log_", "eq", "ne", "where", "masked"),
    "optimizer": ("_foreach", "_fused", "addcmul", "addcdiv", "lerp", "sqrt"),
}
STEPS = 3


def records(quick: bool) -> list[Record]:
    """Shares of what belongs to the network in a training step in bf16 and channels-last."""
    asked = options().parse_args(["--networks", "unet", "--size", "64"] if quick else [])
    torch.set_num_threads(asked.threads)
    found = []
    for name in asked.networks:
        job, context = prepared(name, "bf16", True, asked)
        _, operators = measure(steps(job, context)[0])
        convolutions = 100 * grouped(operators)["convolution"] / sum(operators.values())
        what = f"convolutions in a training step of {NETWORKS[name][1]}, bf16 and channels-last"
        found.append(alone(f"steps.{name}", what, "% of the operators' time", [convolutions]))
    return found


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--batch", type=int, default=4, help="images of a step, as far as the study has more")
    parser.add_argument("--size", type=int, default=0, help="side of the images; 0 is the study's")
    parser.add_argument("--top", type=int, default=0, help="also list so many operators")
    return parser


def main() -> None:
    """Print the tables."""
    asked = options().parse_args()
    torch.set_num_threads(asked.threads)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    console.print(f"torch {torch.__version__}, {asked.threads} threads, load {os.getloadavg()[0]:.1f}")
    for name in asked.networks:
        for precision, channels_last in FORMATS:
            job, context = prepared(name, precision, channels_last, asked)
            console.print(table(f"{name}, {precision}{', channels-last' * channels_last}", job, context, asked.top))


def prepared(name: str, precision: str, channels_last: bool, asked: Any) -> tuple[Job, TrainingContext]:
    """A study's job, and its network as it trains."""
    suite_name, label = NETWORKS[name]
    suite = load_suite(
        suite_name, [f"recipe.precision={precision}", f"recipe.channels_last={str(channels_last).lower()}"]
    )
    chosen = next(m for m in suite.models if m.title == label)
    job = jobs_of(suite.model_copy(update={"models": (chosen,)}), asked.threads)[0]
    smaller = {"batch_size": min(asked.batch, job.recipe.batch_size), "accumulate": 1}
    if asked.size:
        smaller["size"] = (asked.size, asked.size)
    job = job.model_copy(update={"recipe": job.recipe.model_copy(update=smaller)})
    return job, context_of(job)


def steps(job: Job, context: TrainingContext) -> tuple[Callable[[], None], Callable[[], None]]:
    """A training step, and a prediction, on noise."""
    recipe = job.recipe
    images, targets = noise(job)
    optimizer = build_optimizer(context.model, recipe.optimizer, context.backbone)
    scaler = torch.amp.GradScaler("cpu", enabled=False)

    def train() -> None:
        context.model.train()
        float(training_step(images, targets, context.model, job, context, optimizer, scaler, job.recipe.accumulate))

    @torch.inference_mode()
    def predict() -> None:
        context.model.eval()
        forward(context.model, images, recipe, context.channels, context.stride)

    return train, predict


def table(title: str, job: Job, context: TrainingContext, top: int) -> Table:
    """Shares of a training step and of a prediction, group by group."""
    recipe, count = job.recipe, job.recipe.batch_size
    train, predict = steps(job, context)
    measured = {"training step": measure(train), "prediction": measure(predict)}
    shown = Table(title=f"{title}: {recipe.size[0]}×{recipe.size[1]}, batch of {count}")
    shown.add_column("")
    for part, (spent, _) in measured.items():
        shown.add_column(f"{part}, {spent / count * 1e3:.0f} ms an image", justify="right")
    for group in (*GROUPS, "the rest"):
        shares = [grouped(operators)[group] / sum(operators.values()) for _, operators in measured.values()]
        shown.add_row(group, *(f"{share:.1%}" for share in shares))
    for place in range(top):
        cells = [operators.most_common(top)[place] for _, operators in measured.values()]
        total = [sum(operators.values()) for _, operators in measured.values()]
        shown.add_row("", *(f"{key} {us / all_us:.1%}" for (key, us), all_us in zip(cells, total, strict=True)))
    return shown


def measure(work: Callable[[], None]) -> tuple[float, Counter[str]]:
    """Seconds of the fastest of some calls without the profiler, and what operators took in one with it."""
    work()
    spent = []
    for _ in range(STEPS):
        began = time.perf_counter()
        work()
        spent.append(time.perf_counter() - began)
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    return min(spent), Counter({e.key: e.self_cpu_time_total for e in profiler.key_averages()})


def grouped(operators: Counter[str]) -> Counter[str]:
    """The same by group."""
    found: Counter[str] = Counter()
    for key, spent in operators.items():
        found[next((group for group, words in GROUPS.items() if any(w in key for w in words)), "the rest")] += spent
    return found


if __name__ == "__main__":
    main()
