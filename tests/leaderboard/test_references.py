"""Reported figures: the file is sound, and a board shows its own beside the ranking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.config.load import load_suite, suite_files
from harness.datasets import dataset_class
from harness.errors import SuiteError
from harness.results import open_store
from harness.training.loop import CURVES
from leaderboard.boards.board import boards
from leaderboard.exports.paper_tables import reported_table
from leaderboard.exports.text import markdown_tables
from leaderboard.queries.load import load_runs
from leaderboard.tables.references import Reference, Reported, load_references
from leaderboard.tables.reported import (
    batch_tables,
    epoch_tables,
    grid_metrics,
    reported_curve,
    reported_grids,
    reported_rows,
)
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
    assert heads[:4] == ["model", "setting", "IoU[horse]", "BIoU"]
    assert rows[0][:4] == ["U-Net (study D) (reported)", "", "0.9140", "0.7450"]
    assert rows[0][-1] == "course report, HUST"
    assert len(notes) == 2
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
    (table,) = epoch_tables(board, [CURVE], curves)
    assert table.title == "By epoch: Net, reported → a, here"
    assert table.heads == ("epoch", "mIoU on val")
    assert table.rows == (
        ("1", "0.1000 → 0.1500 (+0.0500)"),
        ("best: 40 → 33", "0.5000 → 0.5200 (+0.0200)"),
    )
    assert epoch_tables(board, [GRID], curves) == []


def test_reported_points_of_a_curve_say_which_are_approximate() -> None:
    (board,) = boards([result("a", "x", 0, 0.5, 0.5)])
    assert [(p.epoch, p.value) for p in reported_curve(board, [CURVE], "val_miou")] == [(1, 0.1), (40, 0.5)]
    (point,) = reported_curve(board, [CURVE], "val_loss")
    assert point.label == "Net, reported (approximate)"


def test_study_d_has_every_line_of_its_log_and_the_best_epochs_as_printed() -> None:
    curves = {r.model: r.curve for r in load_references() if r.suite == "horse-report" and r.curve}
    assert len(curves) == 3
    for curve, best in zip(curves.values(), (47, 250, 217), strict=True):
        logged = [p for p in curve if not p.best]
        assert [p.epoch for p in logged] == list(range(1, 250, 10))
        assert all(p.values.keys() == {"train_loss", "val_iou[horse]", "val_biou"} for p in logged)
        assert [p.epoch for p in curve if p.best] == [best]
    at = {(model, p.epoch): p.values for model, curve in curves.items() for p in curve}
    # The table's epoch 20 is the log's 21.
    assert at["U-Net (study D)", 21]["val_iou[horse]"] == pytest.approx(0.904, abs=5e-4)
    assert at["UNet++ (study D)", 21]["val_biou"] == pytest.approx(0.536, abs=5e-4)
    assert at["EMANet (study D)", 217] == {"val_iou[horse]": 0.806, "val_biou": 0.493}
    # Printed as 15.649… and 12.860…, sums over the 35 batches of an epoch; 2.356… is a mean over batches already.
    losses = [at[f"{name} (study D)", 1]["train_loss"] for name in ("U-Net", "EMANet", "UNet++")]
    assert losses == pytest.approx([15.649153709 / 35, 12.860124588 / 35, 2.356012968])


def test_study_c_has_its_thirty_losses_as_printed_beside_its_literal_form() -> None:
    (reference,) = (r for r in load_references() if r.suite == "unet-drive")
    assert reference.ours == ("U-Net (study C)",)
    losses = {r.grid["epochs"]: r.batch_losses for r in reference.rows}
    assert [len(printed) for printed in losses.values()] == [10, 10, 10]
    assert (losses[300][0], losses[900][-1]) == (0.11357641220092773, 0.1797553300857544)
    names = ("batch_loss", "batch_loss_min", "batch_loss_max")
    shown = {r.grid["epochs"]: tuple(round(r.metrics[n], 3) for n in names) for r in reference.rows}
    assert shown == {300: (0.111, 0.089, 0.132), 600: (0.156, 0.116, 0.195), 900: (0.187, 0.151, 0.233)}


def test_losses_of_single_batches_stand_beside_the_mean_over_our_seeds_without_a_difference() -> None:
    rows = [{"grid": {"epochs": 5}, "batch_losses": [0.5, 0.1, 0.3]}, {"grid": {"epochs": 9}, "batch_losses": [0.2]}]
    reference = GRID.model_copy(update={"rows": tuple(map(Reported.model_validate, rows))})
    assert reference.rows[0].metrics == {"batch_loss": pytest.approx(0.3), "batch_loss_min": 0.1, "batch_loss_max": 0.5}
    runs = [result("a", "x", seed, 0.5, 0.5, run_id=seed + 1, grid={"epochs": 5}) for seed in (0, 1)]
    (board,) = boards(runs)
    (table,) = batch_tables(board, [reference], {1: [0.4, 0.2], 2: [0.6, 0.4]})
    assert table.heads == ("batch", "epochs=5", "epochs=9")
    assert table.rows == (
        ("1", "0.5000 → 0.5000", "0.2000 → –"),
        ("2", "0.1000 → 0.3000", "–"),
        ("3", "0.3000 → –", "–"),
    )


def test_figures_of_another_data_set_are_said_to_be_and_never_compared() -> None:
    cited = [r for r in load_references() if r.dataset]
    assert {(r.dataset, r.suite) for r in cited} == {
        ("ADE20K val", "horse-report"), ("VOC 2012 test", "review"), ("Cityscapes test", "review"),
    }  # fmt: skip
    six = {r.model: (r.rows[0].metrics["miou"], r.rows[0].parameters) for r in cited if r.dataset == "ADE20K val"}
    assert len(six) == 6
    assert six["ViT-Adapter-L (Mask2Former, BEiT)"] == (0.605, 571e6)
    (board,) = boards([result("U-Net", "x", 0, 0.5, 0.5)])
    heads, rows, _ = reported_rows(
        replace(board, suite="horse-report", protocol_name="horse-report"), load_references()
    )
    assert heads == ["model", "setting", "IoU[horse]", "BIoU", "mIoU", "parameters", "source"]
    (mask,) = (row for row in rows if row[0].startswith("Mask DINO"))
    assert mask[1:6] == ["ADE20K val", "–", "–", "0.6080 ≁", "223 M"]
    table = reported_table(replace(board, suite="horse-report"), load_references())
    assert table is not None
    assert table.columns[:5] == ("reported as", "here", "setting", "parameters", "source")
    assert ("Mask DINO (Swin-L, multi-scale)", "–", "ADE20K val", "223 M") in [row[:4] for row in table.rows]
    with pytest.raises(ValidationError, match="figures of ADE20K are not the suite's"):
        Reference.model_validate({**GRID.model_dump(), "dataset": "ADE20K"})


def test_a_broken_log_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("epoch,train_loss\n1,2.5\n2,high\n")
    path = tmp_path / "references.yaml"
    path.write_text("- {suite: voc, model: x, source: y, rows: [], log: {file: log.csv}}\n")
    with pytest.raises(SuiteError, match=r"log\.csv: is no log of epochs"):
        load_references(path)
    path.write_text("- {suite: voc, model: x, source: y, rows: [], log: {file: nowhere.csv}}\n")
    with pytest.raises(SuiteError, match=r"nowhere\.csv"):
        load_references(path)


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
