"""What a plan says it would cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.load import load_suite
from harness.models.registry import read_plugin
from harness.runner import Plan, make_plan
from harness.runner.cost import estimate
from harness.tasks.artifacts import Artifacts
from tests.conftest import TINY, run_bench


def plan_of(home: Path, *overrides: str, **plugins: Path) -> Plan:
    entries = {name: read_plugin(path) for name, path in plugins.items()}
    suite = load_suite(str(TINY), overrides)
    return make_plan(suite, None, home / "data", Artifacts(home / "artifacts"), entries)


def test_epochs_and_images_are_counted_and_a_step_is_timed(home: Path) -> None:
    costs = estimate(plan_of(home))
    assert [(c.model, c.trainings, c.epochs, c.images, c.predicted) for c in costs] == [
        ("U-Net", 2, 4, 4 * 160, 2 * (2 * 40 + 40 + 40)),
        ("FCN", 2, 4, 4 * 160, 2 * (2 * 40 + 40 + 40)),
    ]
    for cost in costs:
        assert cost.seconds_per_image is not None
        assert 0 < cost.seconds_per_image < 1
        assert cost.seconds is not None
        # Validations and the scores at the end come on top.
        assert cost.images * cost.seconds_per_image < cost.seconds < 60
        assert cost.memory is not None
        assert 1e6 < cost.memory < 1e9


def test_shared_trainings_are_counted_once(home: Path) -> None:
    plan = plan_of(home, "recipe.schedule.name=constant", "grid={epochs: [1, 3, 5]}", "seeds=[0]")
    assert [(c.trainings, c.epochs) for c in estimate(plan, timed=False)] == [(1, 5), (1, 5)]


def test_a_length_in_iterations_is_counted_in_images(home: Path) -> None:
    (cost, _) = estimate(plan_of(home, "iterations=30", "seeds=[0]"), timed=False)
    assert (cost.epochs, cost.images) == (2, 240)


@pytest.mark.slow
@pytest.mark.long
def test_a_network_that_cannot_be_timed_says_why_and_the_others_are_timed(home: Path) -> None:
    path = home / "bad.py"
    path.write_text('NAME = "bad"\n\n\ndef build(num_classes):\n    raise ValueError("no such width")\n')
    costs = estimate(plan_of(home, "models=[bad, unet]", "seeds=[0]", bad=path))
    assert costs[0].problem == "ValueError: no such width"
    assert costs[0].seconds is None
    assert costs[1].seconds is not None


@pytest.mark.slow
@pytest.mark.long
def test_a_network_that_keeps_the_losses_of_test_batches_is_timed(home: Path) -> None:
    (cost,) = estimate(plan_of(home, "models=[unet]", "seeds=[0]", "recipe.predict.loss_batch=2"))
    assert cost.problem == ""
    assert cost.seconds is not None


@pytest.mark.slow
@pytest.mark.long
def test_a_plan_shows_the_memory_of_each_network_and_warns_of_too_much(home: Path) -> None:
    words = ("run", "--suite", TINY, "--dry-run", "--set", "seeds=[0]", "--set", "resources.gpu_memory_gb=0.001")
    shown = run_bench(*words, cwd=home).stdout
    assert "peak memory" in shown
    assert "0.0 GB" in shown
    assert "an estimate" in shown
    assert shown.count("the suite is meant for GPUs of 0.001 GB") == 2
    enough = run_bench(*words[:-1], "resources.gpu_memory_gb=24", cwd=home).stdout
    assert "meant for" not in enough
    assert "peak memory" not in run_bench(*words, "--no-timing", cwd=home).stdout
