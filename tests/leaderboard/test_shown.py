"""What the pages show, as plain data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.metrics import Protocol
from harness.results import open_store
from harness.scoring.keep import at_random
from leaderboard.app.inert import plain
from leaderboard.app.state import View
from leaderboard.boards.board import boards
from leaderboard.queries.load import ImageScores, load_runs
from leaderboard.shown import figures
from leaderboard.shown.about import command, find_run
from leaderboard.shown.compare import changes_table, configuration_table, differences, flat
from leaderboard.shown.costs import COSTS, cost_of
from leaderboard.shown.figures import Priced, front
from leaderboard.shown.image_list import in_order, wins
from leaderboard.shown.markup import element, together
from leaderboard.shown.method import to_know
from leaderboard.shown.pictures import CLEAR, clear_colours, labels_of, map_file
from leaderboard.shown.text import amount, between, full, large, lasting, places, short, signed, three_digits
from leaderboard.site.page import inline_json
from leaderboard.stats.draws import board_draws
from leaderboard.stats.significance import significance
from tests.leaderboard.made import board, table


def test_figures_read_as_people_write_them() -> None:
    assert short("miou", 0.69314) == "69.3"
    assert full("miou", 0.69314718056) == "69.314718056"
    assert short("hd", 41.234) == "41.2"
    assert signed("miou", -0.0041) == "−0.4"
    assert signed("miou", 0.00001) == "0.0"
    assert signed("miou", 0.061) == "+6.1"
    assert between("miou", 0.686, 0.7) == "[68.6, 70.0]"
    assert between("miou", None, 0.7) == ""
    assert [three_digits(v) for v in (0.8634, 20.71, 999.7, 2403)] == ["0.863", "20.7", "1,000", "2,403"]
    assert [large(v) for v in (26.7e6, 61.94e9, 950, None)] == ["26.7 M", "61.9 G", "950", "–"]
    assert [lasting(v) for v in (41, 600, 11_520)] == ["41 s", "10.0 min", "3.2 h"]
    sizes = [amount("miou", -0.0614), amount("hd", -2.34), amount("loss", 0.01234)]
    assert sizes == ["6.1 points", "2.3 px", "0.012"]
    assert [places((1, 2), 1), places((3, 3), 3), places(None, 4), places(None, None)] == ["1–2", "3", "not known", "–"]


def test_the_smallest_difference_has_the_unit_of_its_metric() -> None:
    rows = {"A": [20.0, 21.0, 22.0], "B": [40.0, 41.0, 42.0]}
    assert to_know(significance(board(rows, metric="hd"), "seeds")) == [
        "A typical pair of rows is told apart from 2.3 px on."
    ]
    shares = {model: [v / 100 for v in values] for model, values in rows.items()}
    assert to_know(significance(board(shares), "seeds")) == ["A typical pair of rows is told apart from 2.3 points on."]
    # What the headline says already is not said again.
    assert to_know(significance(board({"A": [0.5], "B": [0.4]}), "seeds")) == []


def test_what_to_know_of_the_intervals_stands_at_the_head_of_the_page() -> None:
    made = board({"A": [0.5], "B": [0.4]})
    sample = board_draws(made, Protocol(), lambda run: table(run), 50)
    found = significance(made, "images", replace(sample, rare=("cow",)))
    assert found.remarks[0].startswith("Fewer than 10 of the scored images hold cow")
    assert to_know(found)[1:] == list(found.remarks)


def test_the_front_is_what_nothing_is_cheaper_and_better_than() -> None:
    points = [Priced(str(i), "", cost, score) for i, (cost, score) in enumerate([(1, 50), (2, 40), (3, 70), (4, 70)])]
    assert [p.name for p in front(points, higher=True)] == ["0", "2"]
    assert [p.name for p in front(points, higher=False)] == ["0", "1"]
    assert [p.name for p in front(points, higher=True, dear=True)] == ["3"]


def test_a_label_of_a_figure_is_inert() -> None:
    assert figures.label("<a href='x'>a</a> $x$") == "&lt;a href=&#x27;x&#x27;&gt;a&lt;/a&gt; &#36;x&#36;"
    assert len(figures.label("x" * 500)) == 60


@pytest.mark.parametrize(
    "text", ["![a](http://b)", "http://b.invalid", "www.b.invalid", "a@b.invalid", ":red[x]", "$x$"]
)
def test_plain_markdown_breaks_what_would_act(text: str) -> None:
    made = plain(text)
    assert made.replace("\\", "").replace("\u2060", "") == text
    assert "://" not in made
    assert "www." not in made
    assert "](" not in made


def test_html_escapes_texts_and_attributes() -> None:
    made = element("p", "<b>", element("i", "&"), title='"><script>')
    assert made == '<p title="&quot;&gt;&lt;script&gt;">&lt;b&gt;<i>&amp;</i></p>'
    assert together("<", element("b", "x")) == "&lt;<b>x</b>"


def test_json_inside_a_page_ends_no_script_and_has_no_nan() -> None:
    text = inline_json({"a": "</script><!--", "b": float("nan"), "c": [1.0, float("inf")], "d": "NaN, NaN"})
    assert "<" not in text
    assert json.loads(text) == {"a": "</script><!--", "b": None, "c": [1.0, None], "d": "NaN, NaN"}


SCORES = ImageScores(
    "miou", (1, 2), ("a", "b", "c", "d"), (), np.array([[0.5, 0.9, np.nan, np.nan], [0.6, 0.3, 0.4, np.nan]], "f4"), {}
)


def test_images_in_their_orders() -> None:
    assert in_order(SCORES, "worst", None).ids == ("c", "a", "b")
    assert in_order(SCORES, "best", None).ids[-1] == "c"
    assert in_order(SCORES, "disagreement", None).ids == ("b", "a", "c")
    assert in_order(SCORES, "name", None).ids == ("a", "b", "c")
    drawn = in_order(SCORES, "random", None)
    assert drawn.ids == tuple(at_random(["a", "b", "c"]))
    assert [drawn.figures[0, drawn.ids.index(name)] for name in "ab"] == list(SCORES.figures[0, :2])
    sizes = {"a": 0.3, "b": 0.1, "c": 0.2}
    assert in_order(SCORES, "small", sizes).ids == ("b", "c", "a")
    assert in_order(SCORES, "large", sizes).ids == ("a", "c", "b")
    far = ImageScores("hd", (1,), ("a", "b"), (), np.array([[3.0, 9.0]], "f4"), {})
    assert in_order(far, "worst", None).ids == ("b", "a")


def test_wins_count_only_images_that_both_have() -> None:
    assert wins(SCORES.figures.astype(float), "miou") == (1, 0, 1)
    assert wins(np.array([[3.0, 5.0, 2.0], [4.0, 5.0, 1.0]]), "hd") == (1, 1, 1)


def test_the_clear_palette_has_a_colour_for_every_class() -> None:
    made = clear_colours(150)
    assert len(made) == 150
    assert made[0] == [0, 0, 0]
    assert len({tuple(c) for c in made[:24]}) == len(CLEAR)
    assert [0, 0, 0] not in made[1:]


def test_no_id_leads_out_of_the_label_maps(tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    (folder / "city").mkdir(parents=True)
    for path in (tmp_path / "secret.png", folder / "city" / "one.png"):
        path.write_bytes(b"x")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    assert map_file(folder, "city/one") == folder / "city" / "one.png"
    assert [map_file(folder, name) for name in ("../secret", "link", "none", "a\0b", "x" * 5000)] == [None] * 5


def test_what_is_no_label_map_is_none(tmp_path: Path) -> None:
    assert labels_of(b"") is None
    assert labels_of(b"\x89PNG\r\n\x1a\n") is None
    assert labels_of(b"GIF89a") is None


def test_only_settings_that_differ_are_listed() -> None:
    assert flat({"a": {"b": 1e-4, "c": {}}, "d": None}) == {"a.b": "0.0001", "a.c": "{}", "d": "–"}
    table = configuration_table([{"seed": 1, "a": {"b": 1}, "c": 2}, {"seed": 2, "a": {"b": 3}, "c": 2}], ["x", "y"])
    assert [row["id"] for row in table["rows"]] == ["a.b"]


def test_the_confusions_that_differ_most_come_first() -> None:
    first = np.array([[0.9, 0.1], [0.4, 0.6]])
    second = np.array([[0.8, 0.2], [0.1, 0.9]])
    table = changes_table([first, second], ["sky", "tree"], ["A", "B"])
    assert [row["cells"]["what"]["t"] for row in table["rows"]] == ["tree taken for sky", "sky taken for tree"]
    assert [row["cells"]["change"]["t"] for row in table["rows"]] == ["+30.0", "−10.0"]


def test_differences_over_seeds_need_two_seeds(scored: Path) -> None:
    board = boards(load_runs(open_store(str(scored), read_only=True)))[0]
    cells = [(row, row.cell) for row in board.rows]
    (one,) = differences(board, cells, "seeds", None)
    a, b = (cell.test(board.metric).mean for _, cell in cells)
    assert a is not None
    assert b is not None
    assert one.value == pytest.approx(a - b)
    assert one.low is not None
    assert one.high is not None
    assert one.low < one.value < one.high
    (none,) = differences(board, cells, "images", None)
    assert none.low is None
    assert not none.clear


def test_costs_of_other_machines_are_never_sorted_among_one_another(scored: Path) -> None:
    run = load_runs(open_store(str(scored), read_only=True))[0]
    measured = {
        "latency_ms": 21.4, "throughput": 55.0, "batch": 8, "precision": "fp32", "hardware": "H100", "device": "cuda",
        "flops": 62_000_000_000, "height": 512, "width": 512, "peak_memory": 2_500_000_000,
        "peak_memory_of": "the GPU's allocator",
    }  # fmt: skip
    here = replace(run, times={"train": 100.0}, provenance={"hardware": {"gpus": ["H100"]}}, cost=measured)
    later = replace(here, seed=9, times={"train": 300.0})
    cells = {kind.name: kind.cell(cost_of([here, later])) for kind in COSTS}
    assert cells["training"] == {"t": "3.3 min", "f": "200", "v": 200.0, "k": "H100", "title": "H100"}
    assert cells["latency"]["t"] == "21.4 ms"
    assert cells["latency"]["k"] == cells["latency"]["title"] == "batch 1, fp32, 512 × 512, H100"
    assert cells["throughput"]["title"] == "batch 8, fp32, 512 × 512, H100"
    assert cells["memory"]["t"] == "2.5 GB"
    assert cells["flops"]["title"] == "one image of 512 × 512"
    assert cells["flops"]["t"] == "62 G"
    assert cells["flops"]["k"] == ""
    nothing = {kind.name: kind.cell(cost_of([run])) for kind in COSTS}
    assert nothing["throughput"] == {"t": "–", "v": None}


def test_a_run_is_found_by_fingerprint_and_by_number(scored: Path) -> None:
    store = open_store(str(scored), read_only=True)
    run = load_runs(store)[0]
    assert find_run(store, run.fingerprint[:16]) == run.run_id
    assert find_run(store, str(run.run_id)) == run.run_id
    assert [find_run(store, text) for text in ("999999", "%", "0" * 16, "' OR 1=1", "x")] == [None] * 5


def test_the_command_makes_the_job_of_a_run_again(scored: Path) -> None:
    run = load_runs(open_store(str(scored), read_only=True))[0]
    made = command(run, {"dataset": {}})
    assert made.startswith("bench run --suite tiny --models")
    assert f"--seeds {run.seed} --set lr={run.grid['lr']:g}" in made


def test_a_view_keeps_only_what_can_be_chosen() -> None:
    view = View()
    view.read("images", {"way": ["errors"], "palette": ["red"], "rows": ["a", "a", "b"], "other": ["x"]})
    assert view.get("way") == "errors"
    assert view.get("palette") == "own"
    assert view.several("rows") == ("a", "b")
    assert view.unknown == ["palette=red"]
    assert view.query("images") == {"rows": ["a", "b"], "way": ["errors"]}
    assert view.query("leaderboard") == {"rows": ["a", "b"]}
    view.set("way", "overlay")
    assert "way" not in view.query("images")
