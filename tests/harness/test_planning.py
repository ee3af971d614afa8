"""What a plan makes of a suite and of what the database has, without training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.config.load import load_suite
from harness.datasets.shapes import Shapes
from harness.errors import BenchError, SuiteError
from harness.results import Store, open_store
from harness.results.schema import Evaluation, ImageList, Run
from harness.runner.plan import Plan, make_plan
from harness.tasks.artifacts import Artifacts
from tests.conftest import TINY

SEARCH = "search={space: {lr: {loguniform: [1e-6, 3e-2]}}, trials: 5, seed: 3}"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    opened = open_store(str(home / "results.db"))
    yield opened
    opened.close()


def plan_of(home: Path, *overrides: str, store: Store | None = None, **how: Any) -> Plan:
    suite = load_suite(str(TINY), list(overrides))
    return make_plan(suite, store, home / "data", Artifacts(str(home / "artifacts")), **how)


def test_everything_has_to_be_trained_where_there_is_no_database(home: Path) -> None:
    plan = plan_of(home)
    assert [(len(part)) for part in (plan.train, plan.rescore, plan.done, plan.searches)] == [4, 0, 0, 0]
    assert plan.to_do == plan.to_train == plan.jobs == plan.train
    task = plan.train[0]
    assert (task.kind, task.attempt, task.selected_on_test) == ("train", 1, False)
    assert task.folder == Artifacts(str(home / "artifacts")).run(task.fingerprint).location
    assert Path(task.data_root).samefile(home / "data" / Shapes.folders[0])
    assert len(task.content) == 64
    assert list(plan.datasets) == [task.manifest]
    assert plan.datasets[task.manifest][:2] == (Shapes.info, "standard")
    assert len({one.fingerprint for one in plan.train}) == 4
    assert len({one.cell for one in plan.train}) == 2


def test_tasks_are_sorted_by_what_the_database_has(home: Path, store: Store) -> None:
    plan = plan_of(home)
    store.register(plan.jobs, plan.datasets)
    one, two, three, four = plan.train
    states = ((one, "ok"), (two, "failed"), (three, "ok"), (four, "pending"))
    with store.session() as session:
        for task, state in states:
            run = session.query(Run).filter_by(fingerprint=task.fingerprint).one()
            run.state = state
            if task is one:
                session.add(ImageList(key="i", images=b""))
                session.flush()
                session.add(_evaluation(run.id, task.job.protocol_hash, task.score_fingerprint))
    again = plan_of(home, store=store)
    assert [t.fingerprint for t in again.done] == [one.fingerprint]
    assert [t.fingerprint for t in again.train] == [two.fingerprint, four.fingerprint]
    assert again.rescore == [replace(three, kind="rescore")]
    assert [t.kind for t in again.to_do] == ["rescore", "train", "train"], "the cheap ones first"
    assert len(again.jobs) == 4


def _evaluation(run: int, protocol_hash: str, fingerprint: str) -> Evaluation:
    given: dict[str, Any] = {"run_id": run, "protocol_hash": protocol_hash, "score_fingerprint": fingerprint}
    texts = {"protocol_name": "", "created": "", "image_list": "i"}
    facts = {"split": "test", "protocol": {}, "details": {}, "evaluator_version": 1, "n_images": 1, "statistics": b""}
    return Evaluation(**given, **texts, **facts)


def test_a_job_that_two_axes_give_is_done_once(home: Path) -> None:
    plan = plan_of(home, "grid={lr: [1e-2, 0.01]}")
    assert len(plan.train) == 4


def test_shorter_trainings_are_jobs_too(home: Path) -> None:
    plan = plan_of(home, "schedule={name: constant}", "grid={epochs: [1, 2]}")
    assert len(plan.to_train) == len(plan.jobs) == 8
    assert len(plan.train) == 8 - sum(len(task.shorter) for task in plan.train)


def test_a_smoke_run_decodes_no_image_that_it_does_not_need(home: Path) -> None:
    from harness.config.expand import Smoke

    plan = plan_of(home, smoke=Smoke())
    assert {task.content for task in plan.train} == {""}
    assert plan_of(home, SEARCH, smoke=Smoke()).searches == []


@pytest.mark.parametrize(
    ("rule", "split", "seen"),
    [("best", "test", True), ("best", "val", False), ("best", "train", False), ("last", "val", False)],
)
def test_a_checkpoint_chosen_on_the_test_images_is_told(home: Path, rule: str, split: str, seen: bool) -> None:
    plan = plan_of(home, f"selection={{rule: {rule}, split: {split}}}")
    assert {task.selected_on_test for task in plan.train} == {seen}


@pytest.mark.parametrize("rule", ["best", "last"])
def test_where_val_is_the_test_it_is_told_whatever_the_rule(
    home: Path, monkeypatch: pytest.MonkeyPatch, rule: str
) -> None:
    monkeypatch.setattr(Shapes, "val_is_test", True)
    assert {task.selected_on_test for task in plan_of(home, f"selection.rule={rule}").train} == {True}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("recipe.loss=[bce]", "needs a binary data set"),
        ("selection.metric=iou[cat]", "has no metric"),
        ("resources={cpus: 1, processes: 9}", "9 processes cannot share batches of 8"),
    ],
)
def test_what_could_only_fail_later_is_refused(home: Path, override: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        plan_of(home, override)


def test_as_many_processes_as_images_can_share_a_batch(home: Path) -> None:
    assert plan_of(home, "resources={cpus: 1, processes: 8}").train


def test_a_split_without_images_is_refused_where_it_is_needed(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = Shapes.ids

    def without(split: str) -> None:
        monkeypatch.setattr(Shapes, "ids", lambda self, s, limit=None: [] if s == split else ids(self, s, limit))

    without("val")
    with pytest.raises(SuiteError, match=r"selection\.split: shapes has no val split"):
        plan_of(home, "selection={rule: best, split: val}")
    assert plan_of(home, "selection.rule=last").train
    with pytest.raises(SuiteError, match=r"recipe\.early_stop: shapes has no val split"):
        plan_of(home, "selection.rule=last", "recipe.early_stop={patience: 2}")
    without("train")
    with pytest.raises(BenchError, match="has no training image"):
        plan_of(home)


def test_a_search_is_planned_once_for_each_network_and_its_winners_for_each_seed(home: Path, store: Store) -> None:
    plan = plan_of(home, SEARCH, store=store)
    assert len(plan.searches) == 2
    search = plan.searches[0]
    assert search.title == "U-Net on shapes"
    assert search.task.kind == "search trial"
    assert search.task.job.seed == 3
    assert search.task.job.grid == {}
    assert search.task.fingerprint == search.key
    assert len(search.key) == 40
    assert search.task.folder.endswith(f"search-{search.key[:16]}")
    store.save_search_result(search.key, {"key": "k", "values": {"lr": 0.02}, "score": 0.5, "trials": 5})
    again = plan_of(home, SEARCH, store=store)
    assert [one.key for one in again.searches] == [plan.searches[1].key]
    winners = [task for task in again.train if task.job.search]
    assert [(task.job.seed, task.job.recipe.optimizer.lr) for task in winners] == [(0, 0.02), (1, 0.02)]
    assert len(again.train) == 6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("selection.rule=last", "needs selection"),
        ("selection={rule: best, split: train}", "needs selection"),
        ("recipe.iterations=5", "length is in epochs"),
    ],
)
def test_an_unfair_search_is_refused(home: Path, override: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        plan_of(home, SEARCH, override)


def test_a_search_that_would_see_the_scored_images_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shapes, "val_is_test", True)
    with pytest.raises(SuiteError, match="no val of its own"):
        plan_of(home, SEARCH)


def test_a_checkpoint_is_scored_and_not_searched(home: Path) -> None:
    (home / "weights.pt").write_bytes(b"weights")
    plan = plan_of(home, SEARCH, "models=[{name: unet, params: {width: 4, depth: 2}, checkpoint: weights.pt}]")
    assert plan.searches == []


@pytest.mark.parametrize(("label_map", "fits"), [([0, 5], True), ([0, 6], False), ([-1, 0], False)])
def test_a_label_map_names_classes_that_there_are(home: Path, label_map: list[int], fits: bool) -> None:
    (home / "weights.pt").write_bytes(b"weights")
    model = f"models=[{{name: unet, params: {{width: 4, depth: 2}}, checkpoint: weights.pt, label_map: {label_map}}}]"
    if fits:
        assert plan_of(home, model).train
    else:
        with pytest.raises(SuiteError, match="names a class that shapes does not have: it has 0 to 5"):
            plan_of(home, model)


def test_what_the_parameter_says_of_pretraining_is_not_said_twice(home: Path) -> None:
    (home / "weights.pt").write_bytes(b"weights")
    with pytest.raises(SuiteError, match="is its parameter pretrained"):
        plan_of(home, "models=[{name: unet, params: {width: 4, depth: 2}, pretrained_on: [COCO]}]")
    given = "{name: unet, params: {width: 4, depth: 2}, pretrained_on: [COCO], start_from: weights.pt}"
    assert plan_of(home, f"models=[{given}]").train
