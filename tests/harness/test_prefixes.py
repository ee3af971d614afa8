"""Shared trainings: each shorter job has the bits of one trained alone."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from harness.config.expand import expand
from harness.config.job import Job
from harness.config.load import load_suite
from harness.datasets.shapes import Shapes
from harness.models.registry import read_plugin
from harness.runner.worker import run_task
from harness.tasks.messages import EpochDone, Message, SharedResult
from harness.tasks.result import Result
from harness.tasks.task import Task
from tests.conftest import TINY, Bench

# Dropout and batch normalisation, and a network that draws from the global generator in training.
NET = """
import torch
from torch import nn

NAME = "drawing"
STRIDE = 8


def build(num_classes):
    return Net(num_classes)


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout2d(0.2))
        self.head = nn.Conv2d(8, num_classes, 1)

    def forward(self, x):
        x = self.body(x)
        if self.training:
            x = x + 0.01 * torch.randn_like(x)
        return self.head(x)
"""

COMMON = ("schedule={name: constant}", "optimizer.lr=2e-2", "seeds=[3]")


@pytest.fixture
def entry(tmp_path: Path):  # type: ignore[no-untyped-def]
    (tmp_path / "drawing.py").write_text(NET)
    return read_plugin(tmp_path / "drawing.py")


def job(epochs: int, *more: str) -> Job:
    suite = load_suite(str(TINY), ["models=[drawing]", *COMMON, f"epochs={epochs}", *more])
    (only,) = expand(suite, {"shapes": Shapes.info})
    return only.model_copy(update={"images": 24})


def task_of(entry, home: Path, where: str, epochs: int, *more: str, shorter: tuple[Task, ...] = ()) -> Task:  # type: ignore[no-untyped-def]
    name = f"{where}-{epochs}"
    data = home / "data" / Shapes.folders[0]
    return Task(job(epochs, *more), entry, name, str(data), str(home / name), shorter=shorter)


def figures(record: Result) -> dict[str, object]:
    """Everything about a record that must not depend on how it was trained."""
    drop = ("seconds",)
    return {
        "state": (record.state, record.reason),
        "scores": [e.scores for e in record.evaluations],
        "statistics": [e.statistics for e in record.evaluations],
        "labels": [a.sha256 for a in record.label_maps],
        "curve": [{k: v for k, v in point.items() if k not in drop} for point in record.curve],
        "progress": record.progress,
    }


@pytest.mark.parametrize(
    "more",
    [
        ("selection={rule: best}",),
        ("selection={rule: last}", "val_every=4"),
        ("selection={rule: best}", "val_every=4", "ema=0.9"),
        ("selection={rule: best}", "early_stop={patience: 1}", "optimizer.lr=1e-9"),
    ],
    ids=["best", "last, seldom validated", "averaged", "stops early"],
)
def test_each_shared_training_has_the_bits_of_the_job_alone(entry, home: Path, more: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    alone = {epochs: run_task(task_of(entry, home, "alone", epochs, *more), lambda m: None) for epochs in (2, 3, 5)}
    shorter = tuple(task_of(entry, home, "shared", epochs, *more) for epochs in (2, 3))
    handed: list[Result] = []

    def take(message: Message) -> None:
        if isinstance(message, SharedResult):
            handed.append(message.result)

    longest = run_task(task_of(entry, home, "shared", 5, *more, shorter=shorter), take)
    assert [record.fingerprint for record in handed] == ["shared-2", "shared-3"]
    for record, epochs in ((handed[0], 2), (handed[1], 3), (longest, 5)):
        assert figures(record) == figures(alone[epochs]), epochs
    assert alone[5].state == "ok", alone[5].traceback
    # What it cost alone, and what it cost here.
    assert handed[1].times["train_marginal"] < handed[1].times["train"]
    spent = [r.times["train_marginal"] for r in (*handed, longest)]
    assert sum(spent) == pytest.approx(longest.times["train"])


def test_an_interrupted_training_hands_in_the_milestones_it_had_passed(entry, home: Path) -> None:  # type: ignore[no-untyped-def]
    alone = run_task(task_of(entry, home, "alone", 2), lambda m: None)
    shorter = (task_of(entry, home, "shared", 2),)
    whole = task_of(entry, home, "shared", 4, shorter=shorter)
    asked = iter([False] * 8 + [True])  # in the third epoch: three batches make one
    first: list[Message] = []
    assert run_task(whole, first.append, lambda: next(asked)).state == "interrupted"
    assert sum(isinstance(m, SharedResult) for m in first) == 1
    # As if the driver had died before it wrote that result: the next attempt hands it in again.
    second: list[Message] = []
    continued = run_task(whole, second.append)
    assert continued.state == "ok", continued.traceback
    (again,) = [m.result for m in second if isinstance(m, SharedResult)]
    assert figures(again) == figures(alone)
    epochs = [m.epoch for m in second if isinstance(m, EpochDone)]
    assert epochs == [3, 4], "it went on where it was stopped"


GRID = (
    "--set",
    "grid.epochs=[1, 2, 4]",
    "--set",
    "seeds=[0]",
    "--set",
    "models=[{name: unet, params: {width: 4, depth: 2}}]",
)


@pytest.mark.slow
@pytest.mark.long
def test_a_suite_trains_the_longest_and_scores_the_others_on_the_way(bench: Bench, home: Path) -> None:
    constant = ("--set", "schedule={name: constant}")
    plan = bench("run", "--suite", TINY, *GRID, *constant, "--dry-run").stdout
    assert "Shared trainings: 4 epochs instead of 7." in plan
    assert plan.count("shared ") == 2
    refused = bench("run", "--suite", TINY, *GRID, "--dry-run").stdout
    assert "3 jobs that differ only in epochs are trained one by one" in refused
    assert "poly" in refused
    done = bench("run", "--suite", TINY, *GRID, *constant, "--local")
    assert "3/3 done" in done.stdout
    with sqlite3.connect("results.db") as connection:
        rows = connection.execute("select state, progress, times from runs").fetchall()
        pictures = connection.execute("select run_id, count(*) from gallery_predictions group by run_id").fetchall()
    assert [state for state, _, _ in rows] == ["ok"] * 3
    assert sorted(json.loads(progress)["epochs"] for _, progress, _ in rows) == [1, 2, 4]
    # Pictures of every cell, those of the shorter trainings too.
    assert len(pictures) == 3
    assert len({count for _, count in pictures}) == 1
    assert "Nothing to do" in bench("run", "--suite", TINY, *GRID, *constant, "--local").stdout


@pytest.mark.slow
@pytest.mark.long
def test_a_failing_training_fails_the_shorter_jobs_it_had_not_reached(bench: Bench, home: Path) -> None:
    (home / "late.py").write_text(
        NET.replace('"drawing"', '"late"').replace(
            "        if self.training:\n",
            "        self.calls = getattr(self, 'calls', 0) + self.training\n"
            "        if self.calls > 30:\n            raise RuntimeError('too late')\n        if self.training:\n",
        )
    )
    done = bench(
        "run", "--suite", TINY, "--plugin", "late.py", "--set", "models=[late]", "--set", "grid.epochs=[1, 2, 3]",
        "--set", "seeds=[0]", "--set", "schedule={name: constant}", "--local", check=False,
    )  # fmt: skip
    assert done.returncode == 1
    with sqlite3.connect("results.db") as connection:
        rows = connection.execute("select config, state, reason from runs").fetchall()
    states = {json.loads(config)["recipe"]["epochs"]: (state, reason) for config, state, reason in rows}
    assert states[1] == ("ok", "")
    assert states[2] == states[3] == ("failed", "RuntimeError: too late")
