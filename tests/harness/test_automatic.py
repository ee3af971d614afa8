"""`auto` in a suite: measured once on this machine, resolved at planning, and kept for a cell once it is known."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from harness.config.load import load_suite
from harness.errors import BenchError
from harness.results import Store, open_store
from harness.runner import Plan, automatic, make_plan
from harness.runner.devices import imitates_bf16
from harness.runner.machine import PLAIN, Format, Machine, Timing, fastest, fewest_seconds
from harness.tasks.artifacts import Artifacts
from tests.conftest import TINY, rows, run_bench

AUTO = ("recipe.precision=auto", "recipe.channels_last=auto")


class Given(Machine):
    """A machine that has shown these seconds for its formats (in order: fp32, bf16, with and without channels-last)."""

    def __init__(self, *seconds: float, rates: dict[int, float] | None = None, unsafe: Sequence[str] = ()) -> None:
        super().__init__(cores=4)
        kinds = [Format(p, last) for p in ("fp32", "bf16") for last in (False, True)]
        self._timings = [Timing(f, s, f.precision not in unsafe) for f, s in zip(kinds, seconds, strict=True)]
        self._rates = rates or {}

    def formats(self, gpu: bool) -> list[Timing]:
        return super().formats(gpu) if gpu else self._timings

    def rates(self, chosen: Format) -> dict[int, float]:
        return self._rates


FAST_BF16, SLOW_BF16 = Given(1.0, 0.9, 0.5, 0.4), Given(1.0, 0.95, 3.0, 2.0)


def planned(home: Path, machine: Machine, *overrides: str, store: Store | None = None) -> Plan:
    suite = load_suite(str(TINY), overrides)
    return make_plan(suite, store, home / "data", Artifacts(home / "artifacts"), machine=machine)


def chosen(plan: Plan) -> set[tuple[str, bool | str, int]]:
    return {(t.job.recipe.precision, t.job.recipe.channels_last, t.job.resources.cpus) for t in plan.jobs}


# -- what is chosen --------------------------------------------------------------------------------


def test_the_fastest_safe_format_wins_and_a_small_gain_is_not_worth_another_rounding() -> None:
    assert fastest(FAST_BF16.formats(gpu=False), "auto", "auto") == Format("bf16", True)
    assert fastest(SLOW_BF16.formats(gpu=False), "auto", "auto") == PLAIN
    assert fastest(Given(1.0, 0.7, 0.69, 0.65).formats(gpu=False), "auto", "auto") == Format("fp32", True)
    unsafe = Given(1.0, 0.8, 0.5, 0.4, unsafe=["bf16"])
    assert fastest(unsafe.formats(gpu=False), "auto", "auto") == Format("fp32", True)


def test_what_the_suite_says_itself_stays() -> None:
    assert fastest(FAST_BF16.formats(gpu=False), "auto", False) == Format("bf16", False)
    assert fastest(SLOW_BF16.formats(gpu=False), "bf16", "auto") == Format("bf16", True)
    # Who asks for bf16 by name gets it, and channels-last where that is faster then.
    assert fastest(Given(1.0, 0.8, 0.5, 0.4, unsafe=["bf16"]).formats(gpu=False), "bf16", "auto")[0] == "bf16"


def test_a_precision_that_was_not_measured_since_it_is_imitated_has_the_plain_memory_format() -> None:
    measured = FAST_BF16.formats(gpu=False)[:2]  # fp32 alone
    assert fastest(measured, "bf16", "auto") == Format("bf16", False)
    assert fastest(measured, "auto", "auto").precision == "fp32"


def test_flags_say_whether_a_processor_only_imitates_bf16(tmp_path: Path) -> None:
    told = {
        "flags\t\t: fpu sse4_2 avx avx2 fma": True,
        "flags\t\t: fpu avx2 avx512f avx512bw avx512vl": False,
        "flags\t\t: avx2 avx_vnni avx_ne_convert": False,
        "Features\t: fp asimd bf16": False,
        "Features\t: fp asimd": True,
        "Hardware\t: something else": False,
    }
    for line, imitates in told.items():
        (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{line}\n")
        assert imitates_bf16(tmp_path / "cpuinfo") is imitates, line
    assert not imitates_bf16(tmp_path / "missing")


def test_what_the_flags_say_is_what_torch_says() -> None:
    assert imitates_bf16() is not torch.ops.mkldnn._is_mkldnn_bf16_supported()


@pytest.mark.parametrize("imitates", [True, False])
def test_a_job_in_bf16_on_a_processor_that_imitates_it_is_warned_of(
    home: Path, monkeypatch: pytest.MonkeyPatch, imitates: bool
) -> None:
    monkeypatch.setattr(automatic, "imitates_bf16", lambda: imitates)
    found = planned(home, FAST_BF16, "recipe.precision=bf16").notes
    assert any("no instructions for bf16" in note for note in found) is imitates
    assert not any("no instructions" in note for note in planned(home, FAST_BF16).notes)


def test_threads_are_those_by_which_all_jobs_are_done_first() -> None:
    rates = {1: 10.0, 2: 17.0, 4: 25.0}  # of one job; four, two and one at a time
    assert fewest_seconds(rates, jobs=1, cores=4) == 4
    assert fewest_seconds(rates, jobs=2, cores=4) == 2
    assert fewest_seconds(rates, jobs=40, cores=4) == 1
    assert fewest_seconds({1: 1.0, 2: 2.0}, jobs=8, cores=2) == 1, "of equals the fewest"


# -- planning --------------------------------------------------------------------------------------


def test_the_job_has_what_was_found_and_trains_as_if_the_suite_had_said_it(shapes_home: Path) -> None:
    plan = planned(shapes_home, FAST_BF16, *AUTO)
    assert chosen(plan) == {("bf16", True, 1)}
    assert any("bf16 and channels-last (a step takes 40% of fp32's time)" in note for note in plan.notes)
    said = planned(shapes_home, SLOW_BF16, "recipe.precision=bf16", "recipe.channels_last=true")
    assert [t.fingerprint for t in plan.train] == [t.fingerprint for t in said.train]
    # The board shows it among the hyperparameters.
    assert {tuple(t.job.grid.items()) for t in plan.jobs} == {(("precision", "bf16"), ("channels_last", True))}
    assert [note for note in said.notes if "no instructions" not in note] == []
    plain = planned(shapes_home, SLOW_BF16, *AUTO)
    assert [t.fingerprint for t in plain.train] == [t.fingerprint for t in planned(shapes_home, SLOW_BF16).train]
    # Seeds of a cell share their recipe in memory, as they do without `auto`.
    first, second = (t.job for t in plan.train if t.job.model.title == "U-Net")
    assert first.recipe is second.recipe


def test_processors_are_shared_as_measured(shapes_home: Path) -> None:
    rates = {1: 10.0, 2: 25.0, 4: 30.0}
    plan = planned(shapes_home, Given(1, 1, 1, 1, rates=rates), "resources.cpus=auto")
    assert chosen(plan) == {("fp32", False, 2)}, "four jobs, two at a time"
    assert any("2 jobs at a time with 2 threads each" in note for note in plan.notes)
    assert any("4 × 1: 40, 2 × 2: 50, 1 × 4: 30" in note for note in plan.notes)


def test_a_cell_that_the_database_has_keeps_its_values_on_another_machine(shapes_home: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "results.db"))
    try:
        first = planned(shapes_home, FAST_BF16, *AUTO, "seeds=[0]", store=store)
        store.register(first.jobs, first.datasets)
        again = planned(shapes_home, SLOW_BF16, *AUTO, "seeds=[0,1]", store=store)
        assert chosen(again) == {("bf16", True, 1)}
        assert {t.fingerprint for t in first.train} < {t.fingerprint for t in again.train}
        # With both in the database, this machine's choice decides again.
        plain = planned(shapes_home, SLOW_BF16, store=store)
        store.register(plain.jobs, plain.datasets)
        assert chosen(planned(shapes_home, SLOW_BF16, *AUTO, store=store)) == {("fp32", False, 1)}
        assert chosen(planned(shapes_home, FAST_BF16, *AUTO, store=store)) == {("bf16", True, 1)}
    finally:
        store.close()


def test_a_gpu_that_is_elsewhere_cannot_be_measured(shapes_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.runner.machine.gpu_count", lambda: 0)
    with pytest.raises(BenchError, match="this machine has none") as told:
        planned(shapes_home, FAST_BF16, *AUTO, "resources.gpus=1")
    assert "precision: bf16" in str(told.value.hint)


# -- measuring -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
def test_this_machine_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    said: list[str] = []
    found = Machine(said.append).formats(gpu=False)
    precisions = ("fp32",) if imitates_bf16() else ("fp32", "bf16")
    kinds = [(p, last) for p in precisions for last in (False, True)]
    assert [tuple(one.format) for one in found] == kinds
    assert all(0 < one.seconds < 60 for one in found)
    # Every processor of today gives sound losses in both, whatever the speed.
    assert all(one.safe for one in found)
    assert len(said) == 1
    monkeypatch.setattr("harness.runner.machine._run", lambda words: pytest.fail("measured twice"))
    assert Machine(said.append).formats(gpu=False) == found
    assert len(said) == 1


def test_what_other_work_has_slowed_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (64.0, 64.0, 64.0))
    monkeypatch.setattr(os, "cpu_count", lambda: 3)  # no measurement is known for it
    calls: list[tuple[str, ...]] = []

    def measure(words: tuple[str, ...]) -> dict[str, float]:
        calls.append(words)
        return {"1": 1.0, "2": 1.5, "3": 2.0}

    monkeypatch.setattr("harness.runner.machine._run", measure)
    assert Machine().rates(PLAIN) == {1: 1.0, 2: 1.5, 3: 2.0}
    assert Machine().rates(PLAIN) == {1: 1.0, 2: 1.5, 3: 2.0}
    assert len(calls) == 2


@pytest.mark.slow
@pytest.mark.long
def test_a_measurement_that_fails_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.runner.machine.gpu_count", lambda: 1)  # there is none: the program ends with an error
    monkeypatch.setattr(os, "cpu_count", lambda: 5)
    with pytest.raises(BenchError, match="measuring this machine failed: ") as told:
        Machine().formats(gpu=True)
    assert "without auto" in str(told.value.hint)


@pytest.mark.slow
@pytest.mark.long
def test_a_run_with_auto_says_and_stores_what_was_chosen_and_is_never_done_twice(home: Path) -> None:
    sets = [word for one in (*AUTO, "resources.cpus=auto") for word in ("--set", one)]
    words = ("run", "--suite", TINY, "--local", "--models", "U-Net", "--seeds", "0", *sets)
    cache = str(home / "cache")
    first = run_bench(*words, cwd=home, XDG_CACHE_HOME=cache)
    assert "by measurement" in first.stdout
    ((config,),) = rows(home, "select config from runs")
    job = json.loads(config)
    assert job["recipe"]["precision"] in ("fp32", "bf16")
    assert job["recipe"]["channels_last"] in (False, True)
    assert job["resources"]["cpus"] >= 1
    again = run_bench(*words, cwd=home, XDG_CACHE_HOME=str(home / "another"))
    assert "Nothing to do" in again.stdout
    assert "Measuring" not in again.stdout
