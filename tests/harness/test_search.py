"""Searched hyperparameters: val alone decides, the winner is a full job, trials are no rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.config.fields import merge
from harness.config.load import load_suite
from harness.config.recipe import Recipe
from harness.config.suite import Range
from harness.config.trials import search_around, with_trials
from harness.errors import SuiteError
from harness.runner.suite_run import RunOptions, plan, run
from tests.conftest import rows, run_bench

SUITE = """
title: Searched
datasets: [shapes]
models: [{name: unet, params: {width: 4, depth: 2}, label: U-Net}]
recipe: {size: [32, 32], epochs: 3, batch_size: 16, optimizer: {name: adamw, lr: 1e-6}}
seeds: [0, 1]
search:
  space: {lr: {loguniform: [1e-6, 3e-2]}, model.width: {choice: [4, 6]}}
  trials: 5
  seed: 1
"""


@pytest.mark.slow
@pytest.mark.long
def test_a_search_finds_a_better_rate_and_its_winner_is_ranked_apart(home: Path) -> None:
    (home / "searched.yaml").write_text(SUITE)
    refused = run_bench("run", "--suite", "searched.yaml", "--local", cwd=home, check=False)
    assert refused.returncode == 2
    assert "a search needs Ray" in refused.stderr
    planned = run_bench("run", "--suite", "searched.yaml", "--dry-run", "--no-timing", cwd=home).stdout
    assert "search   U-Net on shapes: 5 trials of at most 3 epochs over lr, model.width" in planned
    done = run_bench("run", "--suite", "searched.yaml", cwd=home)
    assert "searching U-Net on shapes: 5 trials" in done.stdout
    assert rows(home, "select model, count(*), sum(search is not null and search != 'null') from runs group by 1") == [
        ("U-Net", 2, 0),
        ("U-Net (tuned, 5 trials)", 2, 2),
    ]
    search = json.loads(str(rows(home, "select search from runs where model like '%tuned%'")[0][0]))
    assert search["trials"] == 5
    assert search["values"]["lr"] > 1e-5
    assert search["cpu_hours"] > 0
    assert search["gpu_hours"] == 0
    assert not list((home / "results.artifacts").glob("search-*"))
    records = json.loads(run_bench("export", "json", cwd=home).stdout)
    best = {r["model"]: r["metrics"]["miou"]["mean"] for r in records}
    assert best["U-Net (tuned, 5 trials)"] > best["U-Net"]
    again = run_bench("run", "--suite", "searched.yaml", cwd=home)
    assert "Nothing to do: all 4 jobs" in again.stdout
    assert "from 5 trials" in run_bench("why", "3", cwd=home).stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("search.space={momentum: {uniform: [1, 0]}}", "the first end must be less"),
        ("search.space={momentum: {loguniform: [0, 1]}}", "both ends must be positive"),
        ("search.space={lr: {uniform: [0, 1], choice: [1]}}", "give one of uniform"),
        ("search.space={learning_rate: {uniform: [0, 1]}}", "learning_rate"),
        ("search.space={momentum: {times: [0, 10]}}", "times: both ends must be positive"),
    ],
)
def test_impossible_spaces_are_refused(tmp_path: Path, change: str, message: str) -> None:
    (tmp_path / "searched.yaml").write_text(SUITE)
    with pytest.raises(SuiteError, match=message):
        load_suite(str(tmp_path / "searched.yaml"), [change])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("selection.rule=last", "needs selection"),
        ("recipe.iterations=5", "length is in epochs"),
        ("search.searcher=optunna", "There is no searcher named 'optunna'. Did you mean 'optuna'"),
    ],
)
def test_a_search_that_would_not_be_fair_is_refused(home: Path, change: str, message: str) -> None:
    (home / "searched.yaml").write_text(SUITE)
    done = run_bench("run", "--suite", "searched.yaml", "--set", change, cwd=home, check=False)
    assert done.returncode == 2
    assert message in done.stderr


def test_ranges_are_what_tune_draws_from() -> None:
    from harness.runner.ray_search import domain

    drawn = [domain(Range(integers=(1, 3))).sample() for _ in range(100)]
    assert {int(v) for v in drawn} == {1, 2, 3}
    assert all(2 <= domain(Range(uniform=(2, 3))).sample() <= 3 for _ in range(10))


TWO = """
datasets: [shapes]
models:
  - {name: unet, params: {width: 4, depth: 2}, label: A}
  - {name: unet, params: {width: 6, depth: 2}, label: B, recipe: {optimizer: {lr: 1e-3, weight_decay: 0}}}
recipe: {size: [32, 32], epochs: 2, batch_size: 16, optimizer: {name: adamw, lr: 1e-2, weight_decay: 1e-4}}
"""


def test_tune_searches_around_what_each_network_is_given(tmp_path: Path) -> None:
    (tmp_path / "two.yaml").write_text(TWO)
    suite = with_trials(load_suite(str(tmp_path / "two.yaml")), 7)
    assert suite.search is not None
    found = [
        search_around(suite.search, Recipe.model_validate(merge(suite.recipe, model.recipe)), model.title)
        for model in suite.models
    ]
    assert [one.trials for one in found] == [7, 7]
    first, second = ({name: r.loguniform for name, r in one.space.items()} for one in found)
    assert first == {
        "optimizer.lr": pytest.approx((1e-3, 1e-1)),
        "optimizer.weight_decay": pytest.approx((1e-5, 1e-3)),
    }
    assert second == {"optimizer.lr": pytest.approx((1e-4, 1e-2))}  # no factor changes a weight decay of 0


def test_tune_keeps_a_suites_own_space_and_drops_its_limit_of_hours(tmp_path: Path) -> None:
    (tmp_path / "searched.yaml").write_text(SUITE)
    given = load_suite(str(tmp_path / "searched.yaml"), ["search.hours=2"]).search
    tuned = with_trials(load_suite(str(tmp_path / "searched.yaml"), ["search.hours=2"]), 9).search
    assert given is not None
    assert tuned == given.model_copy(update={"trials": 9, "hours": None})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tune", "0"), "tune: 0 trials are none"),
        (("--tune", "-3"), "tune: -3 trials are none"),
        (("--tune", "2", "--local"), "tune: a search needs Ray"),
        (("--tune", "2", "--smoke"), "a smoke run trains too little"),
        (("--tune", "2", "--set", "selection.rule=last"), "needs selection"),
        (
            ("--tune", "2", "--set", "search={trials: 1, space: {size: {times: [1, 2]}}}"),
            "size: its recipe has no number",
        ),
        (("--tune", "2", "--set", "search={trials: 1, space: {grad_clip: {times: [1, 2]}}}"), "no number here"),
    ],
)
def test_a_budget_that_cannot_be_had_is_one_message(home: Path, words: tuple[str, ...], message: str) -> None:
    (home / "two.yaml").write_text(TWO)
    done = run_bench("run", "--suite", "two.yaml", *words, cwd=home, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (home / "results.db").exists()


def test_the_plan_names_every_networks_trials(home: Path) -> None:
    (home / "two.yaml").write_text(TWO)
    made = plan("two.yaml", RunOptions(data_dir=home / "data"), tune=5)
    assert [(one.title, one.search.trials, list(one.search.space)) for one in made.searches] == [
        ("A on shapes", 5, ["optimizer.lr", "optimizer.weight_decay"]),
        ("B on shapes", 5, ["optimizer.lr"]),
    ]
    assert len({one.key for one in made.searches}) == 2


@pytest.mark.slow
@pytest.mark.long
def test_every_network_gets_the_same_trials_and_its_row_says_what_they_cost(home: Path) -> None:
    (home / "two.yaml").write_text(TWO)
    outcome = run("two.yaml", RunOptions(data_dir=home / "data", cpus=2), tune=2)
    assert outcome.exit_code == 0
    found = rows(home, "select model, search from runs order by model")
    assert [name for name, _ in found] == ["A", "A (tuned, 2 trials)", "B", "B (tuned, 2 trials)"]
    for name, text in found:
        search = json.loads(text) if text else None
        if "tuned" not in name:
            assert search is None
            continue
        assert (search["trials"], search["spec"]["trials"]) == (2, 2)
        assert 0 < search["hours"] == pytest.approx(search["cpu_hours"])
    shown = run_bench("export", "markdown", cwd=home).stdout
    assert shown.count("hyperparameters searched on val: 2 trials") == 2
    records = json.loads(run_bench("export", "json", cwd=home).stdout)
    assert {r["model"]: r["search"] and r["search"]["trials"] for r in records} == {
        "A": None, "B": None, "A (tuned, 2 trials)": 2, "B (tuned, 2 trials)": 2,
    }  # fmt: skip
    again = run_bench("run", "--suite", "two.yaml", "--tune", "2", cwd=home)
    assert "Nothing to do: all 4 jobs" in again.stdout
