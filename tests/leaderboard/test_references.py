"""Reported figures: the file is sound, and a board shows its own beside the ranking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.load import load_suite, suite_files
from harness.datasets import dataset_class
from harness.errors import SuiteError
from harness.results import open_store
from leaderboard.boards import boards
from leaderboard.queries import load_runs
from leaderboard.references import load_references, reported_rows
from leaderboard.tables import metric_names, overview
from leaderboard.text import markdown_tables


def test_every_reference_names_a_suite_and_metrics_that_exist() -> None:
    for reference in load_references():
        assert reference.suite in suite_files(), reference.suite
        suite = load_suite(reference.suite)
        info = dataset_class(suite.datasets[0].name).info
        known = {"loss", *_metrics(info)}
        for row in reference.rows:
            assert set(row.metrics) <= known
            assert set(row.grid) <= set(suite.grid)
            assert set(reference.comparable) <= known
            for key, value in row.grid.items():
                assert value in suite.grid[key]


def _metrics(info: object) -> list[str]:
    from leaderboard.queries import Data

    data = Data("", "", "", info.classes, info.palette, info.foreground, "", {})  # type: ignore[attr-defined]
    return metric_names(data)


def test_study_a_has_its_twelve_cells_as_printed() -> None:
    rows = [row for r in load_references() if r.suite == "fcn-lr-epochs" for row in r.rows]
    assert len(rows) == 12
    best = max(rows, key=lambda row: row.metrics["miou"])
    assert (best.grid, best.metrics["miou"]) == ({"lr": 5e-5, "epochs": 100}, 0.2099)


def test_a_board_shows_what_others_reported_apart_from_its_ranking(finished: Path) -> None:
    (board,) = boards(load_runs(open_store(str(finished), read_only=True)))
    assert reported_rows(board, load_references())[1] == []
    other = replace(board, suite="horse-report")
    heads, rows, notes = reported_rows(other, load_references())
    assert heads == ["model", "setting", "IoU[horse]", "BIoU", "source"]
    assert rows[0] == ["U-Net (study D) (reported)", "", "0.9140", "0.7450", "course report, HUST"]
    assert len(notes) == 1
    unlike = reported_rows(replace(board, suite="horse"), load_references())[1]
    assert unlike[0][2] == "0.9140 ≁"
    text = markdown_tables([(other, overview(other))])
    assert "Reported by others" in text
    assert text.index("U-Net (study D) (reported)") > text.index("| # |")


def test_a_broken_reference_file_names_the_field(tmp_path: Path) -> None:
    path = tmp_path / "references.yaml"
    path.write_text("- {suite: voc, model: x, source: y, rows: [{miou: high}]}\n")
    with pytest.raises(SuiteError, match="miou"):
        load_references(path)
