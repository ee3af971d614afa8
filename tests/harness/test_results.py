"""The store, on SQLite and on PostgreSQL: the same tests."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import text

from harness.config.load import load_suite
from harness.datasets import manifest_of
from harness.datasets.shapes import Shapes
from harness.errors import DatabaseError
from harness.metrics import Evaluator, StatisticsTable, fold
from harness.results import ClaimLost, Store, open_store
from harness.results.schema import OVERALL, Evaluation, Run, Score
from harness.runner.plan import make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Evaluation as ScoredSplit
from harness.tasks.result import GalleryImage, LabelMaps, Result, now
from harness.tasks.task import Task
from leaderboard.queries.load import (
    list_boards,
    list_gallery,
    live_status,
    load_board,
    load_curves,
    load_gallery,
    load_image_scores,
    load_run,
    load_runs,
    load_statistics,
    version_key,
)
from tests.conftest import TINY


@pytest.fixture(scope="session")
def shapes(shapes_home: Path) -> Shapes:
    return Shapes(shapes_home / "data" / Shapes.folders[0])


@pytest.fixture
def planned(shapes: Shapes) -> list[Task]:
    folder = shapes.root.parents[len(Path(Shapes.folders[0]).parts) - 1]
    return make_plan(load_suite(str(TINY)), None, folder, Artifacts("artifacts")).train


@pytest.fixture
def store(url: str, planned: list[Task], shapes: Shapes) -> Iterator[Store]:
    opened = open_store(url)
    manifest = manifest_of(shapes)
    opened.register(planned, {manifest.hash: (shapes.info, shapes.variant, manifest)})
    yield opened
    opened.close()


def finished(planned: Task, shapes: Shapes, attempt: int) -> Result:
    """What a unit returns, with real statistics of a real image."""
    sample = shapes.read(shapes.ids("test")[0])
    evaluator = Evaluator(6, protocol=planned.job.protocol)
    evaluator.update(sample.mask % 6, sample.mask, shapes.ids("test")[0], loss=0.125)
    scores = evaluator.compute()
    blob = evaluator.statistics().to_bytes()
    return Result(
        planned.fingerprint,
        attempt,
        "ok",
        started=now(),
        finished=now(),
        times={"total": 1.5},
        progress={"epochs": 2},
        curve=[{"epoch": 1, "train_loss": 0.5}, {"epoch": 2, "train_loss": 0.25}],
        evaluations=[ScoredSplit(s, scores, blob) for s in ("val", "test")],
        gallery=[GalleryImage("a", b"jpeg", b"png", b"png2")],
        label_maps=[LabelMaps("test", "p", 1, "0")],
        provenance={"code": {"commit": "c"}},
        parameters=12,
    )


def test_every_job_has_a_row_once_however_often_it_is_registered(
    store: Store, planned: list[Task], shapes: Shapes
) -> None:
    manifest = manifest_of(shapes)
    store.register(planned, {manifest.hash: (shapes.info, shapes.variant, manifest)})
    assert len(store.known([p.fingerprint for p in planned])) == len(planned) == 4
    assert len(load_runs(store)) == 4


def test_a_record_is_read_back_at_full_precision(store: Store, planned: list[Task], shapes: Shapes) -> None:
    attempt = store.claim(planned[0].fingerprint)
    assert attempt == 1
    record = finished(planned[0], shapes, attempt)
    store.save(record, planned[0])
    (result,) = [r for r in load_runs(store) if r.state == "ok"]
    scores = record.evaluations[0].scores.to_dict()
    assert result.test["miou"] == scores["miou"]
    assert result.test["iou[ring]"] == scores["per_class"]["iou"][5]
    assert result.test["loss"] == 0.125
    assert result.parameters == 12
    assert load_curves(store, [result.run_id]) == [
        (result.run_id, "train_loss", 1, 0.5),
        (result.run_id, "train_loss", 2, 0.25),
    ]
    (shown,) = load_gallery(store, result.data.test_manifest, [result.run_id])
    assert shown.predictions == {result.run_id: b"png2"}


def test_everything_of_a_board_is_read_from_both_kinds(store: Store, planned: list[Task], shapes: Shapes) -> None:
    (before,) = list_boards(store)
    assert before.states == {"pending": 4}
    key = version_key(store)
    assert key == version_key(store)
    record = replace(finished(planned[0], shapes, store.claim(planned[0].fingerprint) or 0), cost={"flops": 7})
    store.save(record, planned[0])
    store.heartbeat()
    assert version_key(store) != key
    assert live_status(store) == {"tiny": {"ok": 1, "pending": 3}}
    (board,) = list_boards(store)
    assert board.board_id == before.board_id
    assert board.states == {"ok": 1, "pending": 3}
    (run,) = [r for r in load_board(store, board.board_id, ["biou"]) if r.state == "ok"]
    assert run.problem == ""
    assert run.cost == {"flops": 7}
    assert set(run.test) == {"loss", "biou", "miou"}
    assert set(run.val) == {"loss", run.selection["metric"]}
    images = load_image_scores(store, [run.run_id], "miou", run.protocol_hash)
    assert images.ids == (shapes.ids("test")[0],)
    assert images.figures.shape == (1, 1)
    assert not images.problems
    assert load_image_scores(store, [run.run_id], "hd[ring]").figures.shape == (1, 1)
    assert load_statistics(store, run.run_id, run.protocol_hash).ids == images.ids
    assert list_gallery(store, [run.run_id]) == {"a": [run.run_id]}
    detail = load_run(store, run.run_id)
    assert detail.problems == ()
    assert detail.config["dataset"]["name"] == "shapes"
    assert {e.split for e in detail.evaluations} == {"val", "test"}


def test_stored_statistics_fold_to_the_stored_scores(store: Store, planned: list[Task], shapes: Shapes) -> None:
    store.save(finished(planned[0], shapes, store.claim(planned[0].fingerprint) or 0), planned[0])
    with store.session() as session:
        row = session.query(Evaluation).filter_by(split="test").one()
        stored = dict(
            session.query(Score.metric, Score.value).filter_by(evaluation_id=row.id, class_index=OVERALL).all()
        )
        folded = fold(StatisticsTable.from_bytes(row.statistics), 6, planned[0].job.protocol)
    assert folded.values == stored


def test_a_running_job_is_claimed_once(store: Store, planned: list[Task]) -> None:
    assert store.claim(planned[0].fingerprint) == 1
    assert store.claim(planned[0].fingerprint) is None


def test_two_threads_share_the_claims_and_none_is_doubled(store: Store, planned: list[Task]) -> None:
    taken: list[str] = []

    def claim_all() -> None:
        taken.extend(p.fingerprint for p in planned if store.claim(p.fingerprint))

    threads = [threading.Thread(target=claim_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(p.fingerprint for p in planned)


def test_a_late_record_of_an_earlier_attempt_is_refused(store: Store, planned: list[Task], shapes: Shapes) -> None:
    first = store.claim(planned[0].fingerprint) or 0
    store.interrupt_own()
    second = store.claim(planned[0].fingerprint) or 0
    assert (first, second) == (1, 2)
    with pytest.raises(ClaimLost):
        store.save(finished(planned[0], shapes, first), planned[0])
    assert store.known([planned[0].fingerprint])[planned[0].fingerprint].state == "running"


def test_rows_of_a_driver_that_died_are_released(store: Store, planned: list[Task]) -> None:
    store.claim(planned[0].fingerprint)
    assert store.release_stale() == 0
    with store.session() as session:
        session.query(Run).filter_by(fingerprint=planned[0].fingerprint).update({"heartbeat": 0.0})
    assert store.release_stale() == 0, "this process is alive, however long it was silent"
    with store.session() as session:
        session.query(Run).filter_by(fingerprint=planned[0].fingerprint).update({"driver": "elsewhere:1:0.00:0"})
    assert store.release_stale() == 1
    assert store.known([planned[0].fingerprint])[planned[0].fingerprint].state == "interrupted"


def test_a_failure_keeps_its_reason_and_traceback(store: Store, planned: list[Task]) -> None:
    attempt = store.claim(planned[0].fingerprint) or 0
    store.save(Result(planned[0].fingerprint, attempt, "failed", "bad shape", "BadModel", "Traceback …"), planned[0])
    run = store.known([planned[0].fingerprint])[planned[0].fingerprint]
    assert (run.state, run.reason, run.error, run.traceback) == ("failed", "bad shape", "BadModel", "Traceback …")


def test_an_error_inside_a_transaction_leaves_nothing_behind(store: Store, planned: list[Task]) -> None:
    def half() -> None:
        with store.session() as session:
            session.query(Run).update({"reason": "half"})
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError):
        half()
    assert {r.reason for r in store.known([p.fingerprint for p in planned]).values()} == {""}


def test_a_newer_schema_is_refused_and_not_altered(url: str) -> None:
    opened = open_store(url)
    with opened.engine.begin() as connection:
        connection.execute(text("update meta set value = '999'"))
    opened.close()
    with pytest.raises(DatabaseError, match="schema 999"):
        open_store(url)


def test_a_foreign_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "thesis.txt"
    path.write_text("precious")
    with pytest.raises(DatabaseError, match="is not an SQLite database"):
        open_store(str(path))
    assert path.read_text() == "precious"
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("create table mine (a)")
    connection.close()
    with pytest.raises(DatabaseError, match="not a results database"):
        open_store(str(other))


def test_reading_creates_nothing_and_refuses_writes(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    with pytest.raises(DatabaseError, match="no results database here yet"):
        open_store(str(path), read_only=True)
    assert not path.exists()
    open_store(str(path)).close()
    reader = open_store(str(path), read_only=True)
    with pytest.raises(DatabaseError, match="readonly"), reader.session() as session:
        session.execute(text("delete from meta"))


def test_closing_folds_the_write_ahead_log_into_the_one_file(tmp_path: Path) -> None:
    path = tmp_path / "results.db"
    open_store(str(path)).close()
    left = [p.name for p in tmp_path.iterdir() if p.stat().st_size]
    assert left == ["results.db"]


@pytest.mark.parametrize("db", ["nonsense://x", "postgresql+psycopg://nobody@127.0.0.1:9/none"])
def test_a_database_that_cannot_be_reached_is_one_clear_error(db: str) -> None:
    with pytest.raises(DatabaseError, match="cannot be used"):
        open_store(db)
