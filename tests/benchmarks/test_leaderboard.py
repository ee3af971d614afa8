"""The generated database of benchmarks/leaderboard.py fits the product, and every step is timed on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import leaderboard, leaderboard_data
from benchmarks.leaderboard_size import Size
from harness.metrics import Protocol, fold
from harness.results import open_store
from leaderboard.queries.load import list_boards, load_image_scores, load_runs, load_statistics


def test_every_run_is_sound_and_every_step_is_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard_data, "DRAWN", 4)
    monkeypatch.setattr(leaderboard_data, "VARIANTS", 2)
    monkeypatch.setattr(leaderboard_data, "PICTURES", 2)
    place = tmp_path / "made" / "a.db"
    leaderboard_data.make_database(place, Size(models=3, datasets=2, seeds=2, images=20, gallery=5))
    leaderboard_data.make_database(place, Size(models=99))  # it is there
    store = open_store(str(place), read_only=True)
    runs = load_runs(store)
    assert [run.problem for run in runs] == [""] * 12
    assert [board.states for board in list_boards(store)] == [{"ok": 6}] * 2
    found = load_image_scores(store, [run.run_id for run in runs[:2]], "miou")
    assert found.figures.shape == (2, 20)
    table = load_statistics(store, runs[0].run_id, runs[0].protocol_hash)
    scores = fold(table, len(leaderboard_data.CLASSES), Protocol())
    assert 0 < (scores.values["miou"] or 0) < 1
    assert np.nanmean(found.figures) > 0
    done = leaderboard.steps(store, 1)
    assert all(step.spent.clock > 0 for step in done)
    store.close()
