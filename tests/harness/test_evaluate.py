"""Scoring a folder's label maps, their checksums, and one figure out of many."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest

from harness.datasets.palette import palette_image, png_bytes
from harness.datasets.shapes import Shapes
from harness.errors import DataError, SuiteError
from harness.metrics import Protocol
from harness.scoring.evaluate import (
    CHECKSUMS,
    Predicted,
    check_metric,
    evaluate_images,
    new_evaluator,
    pick,
    read_checksums,
    stored_label_maps,
    verify_checksums,
    write_checksums,
)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    for name in ("b", "a", "deep/c"):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        labels = np.full((3, 4), len(name), dtype=np.uint8)
        path.write_bytes(png_bytes(palette_image(labels, Shapes.info.palette)))
    write_checksums(tmp_path)
    return tmp_path


def test_checksums_are_what_sha256sum_writes(kept: Path) -> None:
    count, digest = write_checksums(kept)
    said = (kept / CHECKSUMS).read_text()
    assert (count, digest) == (3, hashlib.sha256(said.encode()).hexdigest())
    sums = {name: hashlib.sha256((kept / name).read_bytes()).hexdigest() for name in ("a.png", "b.png", "deep/c.png")}
    assert said == "".join(f"{value}  {name}\n" for name, value in sums.items())
    assert read_checksums(kept) == sums
    verify_checksums(kept)


def test_a_name_may_hold_two_blanks(tmp_path: Path) -> None:
    (tmp_path / "one  two  three.png").write_bytes(b"x")
    write_checksums(tmp_path)
    assert list(read_checksums(tmp_path)) == ["one  two  three.png"]
    verify_checksums(tmp_path)


def test_what_is_missing_or_changed_is_named(kept: Path) -> None:
    (kept / "a.png").write_bytes(b"other")
    with pytest.raises(DataError, match=r"a\.png: is missing or is not what the run wrote"):
        verify_checksums(kept)
    with pytest.raises(ValueError, match=r"a\.png: is not the file that was written"):
        list(stored_label_maps(kept, ["a"]))
    write_checksums(kept)
    (kept / "deep" / "c.png").unlink()
    with pytest.raises(DataError, match=r"c\.png: is missing"):
        verify_checksums(kept)
    (kept / CHECKSUMS).write_text("no list\n")
    with pytest.raises(DataError, match="is no list of checksums"):
        verify_checksums(kept)
    (kept / CHECKSUMS).unlink()
    with pytest.raises(DataError, match="the label maps are no longer kept here"):
        verify_checksums(kept)


def test_label_maps_come_one_by_one_as_they_were_written(kept: Path) -> None:
    first, second = stored_label_maps(kept, ["b", "deep/c"])
    assert (first.image_id, second.image_id) == ("b", "deep/c")
    assert (first.labels == 1).all()
    assert (second.labels == 6).all()
    assert first.score is None
    assert math.isnan(first.loss)
    with pytest.raises(DataError):
        list(stored_label_maps(kept, ["nowhere"]))


@pytest.mark.parametrize("threads", [1, 3])
def test_predictions_are_scored_in_the_order_they_come(shapes_home: Path, threads: int) -> None:
    shapes = Shapes(shapes_home / "data" / Shapes.folders[0])
    ids, seen = shapes.ids("test")[:5][::-1], []
    guesses = [Predicted(name, shapes.truth(name)[0] % 6, loss=float(i)) for i, name in enumerate(ids)]
    evaluator = evaluate_images(shapes, Protocol(), guesses, threads, keep=seen.append)
    assert evaluator.statistics().ids == tuple(ids)
    assert sorted(one.image_id for one in seen) == sorted(ids)
    scores = evaluator.compute()
    assert (scores.values["pa"], scores.loss) == (1.0, 2.0)
    assert evaluate_images(shapes, Protocol(), guesses).compute().values == scores.values
    made = new_evaluator(Shapes.info, Protocol(void="mask"))
    assert (made.num_classes, made.ignore_index, made.foreground) == (6, Shapes.info.ignore_index, None)
    assert made.protocol == Protocol(void="mask")


def test_one_figure_out_of_the_scores_by_its_name() -> None:
    evaluator = new_evaluator(Shapes.info, Protocol())
    evaluator.update(np.array([[0, 0, 5, 5]]), np.array([[0, 0, 0, 5]]))
    scores = evaluator.compute()
    assert pick(scores, "pa", Shapes.info) == 0.75
    assert pick(scores, "iou[ring]", Shapes.info) == 0.5
    assert pick(scores, "iou[background]", Shapes.info) == pytest.approx(2 / 3)
    assert pick(scores, "iou[disk]", Shapes.info) is None


def test_a_metric_that_a_data_set_lacks_is_refused_with_those_it_has() -> None:
    for known in ("miou", "iou[ring]", "hd"):
        check_metric(known, Shapes.info)
    with pytest.raises(SuiteError) as error:
        check_metric("mieu", Shapes.info)
    assert "miou" in str(error.value.message)
    assert "of one class: iou[NAME]" in str(error.value.hint)
    with pytest.raises(SuiteError, match=r"shapes has no metric 'iou\[cat\]'") as error:
        check_metric("iou[cat]", Shapes.info)
    assert "classes: background, disk" in str(error.value.hint)
