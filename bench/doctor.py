"""`bench doctor`: whether this machine can do the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from bench.console import DataOption, new_console, table

Line = tuple[str, str, str]


def doctor(
    data_dir: DataOption = None,
    ray: Annotated[bool, typer.Option("--ray/--no-ray", help="Start Ray for a moment.")] = True,
    speed: Annotated[bool, typer.Option("--speed/--no-speed", help="Time training steps, once a machine.")] = True,
) -> None:
    """Check packages, processors, GPUs, Ray and data sets, and what precisions and threads gain here.

    Example: bench doctor
    """
    rows = [
        *_packages(),
        *_names(),
        *_torch(),
        *(_speed() if speed else ()),
        *(_ray() if ray else ()),
        *_data(data_dir),
        *_disk(),
    ]
    new_console().print(table(("", "", ""), rows))
    if any(mark == "bad" for mark, _, _ in rows):
        raise typer.Exit(1)


def _packages() -> Iterator[Line]:
    from harness.tasks.provenance import packages

    yield "ok", "packages", ", ".join(f"{name} {version}" for name, version in packages().items())


def _names() -> Iterator[Line]:
    from bench.names import other_packages

    found = list(other_packages())
    for problem in found:
        yield "bad" if "installed by" in problem else "note", "names", problem
    if not found:
        yield "ok", "names", "no other package is called bench, harness or leaderboard"


def _torch() -> Iterator[Line]:
    import torch

    from harness.utils.vision import import_torchvision, is_shimmed

    try:
        torchvision = import_torchvision()
    except (ImportError, RuntimeError, OSError) as error:
        yield "bad", "torchvision", f"cannot be imported beside torch {torch.__version__}: {error}"
    else:
        note = (
            "its compiled operators do not fit this torch (a CUDA build beside a CPU build?); "
            "nothing here needs them, a stand-in is used"
            if is_shimmed()
            else "fits torch"
        )
        yield "ok", "torchvision", f"{torchvision.__version__}: {note}"
    yield (
        "ok",
        "processors",
        f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads by default",
    )
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    yield "ok", "GPUs", ", ".join(names) or "none: suites that ask for one need --set resources.gpus=0"


def _speed() -> Iterator[Line]:
    """What `auto` in a suite goes by."""
    from harness.errors import BenchError
    from harness.runner.devices import gpu_count, imitates_bf16
    from harness.runner.machine import Machine, fastest

    machine = Machine(new_console().print)
    try:
        for gpu in (False, True) if gpu_count() else (False,):
            timings = machine.formats(gpu)
            plain, chosen = timings[0].seconds, fastest(timings, "auto", "auto")
            told = ", ".join(
                f"{one.format} {plain / one.seconds:.1f}×{'' if one.safe else ' (its losses are wrong)'}"
                for one in timings[1:]
            )
            told += f" of fp32's speed; auto takes {chosen}"
            if not gpu and imitates_bf16():
                told += "; bf16 and fp16 are only imitated by this processor: leave them to a GPU"
            yield "ok", "precision on the GPU" if gpu else "precision", told
            if not gpu:
                rates = {t: machine.cores // t * rate for t, rate in machine.rates(chosen).items()}
                shared = ", ".join(f"{machine.cores // t} × {t}: {rate:.3g}" for t, rate in rates.items())
                yield "ok", "jobs × threads", f"{shared} images/s together (a small U-Net at 128×128, {chosen})"
    except BenchError as error:
        yield "bad", "speed", error.message


def _ray() -> Iterator[Line]:
    stale = Path("/tmp/ray/ray_current_cluster")
    if stale.exists():
        yield "note", "Ray", f"{stale} names a cluster; if it is dead, remove the file"
    try:
        from harness.runner.ray_tune import probe

        yield "ok", "Ray", probe()
    except Exception as error:  # noqa: BLE001 (whatever Ray meets is the finding)
        yield (
            "bad",
            "Ray",
            f"does not start: {type(error).__name__}: {error}; bench run --local works without it",
        )


def _data(given: Path | None) -> Iterator[Line]:
    from harness.datasets import data_dir, dataset_class, dataset_names, find_copy

    folder = data_dir(given)
    yield "ok", "data folder", str(folder)
    for name in dataset_names():
        cls = dataset_class(name)
        root = find_copy(name, folder)
        if root is not None:
            yield "ok", name, str(root)
        else:
            yield "note", name, "made on first use" if cls.generated else "not found"


def _disk() -> Iterator[Line]:
    import shutil

    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield ("ok" if free > 5 else "note"), "disk", f"{free:.0f} GB free here"
