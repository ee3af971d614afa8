"""Scores on resamples equal fold's figures of the resampled statistics."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.metrics import ImageSums, Protocol, ScoredImages, StatisticsTable, fold
from harness.metrics.metric import METRICS, Metric, all_metrics, class_score_names, describe, score_names
from leaderboard.stats.image_sums import image_sums, why_not
from leaderboard.stats.resampling import FEWEST_UNITS, RESAMPLES, Products, RunDraws, resamples, run_draws
from tests.leaderboard.made import CLASSES, images, table

PROTOCOLS = {
    "standard": Protocol(),
    "image level": Protocol(level="image"),
    "image level, absent 1": Protocol(level="image", absent="one"),
    "absent 0": Protocol(absent="zero", background_in_boundary_means=True),
    "target classes": Protocol(mean_over="target", f1="mmseg", out_of_range="fn"),
    "image level, target": Protocol(level="image", mean_over="target", f1="mmseg", background=None),
    "davis": Protocol(bf="davis", boundary="davis", void="mask"),
    "spacing": Protocol(spacing=(0.5, 2.0), trimap="void", trimap_headline=2),
}


def figures(stats: StatisticsTable, protocol: Protocol, binary: bool = False) -> dict[str, float]:
    """What fold says, by name; NaN where undefined."""
    classes = ("other", "fg") if binary else CLASSES
    scores = fold(stats, len(classes), protocol, 1 if binary else None)
    of_classes = {f"{m}[{c}]": v for m, each in scores.per_class.items() for c, v in zip(classes, each, strict=True)}
    found = {**scores.values, **of_classes, "loss": scores.loss}
    return {name: np.nan if value is None else value for name, value in found.items()}


def names(binary: bool = False) -> list[str]:
    classes = ("other", "fg") if binary else CLASSES
    found = [*score_names(1 if binary else None), *(f"{m}[{c}]" for m in class_score_names() for c in classes), "loss"]
    return [name for name in found if not why_not(name)]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_with_each_image_once_every_score_is_folds(name: str) -> None:
    protocol = PROTOCOLS[name]
    stats = table(3, protocol=protocol)
    found = {m: image_sums(stats, CLASSES, protocol, m).score() for m in names()}
    assert {"miou", "fwiou", "f1", "hd95", "biou", "nsd", "bf", "trimap_iou", "loss", "assd[dog]"} <= set(found)
    expected = figures(stats, protocol)
    for metric, value in found.items():
        assert value == expected[metric] or np.isnan([value, expected[metric]]).all(), metric
    assert np.isnan(found["recall[horse]"])  # no image has one


@pytest.mark.parametrize("name", ["standard", "image level", "davis", "target classes"])
def test_on_resamples_every_score_is_folds_of_the_repeated_images(name: str) -> None:
    protocol = PROTOCOLS[name]
    each = images(4, protocol=protocol)
    stats = StatisticsTable.of(each)
    drawn = resamples([i.image_id for i in each if i.scored], (), "m", count=4)
    place = {image.image_id: image for image in each}
    fast = {m: run_draws(image_sums(stats, CLASSES, protocol, m), stats.ids, drawn).scores for m in names()}
    for b in range(4):
        again = [place[i] for i, n in zip(drawn.ids, drawn.counts[b], strict=True) for _ in range(int(n))]
        slow = figures(StatisticsTable.of(again), protocol)
        for metric, scores in fast.items():
            assert scores[b] == pytest.approx(slow[metric], abs=1e-12, nan_ok=True), metric


def test_without_kernels_resamples_have_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    sums, stats = [], table(3)
    for metric in ("miou", "pa", "hd", "biou"):
        sums.append(image_sums(stats, CLASSES, Protocol(), metric))
    drawn = resamples(stats.ids, (), "m", count=100)
    with_kernels = [run_draws(one, stats.ids, drawn).scores for one in sums]
    monkeypatch.setenv("SEGBENCH_NO_KERNELS", "1")
    for one, scores in zip(sums, with_kernels, strict=True):
        np.testing.assert_allclose(run_draws(one, stats.ids, drawn).scores, scores, rtol=1e-13)


def test_one_run_after_another_has_the_scores_that_it_has_alone() -> None:
    tables = [table(seed) for seed in (0, 1, 1, 4)]  # of all, the target's pixels are the same
    drawn = resamples(tables[0].ids, (), "m", count=50)
    products = Products(drawn)
    for stats in tables:
        sums = image_sums(stats, CLASSES, Protocol(), "miou")
        alone, after = run_draws(sums, stats.ids, drawn), run_draws(sums, stats.ids, drawn, products)
        np.testing.assert_array_equal(alone.scores, after.scores)


def test_scores_of_a_foreground_are_folds() -> None:
    each = images(2, binary=True)
    stats = StatisticsTable.of(each)
    drawn = resamples([i.image_id for i in each if i.scored], (), "m", count=3)
    place = {image.image_id: image for image in each}
    again = [place[i] for i, n in zip(drawn.ids, drawn.counts[1], strict=True) for _ in range(int(n))]
    whole, slow = (figures(part, Protocol(), binary=True) for part in (stats, StatisticsTable.of(again)))
    own = [m.name for m in all_metrics() if m.family in ("binary", "agreement", "calibration") and m.overall]
    own += [f"{name}[fg]" for name in ("iou", "cldice", "betti", "lesion_f1", "lesion_count")]
    for metric in own:
        sums = image_sums(stats, ("other", "fg"), Protocol(), metric, 1)
        assert sums.score() == whole[metric] or (metric == "category_iou" and np.isnan(whole[metric])), metric
        assert run_draws(sums, stats.ids, drawn).scores[1] == pytest.approx(slow[metric], abs=1e-12, nan_ok=True)


@pytest.mark.parametrize(
    ("variant", "protocol"),
    [
        ("both", Protocol(boundary_means_over="both")),
        ("penalised", Protocol(boundary_means_over="union")),
        ("fraction", Protocol(boundary_means_over="target", distance_unit="diagonal")),
    ],
)
def test_variants_of_distances_are_the_figures_of_those_protocols(variant: str, protocol: Protocol) -> None:
    stats = table(5)
    scores = fold(stats, len(CLASSES), Protocol())
    for metric in ("hd", "hd95", "assd", "masd"):
        assert image_sums(stats, CLASSES, protocol, metric).score() == scores.variants[metric][variant]


def test_influence_is_what_leaving_an_image_out_changes() -> None:
    stats = table(1)
    scored = [i for i, n in zip(stats.ids, stats.shape[:, 2], strict=True) if n]
    drawn = resamples(scored, (), "m", count=2)
    found = run_draws(image_sums(stats, CLASSES, Protocol(), "miou"), stats.ids, drawn)
    without = stats.subset(set(stats.ids) - {drawn.ids[5]})
    change = figures(stats, Protocol())["miou"] - figures(without, Protocol())["miou"]
    assert found.influence[5] == pytest.approx(change, abs=1e-12)
    assert found.each[5] == pytest.approx(figures(stats.subset([drawn.ids[5]]), Protocol())["miou"], abs=1e-12)


def test_a_class_that_a_resample_lacks_leaves_the_mean_and_has_no_figure_of_its_own() -> None:
    each = images(0)
    stats = StatisticsTable.of(each)
    drawn = resamples(stats.ids, (), "m", count=1)
    lacking = [n for n, image in enumerate(each) if not ({3} & set(image.confusion[:, :2].ravel().tolist()))]
    assert lacking
    counts = np.zeros((1, len(each)))
    counts[0, lacking] = 1  # images come in the order of their names
    only = replace(drawn, counts=counts)
    cow = run_draws(image_sums(stats, CLASSES, Protocol(), "iou[cow]"), stats.ids, only)
    assert np.isnan(cow.scores).all()
    mean = run_draws(image_sums(stats, CLASSES, Protocol(), "miou"), stats.ids, only)
    own = fold(stats.subset([stats.ids[i] for i in lacking]), len(CLASSES), Protocol())
    assert own.per_class["iou"][3] is None
    assert mean.scores[0] == pytest.approx(own.values["miou"], abs=1e-12)
    as_zero = Protocol(absent="zero")
    assert run_draws(image_sums(stats, CLASSES, as_zero, "iou[cow]"), stats.ids, only).scores[0] == 0


def test_the_same_images_give_the_same_resamples_in_any_order() -> None:
    ids = [f"i{n}" for n in range(20)]
    first, again = resamples(ids, (), "m"), resamples(ids[::-1], (), "m")
    assert first.ids == again.ids
    np.testing.assert_array_equal(first.counts, again.counts)
    assert (first.counts.sum(axis=1) == 20).all()
    assert not np.array_equal(first.counts, resamples(ids, (), "other").counts)


def test_resamples_never_change_from_one_version_to_the_next() -> None:
    assert RESAMPLES == 2000
    drawn = resamples([f"i{n}" for n in range(6)], (), "m", count=2)
    assert drawn.counts.tolist() == [[2, 0, 0, 2, 1, 1], [1, 0, 2, 1, 1, 1]]
    assert drawn.text == "2 resamples of 6 images"


def test_a_mean_of_runs_is_taken_resample_by_resample_and_image_by_image() -> None:
    first = RunDraws(np.array([1.0, 2.0]), np.array([0.0, 1.0, 2.0]), np.array([5.0, np.nan, 1.0]))
    second = RunDraws(np.array([3.0, 6.0]), np.array([2.0, 1.0, 0.0]), np.array([7.0, 1.0, 1.0]))
    mean = RunDraws.mean([first, second])
    np.testing.assert_array_equal(mean.scores, [2.0, 4.0])
    np.testing.assert_array_equal(mean.influence, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(mean.each, [6.0, np.nan, 1.0])


def test_ten_groups_are_drawn_whole_and_of_fewer_nothing_is_drawn() -> None:
    ids = [f"i{n:03}" for n in range(3 * FEWEST_UNITS)]
    many = resamples(ids, [f"g{n // 3}" for n in range(len(ids))], "m", count=50)
    assert (many.unit, many.units, many.why_not) == ("group", FEWEST_UNITS, "")
    assert many.text == "50 resamples of 10 groups"
    few = resamples(ids, [f"g{n % 9}" for n in range(len(ids))], "m", count=50)
    assert (few.unit, few.units, few.text, len(few.counts)) == ("image", len(ids), "", 0)
    assert "only 9 groups (patients, drives, cities), and fewer than 10 say nothing of others" in few.why_not
    assert "only 2 groups (" in resamples(ids, ["g", "h"] * (len(ids) // 2), "m", count=50).why_not
    assert "only 1 group (" in resamples(ids, ["g"] * len(ids), "m", count=50).why_not


def test_images_of_a_group_are_drawn_together() -> None:
    each = images(6)
    stats = StatisticsTable.of(each)
    names_of = [f"g{n % 12:02}" for n in range(len(each))]
    drawn = resamples(stats.ids, names_of, "m", count=2)
    found = run_draws(image_sums(stats, CLASSES, Protocol(), "hd"), stats.ids, drawn).scores[0]
    again = [
        image
        for image, group in zip(each, names_of, strict=True)
        for _ in range(int(drawn.counts[0][sorted(set(names_of)).index(group)]))
    ]
    assert found == pytest.approx(figures(StatisticsTable.of(again), Protocol())["hd"], abs=1e-12)


def test_metrics_that_are_no_sums_over_images_say_why() -> None:
    def fails(_: ScoredImages) -> ImageSums:
        raise RuntimeError("not today")

    describe(Metric("strange", "Strange", "A stranger's.", sums=fails))
    try:
        assert "batches" in why_not("batch_loss")
        assert "not installed" in why_not("nowhere")
        with pytest.raises(ValueError, match="strange cannot be computed: not today"):
            image_sums(table(0), CLASSES, Protocol(), "strange")
    finally:
        METRICS.forget("strange")
    assert [m.name for m in all_metrics() if why_not(m.name)] == ["batch_loss", "batch_loss_min", "batch_loss_max"]
