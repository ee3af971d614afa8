"""Searched hyperparameters: val alone decides, the winner is a full job, trials are no rows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.config.load import load_suite
from harness.config.suite import Range
from harness.errors import SuiteError
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
