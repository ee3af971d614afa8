"""Ranking, choosing by val, and every way a table leaves."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench.export import export_text
from harness.errors import BenchError, UnknownName
from leaderboard.boards.board import boards
from leaderboard.boards.estimate import estimate
from leaderboard.exports.latex import escape, latex_table
from leaderboard.queries.load import Data, ScoredRun
from leaderboard.tables.table import ablation, overview, records

DATA = Data("d", "D & E_1", "v", ("background", "horse"), ((0, 0, 0), (1, 2, 3)), None, "t" * 64, {"test": 2})


def result(model: str, cell: str, seed: int, val: float | None, test: float, **changes: object) -> ScoredRun:
    made = ScoredRun(
        run_id=hash((model, cell, seed)) % 10**6, suite="s", data=DATA, model=model, model_name=model, params={},
        origin="built in", recipe="r", grid={"lr": float(len(cell))}, seed=seed, cell=cell, state="ok", reason="",
        error="", traceback="", selection={"rule": "best", "split": "val", "metric": "miou"},
        selected_on_test=False, protocol_name="standard", protocol_hash="p" * 64, smoke=False, parameters=1,
        started=None, finished=None, attempt=1, times={}, progress={}, provenance={}, fingerprint="f",
        test={"miou": test, "hd": 100 * (1 - test)}, val={} if val is None else {"miou": val}, n_images=2,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def test_hyperparameters_are_chosen_by_val_and_never_by_test() -> None:
    runs = [result("a", "x", 0, 0.6, 0.5), result("a", "xx", 0, 0.5, 0.9), result("b", "y", 0, 0.1, 0.7)]
    (board,) = boards(runs)
    assert [(r.rank, r.model, r.cell.test("miou").mean) for r in board.rows] == [(1, "b", 0.7), (2, "a", 0.5)]
    assert len(board.rows[1].cells) == 2


def test_a_selection_by_a_distance_takes_the_smallest() -> None:
    by = {"rule": "best", "split": "val", "metric": "hd"}
    runs = [
        replace(result("a", "x", 0, None, 0.5, selection=by), val={"hd": 9.0}),
        replace(result("a", "xx", 0, None, 0.4, selection=by), val={"hd": 3.0}),
    ]
    assert boards(runs)[0].rows[0].cell.first.cell == "xx"


def test_where_there_is_no_val_nothing_chooses() -> None:
    runs = [result("a", "x", 0, None, 0.5), result("a", "xx", 0, None, 0.6)]
    assert [r.cell.first.cell for r in boards(runs)[0].rows] == ["xx", "x"]
    without = replace(DATA, counts={"train": 20, "val": 0, "test": 20})
    (board,) = boards(replace(run, data=without) for run in runs)
    assert board.chosen_by is None
    assert overview(board).lead == ("#", "model", "hyperparameters")


def test_mean_and_sample_deviation_over_seeds() -> None:
    runs = [result("a", "x", seed, 0.5, value) for seed, value in enumerate((0.5, 0.7, 0.6))]
    figure = boards(runs)[0].rows[0].cell.test("miou")
    assert figure.mean == pytest.approx(0.6)
    assert figure.std == pytest.approx(0.1)
    assert figure.n == 3


def test_one_seed_has_no_deviation_and_none_has_no_mean() -> None:
    assert estimate([0.5]).std is None
    assert estimate([None]).mean is None
    assert estimate([0.5]).text() == "0.5000"
    assert estimate([]).text() == "–"


@pytest.mark.parametrize(
    "change",
    [
        {"protocol_hash": "q" * 64},
        {"data": replace(DATA, test_manifest="u" * 64)},
        {"suite": "other"},
        {"selected_on_test": True},
    ],
    ids=["protocol", "scored images", "suite", "selected on test"],
)
def test_what_cannot_be_compared_is_never_ranked_together(change: dict[str, object]) -> None:
    found = boards([result("a", "x", 0, 0.5, 0.5), result("b", "x", 0, 0.5, 0.6, **change)])
    assert [len(board.rows) for board in found] == [1, 1]


def test_equal_figures_share_a_rank() -> None:
    runs = [result("a", "x", 0, 0.5, 0.6), result("b", "x", 0, 0.5, 0.6), result("c", "x", 0, 0.5, 0.59999999)]
    (board,) = boards(runs)
    assert [r.rank for r in board.rows] == [1, 1, 3]
    table = overview(board, ["miou", "hd"])
    assert table.text_rows()[2][3] == "0.6000"


def test_failed_runs_are_shown_and_counted() -> None:
    failed = replace(result("a", "x", 1, None, 0.0), state="failed", test={}, val={})
    runs = [result("a", "x", 0, 0.5, 0.6), failed]
    (board,) = boards(runs)
    assert records(board)[0]["states"] == {"ok": 1, "failed": 1}
    assert records(board)[0]["n_runs"] == 1
    assert overview(board).notes[0] == "a: 1 failed"
    only_failed = boards([replace(failed, state="oom")])[0]
    assert only_failed.rows[0].rank is None
    assert len(ablation(only_failed).rows) == 1


def test_latex_escapes_what_means_something_to_it() -> None:
    assert escape(r"a_b & 50% #1 {x} ~ ^ \ $") == (
        r"a\_b \& 50\% \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$"
    )


NASTY = [result(r"a_b & c% {d} ~^\ $5 #1 <x> |y|", "x", seed, 0.5, 0.6 + seed / 100) for seed in range(2)] + [
    result("plain", "x", 0, 0.5, 0.7)
]


def test_latex_has_the_best_in_bold_and_the_deviation_behind_a_mean() -> None:
    table = replace(overview(boards(NASTY)[0], ["miou", "hd"]), best=(frozenset({0}), frozenset()))
    text = latex_table(table, label="tab:x")
    assert r"\textbf{0.7000} &" in text
    assert r" 0.6050 {\scriptsize $\pm$ 0.0071}" in text
    assert "textbf" not in latex_table(overview(boards(NASTY)[0], ["miou", "hd"]))
    assert r"\label{tab:x}" in text
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{"))


def test_json_rows_have_the_promised_fields_at_full_precision(finished: Path) -> None:
    rows = json.loads(export_text("json", str(finished)))
    assert len(rows) == 2
    for row in rows:
        promised = {
            "suite",
            "dataset",
            "protocol",
            "model",
            "params",
            "seeds",
            "n_runs",
            "states",
            "metrics",
            "per_class",
        }
        assert promised <= set(row)
        assert row["states"] == {"ok": 2}
        assert row["seeds"] == [0, 1]
        assert set(row["metrics"]["miou"]) == {"mean", "std"}
        assert set(row["per_class"]["iou"]) == {"background", "disk", "square", "triangle", "cross", "ring"}
    assert rows[0]["metrics"]["miou"]["mean"] >= rows[1]["metrics"]["miou"]["mean"]


def test_csv_and_json_hold_the_same_figures(finished: Path) -> None:
    lines = list(csv.DictReader(io.StringIO(export_text("csv", str(finished), metrics="miou,hd"))))
    rows = json.loads(export_text("json", str(finished)))
    for line, row in zip(lines, rows, strict=True):
        assert float(line["miou mean"]) == row["metrics"]["miou"]["mean"]
        assert float(line["hd std"]) == row["metrics"]["hd"]["std"]


def test_markdown_has_a_row_for_each_model(finished: Path) -> None:
    text = export_text("markdown", str(finished))
    assert sum(line.startswith("| ") for line in text.splitlines()) == 1 + 2
    # Bold needs its line, and is never without it.
    assert ("**" in text) == ("Bold: the best and what cannot be told apart from it" in text)


def test_an_export_of_nothing_says_so(finished: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tiny'"):
        export_text("latex", str(finished), suite="tinny")
    with pytest.raises(BenchError, match="no run matches"):
        export_text("latex", str(finished), dataset="voc")
    with pytest.raises(UnknownName, match="Did you mean 'miou'"):
        export_text("latex", str(finished), metrics="mIoUu")
