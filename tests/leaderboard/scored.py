"""A small results database with scores of real label maps and no training: two networks, two cells, two seeds."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

from harness.config.load import load_suite
from harness.datasets.palette import palette_image, png_bytes
from harness.datasets.shapes import Shapes
from harness.results import open_store
from harness.runner.plan import make_plan
from harness.scoring.keep import pictures
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import GalleryImage, LabelMaps
from tests.conftest import TINY
from tests.leaderboard.mixed import result, spoiled


def scored_database(folder: Path, data: Path) -> Path:
    """Plan the tiny suite with a grid and give every job a result; returns the database.

    Args:
        folder: an empty folder.
        data: the data folder with the generated data set.
    """
    place = folder / "results.db"
    (folder / "tiny.yaml").write_text(TINY.read_text() + "grid: {lr: [0.01, 0.02]}\n")
    todo = make_plan(load_suite(str(folder / "tiny.yaml")), None, data, Artifacts(str(folder / "artifacts")))
    shapes = Shapes(data / Shapes.folders[0])
    image = shapes.ids("test")[0]
    store = open_store(str(place))
    store.register(todo.jobs, todo.datasets)
    for number, task in enumerate(todo.train):
        attempt, wrong = store.claim(task.fingerprint) or 0, 0.02 * (1 + number)
        guess = png_bytes(palette_image(spoiled(shapes, image, wrong), shapes.info.palette))
        done = replace(
            result(task, shapes, attempt, wrong),
            curve=[{"epoch": epoch, "train_loss": 1 / epoch} for epoch in (1, 2)],
            gallery=[GalleryImage(image, *pictures(shapes, image), guess)],
            label_maps=[LabelMaps("test", "predictions/test", 3, "0" * 64)],
        )
        store.save(done, task)
    store.close()
    return place


def alter(database: Path, *statements: str) -> None:
    """Carry out statements, of which each has to change a row."""
    connection = sqlite3.connect(database)
    for statement in statements:
        assert connection.execute(statement).rowcount, f"nothing was changed by {statement}"
    connection.commit()
    connection.close()
