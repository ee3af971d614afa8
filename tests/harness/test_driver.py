"""The driver's own decisions, on a real database, without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.config.suite import load_suite
from harness.results import Store, open_store
from harness.results.schema import Run
from harness.runner import Driver, Plan, Work, make_plan
from harness.tasks.artifacts import Artifacts
from harness.tasks.records import Record
from tests.conftest import TINY


class Silent:
    """A watcher that remembers who ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    def started(self, work: Work) -> None: ...

    def message(self, work: Work, message: dict[str, Any]) -> None: ...

    def finished(self, work: Work, record: Record) -> None:
        self.ended.append(record.state)


@pytest.fixture
def planned(home: Path) -> Iterator[tuple[Plan, Store]]:
    suite = load_suite(str(TINY), ["seeds=[0]", "resources={cpus: 1, oom_retries: 2}"])
    plan = make_plan(suite, None, home / "data", Artifacts(home / "artifacts"))
    store = open_store(str(home / "results.db"))
    store.register(plan.planned, plan.datasets)
    yield plan, store
    store.close()


def run_of(store: Store, work: Work) -> Run:
    return store.known([work.planned.fingerprint])[work.planned.fingerprint]


def ended(unit: Any, state: str) -> dict[str, Any]:
    return {"kind": "record", "record": Record(unit.fingerprint, unit.attempt, state, "a reason")}


def test_a_lost_unit_is_handed_out_twice_more_and_then_failed(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    driver = Driver(store, plan.work[:1], Silent())
    for attempt in (1, 2, 3):
        unit = driver.next_unit()
        assert unit is not None
        assert unit.attempt == attempt
        driver.lost(unit, "the node was lost")
    assert driver.next_unit() is None
    run = run_of(store, plan.work[0])
    assert (run.state, run.reason, run.attempt) == ("failed", "the node was lost", 3)
    assert [h["state"] for h in run.history] == ["interrupted", "interrupted"]


def test_out_of_memory_halves_the_parts_as_often_as_the_suite_says(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    driver = Driver(store, plan.work[:1], Silent())
    parts = []
    while (unit := driver.next_unit()) is not None:
        parts.append(unit.job.recipe.accumulate)
        driver.take(unit, ended(unit, "oom"))
    assert parts == [1, 2, 4]
    assert run_of(store, plan.work[0]).state == "oom"


def test_a_network_s_own_failure_is_not_tried_again(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    watcher = Silent()
    driver = Driver(store, plan.work[:1], watcher)
    unit = driver.next_unit()
    driver.take(unit, ended(unit, "failed"))  # type: ignore[arg-type]
    assert driver.next_unit() is None
    assert watcher.ended == ["failed"]


def test_a_rescoring_that_is_lost_leaves_the_training_done(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    work = plan.work[0]
    with store.session() as session:
        session.query(Run).filter_by(fingerprint=work.planned.fingerprint).update({"state": "ok", "attempt": 1})
    rescoring = replace(work, unit=replace(work.unit, rescore=True))
    driver = Driver(store, [rescoring], Silent())
    unit = driver.next_unit()
    assert unit is not None
    driver.lost(unit, "the node was lost")
    again = driver.next_unit()
    assert again is not None
    driver.take(again, ended(again, "oom"))
    assert driver.next_unit() is None
    assert run_of(store, work).state == "ok"


def test_what_another_command_ended_since_is_left_to_it(planned: tuple[Plan, Store]) -> None:
    plan, store = planned
    first, second = Driver(store, plan.work, Silent()), Driver(store, plan.work, Silent())
    one = first.next_unit()
    first.take(one, ended(one, "failed"))  # type: ignore[arg-type]
    other = second.next_unit()
    assert other is not None
    assert other.fingerprint == plan.work[1].planned.fingerprint
    assert second.outcome.elsewhere == 1
