"""A real results database in which rows differ in everything that must not be ranked together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness import Ranked, score
from harness.config.load import load_suite
from harness.datasets.palette import save_labels
from harness.datasets.shapes import Shapes
from harness.metrics import Evaluator
from harness.models.registry import read_plugin
from harness.results import Store, open_store
from harness.runner.plan import Plan, make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Evaluation, Result, now
from harness.tasks.task import Task

NET = """
from torch import nn
NAME = "{name}"
{said}
def build(num_classes):
    return nn.Conv2d(3, num_classes, 1)
"""
STRANGERS = {
    "announced": 'PRETRAINED_ON = "ImageNet-1k"',
    "silent": "",
    "leaky": 'PRETRAINED_ON = ["ImageNet", "Shapes (generated)"]',
}
SUITE = """
title: Mixed
datasets: [shapes]
models:
  - {{name: unet, params: {{width: 4, depth: 2}}, label: U-Net}}
  - {{name: pspnet, label: PSPNet}}
  - {{name: pspnet, params: {{pretrained: imagenet}}, label: PSPNet}}
  - {{name: deeplabv3plus, params: {{pretrained: imagenet}}, label: DeepLabV3+}}
  - {{name: unet, params: {{width: 4, depth: 2}}, label: U-Net, checkpoint: {checkpoint}}}
  - {{name: announced}}
  - {{name: silent}}
  - {{name: leaky}}
recipe: {{size: [32, 32], epochs: 3, batch_size: 16, optimizer: {{name: adamw, lr: 1e-3}}}}
seeds: [0, 1, 2]
search: {{space: {{lr: {{loguniform: [1.0e-6, 3.0e-2]}}}}, trials: 20, seed: 1}}
"""

Fake = Callable[[Task], Result]


def mixed_database(folder: Path, data: Path) -> Path:
    """Plan the suite as a command does, give every job a result, and hand label maps in; returns the database.

    Args:
        folder: an empty folder.
        data: the data folder with the generated data set.
    """
    place = folder / "mixed.db"
    (folder / "weights.pt").write_bytes(b"weights")
    (folder / "mixed.yaml").write_text(SUITE.format(checkpoint=folder / "weights.pt"))
    for name, said in STRANGERS.items():
        (folder / f"{name}.py").write_text(NET.format(name=name, said=said))
    store = open_store(str(place))
    searches = mixed_plan(folder, data, store).searches
    for one in searches:
        if one.task.job.model.title == "U-Net":
            store.save_search_result(one.key, found(one.key))
    todo = mixed_plan(folder, data, store)
    store.register(todo.jobs, todo.datasets)
    shapes = Shapes(data / Shapes.folders[0])
    for number, task in enumerate(todo.train):
        attempt = store.claim(task.fingerprint) or 0
        if task.job.model.params.get("pretrained") is None and task.job.model.name == "pspnet" and task.job.seed:
            ended = Result(task.fingerprint, attempt, "failed", "the loss is not finite", started=now(), finished=now())
            store.save(ended, task)
        else:
            store.save(result(task, shapes, attempt, 0.02 * (1 + number % 11)), task)
    store.close()
    guesses = folder / "guesses"
    guesses.mkdir()
    for name in shapes.ids("test"):
        save_labels(guesses / f"{name}.png", spoiled(shapes, name, 0.05), shapes.info.palette)
    score(guesses, dataset="shapes", data_dir=data, rank_as=Ranked("Elsewhere", db=str(place)))
    return place


def mixed_plan(folder: Path, data: Path, store: Store | None) -> Plan:
    """The plan of the suite against a database."""
    plugins = {name: read_plugin(folder / f"{name}.py") for name in STRANGERS}
    suite = load_suite(str(folder / "mixed.yaml"))
    return make_plan(suite, store, data, Artifacts(str(folder / "artifacts")), plugins)


def found(key: str) -> dict[str, object]:
    """What a search of 20 trials leaves."""
    return {
        "key": key, "values": {"lr": 0.01}, "score": 0.5, "trials": 20, "stopped": 12, "hours": 0.5, "gpu_hours": 0.0,
        "cpu_hours": 0.5, "spec": {"trials": 20, "hours": None},
    }  # fmt: skip


def result(task: Task, shapes: Shapes, attempt: int, wrong: float, batch_losses: Sequence[float] = ()) -> Result:
    """What a job returns whose network is wrong on a share of the pixels, and has these losses of batches."""
    scored = []
    for split in ("val", "test"):
        evaluator = Evaluator(6, protocol=task.job.protocol)
        for name in shapes.ids(split)[:3]:
            evaluator.update(spoiled(shapes, name, wrong), shapes.truth(name)[0], name, loss=wrong)
        table = replace(evaluator.statistics(), batch_loss=np.array(batch_losses, dtype=np.float64))
        scored.append(Evaluation(split, evaluator.scores_of(table), table.to_bytes()))
    done = Result(task.fingerprint, attempt, "ok", started=now(), finished=now(), evaluations=scored)
    return replace(done, progress={"epochs": 3}, provenance={"code": {"commit": "c"}}, times={"total": 1.0})


def spoiled(shapes: Shapes, name: str, wrong: float) -> np.ndarray:
    """The truth (H, W) of an image with some of its pixels made wrong, always the same ones."""
    mask = np.where(shapes.truth(name)[0] == 255, 0, shapes.truth(name)[0])
    hit = np.random.default_rng(7).random(mask.shape) < wrong
    return np.where(hit, (mask + 1) % 6, mask).astype(np.uint8)
