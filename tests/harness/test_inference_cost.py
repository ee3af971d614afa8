"""What a run keeps of the cost of its network: measured on its own device, and without moving a bit of it."""

from __future__ import annotations

import json
import math
import random
import sqlite3
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from harness.config.recipe import Recipe
from harness.models.registry import find_model
from harness.models.size import measure
from harness.runner import trainer
from harness.runner.trainer_process import TrainerProcess
from harness.runner.worker import run_task
from harness.tasks.inference_cost import InferenceCost
from harness.tasks.result import Result
from harness.tasks.wire import BadMessage, decode, encode
from harness.training import inference_cost as measuring
from harness.training.inference_cost import inference_cost
from tests.conftest import TINY
from tests.harness.test_prefixes import entry, figures, task_of

__all__ = ["entry"]

PARAMS = {"width": 4, "depth": 2}


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "r",
            "size": [32, 48],
            "epochs": 1,
            "batch_size": 4,
            "optimizer": {"name": "sgd", "lr": 0.1},
            **changes,
        }
    )


def unet() -> nn.Module:
    return find_model("unet").load()(6, **PARAMS)


def test_operations_are_those_that_are_counted_without_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ENOUGH_S", 60.0)  # also on a machine that does much else
    monkeypatch.setattr(measuring, "MOST_PASSES", 3)
    found = inference_cost(unet(), recipe(size=[64, 64]), 6, 4)
    assert found.flops == measure(find_model("unet"), 6, 64, **PARAMS)[1]
    assert (found.height, found.width, found.batch, found.precision) == (64, 64, 4, "fp32")
    assert found.latency_ms is not None
    assert found.throughput is not None
    assert 0 < found.latency_ms < 60_000
    assert 0 < found.throughput < math.inf
    assert found.peak_memory is not None
    assert found.peak_memory > 10**7
    assert "resident" in found.peak_memory_of
    assert found.problem == ""


def test_precision_and_memory_format_are_those_of_the_run() -> None:
    model = unet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = inference_cost(model, recipe(precision="bf16"), 6, 4)
    assert (found.precision, found.channels_last) == ("bf16", True)
    assert not inference_cost(unet(), recipe(), 6, 4).channels_last


def test_neither_the_network_nor_a_random_number_is_touched() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.calls = nn.Conv2d(3, 6, 1), 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            random.random()
            np.random.rand()  # noqa: NPY002
            return self.conv(x) + torch.rand(1)

    model = Counting().train()
    before = [random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()]  # type: ignore[index] # noqa: NPY002
    assert inference_cost(model, recipe(), 6, 1).latency_ms
    after = [random.getstate(), np.random.get_state()[1].tolist(), torch.random.get_rng_state().tolist()]  # type: ignore[index] # noqa: NPY002
    assert before == after
    assert model.training
    assert model.calls == 0


def test_a_large_network_is_timed_on_a_smaller_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "ENOUGH_S", 1e-9)
    found = inference_cost(unet(), recipe(), 6, 4)
    assert found.batch == 1
    assert found.latency_ms is not None
    assert found.throughput == pytest.approx(1e3 / found.latency_ms)


def test_what_cannot_be_measured_is_told_and_fails_nothing() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 6, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no more")

    found = inference_cost(Broken(), recipe(), 6, 1)
    assert (found.flops, found.latency_ms, found.problem) == (None, None, "ValueError: no more")


def test_the_label_maps_have_the_same_checksum_with_and_without(
    entry: object,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shorter = (task_of(entry, home, "with", 1),)
    measured = run_task(task_of(entry, home, "with", 2, shorter=shorter), lambda message: None)
    monkeypatch.setattr(trainer, "inference_cost", lambda *given: InferenceCost(1, 1, "fp32", False, 1))
    shorter = (task_of(entry, home, "without", 1),)
    plain = run_task(task_of(entry, home, "without", 2, shorter=shorter), lambda message: None)
    assert measured.state == "ok", measured.traceback
    assert figures(measured) == figures(plain)
    assert measured.cost["latency_ms"] > 0
    assert (measured.cost["device"], measured.cost["parameters"]) == ("cpu", measured.parameters)
    assert measured.cost["hardware"]
    assert plain.cost["latency_ms"] is None
    again = decode(encode(measured))
    assert isinstance(again, Result)
    assert again.cost == measured.cost


@pytest.mark.parametrize(
    "lie",
    [
        {"latency_ms": float("nan")},
        {"throughput": float("inf")},
        {"latency_ms": -1.0},
        {"flops": 2**70},
        {"flops": "many"},
        {"width": None},
    ],
)
def test_a_network_that_tells_something_else_than_figures_is_not_believed(lie: dict[str, object]) -> None:
    process = TrainerProcess.__new__(TrainerProcess)
    honest = asdict(InferenceCost(1, 1, "fp32", False, 1, 1, 1.0, 1.0, 1, 1))
    process._ask = lambda what: {"cost": honest}  # type: ignore[method-assign,assignment,misc]
    assert process.inference_cost() == InferenceCost(**honest)
    process._ask = lambda what: {"cost": honest | lie}  # type: ignore[method-assign,assignment,misc]
    with pytest.raises(BadMessage):
        process.inference_cost()


def test_a_run_keeps_it(finished: Path) -> None:
    connection = sqlite3.connect(finished)
    for cost, parameters in connection.execute("SELECT cost, parameters FROM runs"):
        kept = json.loads(cost)
        assert kept["parameters"] == parameters
        assert kept["latency_ms"] > 0
        assert kept["flops"] > 1000
        assert kept["train_seconds"] > 0
        assert (kept["height"], kept["width"], kept["device"]) == (32, 32, "cpu")
        assert 1 <= kept["batch"] <= 8
        assert kept["problem"] == ""


@pytest.mark.slow
@pytest.mark.long
def test_a_smoke_run_keeps_none(home: Path) -> None:
    from tests.conftest import run_bench

    run_bench("run", "--suite", TINY, "--smoke", "--local", "--seeds", "0", "--set", "models=[{name: unet}]", cwd=home)
    connection = sqlite3.connect(home / "results.db")
    assert connection.execute("SELECT cost, state FROM runs").fetchall() == [("{}", "ok")]
