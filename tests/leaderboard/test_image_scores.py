"""A score of each image: stored by the run, what the statistics say, and checked against them."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np

from harness.metrics.image_figures import image_figures
from harness.results import open_store
from harness.results.check import check_database
from harness.results.frames import load_results
from harness.results.image_scores import ImageNames, stored_metrics, stored_name
from harness.results.merge import merge
from leaderboard.queries.load import load_image_scores, load_runs, load_statistics
from tests.leaderboard.scored import alter

METRICS = ("miou", "dice", "pa", "biou", "hd", "hd95", "loss")


def test_they_are_what_the_frames_say(scored: Path) -> None:
    store = open_store(str(scored), read_only=True)
    frame = load_results(store).image_scores
    frame = frame[(frame.run == 3) & (frame.split == "test")]
    for metric in ("miou", "pa", "loss", *(f"{name}[disk]" for name in ("iou", "dice", "biou", "hd", "hd95"))):
        found = load_image_scores(store, [3], metric)
        name, _, label = metric.partition("[")
        own = frame[(frame.metric == name) & (frame["class"].isna() if not label else frame["class"] == label[:-1])]
        expected = dict(zip(own.image, own.value, strict=True))
        for image, value in zip(found.ids, found.figures[0], strict=True):
            assert np.isnan(value) if image not in expected else value == np.float32(expected[image]), (metric, image)


def test_stored_ones_are_read_without_statistics_and_others_are_folded(scored: Path, copy: Path) -> None:
    before = {m: load_image_scores(open_store(str(scored), read_only=True), [1, 2, 3], m) for m in METRICS}
    alter(copy, "UPDATE evaluations SET image_list = 'gone'", "DELETE FROM image_scores")
    folded = {m: load_image_scores(open_store(str(copy), read_only=True), [1, 2, 3], m) for m in METRICS}
    for metric, one in before.items():
        assert one.runs == folded[metric].runs == (1, 2, 3)
        assert one.ids == folded[metric].ids
        assert np.array_equal(one.figures, folded[metric].figures, equal_nan=True), metric
        assert np.isfinite(one.figures).any(), metric
    shutil.copy(scored, copy)
    alter(copy, "UPDATE evaluations SET statistics = x'00'")
    found = load_image_scores(open_store(str(copy), read_only=True), [1, 2, 3], "miou")
    assert np.array_equal(found.figures, before["miou"].figures)
    assert not found.problems


def test_every_run_lists_its_images_once_and_of_other_images_the_rest_is_undefined(copy: Path) -> None:
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT count(*) FROM image_lists").fetchall() == [(2,)]  # of val and of test
    names = ImageNames(("more",), ())
    key, data = names.stored()
    connection.execute("INSERT INTO image_lists VALUES (?, ?)", (key, data))
    connection.execute("UPDATE evaluations SET image_list = ? WHERE run_id = 2 AND split = 'test'", (key,))
    connection.execute(
        "UPDATE image_scores SET figures = ? WHERE evaluation_id = (SELECT id FROM evaluations WHERE run_id = 2"
        " AND split = 'test')",
        (np.array([0.25], dtype="<f4").tobytes(),),
    )
    connection.commit()
    connection.close()
    found = load_image_scores(open_store(str(copy), read_only=True), [2, 1], "miou")
    assert found.runs == (2, 1)
    assert found.ids[0] == "more"
    assert found.figures[0, 0] == 0.25
    assert np.isnan(found.figures[0, 1:]).all()
    assert np.isnan(found.figures[1, 0])


def test_what_single_images_do_not_have_is_not_given(scored: Path) -> None:
    store = open_store(str(scored), read_only=True)
    for metric in ("batch_loss", "iou[unicorn]", "miou[disk]"):
        assert load_image_scores(store, [1], metric).runs == ()


def test_the_check_finds_scores_that_the_statistics_do_not_give(scored: Path, copy: Path, tmp_path: Path) -> None:
    assert list(check_database(open_store(str(scored), read_only=True), None)) == []
    figures = np.full(3, 0.5, dtype="<f4").tobytes().hex()
    whose = "evaluation_id = (SELECT id FROM evaluations WHERE run_id = 4 AND split = 'test')"
    for statement, problem in (
        (
            f"UPDATE image_scores SET figures = x'{figures}' WHERE metric = 'miou' AND {whose}",
            "not what the statistics",
        ),
        (f"UPDATE image_scores SET figures = x'{figures[:-8]}' WHERE metric = 'pa' AND {whose}", "for each of them"),
        (f"UPDATE image_scores SET metric = 'splendour' WHERE metric = 'pa' AND {whose}", "unknown name: splendour"),
        (f"UPDATE evaluations SET image_list = 'gone' WHERE id = {whose[16:]}", "is not in the database"),
        ("UPDATE image_lists SET images = x'00'", "a list of images cannot be read"),
    ):
        shutil.copy(scored, copy)
        alter(copy, statement)
        assert any(problem in line for line in check_database(open_store(str(copy), read_only=True), None)), problem
        mine = open_store(str(tmp_path / "mine.db"))
        assert merge(mine, str(copy), label_maps=False).refused, problem


def test_names_under_which_they_are_stored() -> None:
    assert stored_metrics(None) == ("miou", "pa", "biou")
    assert stored_metrics(1) == ("miou", "pa", "biou", "iou[1]", "biou[1]")
    assert stored_name("iou[horse]", ("background", "horse")) == "iou[1]"
    assert stored_name("fwiou", ("background", "horse")) == "fwiou"
    for name in ("fwiou[horse]", "batch_loss", "iou", "iou[unicorn]", "splendour"):
        assert stored_name(name, ("background", "horse")) is None, name


def test_an_image_without_a_scored_pixel_is_undefined(scored: Path) -> None:
    store = open_store(str(scored), read_only=True)
    run = load_runs(store)[0]
    table = load_statistics(store, run.run_id, run.protocol_hash)
    table.shape[1, 2] = 0
    from harness.metrics import Protocol, ScoredImages

    found = image_figures(ScoredImages(table, len(run.data.classes), Protocol()), METRICS)
    assert all(np.isnan(figures[1]) for figures in found.values())
    assert np.isfinite(found["miou"][[0, 2]]).all()
