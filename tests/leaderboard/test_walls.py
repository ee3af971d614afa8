"""What is never ranked together: each such fact is a column, a filter and a group with ranks of its own."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bench.export import export_text
from harness.results import open_store
from leaderboard.boards.board import Board, boards
from leaderboard.boards.walls import wall_of
from leaderboard.exports.latex import escape, latex_table
from leaderboard.exports.text import markdown_tables
from leaderboard.queries.load import load_runs
from leaderboard.tables.table import ablation, overview, per_class, records
from tests.conftest import run_bench
from tests.leaderboard.mixed import mixed_plan
from tests.leaderboard.test_tables import DATA, result

COST = {"stopped": 12, "hours": 1.5, "gpu_hours": 0.0, "cpu_hours": 1.5}
SEARCH = {"trials": 20, "spec": {"trials": 20, "hours": None}, **COST}
# What keeps a row apart -> the heading of its group beside rows that were trained here, from scratch, as given.
APART = {
    "train images": ({"data": replace(DATA, variant="w")}, "train images: w"),
    "pretrained": ({"pretrained_on": ("ImageNet",)}, "pretrained on ImageNet"),
    "undeclared": ({"pretrained_on": None}, "pretraining not declared"),
    "tuned": ({"search": SEARCH}, "tuned, 20 trials each"),
    "checkpoint": ({"scores_from": "checkpoint", "pretrained_on": None}, "checkpoints scored, not trained here"),
    "label maps": ({"scores_from": "label maps", "pretrained_on": None}, "label maps from outside"),
    "saw the test": ({"pretrained_on": ("D",)}, "pretrained on the scored images (D)"),
}


def board_of(place: Path) -> Board:
    store = open_store(str(place), read_only=True)
    (board,) = boards(load_runs(store, "mixed"))
    store.close()
    return board


@pytest.mark.parametrize("name", APART)
def test_rows_that_differ_in_a_fact_have_ranks_of_their_own(name: str) -> None:
    change, heading = APART[name]
    runs = [result("a", "x", 0, 0.5, 0.5), result("b", "y", 0, 0.5, 0.9, **change), result("c", "z", 0, 0.5, 0.7)]
    (board,) = boards(runs)
    ours, theirs = board.groups
    assert [(r.model, r.rank) for r in ours.rows] == [("c", 1), ("a", 2)]
    assert [(r.model, r.rank) for r in theirs.rows] == [("b", 1)]
    assert theirs.heading == heading
    table = overview(board, ["miou"])
    assert set(table.lead) - {"#", "model", "chosen by val"} == {fact.column for fact in board.facts}
    assert escape(heading) in latex_table(table)
    assert f"#### {heading}" in markdown_tables([(board, table)])


def test_rows_that_differ_in_nothing_share_one_ranking_without_further_columns() -> None:
    (board,) = boards([result("a", "x", 0, 0.5, 0.5, search=SEARCH), result("b", "y", 0, 0.5, 0.9, search=SEARCH)])
    assert [group.heading for group in board.groups] == [""]
    assert overview(board).lead == ("#", "model", "chosen by val")


def test_searches_are_ranked_together_by_their_budget_and_not_by_the_trials_it_allowed() -> None:
    hours = {"trials": 100, "hours": 2.0}
    runs = [
        result("a", "x", 0, 0.5, 0.5, search={"trials": 31, "spec": hours}),
        result("b", "y", 0, 0.5, 0.6, search={"trials": 29, "spec": hours}),
        result("c", "z", 0, 0.5, 0.7),
    ]
    (board,) = boards(runs)
    assert [g.heading for g in board.groups] == ["hyperparameters as given", "tuned, up to 100 trials in 2 hours each"]
    assert [r.rank for r in board.groups[1].rows] == [1, 2]


def test_of_weights_and_label_maps_from_elsewhere_nobody_knows_the_train_images() -> None:
    other = replace(DATA, variant="w")
    for source in ("checkpoint", "label maps"):
        facts = {"scores_from": source, "pretrained_on": None}
        assert wall_of(result("a", "x", 0, 0.5, 0.5, **facts)) == wall_of(
            result("b", "y", 0, 0.5, 0.5, data=other, **facts)
        )


def test_a_real_database_shows_every_group_below_the_other(mixed: Path) -> None:
    found = {group.heading: [(row.rank, row.model) for row in group.rows] for group in board_of(mixed).groups}
    assert {heading: len(rows) for heading, rows in found.items()} == {
        "trained from scratch · hyperparameters as given": 2,
        "trained from scratch · tuned, 20 trials each": 1,
        "pretrained on ImageNet · hyperparameters as given": 3,
        "pretraining not declared · hyperparameters as given": 1,
        "checkpoints scored, not trained here": 1,
        "label maps from outside": 1,
        "pretrained on the scored images (ImageNet and Shapes (generated)) · hyperparameters as given": 1,
    }
    assert all([rank for rank, _ in rows] == list(range(1, len(rows) + 1)) for rows in found.values())
    imagenet = found["pretrained on ImageNet · hyperparameters as given"]
    assert {model for _, model in imagenet} == {"PSPNet", "DeepLabV3+", "announced"}
    assert list(found)[-1].startswith("pretrained on the scored images")
    assert [model for _, model in found["checkpoints scored, not trained here"]] == ["U-Net [weights.pt]"]


def test_every_way_out_of_a_real_database_says_the_facts(mixed: Path) -> None:
    rows = json.loads(export_text("json", str(mixed), "mixed"))
    by_name = {(r["model"], str(r["pretrained_on"])): r for r in rows}
    assert by_name["PSPNet", "[]"]["tuned"] is None
    assert by_name["PSPNet", "['ImageNet']"]["scores_from"] == "training"
    assert by_name["U-Net (tuned, 20 trials)", "[]"]["tuned"] == {"trials": 20, "hours": None}
    assert by_name["silent", "None"]["group"].startswith("pretraining not declared")
    assert by_name["leaky", "['ImageNet', 'Shapes (generated)']"]["saw_test"] is True
    lines = list(csv.DictReader(io.StringIO(export_text("csv", str(mixed), "mixed"))))
    assert {line["pretrained on"] for line in lines} >= {"from scratch", "ImageNet", "undeclared"}
    assert {line["scores from"] for line in lines} == {"training", "checkpoint", "label maps"}
    assert {line["tuned"] for line in lines} == {"given", "20 trials", "–"}
    marked = {line["model"]: line["saw test"] for line in lines}
    assert marked["leaky †"] == "yes"
    assert marked["Elsewhere ‡"] == "no"
    assert "leaky †: its declared pretraining includes the scored images" in overview(board_of(mixed)).notes
    assert r"\emph{label maps from outside}" in export_text("latex", str(mixed), "mixed")


def test_other_views_keep_the_groups_apart(mixed: Path) -> None:
    board = board_of(mixed)
    for table in (ablation(board), per_class(board, "iou")):
        assert [heading for heading, _ in table.groups] == [group.heading for group in board.groups]
        assert [i for _, part in table.groups for i in part] == list(range(len(table.rows)))


def test_a_later_declaration_is_taken_over_without_training_anew(
    mixed: Path, tmp_path: Path, shapes_home: Path
) -> None:
    copy = tmp_path / "copy.db"
    with sqlite3.connect(mixed) as source, sqlite3.connect(copy) as target:
        source.backup(target)
        target.execute("update runs set provenance = json_remove(provenance, '$.pretrained_on')")
    before = {r.model: r.pretrained_on for r in load_runs(open_store(str(copy), read_only=True), "mixed")}
    assert before["announced"] is None, "nothing was declared"
    store = open_store(str(copy))
    todo = mixed_plan(mixed.parent, shapes_home / "data", store)
    assert {t.job.model.name for t in todo.train} == {"pspnet"}, "only what failed"
    store.register(todo.jobs, todo.datasets)
    after = {r.model: r for r in load_runs(store, "mixed")}
    store.close()
    assert after["announced"].pretrained_on == ("ImageNet",)
    assert after["announced"].provenance["code"] == {"commit": "c"}
    assert after["silent"].pretrained_on is None


@pytest.mark.slow
@pytest.mark.long
def test_the_command_prints_a_table_for_each_group(home: Path) -> None:
    (home / "two.yaml").write_text(
        "{title: Two, datasets: [shapes], seeds: [0], recipe: {size: [32, 32], epochs: 1, batch_size: 16},"
        "models: [{name: unet, params: {width: 4, depth: 2}, label: U-Net}, {name: mine}]}"
    )
    (home / "mine.py").write_text(
        "from torch import nn\nNAME = 'mine'\nPRETRAINED_ON = 'SA-1B'\n"
        "def build(num_classes):\n    return nn.Conv2d(3, num_classes, 1)\n"
    )
    done = run_bench("run", "--suite", "two.yaml", "--plugin", "mine.py", "--local", cwd=home).stdout
    assert "trained from scratch" in done
    assert "pretrained on SA-1B" in done
    shown = json.loads(run_bench("export", "json", cwd=home).stdout)
    assert [(r["model"], r["rank"], r["pretrained_on"]) for r in shown] == [("U-Net", 1, []), ("mine", 1, ["SA-1B"])]


def test_records_say_what_ranks_a_row() -> None:
    (board,) = boards([result("a", "x", seed, 0.5, value) for seed, value in enumerate((0.5, 0.7))])
    assert records(board)[0]["ranked_by"] == pytest.approx(0.6)
