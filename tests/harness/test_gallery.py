"""The gallery of a run: the same images for all, its worst ones, within a size; and published with fewer."""

from __future__ import annotations

import io
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.datasets.base import read_labels
from harness.datasets.palette import save_labels
from harness.datasets.shapes import Shapes
from harness.errors import BenchError
from harness.metrics import Evaluator, Protocol
from harness.results.publish import publish
from harness.scoring import keep
from harness.scoring.keep import at_random, gallery, spread_evenly, worst_images
from tests.conftest import rows


@pytest.fixture(scope="module")
def shapes(shapes_home: Path) -> Shapes:
    return Shapes(shapes_home / "data" / Shapes.folders[0])


@pytest.fixture
def predicted(shapes: Shapes, tmp_path: Path) -> Path:
    """Label maps of the test images: the truth, void as background."""
    for name in shapes.ids("test"):
        mask = shapes.truth(name)[0]
        save_labels(tmp_path / f"{name}.png", np.where(mask == 255, 0, mask), shapes.info.palette)
    return tmp_path


def test_images_are_spread_evenly_and_so_is_every_beginning_of_them() -> None:
    ids = [str(i) for i in range(1449)]
    chosen = spread_evenly(ids, 100)
    assert len(set(chosen)) == 100
    for count in (4, 8, 16, 32, 64):
        places = sorted(int(i) for i in chosen[:count])
        assert max(np.diff(places)) <= 2.5 * 1449 / count, count
    assert sorted(spread_evenly(ids[:7], 100)) == ids[:7]
    assert spread_evenly([], 100) == []


def test_images_at_random_are_the_same_in_whatever_order_they_come() -> None:
    ids = [f"2007_{i:06}" for i in range(1449)]
    drawn = at_random(ids)
    assert drawn == at_random(ids[::-1])
    assert sorted(drawn) == ids
    # Without every second one, the others keep their order.
    assert at_random(ids[::2]) == [name for name in drawn if name in ids[::2]]
    # As a shuffle: as many neighbors ascend as descend, and a beginning comes from the whole split.
    places = np.array([ids.index(name) for name in drawn])
    assert 0.45 < (np.diff(places) > 0).mean() < 0.55
    assert abs(places[:100].mean() / 1449 - 0.5) < 0.1


def test_it_has_the_worst_images_too_and_predictions_stay_what_they_are(
    shapes: Shapes, predicted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "GALLERY_IMAGES", 5)
    monkeypatch.setattr(keep, "RANDOM_IMAGES", 2)
    ids = shapes.ids("test")
    shown = gallery(shapes, ids, predicted, worst=[ids[3], ids[1]])
    names = [one.image_id for one in shown]
    assert set(names) == {ids[3], ids[1], *spread_evenly(ids, 5), *at_random(ids)[:2]}
    assert set(at_random(ids)[:2]) - {ids[3], ids[1], *spread_evenly(ids, 5)}
    assert names == sorted(names, key=ids.index)
    for one in shown:
        found = np.array(Image.open(io.BytesIO(one.prediction)))
        assert np.array_equal(found, read_labels(predicted / f"{one.image_id}.png"))
        target = np.array(Image.open(io.BytesIO(one.target)))
        assert np.array_equal(target, shapes.truth(one.image_id)[0])
        colours = np.array(Image.open(io.BytesIO(one.prediction)).convert("RGB")).reshape(-1, 3)
        assert {tuple(c) for c in np.unique(colours, axis=0)} <= set(shapes.info.palette)


def test_predictions_have_at_most_the_stated_bytes(
    shapes: Shapes, predicted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = gallery(shapes, shapes.ids("test"), predicted)
    limit = sum(len(one.prediction) for one in whole) // 2
    monkeypatch.setattr(keep, "GALLERY_BYTES", limit)
    some = gallery(shapes, shapes.ids("test"), predicted)
    assert 0.7 * limit < sum(len(one.prediction) for one in some) <= limit
    places = [shapes.ids("test").index(one.image_id) for one in some]
    assert places[-1] > 0.7 * len(shapes.ids("test")), "they are spread over all of it"


def test_the_worst_are_those_of_the_lowest_score_and_never_those_without_one(shapes: Shapes) -> None:
    evaluator = Evaluator(6, protocol=Protocol())
    for place, name in enumerate(shapes.ids("test")[:20]):
        mask = shapes.truth(name)[0].copy()
        guess = np.where(mask == 255, 0, mask)
        guess[: 2 * (20 - place)] = 1
        mask[:] = 255 if place == 0 else mask
        evaluator.update(guess, mask, name)
    found = worst_images(evaluator.statistics(), 6, None, Protocol())
    assert len(found) == keep.WORST_IMAGES
    assert shapes.ids("test")[0] not in found
    assert shapes.ids("test")[1] in found
    assert shapes.ids("test")[19] not in found


@pytest.mark.slow
@pytest.mark.long
def test_a_published_file_has_fewer_images_where_it_would_be_too_large(finished: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(finished, tmp_path / "large.db"))
    connection = sqlite3.connect(copy)
    (images,) = connection.execute("SELECT count(DISTINCT image_id) FROM gallery_predictions").fetchone()
    assert images > 25
    noise = np.random.default_rng(0).bytes(10_000)
    for run, image, png in connection.execute("SELECT * FROM gallery_predictions").fetchall():
        # What stands behind the end of a PNG is no part of it.
        larger = (png + noise, run, image)
        connection.execute("UPDATE gallery_predictions SET prediction = ? WHERE run_id = ? AND image_id = ?", larger)
    connection.commit()
    connection.close()
    whole = tmp_path / "whole.db"
    publish([str(copy)], whole, 10**9)
    size = whole.stat().st_size
    publish([str(copy)], tmp_path / "fewer.db", size - 10**6)
    ((count,),) = rows(tmp_path / "fewer.db", "SELECT count(DISTINCT image_id) FROM gallery_predictions")
    assert 0 < count < images
    assert (tmp_path / "fewer.db").stat().st_size <= size - 10**6
    assert rows(tmp_path / "fewer.db", "SELECT count(*) FROM scores") == rows(whole, "SELECT count(*) FROM scores")
    with pytest.raises(BenchError, match="the file would have"):
        publish([str(copy)], tmp_path / "none.db", 10_000)
