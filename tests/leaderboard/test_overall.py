"""Which model is best over several data sets: by hand, from real databases, on the page, in the site and in exports."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from harness.errors import BenchError
from harness.results import open_store
from leaderboard.boards.board import Board, boards
from leaderboard.exports.export import Kind, Wanted, export
from leaderboard.queries.load import load_runs
from leaderboard.site import write_site
from leaderboard.stats.data_sets import fewest_for_a_claim, holm_claims, mid_places, new_places
from leaderboard.stats.draws import stored_draws
from leaderboard.stats.overall import Overall, OverallRow, collections, common_question, overall
from leaderboard.stats.samples import SeedSample
from leaderboard.stats.significance import Question, significance
from leaderboard.stats.simultaneous import together, with_both_errors
from tests.conftest import Shared
from tests.leaderboard.browsing import Server, Tab, needs_browser, rows
from tests.leaderboard.made import board
from tests.leaderboard.several import FAILED, several_database

NONE = float("nan")


def on(name: str, figures: dict[str, list[float | None]], **how: object) -> Board:
    """A board made by hand on a data set of this name."""
    made = board(figures, **how)  # type: ignore[arg-type]
    runs = [run for row in made.rows for cell in row.cells for run in cell.runs]
    return boards([replace(run, data=replace(run.data, name=name, title=name)) for run in runs], made.metric)[0]


def said(own: list[Board], question: Question = "seeds") -> Overall:
    return overall(own, question, lambda board: None)


def by_name(found: Overall) -> dict[str, OverallRow]:
    (group,) = found.groups
    return {row.name: row for row in group.rows}


# Three models on three data sets: a tie on the second, C is missing on the third.
BY_HAND = [
    on("one", {"A": [0.89, 0.91], "B": [0.79, 0.81], "C": [0.69, 0.71]}),
    on("two", {"A": [0.59, 0.61], "B": [0.59, 0.61], "C": [0.49, 0.51]}),
    on("three", {"A": [0.69, 0.71], "B": [0.49, 0.51]}),
]


def test_three_models_on_three_data_sets_by_hand() -> None:
    found = said(BY_HAND)
    a, b, c = found.groups[0].rows
    assert [row.name for row in (a, b, c)] == ["A", "B", "C"]
    assert [[one.place for one in row.on] for row in (a, b, c)] == [[1, 1.5, 1], [2, 1.5, 2], [3, 3, 3]]
    assert [row.mean_place for row in (a, b, c)] == pytest.approx([7 / 6, 11 / 6, 3])
    assert [row.place for row in (a, b, c)] == [1, 2, 3]
    # In standard deviations between models: 1/.1 of .9, .8, .7; 1/.0577 of .6, .6, .5; 1/.1414 of .7, .5.
    assert a.gap == pytest.approx((0.1 / 0.1 + 0 + 0.2 / 0.1414214) / 3, abs=1e-6)
    assert b.gap == pytest.approx(-a.gap)
    # C counts on the third data set like B, the worst that has a figure there.
    assert c.gap == pytest.approx(-(0.2 / 0.1 + 0.1 / 0.0577350 + 0.2 / 0.1414214) / 3, abs=1e-6)
    assert (c.gap_interval, c.on[2].places, c.on[2].figure) == (None, (3, 3), None)
    assert c.on[2].why_last == "not run on it, or ranked apart there"
    assert [one.tau for one in found.groups[0].left_out] == pytest.approx([1, 1, 1])
    assert [one.order for one in found.groups[0].left_out] == [("A", "B", "C")] * 3
    assert json.loads(json.dumps(found.record()))["groups"][0]["rows"][0]["name"] == "A"


def test_places_are_those_of_each_board_at_the_level_of_all_together() -> None:
    found = by_name(said(BY_HAND))
    for n, one in enumerate(BY_HAND):
        alone = {row.name: row.places for row in significance(one, "seeds", level=0.95 ** (1 / 3)).rows}
        for name, places in alone.items():
            assert found[name].on[n].places == places
    for row in found.values():
        low, high = np.mean([one.places for one in row.on], axis=0)
        assert (row.mean_places.low, row.mean_places.high) == pytest.approx((low, high))
    # On the second data set nothing tells A from B.
    assert (found["A"].mean_places.low, found["A"].mean_places.high) == pytest.approx((1, 4 / 3))


def test_what_one_board_claims_at_95_percent_three_need_not_claim_together() -> None:
    # 5.66 standard errors with 2 degrees of freedom: Student's t asks for 4.30 at 95 %, and for 7.6 at .95^(1/3).
    own = [on(name, {"A": [0.57, 0.59], "B": [0.49, 0.51]}) for name in ("one", "two", "three")]
    assert [row.places for row in significance(own[0], "seeds").rows] == [(1, 1), (2, 2)]
    found = by_name(said(own))
    assert [one.places for one in found["A"].on] == [(1, 2)] * 3
    assert not found["A"].mean_places.high < found["B"].mean_places.low


def test_the_gap_has_the_spread_of_all_data_sets_in_quadrature() -> None:
    own = BY_HAND[:2]
    found = by_name(said(own))
    # Six seeds of variance .0002 on each data set: 3 degrees of freedom, two seeds a mean.
    units = np.array([1 / 0.1, 1 / 0.0577350])
    error = np.sqrt(2 * 0.0002 / 2) * np.sqrt((units**2).sum()) / 2
    # Dunnett's one-sided critical value of two differences from one row, rho = .5, by simulation.
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3, 400_000))
    scale = np.sqrt(rng.chisquare(3, 400_000) / 3)
    critical = np.quantile(np.maximum(z[1] - z[0], z[2] - z[0]) / np.sqrt(2) / scale, 0.95)
    gap = (0.1 * units[0] + 0) / 2
    assert found["A"].gap == pytest.approx(gap, abs=1e-6)
    assert found["A"].gap_interval is not None
    assert found["A"].gap_interval.high == pytest.approx(gap + critical * error, rel=0.02)


def test_a_verdict_claims_only_what_is_resolved() -> None:
    assert said(BY_HAND).groups[0].verdict == (
        "A has the best mean place over these 3 data sets, 1.17 [1, 1.33]; no other model's can be as good."
    )
    assert said(BY_HAND).groups[0].best == {0}
    close = [on(name, {"A": [0.5, 0.6], "B": [0.49, 0.59]}) for name in ("one", "two")]
    (group,) = said(close).groups
    assert group.verdict == (
        "A has the best mean place over these 2 data sets, 1 [1, 2]. Nothing is resolved: every model may have the "
        "best."
    )
    assert group.best == frozenset()
    # One seed each: nothing is known of trainings, and every place is open.
    single = [on(name, {"A": [0.9], "B": [0.1]}) for name in ("one", "two")]
    (group,) = said(single).groups
    assert [row.mean_places.high - row.mean_places.low for row in group.rows] == [1, 1]


def test_of_losses_lower_is_better() -> None:
    own = [on(name, {"A": [0.2, 0.21], "B": [0.4, 0.41]}, metric="loss") for name in ("one", "two")]
    a, b = by_name(said(own))["A"], by_name(said(own))["B"]
    assert (a.place, b.place) == (1, 2)
    assert a.gap > 0 > b.gap
    assert a.on[0].figure == pytest.approx(0.205)


def test_a_model_whose_seeds_all_failed_is_last_and_says_so() -> None:
    own = [on("one", {"A": [0.9, 0.91], "B": [0.5, 0.51]}), on("two", {"A": [0.9, 0.91], "B": []}, failed={"B": 2})]
    b = by_name(said(own))["B"]
    assert (b.on[1].place, b.on[1].why_last) == (2, "2 failed")


def test_models_that_are_ranked_apart_are_never_compared() -> None:
    own = [on(name, {"A": [0.5, 0.51], "B": [0.4, 0.41], "P": [0.9, 0.91]}, apart=["P"]) for name in ("one", "two")]
    found = said(own)
    assert [[row.name for row in group.rows] for group in found.groups] == [["A", "B"]]
    assert found.remarks == ("P: ranked with no other model.",)


def test_below_six_data_sets_the_text_says_why_nothing_is_said_of_others() -> None:
    (group,) = said(BY_HAND).groups
    assert (group.claims, group.new_level, group.rows[0].new_places) == ((), None, None)
    assert group.other == "Nothing is said of other data sets: 3 are too few a sample of data sets, it takes 6."


def planted(count: int, models: int = 2) -> list[Board]:
    """Data sets on each of which A is ahead, the others in an order that changes."""
    rng, made = np.random.default_rng(3), []
    for n in range(count):
        rest = rng.permutation(np.arange(models - 1)) * 0.01 + 0.5
        figures = {"A": [0.8 + n / 100, 0.81 + n / 100]}
        figures |= {f"B{i}": [float(x), float(x) + 0.001] for i, x in enumerate(rest)}
        made.append(on(f"set{n}", figures))  # type: ignore[arg-type]
    return made


def test_a_planted_winner_on_six_data_sets() -> None:
    (group,) = said(planted(6)).groups
    (claim,) = group.claims
    # One of 2⁶ signs, either way.
    assert (claim.better, claim.worse, claim.wins, claim.losses) == ("A", "B0", 6, 0)
    assert claim.chance == pytest.approx(2 / 64)
    assert "A is better than B0 (p = 0.031)" in group.other
    assert group.rows[0].new_places is not None
    assert (group.rows[0].new_places.low, group.rows[0].new_places.high) == (1, 1)
    assert group.new_level == pytest.approx(5 / 7)
    assert "71 % of data sets" in group.other


def test_three_models_need_seven_data_sets_and_the_text_says_so() -> None:
    (six,) = said(planted(6, models=3)).groups
    assert six.claims == ()
    assert "with 3 models it takes at least 7" in six.other
    (seven,) = said(planted(7, models=3)).groups
    assert {(one.better, one.worse) for one in seven.claims} == {("A", "B0"), ("A", "B1")}


def test_fewest_data_sets_are_those_at_which_the_smallest_p_value_survives_the_correction() -> None:
    for models in range(2, 12):
        fewest, pairs = fewest_for_a_claim(models), models * (models - 1) / 2
        assert pairs * 2 * 0.5**fewest <= 0.05 < pairs * 2 * 0.5 ** (fewest - 1)


def test_holm_corrects_wilcoxons_p_values_and_stops_at_the_first_that_is_too_large() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4, 20)) + np.array([1.5, 0.7, 0.0, 0.0])[:, None]
    names = "ABCD"
    chances = {(i, j): stats.wilcoxon(values[i] - values[j]).pvalue for i in range(4) for j in range(i + 1, 4)}
    ordered, expected, worst = sorted(chances.items(), key=lambda one: one[1]), {}, 0.0
    for step, ((i, j), p) in enumerate(ordered):
        worst = max(worst, (6 - step) * p)
        if worst > 0.05:
            break
        expected[names[i], names[j]] = worst
    found = {(one.better, one.worse): one.chance for one in holm_claims(values, names)}
    assert 0 < len(found) < 6
    assert found == pytest.approx(expected)
    # Turned around, the winners are the losers.
    assert {(one.worse, one.better) for one in holm_claims(-values, names)} == set(found)


def test_places_without_a_figure_are_the_last() -> None:
    signed = np.array([[0.9, NONE, NONE], [0.9, 0.5, NONE], [0.1, NONE, 0.3]])
    assert mid_places(signed).tolist() == [[1.5, 3, 3], [1.5, 1, 3], [3, 3, 1]]


def test_new_places_leave_out_as_many_ends_as_the_level_allows() -> None:
    places = np.array([np.arange(1.0, 40.0)])
    found = new_places(places)
    assert (found.low[0], found.high[0], found.level) == (1, 39, pytest.approx(0.95))
    found = new_places(np.array([np.arange(1.0, 80.0)]))
    assert (found.low[0], found.high[0], found.level) == (2, 78, pytest.approx(0.95))
    assert new_places(places[:, :6]).level == pytest.approx(1 - 2 / 7)


def test_new_places_hold_as_often_as_they_say_whatever_the_distribution() -> None:
    rng = np.random.default_rng(1)
    for count in (6, 19, 60):
        places = rng.integers(1, 6, (4000, count + 1)).astype(float) + rng.random((4000, count + 1))
        found = new_places(places[:, :count])
        held = ((found.low <= places[:, -1]) & (places[:, -1] <= found.high)).mean()
        # Without ties the level is exact.
        assert held == pytest.approx(found.level, abs=0.02)


def test_leaving_a_data_set_out_tells_who_leads_without_it() -> None:
    own = [
        on("one", {"A": [0.9, 0.91], "B": [0.5, 0.51], "C": [0.4, 0.41]}),
        on("two", {"A": [0.5, 0.51], "B": [0.6, 0.61], "C": [0.4, 0.41]}),
        on("three", {"A": [0.9, 0.91], "B": [0.5, 0.51], "C": [0.6, 0.61]}),
    ]
    (group,) = said(own).groups
    assert [row.name for row in group.rows] == ["A", "B", "C"]
    assert [(one.title, one.order, one.first) for one in group.left_out] == [
        ("one", ("A", "B", "C"), ("A",)),
        ("two", ("A", "B", "C"), ("A",)),
        ("three", ("A", "B", "C"), ("A", "B")),
    ]
    assert group.stability == "A stays first whichever data set is left out; without three others share that."
    turned = said([own[0], on("two", {"A": [0.1, 0.11], "B": [0.6, 0.61], "C": [0.4, 0.41]})])
    assert turned.groups[0].stability == "B is not first without two."


def test_suites_and_smoke_runs_are_not_mixed_and_one_data_set_is_no_suite() -> None:
    other = replace(BY_HAND[1], suite="other")
    smoke = replace(BY_HAND[1], smoke=True)
    assert collections([BY_HAND[0], other]) == []
    assert collections([BY_HAND[0], smoke]) == []
    # Another copy of a data set is no other data set: the one with more runs counts.
    again = replace(on("one", {"A": [0.1, 0.2]}), apart="another copy")
    ((first, second),) = collections([again, *BY_HAND[:2]])
    assert (first, second) == (BY_HAND[0], BY_HAND[1])


def test_the_question_is_the_widest_that_every_board_can_answer() -> None:
    three = on("one", {"A": [0.5, 0.51, 0.52], "B": [0.4, 0.41, 0.42]})
    single = on("two", {"A": [0.5], "B": [0.4]})
    assert common_question([three, three]) == "both"
    assert common_question([three, BY_HAND[0]]) == "seeds"
    assert common_question([three, BY_HAND[0], single]) == "images"


def test_weighted_sums_of_independent_figures_have_the_widths_in_quadrature() -> None:
    parts = [SeedSample(one).contrasts([0, 1]) for one in BY_HAND]
    found = together(parts, [1.0, 2.0, 0.5])
    weights = np.array([1.0, 2.0, 0.5])
    widths = [part.of_pairs[0, 1] * part.errors[0, 1] for part in parts]
    assert found.of_pairs[0, 1] * found.errors[0, 1] == pytest.approx(np.sqrt(((weights * widths) ** 2).sum()))
    differences = [part.differences[0, 1] for part in parts]
    assert found.differences[0, 1] == pytest.approx((weights * differences).sum())


def test_nothing_is_claimed_for_two_reasons_that_one_of_them_does_not_bear() -> None:
    part = SeedSample(BY_HAND[0]).contrasts([0, 1])
    assert part.better[0, 1]
    assert with_both_errors(part, part).better[0, 1]
    silent = replace(part, better=np.zeros_like(part.better))
    assert not with_both_errors(part, silent).better.any()
    assert not with_both_errors(silent, part).better.any()
    assert with_both_errors(part, silent).figures == pytest.approx(part.figures)


# ---- real databases ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(shared_once: Shared) -> Path:
    """Three models on three data sets: one was not run on the second, and failed on the third."""

    def fill(folder: Path) -> None:
        several_database(folder, {"A": [0.05, 0.1, 0.05], "B": [0.15, 0.1, 0.2], "C": [0.3, None, FAILED]})

    return shared_once("several", fill) / "several.db"


def stored(place: Path, question: Question | None = None) -> Overall:
    """The suite of a database as it is read without pages."""
    store = open_store(str(place), read_only=True)
    (own,) = collections(boards(load_runs(store)))
    return overall(own, question or common_question(own), lambda one: stored_draws(store, one))


def test_figures_of_a_database_are_those_of_its_boards(several: Path) -> None:
    found = stored(several)
    assert found.question == "seeds"
    assert [one.title for one in found.groups[0].data_sets] == ["Set0", "Set1", "Set2"]
    a, b, c = (by_name(found)[name] for name in "ABC")
    made = boards(load_runs(open_store(str(several), read_only=True)))
    for n, one in enumerate(made):
        figures = {row.model: row.cell.ranked_by("miou") for row in one.rows}
        assert [a.on[n].figure, b.on[n].figure, c.on[n].figure] == [figures.get(name) for name in "ABC"]
    assert [one.place for one in c.on] == [3, 3, 3]
    assert [one.why_last for one in c.on] == ["", "not run on it, or ranked apart there", "2 failed"]


def test_images_answer_as_well_and_the_page_says_which(several: Path) -> None:
    found = stored(several, "images")
    assert found.asks.startswith("These checkpoints on other images")
    row = by_name(found)["A"]
    # A is wrong on 5 % of the pixels of 12 images where B is on 15 %; on the second data set they are alike.
    assert [one.places for one in row.on] == [(1, 1), (1, 2), (1, 1)]
    assert row.gap_interval is not None


def test_every_export_has_the_same_places(several: Path) -> None:
    store = open_store(str(several), read_only=True)
    texts = {f: export(store, Wanted(f, kind=Kind.overall)) for f in ("csv", "json", "markdown", "latex", "html")}
    group = stored(several).groups[0]
    (record,) = json.loads(texts["json"])
    assert [row["mean_place"] for row in record["groups"][0]["rows"]] == [row.mean_place for row in group.rows]
    lines = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert len(lines) == 9
    for line, row in zip(lines[::3], group.rows, strict=True):
        assert (line["model"], float(line["mean_place"])) == (row.name, row.mean_place)
    last = [line for line in lines if line["why last"]]
    assert [(line["model"], line["dataset"], line["place there"]) for line in last] == [
        ("C", "Set1", "3.0"), ("C", "Set2", "3.0")
    ]  # fmt: skip
    for text in (texts["markdown"], texts["latex"], texts["html"]):
        assert "A has the best mean place over these 3 data sets, 1.33" in text
        assert "not run on it" in text
    assert "| 1 | A | 1.33 " in texts["markdown"]


def test_one_data_set_has_no_such_table(scored: Path) -> None:
    with pytest.raises(BenchError, match="No suite here has two data sets"):
        export(open_store(str(scored), read_only=True), Wanted("csv", kind=Kind.overall))
    with pytest.raises(BenchError, match="ranks by one metric"):
        export(open_store(str(scored), read_only=True), Wanted("csv", kind=Kind.overall, metrics=("miou", "hd")))


def test_the_site_has_a_page_of_it_that_every_board_links(several: Path, tmp_path: Path) -> None:
    write_site(open_store(str(several), read_only=True), tmp_path / "out", None, lambda line: None)
    page = (tmp_path / "out" / "overall-1.html").read_text()
    assert "has the best mean place over these 3 data sets" in page
    assert "Nothing is said of other data sets: 3 are too few" in page
    names = [path for path in (tmp_path / "out").glob("board-*.html") if "-images" not in path.name]
    assert len(names) == 3
    for path in names:
        assert 'href="overall-1.html"' in path.read_text()
        assert path.name in page
    assert 'href="overall-1.html"' in (tmp_path / "out" / "index.html").read_text()


class TestInABrowser:
    pytestmark = needs_browser

    def test_the_page_shows_every_model_on_every_data_set(self, tab: Tab, server: Server, several: Path) -> None:
        page = tab.open(f"{server.show(several)}/overall")
        group = stored(several).groups[0]
        page.get_by_role("heading", level=1, name=group.verdict, exact=True).wait_for()
        shown = rows(page, "Overall")
        assert [row["model"] for row in shown] == [row.name for row in group.rows]
        assert [row["mean"].split("\n")[0].split("[")[0].strip() for row in shown] == ["1.33", "1.67", "3"]
        assert [row["on-1"].split("\n")[0] for row in shown][2].startswith("last")
        assert "Nothing is said of other data sets: 3 are too few" in page.inner_text(".stApp")
        assert [row["without"] for row in rows(page, "Without one of the data sets")] == ["Set0", "Set1", "Set2"]
        assert tab.outside == []

    def test_a_suite_of_one_data_set_says_why_there_is_nothing(self, tab: Tab, server: Server, scored: Path) -> None:
        page = tab.open(f"{server.show(scored)}/overall")
        assert "This page needs two data sets of one suite" in page.inner_text(".notice.info >> nth=0")
        assert page.locator("[data-testid=stException]").count() == 0
