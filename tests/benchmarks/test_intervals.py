"""The simulation of boards tells sound statistics from unsound ones."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks import intervals
from benchmarks.intervals import Kind, main, seed_boards


def test_sound_statistics_pass_and_too_narrow_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate = partial(seed_boards, truth=[0.0, 0.0])
    monkeypatch.setattr(intervals, "kinds", lambda: iter([Kind("2 rows", simulate, boards=4000)]))
    assert main(["--quick"]) == 0
    sound = intervals.moderated_spread

    def narrow(values: list[list[float]]) -> object:
        return sound([[0.5 * v for v in row] for row in values])

    monkeypatch.setattr(intervals, "moderated_spread", narrow)
    assert main(["--quick"]) == 1
