"""Reported figures: the file is sound, and a board shows its own beside the ranking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.config.load import load_suite, suite_files
from harness.datasets import dataset_class
from harness.errors import SuiteError
from harness.results import open_store
from harness.training.loop import CURVES
from leaderboard.boards.board import boards
from leaderboard.exports.text import markdown_tables
from leaderboard.queries.load import load_runs
from leaderboard.tables.references import Reference, Reported, load_references
from leaderboard.tables.reported import epoch_table, grid_metrics, reported_curve, reported_grids, reported_rows
from leaderboard.tables.table import metric_names, overview
from tests.leaderboard.test_tables import result


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
        assert set(reference.ours) <= {model.title for model in suite.models}
        if reference.comparable:
            assert reference.protocol == suite.protocol.get("name", "standard"), reference.model
        curves = {
            "train_loss",
            "val_loss",
            *(f"val_{name}" for name in (*CURVES, suite.selection.metric, info.headline)),
        }
        for point in reference.curve:
            assert set(point.values) <= curves
            assert point.epoch <= suite.recipe["epochs"]


def _metrics(info: object) -> list[str]:
    from leaderboard.queries.load import Data

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
    other = replace(board, suite="horse-report", protocol_name="horse-report")
    heads, rows, notes = reported_rows(other, load_references())
    assert heads == ["model", "setting", "IoU[horse]", "BIoU", "source"]
    assert rows[0] == ["U-Net (study D) (reported)", "", "0.9140", "0.7450", "course report, HUST"]
    assert len(notes) == 1
    unlike = reported_rows(replace(board, suite="horse"), load_references())[1]
    assert unlike[0][2] == "0.9140 ≁"
    text = markdown_tables([(other, overview(other))])
    assert "Reported by others" in text
    assert text.index("U-Net (study D) (reported)") > text.index("| # |")


GRID = Reference.model_validate(
    {
        "suite": "s", "model": "FCN", "source": "a report", "ours": ["a"], "comparable": ["miou"],
        "rows": [
            {"grid": {"lr": lr, "epochs": epochs}, "miou": value, "hd": 7.0}
            for lr, epochs, value in ((0.1, 5, 0.2), (0.1, 9, 0.3), (0.01, 5, 0.4), (0.01, 9, 0.5))
        ],
    }
)  # fmt: skip


def test_a_reported_grid_stands_beside_ours_cell_by_cell() -> None:
    runs = [
        result("a", f"{lr} {epochs}", seed, 0.5, test, grid={"lr": lr, "epochs": epochs})
        for lr, epochs, seed, test in ((0.1, 5, 0, 0.25), (0.1, 5, 1, 0.35), (0.01, 9, 0, 0.45))
    ]
    (board,) = boards([*runs, result("b", "y", 0, 0.9, 0.9)])
    assert grid_metrics(board, [GRID]) == ["miou", "hd"]
    (table,) = reported_grids(board, [GRID], "miou")
    assert table.title == "mIoU: FCN, reported → a, here"
    assert table.heads == ("", "epochs=5", "epochs=9")
    assert table.rows == (
        ("lr=0.1", "0.2000 → 0.3000 (+0.1000)", "0.3000 → –"),
        ("lr=0.01", "0.4000 → –", "0.5000 → 0.4500 (-0.0500)"),
    )
    (other,) = reported_grids(board, [GRID], "hd")
    assert "HD ≁" in other.title
    assert other.rows[0][1] == "7.00 ≁ → 70.00"  # no difference between what is defined otherwise


def test_figures_compare_only_under_the_protocol_they_were_reported_for() -> None:
    run = result("a", "x", 0, 0.5, 0.25, grid={"lr": 0.1, "epochs": 5})
    (board,) = boards([replace(run, protocol_name="standard-smoke", smoke=True)])
    (table,) = reported_grids(board, [GRID], "miou")
    assert table.rows[0][1] == "0.2000 ≁ → 0.2500"
    (own,) = boards([replace(run, suite="fcn-lr-epochs", protocol_name="standard-smoke", smoke=True)])
    assert all("≁" in text for text in reported_rows(own, load_references())[1][0][2:8])
    (point, _) = reported_curve(board, [CURVE], "val_miou")
    assert point.label == "Net, reported ≁"
    report = GRID.model_copy(update={"protocol": "standard-smoke"})
    assert reported_grids(board, [report], "miou")[0].rows[0][1] == "0.2000 → 0.2500 (+0.0500)"


def test_a_grid_stands_once_where_nothing_could_choose_among_the_cells() -> None:
    runs = [
        result("a", f"{epochs}", 0, None, test, grid={"lr": 0.1, "epochs": epochs})
        for epochs, test in ((5, 0.25), (9, 0.5))
    ]
    (board,) = boards(runs)
    assert len(board.rows) == 2  # each cell has a row
    assert [len(row.cells) for row in board.models] == [2]
    (table,) = reported_grids(board, [GRID], "miou")
    assert table.rows[0] == ("lr=0.1", "0.2000 → 0.2500 (+0.0500)", "0.3000 → 0.5000 (+0.2000)")


def test_a_reported_range_of_one_axis_is_a_column() -> None:
    rows = [{"grid": {"epochs": 5}, "miou": 0.2}, {"grid": {"epochs": 9}, "miou": 0.3}]
    one = GRID.model_copy(update={"rows": tuple(map(Reported.model_validate, rows))})
    (board,) = boards([result("a", "x", 0, 0.5, 0.25, grid={"epochs": 9})])
    (table,) = reported_grids(board, [one], "miou")
    assert table.rows == (("epochs=5", "0.2000 → –"), ("epochs=9", "0.3000 → 0.2500 (-0.0500)"))


CURVE = Reference.model_validate(
    {
        "suite": "s", "model": "Net", "source": "a report", "ours": ["a"], "rows": [{"miou": 0.5}],
        "comparable": ["miou", "loss"],
        "curve": [
            {"epoch": 1, "val_miou": 0.1}, {"epoch": 40, "best": True, "val_miou": 0.5},
            {"epoch": 20, "approximate": True, "val_loss": 0.3},
        ],
    }
)  # fmt: skip


def test_reported_epochs_stand_beside_ours_and_the_best_beside_the_chosen_one() -> None:
    runs = [result("a", "x", seed, 0.5, 0.5, run_id=seed + 1, progress={"selected_epoch": 33}) for seed in (0, 1)]
    (board,) = boards(runs)
    curves = [(1, "val_miou", 1, 0.15), (1, "val_miou", 33, 0.52), (2, "val_miou", 1, 0.9)]
    table = epoch_table(board, [CURVE], curves)
    assert table is not None
    assert table.heads == ("reported → here", "epoch", "mIoU on val")
    assert table.rows == (
        ("Net → a", "1", "0.1000 → 0.1500 (+0.0500)"),
        ("Net → a", "best: 40 → 33", "0.5000 → 0.5200 (+0.0200)"),
    )
    assert epoch_table(board, [GRID], curves) is None


def test_reported_points_of_a_curve_say_which_are_approximate() -> None:
    (board,) = boards([result("a", "x", 0, 0.5, 0.5)])
    assert [(p.epoch, p.value) for p in reported_curve(board, [CURVE], "val_miou")] == [(1, 0.1), (40, 0.5)]
    (point,) = reported_curve(board, [CURVE], "val_loss")
    assert point.label == "Net, reported (approximate)"


def test_study_d_has_its_epochs_as_printed() -> None:
    table = {r.model: r.curve for r in load_references() if r.suite == "horse-report"}
    assert [p.epoch for p in table["U-Net (study D)"]] == [1, 20, 47]
    assert table["EMANet (study D)"][-1].values == {"val_iou[horse]": 0.806, "val_biou": 0.493}


def test_study_c_has_its_ranges_as_printed_beside_its_literal_form() -> None:
    (reference,) = (r for r in load_references() if r.suite == "unet-drive")
    assert reference.ours == ("U-Net (study C)",)
    names = ("batch_loss", "batch_loss_min", "batch_loss_max")
    assert {r.grid["epochs"]: tuple(r.metrics[n] for n in names) for r in reference.rows} == {
        300: (0.111, 0.089, 0.132),
        600: (0.156, 0.116, 0.195),
        900: (0.188, 0.150, 0.233),
    }


def test_a_broken_reference_file_names_line_and_field(tmp_path: Path) -> None:
    path = tmp_path / "references.yaml"
    path.write_text(
        "- suite: voc\n  model: x\n  source: y\n  rows:\n    - {miou: 0.5}\n    - {miou: high}\n"
        "  curve:\n    - {epoch: 0, val_miou: 0.5}\n"
    )
    with pytest.raises(SuiteError) as broken:
        load_references(path)
    first, second = str(broken.value).splitlines()
    assert first.startswith(f"{path}:6: ")
    assert "miou" in first
    assert second.startswith(f"{path}:8: ")
    assert "epoch" in second
