"""A row trained again from its record alone, and what differs between two runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BenchError, PluginError
from harness.metrics import StatisticsTable
from harness.results import open_store
from harness.results.differences import RunRecord, changes, differences, read_run
from harness.runner.replay import Figure, _judged, _same_statistics, replay
from tests.conftest import rows, run_bench


def changed(database: Path, tmp_path: Path, *statements: str, values: tuple[object, ...] = ()) -> Path:
    place = tmp_path / "changed.db"
    shutil.copyfile(database, place)
    connection = sqlite3.connect(place)
    for statement in statements:
        connection.execute(statement, values)
    connection.commit()
    connection.close()
    return place


def again(database: Path, folder: Path, run: int = 1, data: Path | None = None, cpu: bool = False) -> None:
    store = open_store(str(database), read_only=True)
    try:
        replay(store, run, folder, data, cpu=cpu)
    finally:
        store.close()


FIGURES = [Figure("test", "miou", 0.5, 0.5, 0.1), Figure("test", "hd", 9.0, 9.0, None)]


@pytest.mark.parametrize(
    ("figures", "maps", "bits", "verdict", "told"),
    [
        (FIGURES, {"test": True}, True, "the same to the bit", "all 2 scores are equal"),
        (FIGURES, {}, True, "the same to the bit", "no checksums"),
        (FIGURES, {"test": False}, True, "within the seeds' spread", "label maps of test differ"),
        (FIGURES, {"test": True}, False, "within the seeds' spread", "statistics of the images differ"),
        ([replace(FIGURES[0], replayed=0.59)], {}, False, "within the seeds' spread", "by +0.090000, within ±0.1"),
        ([replace(FIGURES[0], replayed=0.61)], {}, False, "different", "by +0.110000, outside ±0.1"),
        ([replace(FIGURES[0], replayed=0.5001, spread=None)], {}, False, "different", "with one seed"),
        ([replace(FIGURES[0], replayed=None)], {}, False, "different", "no miou to judge by"),
        ([], {}, True, "different", "another protocol"),
    ],
)
def test_the_verdict(figures: list[Figure], maps: dict[str, bool], bits: bool, verdict: str, told: str) -> None:
    found, reason = _judged(figures, maps, bits, "miou", 3)
    assert found == verdict
    assert told in reason


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("update runs set model_origin = 'predictions'", "its label maps came from outside"),
        ("update runs set state = 'failed'", "run 1 is failed: there is no score"),
        ("update runs set model_name = 'unett', model_source = null", "no model named 'unett'"),
    ],
)
def test_what_cannot_be_trained_again_is_said_in_a_line(
    studied_rows: Path, tmp_path: Path, home: Path, statement: str, message: str
) -> None:
    place = changed(studied_rows, tmp_path, statement)
    with pytest.raises(BenchError, match=message) as raised:
        again(place, tmp_path / "new")
    assert "\n" not in raised.value.message


def config(database: Path, run: int = 1) -> dict:
    return json.loads(rows(database, f"select config from runs where id = {run}")[0][0])


def test_what_is_not_here_is_said(studied_rows: Path, tmp_path: Path, home: Path) -> None:
    own = config(studied_rows)
    set_config = "update runs set config = ?"
    (tmp_path / "empty").mkdir()
    gpu = {**own, "resources": {**own["resources"], "gpus": 4.0}}
    nodes = {**own, "resources": {**own["resources"], "nodes": 2}}
    voc = {**own, "dataset": {"name": "voc", "variant": "official", "params": {}}}
    weights = {**own, "model": {**own["model"], "start_from": "/nowhere/w.pt"}}
    for number, (wanted, message) in enumerate(
        [(gpu, r"trained on 4 GPU\(s\); this machine has"), (nodes, "by 2 machines together"),
         (voc, "PASCAL VOC"), (weights, "the weights /nowhere/w.pt cannot be read")]
    ):  # fmt: skip
        place = changed(studied_rows, tmp_path, set_config, values=(json.dumps(wanted),))
        folder = tmp_path / f"new{number}"
        folder.mkdir()
        with pytest.raises(BenchError, match=message):
            again(place, folder, data=tmp_path / "empty")
        assert not (folder / "results.db").exists()


def test_a_file_of_a_network_comes_from_the_record(studied_rows: Path, tmp_path: Path, home: Path) -> None:
    source = "NAME = 'unet'\ndef build(num_classes):\n    pass\n"
    place = changed(
        studied_rows, tmp_path, "update runs set model_source = ?, model_origin = 'file ../../x/mine.py'",
        values=(source,),
    )  # fmt: skip
    folder = tmp_path / "new"
    folder.mkdir()
    with pytest.raises(PluginError, match="is taken by a known model"):
        again(place, folder)
    assert (folder / "mine.py").read_text() == source
    assert not (tmp_path / "x").exists()


@pytest.fixture
def studied_rows(shapes_home: Path, shared_once: object) -> Path:
    """A real database whose runs nobody trained."""
    from tests.leaderboard.studied import studied_database

    def fill(folder: Path) -> None:
        studied_database(folder, shapes_home / "data")

    return shared_once("studied", fill) / "studied.db"  # type: ignore[operator]


@pytest.mark.long
@pytest.mark.slow
def test_a_replay_has_the_same_bits(finished: Path, home: Path) -> None:
    done = run_bench("replay", "2", "--db", finished, "--keep", "kept", cwd=home)
    assert "the same to the bit: label maps, statistics and all" in done.stdout
    assert "every byte is the same" in done.stdout
    assert rows(home / "kept", "select state from runs") == [("ok",)]
    recorded = rows(finished, "select fingerprint from runs where id = 2")
    assert rows(home / "kept", "select fingerprint from runs") == recorded
    other = run_bench("replay", "2", "--db", finished, "--keep", "kept", cwd=home, check=False)
    assert other.returncode == 2
    assert "kept: cannot be made" in other.stderr


def test_what_differs_between_two_runs_is_named_and_nothing_else(finished: Path) -> None:
    store = open_store(str(finished), read_only=True)
    one, two = read_run(store, 1), read_run(store, 2)
    found = differences(one, two)
    assert {c.what for c in found.configuration} <= {"seed", "recipe.optimizer.lr", "grid.lr"}
    assert found.code == found.data == found.packages == found.hardware == found.source == []
    scores = {s.name: s for s in found.scores if s.split == "test"}
    assert scores["miou"].a == rows(finished, _MIOU.format(1))[0][0]
    assert scores["miou"].difference == scores["miou"].b - scores["miou"].a
    assert "iou[disk]" in scores
    same = differences(one, one)
    assert same.same_training
    assert same.configuration == same.label_maps == []
    assert {s.difference for s in same.scores} <= {0.0, None}
    store.close()


_MIOU = (
    "select value from scores join evaluations on evaluations.id = evaluation_id "
    "where run_id = {} and split = 'test' and metric = 'miou' and class_index = -1"
)


def test_sources_are_compared_line_by_line(finished: Path) -> None:
    store = open_store(str(finished), read_only=True)
    one = read_run(store, 1)
    a: RunRecord = replace(one, source="a = 1\nb = 2\n")
    b = replace(one, source="a = 1\nb = 3\n", data={**one.data, "scored images": "other"})
    found = differences(a, b)
    assert "-b = 2" in found.source
    assert "+b = 3" in found.source
    assert any("different images" in remark for remark in found.remarks)
    store.close()


def test_changes_go_into_records() -> None:
    found = changes({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2, "d": 4}, "e": None})
    assert [(c.what, c.a, c.b) for c in found] == [("a", 1, None), ("b.d", 3, 4)]


def test_the_command_prints_what_differs_and_says_all_of_it_as_json(finished: Path, home: Path) -> None:
    text = run_bench("diff", "1", "2", "--db", finished, cwd=home).stdout
    assert "The same: code, data, packages, hardware" in text
    assert "mIoU" in text
    record = json.loads(run_bench("diff", "1", "2", "--db", finished, "--json", cwd=home).stdout)
    assert record["a"].startswith("run 1: ")
    assert len(record["scores"]) > 100


def test_statistics_are_compared_by_their_values_not_by_how_they_are_packed(finished: Path) -> None:
    store = open_store(str(finished), read_only=True)
    stored = read_run(store, 1).statistics
    other = read_run(store, 2).statistics
    store.close()
    key = next(iter(stored))
    table = StatisticsTable.from_bytes(stored[key])
    assert _same_statistics(stored[key], replace(table, batch_loss=table.batch_loss.copy()).to_bytes())
    assert not _same_statistics(stored[key], replace(table, loss=table.loss + 1e-12).to_bytes())
    assert not _same_statistics(stored[key], other[key])
    assert not _same_statistics(stored[key], b"damaged")
