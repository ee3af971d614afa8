"""The simulation of boards tells sound statistics from unsound ones."""

from __future__ import annotations

from functools import partial

import pytest

from benchmarks import intervals
from benchmarks.intervals import Kind, main, new_data_sets, seed_and_image_boards, seed_boards, suite_boards


def test_sound_statistics_pass_and_too_narrow_ones_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate = partial(seed_boards, truth=[0.0, 0.0])
    monkeypatch.setattr(intervals, "kinds", lambda: iter([Kind("2 rows", simulate, boards=4000)]))
    assert main(["--quick"]) == 0
    sound = intervals.moderated_spread

    def narrow(values: list[list[float]]) -> object:
        return sound([[0.5 * v for v in row] for row in values])

    monkeypatch.setattr(intervals, "moderated_spread", narrow)
    assert main(["--quick"]) == 1


def test_only_the_answer_of_both_holds_for_methods_on_other_images() -> None:
    # Trainings far apart: whoever asks the images alone takes the luck of three trainings for a difference.
    images = seed_and_image_boards(12, 0.3, answer="images")
    both = seed_and_image_boards(12, 0.3, answer="both")
    assert sum(images.false_better) >= 6
    assert sum(both.false_better) <= 2
    assert sum(images.rows) < sum(both.rows)


def test_claims_over_data_sets_are_counted_against_the_truth() -> None:
    found = suite_boards(20, 4, truth=[0.0, 8.0], apart=0.1)
    assert (sum(found.false_better), sum(found.places), sum(found.found)) == (0, 20, 20)
    assert sum(found.gaps) >= 16
    new = new_data_sets(100, 8, truth=[0.0, 8.0])
    # The one that is far ahead is found in all of them, and no place ever changes.
    assert (sum(new.false_better), sum(new.found), sum(new.rows)) == (0, 100, 200)
    assert new.least == pytest.approx(100 * 7 / 9)
