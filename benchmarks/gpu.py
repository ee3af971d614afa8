"""Everything that needs a GPU, in one command (`make gpu`); what it printed is kept in docs/gpu.md.

1. The tests marked `gpu`: mixed precision, compilation, NCCL with one rank, `auto`.
2. Ten training steps of every network of the suite `voc` at full size, and the memory they need at the peak.
3. A U-Net's images a second by the size of the batch, up to the memory.
4. benchmarks/training.py on the GPU, and a profile of a step.
5. Study D in full (the suite `horse-report`), where the data folder has Weizmann Horse; continued where it was stopped.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.networks import context_of, jobs_of, noise
from harness.config.job import Job
from harness.config.load import load_suite
from harness.optim import build_optimizer
from harness.training.loop import training_step

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "gpu.md"
STEPS = 10
TRAINING = ["--device", "cuda", "--steps", "20", "--batch", "32", "--compile"]


def main() -> int:
    """Run all parts, print what they print, and write the report; returns how many parts failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=REPORT)
    parser.add_argument("--results", type=Path, default=ROOT / "results-gpu.db", help="study D's database")
    parser.add_argument("--no-study", action="store_true", help="leave study D out")
    parser.add_argument("--only", choices=TABLES, help="print this table and nothing else")
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        sys.stderr.write("There is no GPU that torch can use; `bench doctor` says what it sees.\n")
        return 2
    if asked.only:
        TABLES[asked.only]()
        return 0
    python, bench = sys.executable, [sys.executable, "-m", "bench"]
    parts = [
        ("Tests", [python, "-m", "pytest", "-q", "-m", "gpu", "--numprocesses", "0"]),
        ("Every network of `voc`, ten steps", [python, "-m", "benchmarks.gpu", "--only", "networks"]),
        ("Batch sizes", [python, "-m", "benchmarks.gpu", "--only", "batches"]),
        ("Training speed", [python, "-m", "benchmarks.training", *TRAINING]),
        ("Where a step's time goes", [python, str(ROOT / "benchmarks" / "step_profile.py")]),
    ]
    if not asked.no_study:
        study = [*bench, "run", "--suite", "horse-report", "--local", "--db", str(asked.results)]
        parts.append(("Study D", [*study, "--set", "recipe.precision=auto", "--set", "recipe.channels_last=auto"]))
    report, failed = [head()], 0
    for title, command in parts:
        code, printed = run(command)
        failed += code != 0
        report.append(f"## {title}\n\n```\n{printed.strip()}\n```\n" + (f"\nEnded with {code}.\n" if code else ""))
        asked.output.write_text("\n".join(report))  # what is done is kept if the next part is stopped
    return failed


def head() -> str:
    """Where and with what it was measured."""
    name, bytes_ = torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory
    return (
        f"# On a GPU\n\nWhat `make gpu` printed: {name}, {bytes_ / 1e9:.0f} GB, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}, one run.\n"
    )


def run(command: list[str]) -> tuple[int, str]:
    """Run a part; what it prints is shown as it comes, and kept."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines = []
    for line in process.stdout or ():
        sys.stdout.write(line)
        lines.append(line)
    return process.wait(), "".join(lines)


def every_network() -> None:
    """Print a row for each network of `voc`: milliseconds an image, and memory at the peak."""
    sys.stdout.write(f"{'network':34} {'ms an image':>12} {'peak memory':>12} {'first and last loss':>20}\n")
    for job in jobs_of(load_suite("voc", ["recipe.precision=bf16", "seeds=[0]"]), threads=4, gpu=True):
        spent, memory, losses = ten_steps(job)
        row = f"{job.model.title:34} {spent * 1e3:12.1f} {memory / 1e9:9.1f} GB"
        sys.stdout.write(f"{row} {losses[0]:11.4f} {losses[-1]:8.4f}\n")


def every_batch() -> None:
    """Print a row for each size of batch of study D's U-Net, doubled until the memory is full."""
    job = next(job for job in jobs_of(load_suite("horse-report"), threads=4, gpu=True) if job.model.title == "U-Net")
    sys.stdout.write(f"U-Net, 224×224, bf16, channels-last\n{'batch':>6} {'images/s':>9} {'peak memory':>12}\n")
    batch = 1
    while True:
        changed = {"batch_size": batch, "precision": "bf16", "channels_last": True}
        recipe = job.recipe.model_copy(update=changed)
        try:
            spent, memory, _ = ten_steps(job.model_copy(update={"recipe": recipe}))
        except torch.OutOfMemoryError:
            sys.stdout.write(f"{batch:6} out of memory\n")
            return
        sys.stdout.write(f"{batch:6} {1 / spent:9.0f} {memory / 1e9:9.1f} GB\n")
        batch *= 2


def ten_steps(job: Job) -> tuple[float, int, list[float]]:
    """Take ten training steps of a job on noise.

    Returns:
        Seconds an image, the first two steps left out; bytes at the peak, 0 without a GPU; the losses.
    """
    context = context_of(job)
    on_gpu = context.device.type == "cuda"
    images, targets = noise(job)
    optimizer = build_optimizer(context.model, job.recipe.optimizer, context.backbone)
    scaler = torch.amp.GradScaler(context.device.type, enabled=job.recipe.precision == "fp16")
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    context.model.train()
    losses = []
    for step in range(STEPS):
        if step == 2:
            began = time.perf_counter()
        losses.append(
            float(training_step(images, targets, context.model, job, context, optimizer, scaler, job.recipe.accumulate))
        )
    spent = (time.perf_counter() - began) / (STEPS - 2) / len(images)
    return spent, torch.cuda.max_memory_allocated() if on_gpu else 0, losses


TABLES = {"networks": every_network, "batches": every_batch}


if __name__ == "__main__":
    sys.exit(main())
