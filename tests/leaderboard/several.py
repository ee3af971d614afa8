"""A real results database of a suite of several data sets, made without training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from harness.config.load import load_suite
from harness.datasets.palette import save_labels, voc_palette
from harness.metrics import Evaluator
from harness.results import open_store
from harness.runner.plan import make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Evaluation, Result, now
from harness.tasks.task import Task

CLASSES, SIDE, TEST_IMAGES = ("ground", "house", "tree"), 24, 12

FAILED = float("nan")


def several_database(folder: Path, wrong: Mapping[str, Sequence[float | None]], seeds: int = 2) -> Path:
    """Plan a suite of several data sets and give every job a result; returns the database.

    Args:
        folder: an empty folder.
        wrong: model -> for each data set the share of pixels it gets wrong; None: it was not run on it; FAILED: all
            its seeds failed there.
        seeds: of each model on each data set.
    """
    count = len(next(iter(wrong.values())))
    names = [f"set{n}" for n in range(count)]
    for n, name in enumerate(names):
        write_data_set(folder / name, name, n)
    models = [
        {"name": "unet", "params": {"width": 4 + 4 * n, "depth": 2}, "label": label} for n, label in enumerate(wrong)
    ]
    suite = {
        "name": "several", "title": "Several", "datasets": [str(folder / name) for name in names], "models": models,
        "recipe": {"size": [32, 32], "epochs": 3, "batch_size": 4, "optimizer": {"name": "adamw", "lr": 1e-3}},
        "seeds": list(range(seeds)),
    }  # fmt: skip
    (folder / "several.yaml").write_text(json.dumps(suite))
    todo = make_plan(load_suite(str(folder / "several.yaml")), None, folder, Artifacts(str(folder / "artifacts")))
    store = open_store(str(folder / "several.db"))
    shares = {(label, name): own[n] for label, own in wrong.items() for n, name in enumerate(names)}
    jobs = [(task, shares[task.job.model.title, data_set_of(task)]) for task in todo.train]
    store.register([task for task, share in jobs if share is not None], todo.datasets)
    for task, share in jobs:
        if share is None:
            continue
        attempt = store.claim(task.fingerprint) or 0
        if np.isnan(share):
            ended = Result(task.fingerprint, attempt, "failed", "the loss is not finite", started=now(), finished=now())
            store.save(ended, task)
        else:
            store.save(result(task, attempt, folder / data_set_of(task), share), task)
    store.close()
    return folder / "several.db"


def data_set_of(task: Task) -> str:
    """The name of the folder a task is on."""
    return Path(str(task.job.dataset.params["path"])).name


def write_data_set(folder: Path, name: str, seed: int) -> None:
    """A folder of images with random rectangles as truths."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for split, images in (("train", 4), ("val", 3), ("test", TEST_IMAGES)):
        ids = [f"{split}{n:02}" for n in range(images)]
        (folder / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for one in ids:
            truth = np.zeros((SIDE, SIDE), dtype=np.uint8)
            for label in (1, 2):
                y, x = rng.integers(0, SIDE - 8, 2)
                truth[y : y + 8, x : x + 8] = label
            save_labels(folder / "masks" / f"{one}.png", truth, voc_palette(3))
            Image.fromarray(rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)).save(
                folder / "images" / f"{one}.png"
            )
    splits = {split: f"{split}.txt" for split in ("train", "val", "test")}
    described = {"name": name, "title": name.capitalize(), "classes": list(CLASSES), "splits": splits}
    (folder / "dataset.yaml").write_text(json.dumps(described))


def result(task: Task, attempt: int, folder: Path, wrong: float) -> Result:
    """What a job returns whose network is wrong on a share of the pixels of each image."""
    scored = []
    rng = np.random.default_rng([task.job.seed, sum(map(ord, task.job.model.title))])
    for split in ("val", "test"):
        evaluator = Evaluator(len(CLASSES), protocol=task.job.protocol)
        for name in (folder / f"{split}.txt").read_text().split():
            truth = np.array(Image.open(folder / "masks" / f"{name}.png"))
            guess = np.where(rng.random(truth.shape) < wrong, (truth + 1) % len(CLASSES), truth).astype(np.uint8)
            evaluator.update(guess, truth, name, loss=wrong)
        table = evaluator.statistics()
        scored.append(Evaluation(split, evaluator.scores_of(table), table.to_bytes()))
    return Result(
        task.fingerprint, attempt, "ok", started=now(), finished=now(), evaluations=scored, progress={"epochs": 3},
        provenance={"code": {"commit": "c"}}, times={"total": 1.0},
    )  # fmt: skip
