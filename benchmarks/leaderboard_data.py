"""A results database as a large study leaves it, generated: what `benchmarks/leaderboard.py` reads.

Networks, seeds and data sets are as many as asked for; the statistics are those of generated label maps of PASCAL VOC's
kind (21 classes of which a few are there, void along borders), scored by the evaluator, and scattered: an image's areas
and lengths are scaled by a number of its own, so that no two images are alike.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import zoom
from sqlalchemy import insert

from benchmarks.leaderboard_size import Size
from harness.config.expand import expand
from harness.config.load import load_suite
from harness.datasets import dataset_class
from harness.datasets.palette import palette_image, png_bytes
from harness.metrics import Evaluator, Protocol, Scores, StatisticsTable, fold
from harness.metrics.image_figures import image_figures
from harness.metrics.sums import ScoredImages
from harness.results import Store, open_store
from harness.results.image_scores import ImageNames, stored_metrics
from harness.results.schema import (
    OVERALL,
    CurvePoint,
    DatasetRow,
    Evaluation,
    GalleryImage,
    GalleryPrediction,
    ImageList,
    ImageScore,
    Run,
    Score,
    SuiteEntry,
)

CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table",
    "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "monitor",
)  # fmt: skip
PALETTE = [[int(v) for v in colour] for colour in np.random.default_rng(1).integers(0, 256, (len(CLASSES), 3))]
SHAPES = ((375, 500), (333, 500), (500, 375), (500, 334))
# Label maps that are drawn and scored, different statistics on a data set, and pictures in galleries.
DRAWN, VARIANTS, PICTURES = 160, 4, 24
EPOCHS = 20


def main() -> None:
    """Make a database in a process of its own: `python -m benchmarks.leaderboard_data FILE MODELS DATASETS …`."""
    place, *numbers = sys.argv[1:]
    make_database(Path(place), Size(*map(int, numbers)))


def make_database(place: Path, size: Size) -> None:
    """Write the database, whole or not at all.

    Args:
        place: the file; nothing is done where it is there.
        size: how large it is.
    """
    if place.exists():
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_suffix(".unfinished")
    for rest in place.parent.glob(f"{unfinished.name}*"):
        rest.unlink()
    rng = np.random.default_rng(0)
    drawn = [label_maps(rng) for _ in range(DRAWN)]
    store = open_store(str(unfinished))
    try:
        for number in range(size.datasets):
            _dataset(store, number, drawn, size, rng)
    finally:
        store.close()
    unfinished.rename(place)


Maps = tuple[NDArray[np.uint8], NDArray[np.uint8]]


def label_maps(rng: np.random.Generator) -> Maps:
    """A prediction and a truth of PASCAL VOC's kind."""
    height, width = SHAPES[rng.choice(len(SHAPES), p=[0.5, 0.25, 0.15, 0.1])]
    truth, guess = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    coarse, fine = _noise(rng, height, width, 6), _noise(rng, height, width, 30)
    for _ in range(rng.integers(1, 4)):
        label, size = rng.integers(1, len(CLASSES)), rng.uniform(0.1, 0.35) * height
        away = _distance(rng, height, width) + 0.2 * size * coarse
        truth[away < size] = label
        taken_for = label if rng.random() < 0.85 else rng.integers(1, len(CLASSES))
        guess[away + rng.uniform(0.02, 0.2) * size * fine < size * rng.normal(1, 0.05)] = taken_for
    if rng.random() < 0.4:
        guess[_distance(rng, height, width) < 0.05 * height] = rng.integers(1, len(CLASSES))
    edge = np.zeros(truth.shape, dtype=bool)
    for shift in ((2, 0), (-2, 0), (0, 2), (0, -2)):
        edge |= np.roll(truth, shift, (0, 1)) != truth
    truth[edge] = 255
    return guess, truth


def _noise(rng: np.random.Generator, height: int, width: int, cells: int) -> NDArray[np.float64]:
    field = rng.standard_normal((cells, cells))
    return np.asarray(zoom(field, (height / cells, width / cells), order=1)[:height, :width])


def _distance(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float64]:
    y, x = np.ogrid[:height, :width]
    return np.hypot(y - rng.uniform(0.2, 0.8) * height, x - rng.uniform(0.2, 0.8) * width)


def statistics(drawn: list[Maps], images: int, prefix: str, rng: np.random.Generator) -> StatisticsTable:
    """Statistics of as many images as asked for: those of drawn label maps, each scaled by a number of its own."""
    evaluator = Evaluator(len(CLASSES), protocol=Protocol())
    for number, (guess, truth) in enumerate(drawn):
        evaluator.update(guess, truth, str(number), loss=float(np.float32(rng.random())))
    table, chosen = evaluator.statistics(), rng.integers(0, len(drawn), images)
    scale = rng.uniform(0.3, 1.0, images)

    def rows(part: NDArray[Any], image: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        found = [np.flatnonzero(image == one) for one in range(len(drawn))]
        return part[np.concatenate([found[one] for one in chosen])], np.repeat(
            np.arange(images), [len(found[one]) for one in chosen]
        )

    def counts(part: NDArray[np.int64], kept: int) -> NDArray[np.int64]:
        taken, image = rows(part, part[:, 0])
        taken[:, 0] = image
        taken[:, kept:] = np.ceil(taken[:, kept:] * scale[image, None])
        return taken

    confusion, trimap = counts(table.confusion, 3), counts(table.trimap, 4)
    lengths, image = rows(table.surface_floats, table.surface_integers[:, 0])
    squared = np.ceil(lengths[:, 2:4] ** 2 * scale[image, None])
    lengths = np.ceil(lengths * scale[image, None]) + np.where(lengths % 1 == 0, 0.0, lengths % 1)
    exact = np.sqrt(squared) if squared.size else squared
    lengths[:, 2:4] = np.where(np.isnan(exact), np.nan, exact)
    scored = np.bincount(confusion[:, 0], weights=confusion[:, 3], minlength=images).astype(np.int64)
    shape = table.shape[chosen].copy()
    shape[:, 2] = scored
    shape[:, 3] = np.maximum(shape[:, 0] * shape[:, 1] - scored, 0)
    return replace(
        table,
        ids=tuple(f"{prefix}_{3 * number + 7:06d}" for number in range(images)),
        shape=shape,
        confusion=confusion,
        trimap=trimap,
        surface_integers=counts(table.surface_integers, 2),
        surface_floats=lengths,
        loss=rng.random(images).astype(np.float32).astype(np.float64),
    )


def _dataset(store: Store, number: int, drawn: list[Maps], size: Size, rng: np.random.Generator) -> None:
    """A data set with all its runs, in one transaction."""
    name = f"generated{number}"
    manifest, test_manifest = (hashlib.sha256(f"{name} {part}".encode()).hexdigest() for part in ("all", "test"))
    protocol = Protocol()
    kinds = [_Scored.of(statistics(drawn, size.images, str(2007 + number), rng), protocol) for _ in range(VARIANTS)]
    val = [_Scored.of(statistics(drawn, size.images // 10 or 1, "val", rng), protocol) for _ in range(VARIANTS)]
    pictures = [_png(guess) for guess, _ in drawn[:PICTURES]]
    ids = kinds[0].table.ids
    shown = [ids[i] for i in np.linspace(0, len(ids) - 1, min(size.gallery, len(ids))).astype(int)]
    job = expand(load_suite("voc"), {"voc": dataset_class("voc").info})[0]
    config = job.model_dump(mode="json")
    with store.writing() as session:
        session.add(
            DatasetRow(
                manifest=manifest, name=name, title=f"Generated {number}", variant="standard",
                test_manifest=test_manifest, classes=list(CLASSES), palette=PALETTE, foreground=None,
                counts={"train": 1464, "val": size.images // 10, "test": size.images}, scored_as=manifest,
            )
        )  # fmt: skip
        for key, data in {one.names.stored()[0]: one.names.stored()[1] for one in (kinds[0], val[0])}.items():
            if session.get(ImageList, key) is None:
                session.add(ImageList(key=key, images=data))
        session.flush()
        photo = _jpeg(rng)
        session.execute(
            insert(GalleryImage),
            [
                {"test_manifest": test_manifest, "image_id": one, "image": photo, "target": pictures[i % PICTURES]}
                for i, one in enumerate(shown)
            ],
        )
        for model in range(size.models):
            skill = rng.normal(0, 0.03)
            for seed in range(size.seeds):
                run = Run(**_run(config, manifest, f"{name} {model} {seed}", model, seed))
                session.add(run)
                session.flush()
                session.execute(insert(SuiteEntry), [{"suite": "study", "run_id": run.id}])
                luck = skill + rng.normal(0, 0.01)
                for split, scored in (("val", val), ("test", kinds)):
                    _evaluation(session, run.id, split, scored[model % VARIANTS], protocol, luck, run.fingerprint)
                session.execute(insert(CurvePoint), list(_curve(run.id, rng)))
                session.execute(
                    insert(GalleryPrediction),
                    [
                        {"run_id": run.id, "image_id": one, "prediction": pictures[(i + model) % PICTURES]}
                        for i, one in enumerate(shown)
                    ],
                )
                session.expunge(run)


@dataclass(frozen=True)
class _Scored:
    """Statistics with everything that is stored of them."""

    table: StatisticsTable
    data: bytes
    scores: Scores
    details: dict[str, Any]
    figures: dict[str, bytes]

    @classmethod
    def of(cls, table: StatisticsTable, protocol: Protocol) -> _Scored:
        figures = image_figures(ScoredImages(table, len(CLASSES), protocol), stored_metrics(None))
        named = {metric: values.astype("<f4").tobytes() for metric, values in figures.items()}
        scores = fold(table, len(CLASSES), protocol)
        return cls(table, table.to_bytes(), scores, json.loads(json.dumps(scores.details())), named)

    @property
    def names(self) -> ImageNames:
        return ImageNames(self.table.ids, self.table.groups)


def _evaluation(
    session: Any, run: int, split: str, scored: _Scored, protocol: Protocol, luck: float, fingerprint: str
) -> None:
    row = Evaluation(
        run_id=run, score_fingerprint=hashlib.sha256(f"{fingerprint} scores".encode()).hexdigest(), split=split,
        protocol_name=protocol.name, protocol_hash=protocol.hash, protocol=protocol.stored(), evaluator_version=1,
        loss=scored.scores.loss, n_images=scored.scores.n_images, details=scored.details,
        statistics=scored.data, image_list=scored.names.stored()[0], created="2026-01-01T00:00:00.000+00:00",
    )  # fmt: skip
    session.add(row)
    session.flush()
    figures = [(metric, OVERALL, value) for metric, value in scored.scores.values.items()]
    figures += [(m, i, value) for m, values in scored.scores.per_class.items() for i, value in enumerate(values)]
    session.execute(
        insert(Score),
        [
            {"evaluation_id": row.id, "metric": m, "class_index": i, "value": None if v is None else v + luck}
            for m, i, v in figures
        ],
    )
    session.execute(
        insert(ImageScore),
        [{"evaluation_id": row.id, "metric": m, "figures": data} for m, data in scored.figures.items()],
    )
    session.expunge(row)


def _run(config: dict[str, Any], manifest: str, name: str, model: int, seed: int) -> dict[str, Any]:
    fingerprint, cell = (hashlib.sha256(text.encode()).hexdigest() for text in (name, name.rpartition(" ")[0]))
    return {
        "fingerprint": fingerprint, "parts": {"job": config, "seed": seed}, "cell": cell, "manifest": manifest,
        "model": f"Network {model:03d}", "model_name": "deeplabv3plus", "model_params": {"width": model},
        "model_origin": "built in", "model_source": None, "parameters": 10**6 + 250_000 * model, "recipe": "voc",
        "grid": {}, "seed": seed, "config": config, "selection": {"rule": "best", "split": "val", "metric": "miou"},
        "selected_on_test": False, "state": "ok", "attempt": 1, "history": [], "search": None,
        "created": "2026-01-01T00:00:00.000+00:00", "started": "2026-01-01T00:00:00.000+00:00",
        "finished": f"2026-01-02T00:00:{seed:02d}.000+00:00",
        "times": {"train": 3600.0, "predict": 60.0, "evaluate": 10.0, "total": 3670.0},
        "progress": {"epochs": EPOCHS, "iterations": 20_000, "selected_epoch": EPOCHS, "selection_score": 0.7},
        "provenance": {"code": {"commit": "c" * 40}, "hardware": {"processor": "generated", "cpus": 2}},
        "cost": {"flops": 10**9 * (model + 1)},
    }  # fmt: skip


def _curve(run: int, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
    for name in ("lr", "train_loss", "val_miou"):
        for epoch, value in enumerate(rng.random(EPOCHS), start=1):
            yield {"run_id": run, "name": name, "epoch": epoch, "value": float(value)}


def _png(labels: NDArray[np.uint8]) -> bytes:
    return png_bytes(palette_image(labels, [tuple(colour) for colour in PALETTE]))


def _jpeg(rng: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    noise = zoom(rng.integers(0, 256, (12, 16, 3)).astype(np.uint8), (32, 32, 1), order=1)
    Image.fromarray(noise).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
