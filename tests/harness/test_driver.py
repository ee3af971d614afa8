"""The driver's own decisions, on a real database, without training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.load import load_suite
from harness.errors import DatabaseBusy, DatabaseError
from harness.results import Store, open_store
from harness.results.schema import Run
from harness.runner import Driver, Outcome, Plan, Watcher, driver, make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.messages import EpochDone, SharedResult, Stage
from harness.tasks.record import RECORD, keep_record
from harness.tasks.result import Result, State
from harness.tasks.task import Task
from leaderboard.queries.load import load_curves
from tests.conftest import TINY


class Silent(Watcher):
    """Remembers how tasks began and ended, and what was said."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.begun: list[str] = []
        self.said: list[str] = []
        self.messages: list[Stage | EpochDone] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def started(self, task: Task) -> None:
        self.begun.append(task.fingerprint)

    def message(self, task: Task, message: Stage | EpochDone) -> None:
        self.messages.append(message)

    def finished(self, task: Task, result: Result) -> None:
        self.ended.append(result.state)


def driver_of(plan: Plan, store: Store, tasks: list[Task], watcher: Watcher | None = None) -> Driver:
    return Driver(store, tasks, watcher or Silent(), Outcome(plan, store.name))


@contextmanager
def planned_in(home: Path, seeds: str) -> Iterator[tuple[Plan, Store]]:
    suite = load_suite(str(TINY), [f"seeds={seeds}", "resources={cpus: 1, oom_retries: 2}"])
    plan = make_plan(suite, None, home / "data", Artifacts(home / "artifacts"))
    store = open_store(str(home / "results.db"))
    store.register(plan.jobs, plan.datasets)
    yield plan, store
    store.close()


@pytest.fixture
def planned(home: Path) -> Iterator[tuple[Plan, Store]]:
    with planned_in(home, "[0]") as found:
        yield found


def run_of(store: Store, task: Task) -> Run:
    return store.known([task.fingerprint])[task.fingerprint]


def begun(found: Driver) -> Task:
    """The next task, which there is."""
    task = found.next_task()
    assert task is not None
    return task


def ended(task: Task, state: State) -> Result:
    return Result(task.fingerprint, task.attempt, state, "a reason")


def test_a_lost_task_is_handed_out_twice_more_and_then_failed(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    driver = driver_of(plan, store, plan.to_do[:1])
    for attempt in (1, 2, 3):
        task = driver.next_task()
        assert task is not None
        assert task.attempt == attempt
        driver.lost(task, "the node was lost")
    assert driver.next_task() is None
    run = run_of(store, plan.to_do[0])
    assert (run.state, run.reason, run.attempt) == ("failed", "the node was lost", 3)
    assert [h["state"] for h in run.history] == ["interrupted", "interrupted"]


def test_the_curve_of_a_running_job_grows_in_the_database(
    planned: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runner.driver.HEARTBEAT_S", 0.05)
    plan, store = planned
    driver = driver_of(plan, store, plan.to_do[:1])
    task = driver.next_task()
    assert task is not None
    run = run_of(store, task).id

    def points() -> list[tuple[int, float | None]]:
        return [(epoch, value) for _, _, epoch, value in load_curves(store, [run])]

    def until(wanted: list[tuple[int, float | None]]) -> None:
        deadline = time.monotonic() + 20
        while points() != wanted and time.monotonic() < deadline:
            time.sleep(0.02)
        assert points() == wanted

    driver.take(task, EpochDone(1, 3, {"train_loss": 0.5}))
    until([(1, 0.5)])
    driver.take(task, EpochDone(2, 3, {"train_loss": 0.25}))
    until([(1, 0.5), (2, 0.25)])
    # What comes of an attempt that was given up is not written.
    driver.lost(task, "the node was lost")
    again = driver.next_task()
    assert again is not None
    store.save_points({(task.fingerprint, task.attempt): [{"epoch": 9, "train_loss": 9.0}]})
    driver.take(again, EpochDone(2, 3, {"train_loss": 0.125}))
    until([(1, 0.5), (2, 0.125)])
    # The result has the whole curve.
    driver.take(again, replace(ended(again, "ok"), curve=[{"epoch": 1, "train_loss": 0.0}]))
    store.save_points({(again.fingerprint, again.attempt): [{"epoch": 3, "train_loss": 9.0}]})
    assert points() == [(1, 0.0)]
    driver.close()


def test_out_of_memory_halves_the_parts_as_often_as_the_suite_says(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    driver = driver_of(plan, store, plan.to_do[:1])
    parts = []
    while (task := driver.next_task()) is not None:
        parts.append(task.job.recipe.accumulate)
        driver.take(task, ended(task, "oom"))
    assert parts == [1, 2, 4]
    assert run_of(store, plan.to_do[0]).state == "oom"


def test_a_network_s_own_failure_is_not_tried_again(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    watcher = Silent()
    driver = driver_of(plan, store, plan.to_do[:1], watcher)
    task = driver.next_task()
    driver.take(task, ended(task, "failed"))  # type: ignore[arg-type]
    assert driver.next_task() is None
    assert watcher.ended == ["failed"]


def test_a_rescoring_that_is_lost_leaves_the_training_done(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    task = plan.to_do[0]
    with store.session() as session:
        session.query(Run).filter_by(fingerprint=task.fingerprint).update({"state": "ok", "attempt": 1})
    rescoring = replace(task, kind="rescore")
    driver = driver_of(plan, store, [rescoring])
    task = driver.next_task()
    assert task is not None
    driver.lost(task, "the node was lost")
    again = driver.next_task()
    assert again is not None
    driver.take(again, ended(again, "oom"))
    assert driver.next_task() is None
    assert run_of(store, plan.to_do[0]).state == "ok"


def test_what_another_command_ended_since_is_left_to_it(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    first, second = driver_of(plan, store, plan.to_do), driver_of(plan, store, plan.to_do)
    one = first.next_task()
    first.take(one, ended(one, "failed"))  # type: ignore[arg-type]
    other = second.next_task()
    assert other is not None
    assert other.fingerprint == plan.to_do[1].fingerprint
    assert second.outcome.elsewhere == 1


def test_the_outcome_counts_what_became_of_each_task(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    watcher = Silent()
    own = driver_of(plan, store, plan.to_do[:2], watcher)
    assert own.outcome.exit_code == 0
    first, second = begun(own), begun(own)
    keep_record(first.files, ended(first, "ok"))
    own.take(first, ended(first, "ok"))
    assert not (first.files.local / RECORD).exists(), "the database has it"
    assert (own.outcome.ok, own.outcome.rescored, own.outcome.exit_code) == (1, 0, 0)
    failure = ended(second, "timeout")
    own.take(second, failure)
    assert own.outcome.failures == [(second, failure)]
    assert (own.outcome.ok, own.outcome.exit_code, own.outcome.interrupted) == (1, 1, False)
    assert watcher.ended == ["ok", "timeout"]
    own.outcome.interrupted = True
    assert own.outcome.exit_code == 130


def test_an_interrupted_task_is_no_failure_and_the_command_says_that_it_was_stopped(
    planned: tuple[Plan, Store],
) -> None:
    plan, store = planned
    own = driver_of(plan, store, plan.to_do[:1])
    task = begun(own)
    own.take(task, ended(task, "interrupted"))
    assert (own.outcome.interrupted, own.outcome.failures) == (True, [])


def test_a_rescoring_counts_as_such_and_only_a_good_one_is_written(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    with store.session() as session:
        session.query(Run).update({"state": "ok", "attempt": 1})
    own = driver_of(plan, store, [replace(task, kind="rescore") for task in plan.to_do[:2]])
    written: list[str] = []
    store.save_scores = lambda result, task: written.append(result.state)  # type: ignore[method-assign]
    first, second = begun(own), begun(own)
    assert first.attempt == 1, "a rescoring claims nothing"
    own.take(first, ended(first, "ok"))
    own.take(second, ended(second, "failed"))
    assert written == ["ok"]
    assert (own.outcome.ok, own.outcome.rescored, len(own.outcome.failures)) == (1, 1, 1)


def test_a_rescoring_is_not_tried_again_with_smaller_parts(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    own = driver_of(plan, store, [replace(plan.to_do[0], kind="rescore")])
    task = begun(own)
    own.take(task, ended(task, "oom"))
    assert not own.has_waiting
    assert len(own.outcome.failures) == 1


def test_a_task_has_begun_with_its_first_message_and_later_ones_are_handed_on(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    watcher = Silent()
    own = driver_of(plan, store, plan.to_do[:1], watcher)
    assert own.has_waiting
    assert not own.is_running
    assert own.waiting_resources() == [plan.to_do[0].job.resources]
    task = begun(own)
    assert watcher.begun == []
    assert own.is_running
    assert not own.has_waiting
    assert own.waiting_resources() == []
    own.take(task, Stage("loading"))
    own.take(task, Stage("training"))
    assert watcher.begun == [task.fingerprint]
    assert watcher.messages == [Stage("loading"), Stage("training")]
    own.take(task, ended(task, "failed"))
    assert not own.is_running
    own.take(task, Stage("a late one"))
    own.lost(task, "a late one")
    assert len(watcher.messages) == 2
    assert watcher.ended == ["failed"]


def test_batches_are_never_cut_into_more_parts_than_they_have_images(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    job = plan.to_do[0].job
    recipe = job.recipe.model_copy(update={"batch_size": 2})
    own = driver_of(plan, store, [replace(plan.to_do[0], job=job.model_copy(update={"recipe": recipe}))])
    parts = []
    while (task := own.next_task()) is not None:
        parts.append(task.job.recipe.accumulate)
        own.take(task, ended(task, "oom"))
    assert parts == [1, 2]


def test_nothing_is_handed_out_or_again_once_the_command_was_asked_to_stop(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    own = driver_of(plan, store, plan.to_do)
    lost, big = begun(own), begun(own)
    own.stopping.set()
    assert not own.has_waiting
    assert not own.is_running
    assert own.next_task() is None
    own.lost(lost, "the node was lost")
    own.take(big, ended(big, "oom"))
    assert [run_of(store, task).state for task in (lost, big)] == ["failed", "oom"]
    assert run_of(store, lost).error == "WorkerLost"


def test_closing_marks_what_ran_as_interrupted(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    own = driver_of(plan, store, plan.to_do)
    task = begun(own)
    own.stopping.set()
    own.close()
    assert own.outcome.interrupted
    assert run_of(store, task).state == "interrupted"
    quiet = driver_of(plan, store, [])
    quiet.close()
    assert not quiet.outcome.interrupted


def test_trouble_ends_everything_and_the_first_is_raised_at_the_end(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    own = driver_of(plan, store, plan.to_do)
    for message in ("the disk is full", "and so is the other"):
        with own.stops_on_trouble():
            raise DatabaseError(message)
    assert not own.has_waiting
    with pytest.raises(DatabaseError, match="the disk is full"):
        own.close()


def test_the_command_says_that_it_is_alive_until_it_is_closed(
    planned: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = planned
    monkeypatch.setattr(driver, "HEARTBEAT_S", 0.01)
    beats: list[int] = []

    def beat() -> None:
        beats.append(1)
        raise DatabaseBusy("locked")  # heard of the next time

    monkeypatch.setattr(store, "heartbeat", beat)
    own = driver_of(plan, store, plan.to_do)
    begun(own)
    begun(own)
    deadline = time.monotonic() + 20
    while len(beats) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    own.close()
    heard = len(beats)
    assert heard >= 3
    time.sleep(0.05)
    assert len(beats) == heard
    assert own._beating is not None
    assert not own._beating.is_alive()


def test_a_busy_database_is_asked_again_until_some_time_after_the_command_was_stopped(
    planned: tuple[Plan, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, store = planned
    slept: list[float] = []
    monkeypatch.setattr(driver.time, "sleep", slept.append)
    watcher = Silent()
    own = driver_of(plan, store, [], watcher)
    answers = iter([False] * 100 + [True])

    def write() -> str:
        if not next(answers):
            raise DatabaseBusy("locked")
        return "written"

    assert own._patiently(write) == "written"
    assert slept == [driver.RETRY_S] * 100
    assert watcher.said == ["waiting  locked"]
    slept.clear()
    own.stopping.set()
    answers = iter([False] * 1000)
    with pytest.raises(DatabaseBusy):
        own._patiently(write)
    assert len(slept) == 39, "20 seconds at half a second each, the last without waiting"


def test_a_result_that_came_after_a_later_attempt_is_somebody_else_s(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    watcher = Silent()
    own = driver_of(plan, store, plan.to_do[:1], watcher)
    task = begun(own)
    with store.session() as session:
        session.query(Run).update({"attempt": 5})
    own.take(task, ended(task, "ok"))
    assert (own.outcome.ok, own.outcome.elsewhere, watcher.ended) == (0, 1, [])


def group(plan: Plan) -> Task:
    """A training with two shorter ones in it."""
    one, two, three = plan.to_do[:3]
    return replace(one, shorter=(two, three))


@pytest.fixture
def three(home: Path) -> Iterator[tuple[Plan, Store]]:
    with planned_in(home, "[0, 1]") as found:
        yield found


def test_shorter_jobs_that_sent_nothing_fail_with_a_reason_of_their_own(three: tuple[Plan, Store]) -> None:
    plan, store = three
    watcher = Silent()
    own = driver_of(plan, store, [group(plan)], watcher)
    task = begun(own)
    assert [one.attempt for one in task.with_shorter()] == [1, 1, 1]
    first, second = task.shorter
    own.take(task, SharedResult(ended(first, "ok")))
    own.take(task, replace(ended(task, "ok"), parameters=7, curve=[{"epoch": 1}], times={"total": 2.0}))
    assert [run_of(store, one).state for one in (task, first, second)] == ["ok", "ok", "failed"]
    lost = run_of(store, second)
    assert lost.reason == "the longer training that includes this job sent no result for it"
    assert (lost.parameters, lost.progress) == (None, {})
    assert own.outcome.ok == 2
    assert [result.curve for _, result in own.outcome.failures] == [[]]
    assert not own.is_running


def test_what_stopped_a_training_stopped_the_shorter_ones_in_it(three: tuple[Plan, Store]) -> None:
    plan, store = three
    own = driver_of(plan, store, [group(plan)])
    task = begun(own)
    own.take(task, ended(task, "timeout"))
    runs = [run_of(store, one) for one in task.with_shorter()]
    assert [(run.state, run.reason) for run in runs] == [("timeout", "a reason")] * 3


def test_a_lost_training_goes_on_with_the_shorter_ones_that_have_not_ended(three: tuple[Plan, Store]) -> None:
    plan, store = three
    own = driver_of(plan, store, [group(plan)])
    task = begun(own)
    first, second = task.shorter
    own.take(task, SharedResult(ended(first, "ok")))
    own.lost(task, "the node was lost")
    assert [run_of(store, one).state for one in (task, first, second)] == ["interrupted", "ok", "interrupted"]
    again = begun(own)
    assert again.fingerprint == task.fingerprint
    assert [(one.fingerprint, one.attempt) for one in again.shorter] == [(second.fingerprint, 2)]


def test_where_another_command_has_part_of_a_group_the_rest_is_still_done(three: tuple[Plan, Store]) -> None:
    plan, store = three
    one, two, _ = plan.to_do[:3]
    other = driver_of(plan, store, [one])
    begun(other)
    own = driver_of(plan, store, [group(plan)])
    task = begun(own)
    assert task.fingerprint == plan.to_do[2].fingerprint, "the longest of those that are left"
    assert [shorter.fingerprint for shorter in task.shorter] == [two.fingerprint]
    assert own.outcome.elsewhere == 1
    assert own.next_task() is None


def test_a_shorter_job_of_another_command_is_left_to_it(three: tuple[Plan, Store]) -> None:
    plan, store = three
    begun(driver_of(plan, store, [plan.to_do[1]]))
    own = driver_of(plan, store, [group(plan)])
    task = begun(own)
    assert [shorter.fingerprint for shorter in task.shorter] == [plan.to_do[2].fingerprint]
    assert own.outcome.elsewhere == 1
