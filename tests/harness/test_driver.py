"""The driver's own decisions, on a real database, without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.load import load_suite
from harness.results import Store, open_store
from harness.results.schema import Run
from harness.runner import Driver, Outcome, Plan, Watcher, make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.result import Result, State
from harness.tasks.task import Task
from tests.conftest import TINY


class Silent(Watcher):
    """Remembers how tasks ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def finished(self, task: Task, result: Result) -> None:
        self.ended.append(result.state)


def driver_of(plan: Plan, store: Store, tasks: list[Task], watcher: Watcher | None = None) -> Driver:
    return Driver(store, tasks, watcher or Silent(), Outcome(plan, store.name))


@pytest.fixture
def planned(home: Path) -> Iterator[tuple[Plan, Store]]:
    suite = load_suite(str(TINY), ["seeds=[0]", "resources={cpus: 1, oom_retries: 2}"])
    plan = make_plan(suite, None, home / "data", Artifacts(home / "artifacts"))
    store = open_store(str(home / "results.db"))
    store.register(plan.jobs, plan.datasets)
    yield plan, store
    store.close()


def run_of(store: Store, task: Task) -> Run:
    return store.known([task.fingerprint])[task.fingerprint]


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
