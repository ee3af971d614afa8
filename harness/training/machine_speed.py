"""What mixed precision, channels-last and threads gain on this machine: timed training steps of a small U-Net.

As a program it prints what it measured as JSON, so that the process which plans keeps no GPU and no threads:
`python -m harness.training.machine_speed formats cpu` or `… sharing bf16 1 1 2` (precision, channels-last, threads).
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
from torch import Tensor, nn

from harness.models import build
from harness.scoring.predict import autocast

# The network, and what it is given: much like the networks that are compared, and a step takes well under a second.
WIDTH, SIDE, BATCH, CLASSES = 32, 128, 4, 21
# Steps of each format that count, after one that warms up; fewer where other work makes them last longer than this.
STEPS, LONGEST_S = 4, 20.0
# Losses further from those of fp32 than this share of them mean that a format is not safe here.
TOLERANCE = 0.05
# Seconds for which jobs side by side are watched.
WINDOW_S = 2.0

START = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
PRECISIONS = {"cpu": ("fp32", "bf16"), "cuda": ("fp32", "bf16", "fp16")}


class Stepper:
    """Takes training steps of the small network in one precision and memory format.

    Args:
        device: `cpu` or `cuda`.
        precision: fp32, bf16 or fp16.
        channels_last: the memory format.
    """

    def __init__(self, device: str, precision: str, channels_last: bool) -> None:
        torch.manual_seed(0)
        self.device, self.precision = torch.device(device), precision
        layout = torch.channels_last if channels_last else torch.contiguous_format
        self.model: nn.Module = build("unet", CLASSES, width=WIDTH)
        self.model.to(self.device, memory_format=layout)  # type: ignore[call-overload]
        self.images = torch.randn(BATCH, 3, SIDE, SIDE).to(self.device, memory_format=layout)
        self.targets = torch.randint(0, CLASSES, (BATCH, SIDE, SIDE)).to(self.device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01, momentum=0.9)
        self.scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")

    def step(self) -> tuple[float, float]:
        """One step; returns its seconds and its loss."""
        began = time.perf_counter()
        self.optimizer.zero_grad(set_to_none=True)
        with autocast(self.device, self.precision):
            logits: Tensor = self.model(self.images)
        loss = nn.functional.cross_entropy(logits.float(), self.targets)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        value = float(loss.detach())
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began, value


def measure_formats(device: str) -> list[dict[str, Any]]:
    """Seconds an image of a training step in each precision and memory format, and whether its losses are right.

    The formats take turns, so that other work beside them slows all alike; the fastest step counts.
    """
    torch.set_num_threads(os.cpu_count() or 1)
    if device == "cpu":  # where it is imitated, a step would take minutes to say so
        bf16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    else:
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    kinds = [(p, last) for p in PRECISIONS[device] if p != "bf16" or bf16 for last in (False, True)]
    steppers = [Stepper(device, *kind) for kind in kinds]
    taken = [[stepper.step() for stepper in steppers]]
    began = time.perf_counter()
    while len(taken) <= 1 or (len(taken) <= STEPS and time.perf_counter() - began < LONGEST_S):
        taken.append([stepper.step() for stepper in steppers])
    expected = [turn[0][1] for turn in taken]
    found = []
    for number, (precision, channels_last) in enumerate(kinds):
        losses = [turn[number][1] for turn in taken]
        found.append(
            {
                "precision": precision,
                "channels_last": channels_last,
                "seconds": min(turn[number][0] for turn in taken[1:]) / BATCH,
                "safe": all(abs(a - b) <= TOLERANCE * abs(b) for a, b in zip(losses, expected, strict=True)),
            }
        )
    return found


def measure_sharing(precision: str, channels_last: bool, threads: list[int]) -> dict[int, float]:
    """Images a second of one job, where the processors are filled with jobs of so many threads each."""
    found = {}
    for count in threads:
        jobs = max(1, (os.cpu_count() or 1) // count)
        # Forked before this process computes anything: each one loads nothing, and starts threads of its own.
        context: Any = multiprocessing.get_context(START)
        barrier, answers = context.Barrier(jobs), context.SimpleQueue()
        workers = [
            context.Process(target=_share, args=(precision, channels_last, count, barrier, answers))
            for _ in range(jobs)
        ]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if any(worker.exitcode for worker in workers):
            raise RuntimeError(f"a process of {jobs} ended with exit code {[w.exitcode for w in workers]}")
        found[count] = sum(answers.get() for _ in range(jobs)) / jobs
    return found


def _share(precision: str, channels_last: bool, threads: int, barrier: Barrier, answers: Any) -> None:
    """Take steps for a while beside the others; answers images a second."""
    torch.set_num_threads(threads)
    stepper = Stepper("cpu", precision, channels_last)
    stepper.step()
    barrier.wait(60)
    began, steps = time.perf_counter(), 0
    while time.perf_counter() - began < WINDOW_S:
        stepper.step()
        steps += 1
    answers.put(steps * BATCH / (time.perf_counter() - began))


def main(words: list[str]) -> None:
    """Measure what the words say and print it as JSON."""
    if words[0] == "formats":
        found: Any = measure_formats(words[1])
    else:
        found = measure_sharing(words[1], words[2] == "1", [int(word) for word in words[3:]])
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
