"""A real results database of suites that carry the names of two studies, with pictures and curves of every run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.config.load import load_suite
from harness.datasets.palette import save_labels
from harness.datasets.shapes import Shapes
from harness.results import Store, open_store
from harness.runner.plan import make_plan
from harness.scoring.keep import gallery
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Result
from harness.tasks.task import Task
from tests.leaderboard.mixed import result, spoiled

# Study A's rows and some of its cells; study D's protocol and curves; study C's batches. All on generated images.
SUITES = {
    "fcn-lr-epochs": """
datasets: [shapes]
models: [{name: unet, params: {width: 4, depth: 2}, label: FCN-8s (Adam)}]
recipe: {size: [32, 32], epochs: 150, batch_size: 16, optimizer: {name: adam, lr: 1e-4}, schedule: {name: constant}}
grid: {lr: [1e-3, 1e-4], epochs: [50, 100]}
selection: {rule: last}
""",
    "horse-report": """
datasets: [shapes]
models: [{name: unet, params: {width: 4, depth: 2}, label: U-Net}]
recipe: {size: [32, 32], epochs: 50, batch_size: 16, optimizer: {name: rmsprop, lr: 1e-5}}
protocol: {name: horse-report}
""",
    "unet-drive": """
datasets: [shapes]
models: [{name: unet, params: {width: 4, depth: 2}, label: U-Net (study C)}]
recipe: {size: [32, 32], epochs: 600, batch_size: 16, predict: {mode: resize, loss_batch: 2}}
grid: {epochs: [600]}
seeds: [0, 1]
selection: {rule: last}
""",
}
CELLS, CHOSEN_EPOCH = 4, 33


def studied_database(folder: Path, data: Path) -> Path:
    """Plan both suites as a command does, and give every job a result; returns the database.

    Args:
        folder: an empty folder.
        data: the data folder with the generated data set.
    """
    place = folder / "studied.db"
    store = open_store(str(place))
    for name, text in SUITES.items():
        (folder / f"{name}.yaml").write_text(text)
        suite = load_suite(str(folder / f"{name}.yaml"))
        todo = make_plan(suite, store, data, Artifacts(str(folder / "artifacts")))
        store.register(todo.jobs, todo.datasets)
        every = [one for task in todo.train for one in (task, *task.shorter)]
        for number, task in enumerate(sorted(every, key=lambda one: one.fingerprint)):
            save(store, task, Shapes(data / Shapes.folders[0]), folder / "maps" / f"{name}{number}", number)
    store.close()
    return place


def save(store: Store, task: Task, shapes: Shapes, maps: Path, number: int) -> None:
    """Store what a job returns whose network is wrong on a share of the pixels, the larger the later its number."""
    wrong = 0.05 * (1 + number)
    # Ten batches; over the two seeds their losses are .25, .26, … in the mean.
    apart = 0.1 * task.job.seed - 0.05
    losses = [0.25 + apart + n / 100 for n in range(10)] if task.job.recipe.predict.loss_batch else []
    made: Result = result(task, shapes, store.claim(task.fingerprint) or 0, wrong, losses)
    ids = shapes.ids("test")[:3]
    maps.mkdir(parents=True)
    for image in ids:
        save_labels(maps / f"{image}.png", spoiled(shapes, image, wrong), shapes.info.palette)
    curve = [
        {"epoch": epoch, "train_loss": 1 / epoch, "val_iou[horse]": 0.5 + epoch / 100, "val_biou": epoch / 100}
        for epoch in (1, 20, CHOSEN_EPOCH)
    ]
    store.save(
        replace(
            made,
            curve=curve,
            gallery=gallery(shapes, ids, maps),
            progress={**made.progress, "selected_epoch": CHOSEN_EPOCH},
        ),
        task,
    )
