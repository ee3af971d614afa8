"""Records of measurements: ratios, the history, the parts, the command."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.history import Entry, alone, append, entry, newest, read, record
from tests.conftest import ROOT


def some(quick: bool = False, date: str = "2026-01-01T00:00:00Z", ours: float = 1.0) -> Entry:
    found = record("a.b", "what", "peer", "s", [ours, ours, ours], [2.0, 4.0, 3.0])
    machine = {"processor": "x", "cores": 2, "memory": 1, "gpus": []}
    return Entry(date, quick, "c" * 40, False, machine, {"torch": "2"}, (0.1, 0.2), 3.0, {}, [found])


def test_a_ratio_is_how_many_times_ours_is_ahead_with_its_spread() -> None:
    seconds = record("a", "what", "peer", "s", [1.0, 2.0, 1.0], [4.0, 4.0, 6.0])
    assert (seconds.ratio, seconds.lowest, seconds.highest, seconds.repetitions) == (4, 2, 6, 3)
    rates = record("a", "what", "peer", "images/s", [4.0], [2.0], rate=True)
    assert rates.ratio == 2
    assert alone("a", "what", "s", [3.0, 1.0, 2.0]).ours == 2


def test_the_history_keeps_what_it_is_given(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    assert read(path) == []
    one, two = some(), some(date="2026-02-01T00:00:00Z")
    append(one, path)
    append(two, path)
    assert read(path) == [one, two]


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    append(some(), path)
    with path.open("a") as file:
        file.write('{"records": []}\n')
    with pytest.raises(ValueError, match="line 2"):
        read(path)


def test_the_newest_record_counts_and_a_short_run_only_where_there_is_no_other() -> None:
    whole, later = some(), some(date="2026-02-01T00:00:00Z", ours=0.5)
    short = some(quick=True, date="2026-03-01T00:00:00Z", ours=0.1)
    extra = replace(short.records[0], name="only.short")
    short = replace(short, records=[*short.records, extra])
    found = newest([whole, later, short])
    assert found["a.b"][1] is later
    assert found["only.short"][1] is short


def test_an_entry_says_where_it_was_measured_and_no_host() -> None:
    found = entry([], {}, True, 0.5, 1.0)
    assert set(found.machine) == {"processor", "cores", "memory", "gpus"}
    assert "torch" in found.packages
    assert found.load[0] == 0.5


def test_every_part_that_is_there_can_be_asked_for_and_others_are_refused() -> None:
    assert "evaluator" in run.chosen([], quick=True)
    assert "scaling" not in run.chosen([], quick=True)
    assert run.chosen(["scaling"], quick=True) == ["scaling"]
    with pytest.raises(ValueError, match="there is no part 'nothing'"):
        run.chosen(["nothing"], quick=False)


def test_a_part_that_fails_is_told_and_the_others_count(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from benchmarks import __main__ as command

    answers = {"evaluator": [some().records[0]], "pipeline": "ValueError: no data"}
    monkeypatch.setattr(run, "in_child", lambda name, quick: answers[name])
    path = tmp_path / "history.jsonl"
    monkeypatch.setattr(sys, "argv", ["benchmarks", "--only", "evaluator,pipeline", "--history", str(path)])
    assert command.main() == 1
    (kept,) = read(path)
    assert kept.failed == {"pipeline": "ValueError: no data"}
    assert [one.name for one in kept.records] == ["a.b"]
    assert "no data" in capsys.readouterr().out


def test_a_part_runs_in_a_process_of_its_own_and_its_last_line_says_what_went_wrong() -> None:
    assert "there is no part" in subprocess.run(
        [sys.executable, "-m", "benchmarks", "--only", "nothing"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stderr  # fmt: skip
    failed = run.in_child("board-of-nothing", quick=True)
    assert isinstance(failed, str)
    assert "board-of-nothing" in failed
