"""What the store decides, on SQLite: whose a run is, what a row keeps, and what is refused."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import URL, create_engine, text, update

from harness.config.load import load_suite
from harness.datasets import manifest_of
from harness.datasets.shapes import Shapes
from harness.errors import DatabaseBusy, DatabaseError
from harness.metrics import Evaluator, Protocol
from harness.results import Store, open_store, opening
from harness.results.rows import Submission
from harness.results.schema import SCHEMA_VERSION, DatasetRow, Evaluation, ImageList, Merge, Run, SuiteEntry
from harness.results.store import EXTERNAL
from harness.runner.plan import Plan, make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Evaluation as ScoredSplit
from harness.tasks.result import GalleryImage, LabelMaps, Result, State
from tests.conftest import TINY


@pytest.fixture
def plan(home: Path) -> Plan:
    return make_plan(load_suite(str(TINY)), None, home / "data", Artifacts(str(home / "artifacts")))


@pytest.fixture
def store(home: Path, plan: Plan) -> Iterator[Store]:
    opened = open_store(str(home / "results.db"))
    opened.register(plan.jobs, plan.datasets)
    yield opened
    opened.close()


@pytest.fixture
def one(plan: Plan) -> str:
    return plan.train[0].fingerprint


def run_of(store: Store, fingerprint: str) -> Run:
    return store.known([fingerprint])[fingerprint]


def change(store: Store, fingerprint: str, **values: Any) -> None:
    with store.session() as session:
        session.execute(update(Run).where(Run.fingerprint == fingerprint).values(**values))


def scored(split: str = "test") -> ScoredSplit:
    evaluator = Evaluator(6)
    labels = np.zeros((8, 8), dtype=int)
    labels[2:5, 2:5] = 1
    evaluator.update(labels, labels, "a")
    return ScoredSplit(split, evaluator.compute(), evaluator.statistics().to_bytes())


# -- what there is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [0, 1, 499, 500, 501, 1000])
def test_a_run_is_found_among_however_many_are_asked_for(store: Store, plan: Plan, one: str, before: int) -> None:
    with store.session() as session:
        run = session.query(Run).filter_by(fingerprint=one).one()
        evaluation = Evaluation(
            run_id=run.id, split="test", score_fingerprint="s", protocol_name="p", protocol_hash="h", protocol={},
            evaluator_version=1, n_images=1, details={}, statistics=b"", image_list="i", created="",
        )  # fmt: skip
        session.add(ImageList(key="i", images=b""))
        session.flush()
        session.add(evaluation)
    asked = [f"none{i}" for i in range(before)] + [one] + [f"none{i}" for i in range(before, 1100)]
    assert list(store.known(asked)) == [one]
    assert store.states(asked) == {one: "pending"}
    assert store.attempts(asked) == {one: 0}
    assert store.scored([*asked[:before], "s", *asked[before + 1 :]]) == {"s"}
    assert store.cells() == {task.cell for task in plan.train}


def test_only_the_test_split_counts_as_scored(store: Store, plan: Plan, one: str) -> None:
    attempt = store.claim(one) or 0
    store.save(Result(one, attempt, "ok", evaluations=[scored("val")]), plan.train[0])
    assert store.scored([plan.train[0].score_fingerprint]) == set()
    store.save_scores(Result(one, attempt, "ok", evaluations=[scored("test")]), plan.train[0])
    assert store.scored([plan.train[0].score_fingerprint]) == {plan.train[0].score_fingerprint}
    assert run_of(store, one).state == "ok"


def test_a_job_of_two_suites_is_one_run_with_two_entries(store: Store, plan: Plan) -> None:
    other = [replace(task, job=task.job.model_copy(update={"suite": "other"})) for task in plan.train]
    for _ in range(2):
        store.register([*plan.train, *other, *other], plan.datasets)
    with store.session() as session:
        assert session.query(Run).count() == 4
        assert sorted(e.suite for e in session.query(SuiteEntry)) == ["other"] * 4 + ["tiny"] * 4


def test_a_search_is_kept_by_its_key(store: Store) -> None:
    assert store.search_result("k") is None
    store.save_search_result("k", {"trials": 5})
    store.save_search_result("k", {"trials": 6})
    store.save_search_result("x" * 80, {"trials": 7})
    assert store.search_result("k") == {"trials": 6}
    assert store.search_result("x" * 80) == {"trials": 7}
    assert store.search_result("other") is None


def test_artifacts_are_beside_the_file_until_the_database_is_told_otherwise(store: Store, home: Path) -> None:
    assert store.artifacts.location == str(home / "results.artifacts")
    store.keep_artifacts_at(Artifacts(str(home / "elsewhere")))
    assert store.artifacts.location == str(home / "elsewhere")


# -- whose a run is --------------------------------------------------------------------------------------


def test_a_claim_says_who_has_it_since_when_and_forgets_how_it_ended_before(store: Store, one: str) -> None:
    change(store, one, state="failed", reason="r", error="e", traceback="t", attempt=1, finished="then")
    began = time.time()
    assert store.claim(one) == 2
    run = run_of(store, one)
    assert (run.state, run.reason, run.error, run.traceback, run.finished) == ("running", "", "", "", None)
    assert run.driver == store.driver
    assert began <= (run.heartbeat or 0) <= time.time()
    assert run.started
    assert run.history == [{"attempt": 1, "state": "failed", "reason": "r", "finished": "then"}]
    store.interrupt_own()
    assert store.claim(one) == 3
    assert [h["attempt"] for h in run_of(store, one).history] == [1, 2]


def test_the_first_attempt_has_no_history(store: Store, one: str) -> None:
    assert store.claim(one) == 1
    assert run_of(store, one).history == []


@pytest.mark.parametrize(
    ("state", "attempt", "seen", "free"),
    [
        ("ok", 1, None, False),
        ("ok", 1, 1, False),
        ("failed", 1, 1, True),
        ("failed", 2, 1, False),
        ("timeout", 2, 1, False),
        ("oom", 1, None, True),
        ("oom", 2, None, True),
        ("interrupted", 2, 1, True),
        ("pending", 0, 0, True),
    ],
)
def test_what_may_be_claimed(store: Store, one: str, state: State, attempt: int, seen: int | None, free: bool) -> None:
    change(store, one, state=state, attempt=attempt)
    assert store.claim(one, seen) == (attempt + 1 if free else None)
    assert run_of(store, one).attempt == attempt + free


def test_a_run_whose_command_is_gone_may_be_claimed(store: Store, one: str) -> None:
    change(store, one, state="running", attempt=1, driver="elsewhere:1:0.00:0", heartbeat=time.time())
    assert store.claim(one) is None
    change(store, one, heartbeat=0.0)
    assert store.claim(one) == 2


def test_what_a_merge_brought_belongs_to_this_database_once_it_is_claimed(store: Store, one: str) -> None:
    with store.session() as session:
        merge = Merge(source="other.db", sha256="", at="then", who="somebody", counts={}, replaced=[])
        session.add(merge)
        session.flush()
        session.execute(update(Run).values(merge_id=merge.id))
        session.execute(update(SuiteEntry).values(merge_id=merge.id))
    store.claim(one)
    with store.session() as session:
        run = session.query(Run).filter_by(fingerprint=one).one()
        assert run.merge_id is None
        assert [e.merge_id for e in run.entries] == [None]
        assert session.query(SuiteEntry).filter(SuiteEntry.merge_id.is_not(None)).count() == 3


def test_a_heartbeat_and_the_end_of_a_command_touch_its_own_running_rows_alone(store: Store, plan: Plan) -> None:
    mine, theirs, over = (task.fingerprint for task in plan.train[:3])
    store.claim(mine)
    change(store, mine, heartbeat=1.0)
    change(store, theirs, state="running", driver="elsewhere:1", heartbeat=1.0)
    change(store, over, state="ok", driver=store.driver, heartbeat=1.0)
    store.heartbeat()
    assert (run_of(store, mine).heartbeat or 0) > 1
    assert (run_of(store, theirs).heartbeat, run_of(store, over).heartbeat) == (1.0, 1.0)
    assert store.interrupt_own() == 1
    ended = run_of(store, mine)
    assert (ended.state, ended.reason) == ("interrupted", "the command was stopped")
    assert (ended.driver, ended.heartbeat) == (None, None)
    assert [run_of(store, f).state for f in (theirs, over)] == ["running", "ok"]
    assert store.release_stale() == 1
    assert run_of(store, theirs).reason == "its command ended without saying so"


# -- what a row keeps ------------------------------------------------------------------------------------


def test_a_row_keeps_what_an_earlier_attempt_found_where_the_later_one_says_nothing(
    store: Store, plan: Plan, one: str
) -> None:
    task = plan.train[0]
    first = Result(
        one, store.claim(one) or 0, "interrupted", started="a", finished="b", times={"train": 1.0, "total": 2.0},
        parameters=7, cost={"flops": 3}, progress={"epochs": 1}, provenance={"code": "c"},
    )  # fmt: skip
    store.save(first, task)
    run = run_of(store, one)
    assert (run.started, run.finished, run.driver, run.heartbeat) == ("a", "b", None, None)
    again = store.claim(one) or 0
    store.save(Result(one, again, "failed", "r", times={"total": 9.0}), task)
    run = run_of(store, one)
    assert run.times == {"train": 1.0, "total": 9.0}
    assert (run.parameters, run.cost, run.progress) == (7, {"flops": 3}, {"epochs": 1})
    assert run.provenance == {"code": "c"}
    assert (run.started or "") > "2", "when it was claimed"
    with store.session() as session:
        assert session.query(Evaluation).count() == 0
    third = store.claim(one) or 0
    given = {"parameters": 8, "cost": {"flops": 4}, "progress": {"epochs": 2}}
    store.save(Result(one, third, "ok", evaluations=[scored()], **given), task)
    run = run_of(store, one)
    assert (run.parameters, run.cost, run.progress) == (8, {"flops": 4}, {"epochs": 2})
    with store.session() as session:
        assert session.query(Evaluation).count() == 1


def test_a_failed_result_has_no_scores_whatever_it_brings(store: Store, plan: Plan, one: str) -> None:
    store.save(Result(one, store.claim(one) or 0, "failed", evaluations=[scored()]), plan.train[0])
    with store.session() as session:
        assert session.query(Evaluation).count() == 0


def submission(home: Path, name: str = "mine", **changes: Any) -> tuple[Result, Submission]:
    shapes = Shapes(home / "data" / Shapes.folders[0])
    about = Submission(
        name, 0, {"name": name}, f"cell of {name}", f"score of {name}", shapes.info, shapes.variant,
        manifest_of(shapes), Protocol(),
    )  # fmt: skip
    result = Result(
        f"of {name}", 1, "ok", evaluations=[scored()], label_maps=[LabelMaps("test", "p", 1, "sum")],
        gallery=[GalleryImage("a", b"jpeg", b"png", b"png2")], provenance={"origin": "x"},
    )  # fmt: skip
    return result, replace(about, **changes)


def test_a_submission_stands_in_every_suite_that_scored_the_same_images(store: Store, home: Path) -> None:
    result, about = submission(home)
    assert store.submitted(result.fingerprint, "test") is None
    assert store.save_submission(result, about) == ["tiny"]
    assert store.submitted(result.fingerprint, "test") == "sum"
    assert store.submitted(result.fingerprint, "val") is None
    assert store.kept() == [result.fingerprint]
    told = replace(result, provenance={"pretrained_on": ["COCO"]}, gallery=[])
    assert store.save_submission(told, about) == ["tiny"]
    run = run_of(store, result.fingerprint)
    assert run.provenance["pretrained_on"] == ["COCO"]
    assert run.provenance["origin"] == "x"
    with store.session() as session:
        assert session.query(Run).filter_by(fingerprint=result.fingerprint).count() == 1


def test_a_suite_that_scored_other_images_has_no_submission_of_these(store: Store, plan: Plan, home: Path) -> None:
    with store.session() as session:
        known = session.query(DatasetRow).one()
        other = {column.name: getattr(known, column.name) for column in DatasetRow.__table__.columns}
        session.add(DatasetRow(**{**other, "manifest": "f" * 64, "test_manifest": "e" * 64}))
        session.flush()
        run = session.query(Run).filter_by(fingerprint=plan.train[3].fingerprint).one()
        run.manifest = "f" * 64
        session.execute(update(SuiteEntry).where(SuiteEntry.run_id == run.id).values(suite="elsewhere"))
    assert store.save_submission(*submission(home)) == ["tiny"]


def test_a_submission_that_nobody_else_scored_stands_alone(home: Path) -> None:
    alone = open_store(str(home / "alone.db"))
    result, about = submission(home)
    assert alone.save_submission(result, about) == [EXTERNAL]
    assert alone.save_submission(result, about) == [EXTERNAL]
    alone.close()


# -- what is refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", [SCHEMA_VERSION - 1, SCHEMA_VERSION + 1, "an odd one"])
def test_another_schema_is_refused_with_what_to_do(store: Store, schema: int | str) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("update meta set value = :value where key = 'schema_version'"), {"value": str(schema)})
    for create in (True, False):
        with pytest.raises(DatabaseError, match=f"has schema {schema}") as error:
            store.check_schema(create)
        assert "newer segbench" in str(error.value.hint)


def test_a_database_that_says_no_schema_is_refused(store: Store) -> None:
    with store.engine.begin() as connection:
        connection.execute(text("delete from meta where key = 'schema_version'"))
    with pytest.raises(DatabaseError, match="has schema None"):
        store.check_schema(create=True)


def test_a_lock_is_told_apart_from_a_refusal(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.05)
    impatient = open_store(str(home / "results.db"))
    with sqlite3.connect(home / "results.db", isolation_level=None) as other:
        other.execute("begin exclusive")
        with pytest.raises(DatabaseBusy, match=r"results\.db: database is locked"):
            impatient.interrupt_own()
        other.execute("rollback")
    other.close()
    with pytest.raises(DatabaseError, match="no such table") as refused, store.session() as session:
        session.execute(text("select * from nowhere"))
    assert not isinstance(refused.value, DatabaseBusy)
    impatient.close()


def test_closing_leaves_nothing_beside_the_file_though_another_has_it_open(home: Path) -> None:
    path = home / "open.db"
    opened = open_store(str(path))
    reader = sqlite3.connect(path)
    reader.execute("select count(*) from meta").fetchall()
    opened.save_search_result("k", {})
    opened.close()
    log = path.with_name("open.db-wal")
    assert not log.exists() or log.stat().st_size == 0
    reader.close()


def test_a_password_is_not_shown(home: Path) -> None:
    url = URL.create("postgresql+psycopg", "me", "secret", "host", database="board")
    shown = Store(create_engine(url), None).name
    assert "secret" not in shown
    assert "host/board" in shown
    assert Store(create_engine("sqlite://"), home / "results.db").name == str(home / "results.db")
