"""What only a GPU can show: mixed precision, compilation, NCCL, memory at the peak. `make gpu` runs them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from benchmarks.gpu import STEPS, ten_steps
from benchmarks.networks import jobs_of
from harness.config.job import Job
from harness.config.load import load_suite
from harness.models import build
from harness.runner.machine import Machine, fastest
from tests.conftest import TINY, rows, run_bench

ONE = ("run", "--suite", TINY, "--local", "--models", "U-Net", "--seeds", "0", "--set", "epochs=5")
VOC = [job.model.title for job in jobs_of(load_suite("voc", ["seeds=[0]"]), threads=1)]


def on_gpu(test: Callable[..., Any]) -> Any:
    """Marks a test that needs a GPU."""
    missing = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
    return pytest.mark.gpu(missing(test))


def voc_job(title: str, gpu: bool, *overrides: str) -> Job:
    suite = load_suite("voc", ["seeds=[0]", *overrides])
    return next(job for job in jobs_of(suite, threads=1, gpu=gpu) if job.model.title == title)


def losses(home: Path, name: str, *sets: str) -> list[float]:
    """The training losses of a small network, epoch by epoch, in a database of its own."""
    run_bench(*ONE, "--db", f"{name}.db", *(word for one in sets for word in ("--set", one)), cwd=home)
    return [
        v for (v,) in rows(home / f"{name}.db", "select value from curves where name = 'train_loss' order by epoch")
    ]


@pytest.mark.slow
@pytest.mark.long
def test_ten_steps_of_a_network_are_those_of_a_training() -> None:
    job = voc_job(
        "U-Net (from scratch)", False, "recipe.size=[32,32]", "batch_size=4", "recipe.accumulate=1", "lr=1e-2"
    )
    spent, memory, found = ten_steps(job)
    assert spent > 0
    assert memory == 0
    assert len(found) == STEPS
    assert found[-1] < found[0], "the same batch again and again is learned"
    assert ten_steps(job)[2] == found


@on_gpu
@pytest.mark.parametrize("title", VOC)
def test_every_network_of_voc_takes_ten_steps_at_full_size(title: str) -> None:
    spent, memory, found = ten_steps(voc_job(title, True, "recipe.precision=bf16"))
    assert all(torch.tensor(found).isfinite())
    assert 0 < memory < torch.cuda.get_device_properties(0).total_memory
    assert spent > 0


@on_gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_learns_as_fp32_does(home: Path, precision: str) -> None:
    plain = losses(home, "plain", "resources.gpus=1")
    mixed = losses(home, "mixed", "resources.gpus=1", f"recipe.precision={precision}", "recipe.channels_last=true")
    assert mixed[-1] == pytest.approx(plain[-1], rel=0.2)
    assert mixed[-1] < mixed[0]
    assert mixed != plain


@on_gpu
def test_a_compiled_network_learns_the_same(home: Path) -> None:
    plain = losses(home, "plain", "resources.gpus=1")
    compiled = losses(home, "compiled", "resources.gpus=1", "recipe.compile=true")
    assert compiled == pytest.approx(plain, rel=0.05)


@on_gpu
def test_the_cpu_learns_as_the_gpu_does(home: Path) -> None:
    assert losses(home, "gpu", "resources.gpus=1") == pytest.approx(losses(home, "cpu"), rel=0.1)


@on_gpu
def test_auto_is_measured_on_the_gpu(home: Path) -> None:
    timings = Machine().formats(gpu=True)
    assert {one.format.precision for one in timings} >= {"fp32", "fp16"}
    assert fastest(timings, "auto", "auto") in {one.format for one in timings}
    losses(home, "auto", "resources.gpus=1", "recipe.precision=auto", "recipe.channels_last=auto")
    ((config,),) = rows(home / "auto.db", "select config from runs")
    recipe = json.loads(config)["recipe"]
    assert (recipe["precision"], recipe["channels_last"]) == tuple(fastest(timings, "auto", "auto"))


@pytest.fixture
def nccl(tmp_path: Path) -> Iterator[None]:
    """A process group of this process alone."""
    torch.distributed.init_process_group("nccl", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@on_gpu
@pytest.mark.usefixtures("nccl")
def test_nccl_with_one_rank_gives_the_same_gradients() -> None:
    torch.manual_seed(0)
    model, x = build("unet", 3, width=8).cuda(), torch.randn(2, 3, 64, 64, device="cuda")

    def gradients(forward: Any) -> list[torch.Tensor]:
        model.zero_grad()
        forward(x).square().mean().backward()
        return [p.grad.clone() for p in model.parameters() if p.grad is not None]

    alone, together = gradients(model), gradients(DistributedDataParallel(model, device_ids=[0]))
    assert len(alone) == len(together)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(alone, together, strict=True))
