"""The loop: its samples, its schedules, and that stopping and continuing changes no bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from harness.config.expand import expand
from harness.config.job import Job, Selection
from harness.config.load import load_suite
from harness.config.recipe import Recipe
from harness.datasets.shapes import Shapes
from harness.errors import BadModel, Diverged
from harness.metrics import Protocol
from harness.models import build
from harness.optim import build_optimizer, learning_rate_factor
from harness.scoring.evaluate import new_evaluator, pick
from harness.scoring.predict import label_map, predictions, split_outputs
from harness.scoring.samples import DecodedSamples
from harness.training.loader import EpochBatches, training_loader
from harness.training.loop import Interrupted, TrainingContext, train
from tests.conftest import TINY


@pytest.fixture
def shapes(shapes_home: Path) -> Shapes:
    return Shapes(shapes_home / "data" / Shapes.folders[0])


def tiny_job(*overrides: str, **changes: object) -> Job:
    job = expand(load_suite(str(TINY), overrides), {"shapes": Shapes.info})[0]
    return job.model_copy(update=changes)


def context_for(shapes: Shapes, folder: Path, **options: object) -> TrainingContext:
    torch.manual_seed(0)
    model = nn.Sequential(build("unet", 6, width=4, depth=2), nn.Dropout(0.3))
    return TrainingContext(model, 16, 6, shapes, DecodedSamples(shapes), folder, **options)  # type: ignore[arg-type]


def stream(shapes: Shapes, seed: int, epochs: list[int], workers: int = 0) -> list[torch.Tensor]:
    loader, batches = training_loader(DecodedSamples(shapes), shapes.ids("train", 20), tiny_job().recipe, seed)
    if workers:
        data = loader.dataset  # type: ignore[attr-defined]
        loader = torch.utils.data.DataLoader(data, batch_sampler=batches, num_workers=workers)
    found = []
    for epoch in epochs:
        batches.at(epoch)
        found += [torch.cat([images.flatten(), masks.flatten()]) for images, masks in loader]
    return found


def test_the_same_seed_gives_the_same_samples_whatever_came_before(shapes: Shapes) -> None:
    whole = stream(shapes, 3, [0, 1])
    torch.rand(100)
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], stream(shapes, 3, [1]), strict=True))
    assert not torch.equal(whole[0], whole[2])
    assert not torch.equal(whole[0], stream(shapes, 4, [0])[0])


def test_worker_processes_give_the_same_samples(shapes: Shapes) -> None:
    alone, two = stream(shapes, 3, [0]), stream(shapes, 3, [0], workers=2)
    assert all(torch.equal(a, b) for a, b in zip(alone, two, strict=True))


def test_an_epoch_uses_each_sample_once_and_leaves_an_incomplete_batch() -> None:
    batches = EpochBatches(10, 4, seed=0)
    batches.at(0)
    seen = [index for batch in batches for _, index in batch]
    assert len(seen) == len(set(seen)) == 8
    few = EpochBatches(3, 4, seed=0)
    assert [len(batch) for batch in few] == [3]


def test_masks_keep_their_labels_through_augmentation(shapes: Shapes) -> None:
    recipe = Recipe.model_validate(
        {
            "epochs": 1, "size": [32, 48], "batch_size": 4,
            "augment": [
                {"op": "hflip"}, {"op": "rotate", "degrees": 30}, {"op": "color_jitter"}, {"op": "blur", "p": 1},
                {"op": "scale_crop"},
            ],
        }
    )  # fmt: skip
    loader, batches = training_loader(DecodedSamples(shapes), shapes.ids("train", 16), recipe, 0)
    batches.at(0)
    labels = set()
    for images, masks in loader:
        assert images.shape == (4, 3, 32, 48)
        assert images.dtype == masks.dtype == torch.uint8
        labels |= set(masks.unique().tolist())
    assert labels <= {0, 1, 2, 3, 4, 5, 255}


@pytest.mark.parametrize("more", [(), ("ema=0.9", "sampling=class_balanced", "accumulate=2")], ids=["plain", "ema"])
def test_a_training_that_is_stopped_and_continued_ends_with_the_same_bits(
    shapes: Shapes, tmp_path: Path, more: tuple[str, ...]
) -> None:
    job = tiny_job("epochs=3", *more)
    whole = context_for(shapes, tmp_path / "whole")
    expected = train(job, whole)

    # 20 iterations make an epoch: in the second one, or right behind its last batch.
    asked = iter([False] * (39 if more else 25) + [True])
    with pytest.raises(Interrupted):
        train(job, context_for(shapes, tmp_path / "parts", stopping=lambda: next(asked)))
    torch.rand(7)  # another process would have drawn other numbers
    parts = context_for(shapes, tmp_path / "parts")
    found = train(job, parts)

    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, parts.model.state_dict()[name]), name
    drop = ("seconds",)
    assert [{k: v for k, v in r.items() if k not in drop} for r in found.curve] == [
        {k: v for k, v in r.items() if k not in drop} for r in expected.curve
    ]
    assert (found.best_epoch, found.best_score) == (expected.best_epoch, expected.best_score)


def test_the_best_epoch_is_the_one_whose_weights_are_kept(shapes: Shapes, tmp_path: Path) -> None:
    context = context_for(shapes, tmp_path)
    progress = train(tiny_job("epochs=3"), context)
    scores = [record["val_miou"] for record in progress.curve]
    assert progress.best_score == max(scores)
    assert scores[progress.best_epoch - 1] == max(scores)  # type: ignore[operator]
    best = torch.load(tmp_path / "best.pt")
    assert all(torch.equal(v, best[k]) for k, v in context.model.state_dict().items())


def test_iterations_end_within_an_epoch_and_are_validated(shapes: Shapes, tmp_path: Path) -> None:
    progress = train(tiny_job("iterations=23"), context_for(shapes, tmp_path))
    assert (progress.iteration, progress.epoch) == (23, 2)
    assert "val_miou" in progress.curve[-1]


def test_selection_by_a_boundary_score_runs_the_whole_evaluator(shapes: Shapes, tmp_path: Path) -> None:
    job = tiny_job("epochs=1", selection=Selection(metric="hd95"), protocol=tiny_job().protocol)
    job = job.model_copy(update={"images": 6})
    progress = train(job, context_for(shapes, tmp_path))
    assert progress.best_score is not None
    assert progress.best_score == progress.curve[-1]["val_hd95"]


@pytest.mark.parametrize("metric", ["miou", "biou", "iou[background]"])
@pytest.mark.parametrize("conventions", [{"size": (48, 40)}, {"level": "image"}, {"size": (48, 40), "level": "image"}])
def test_selection_sees_the_figure_that_the_protocol_scores(
    shapes: Shapes, tmp_path: Path, metric: str, conventions: dict[str, Any]
) -> None:
    protocol = Protocol(name="own", **conventions)
    job = tiny_job("epochs=20", "val_every=20", selection=Selection(metric=metric), protocol=protocol, images=12)
    context = context_for(shapes, tmp_path)
    progress = train(job, context)
    evaluator = new_evaluator(shapes.info, protocol)
    ids = shapes.ids("val", 12)
    for image_id, logits in predictions(context.model, context.samples, ids, job.recipe, 6, 16):
        evaluator.update(label_map(logits), context.samples.get(image_id)[1], image_id)
    scores = evaluator.compute()
    assert progress.best_score == progress.curve[-1][f"val_{metric}"] == pick(scores, metric, shapes.info)
    assert progress.curve[-1]["val_dice"] == scores.values["dice"]
    usual = train(job.model_copy(update={"protocol": Protocol()}), context_for(shapes, tmp_path / "usual"))
    assert usual.best_score != progress.best_score


def test_a_loss_that_is_not_finite_stops_with_its_step(shapes: Shapes, tmp_path: Path) -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(3, 6, 1)
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            return self.layer(x) * (float("nan") if self.calls > 3 else 1.0)

    context = context_for(shapes, tmp_path)
    context.model = Broken()
    with pytest.raises(Diverged, match="epoch 1, iteration 4"):
        train(tiny_job(), context)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"name": "constant"}, [1, 1, 1]),
        ({"name": "poly", "power": 1.0}, [1, 0.5, 0.1]),
        ({"name": "poly", "power": 1.0, "per": "epoch"}, [1, 0.5, 0.5]),
        ({"name": "cosine"}, [1, 0.5, 0.02447174185242318]),
        ({"name": "step", "every": 5, "gamma": 0.1}, [1, 0.1, 0.1]),
        ({"name": "constant", "warmup": 4}, [0.25, 1, 1]),
    ],
    ids=["constant", "poly", "poly per epoch", "cosine", "step", "warm-up"],
)
def test_schedules_follow_their_formula(schedule: dict[str, object], expected: list[float]) -> None:
    options = Recipe.model_validate({"epochs": 1, "schedule": schedule}).schedule
    found = [learning_rate_factor(options, iteration, per_epoch=5, total=10) for iteration in (0, 5, 9)]
    assert found == pytest.approx(expected, abs=1e-12)


def test_heads_and_norms_get_groups_of_their_own() -> None:
    recipe = Recipe.model_validate(
        {
            "epochs": 1,
            "optimizer": {
                "name": "sgd", "lr": 0.1, "weight_decay": 0.5, "head_lr_factor": 10, "decay_norm_and_bias": False,
            },
        }
    )  # fmt: skip
    model = build("deeplabv3plus", 2, backbone="resnet18", width=4, channels=8)
    groups = build_optimizer(model, recipe.optimizer, ("encoder",)).param_groups
    assert {(g["lr"], g["weight_decay"]) for g in groups} == {(0.1, 0.5), (0.1, 0.0), (1.0, 0.5), (1.0, 0.0)}
    assert sum(len(g["params"]) for g in groups) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([1, 2], "returned list"),
        ({"logits": torch.zeros(1)}, "without 'out'"),
        (torch.zeros(1, 5, 8, 8), r"shape \(1, 5, 8, 8\), expected \(N, 6, 8, 8\)"),
        (torch.zeros(1, 6, 4, 4), "must agree"),
        (torch.zeros(1, 6, 8, 8, dtype=torch.int64), "expected floating-point"),
    ],
)
def test_outputs_that_break_the_contract_are_named(outputs: object, message: str) -> None:
    with pytest.raises(BadModel, match=message):
        split_outputs(outputs, 6, (8, 8))


@pytest.mark.parametrize("mode", ["resize", "whole"])
def test_predictions_come_at_the_original_resolution(shapes: Shapes, mode: str) -> None:
    recipe = Recipe.model_validate({"epochs": 1, "size": [40, 24], "batch_size": 3, "predict": {"mode": mode}})
    model = build("unet", 6, width=4, depth=2)
    found = dict(predictions(model, DecodedSamples(shapes), shapes.ids("val", 4), recipe, 6, 16))
    assert list(found) == shapes.ids("val", 4)
    assert {tuple(logits.shape) for logits in found.values()} == {(6, 64, 64)}
    assert model.training


def test_one_channel_means_foreground_where_the_logit_is_positive() -> None:
    assert label_map(torch.tensor([[[-1.0, 0.0, 0.1]]])).tolist() == [[0, 0, 1]]


def weights(context: TrainingContext) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in context.model.parameters()])


def plain_context(shapes: Shapes, folder: Path) -> TrainingContext:
    """Without dropout and batch normalisation, which see the parts of a batch one by one."""
    torch.manual_seed(0)
    return TrainingContext(
        build("unet", 6, width=4, depth=2, norm=False), 16, 6, shapes, DecodedSamples(shapes), folder
    )


def test_a_batch_in_parts_takes_the_same_step(shapes: Shapes, tmp_path: Path) -> None:
    found = []
    for parts in (1, 4):
        context = plain_context(shapes, tmp_path / str(parts))
        # Void is spread unevenly over the parts: a mean over each part's own pixels would differ, if little.
        train(tiny_job("iterations=3", f"accumulate={parts}", "optimizer={name: sgd, lr: 0.01}"), context)
        found.append(weights(context))
    assert torch.allclose(found[0], found[1], atol=2e-4)
    assert not torch.equal(found[0], weights(plain_context(shapes, tmp_path)))


def test_the_averaged_weights_are_scored_and_kept(shapes: Shapes, tmp_path: Path) -> None:
    by_hand: list[torch.Tensor] = []
    plain = plain_context(shapes, tmp_path / "plain")

    def note() -> bool:
        by_hand.append(weights(plain))
        return False

    plain.stopping = note
    selection = Selection(rule="last")
    train(tiny_job("iterations=5", selection=selection), plain)
    average = by_hand[0]
    for later in by_hand[1:]:
        average = 0.8 * average + 0.2 * later
    averaged = plain_context(shapes, tmp_path / "ema")
    train(tiny_job("iterations=5", "ema=0.8", selection=selection), averaged)
    assert torch.allclose(weights(averaged), average, atol=1e-6)
    kept = torch.load(tmp_path / "ema" / "last.pt")
    assert all(torch.equal(v, kept[k]) for k, v in averaged.model.state_dict().items())


def test_patience_ends_a_training_that_no_longer_improves(shapes: Shapes, tmp_path: Path) -> None:
    job = tiny_job("epochs=30", "early_stop={patience: 2}", "optimizer={lr: 1e-12}")
    job = job.model_copy(update={"images": 8})
    progress = train(job, context_for(shapes, tmp_path))
    assert progress.epoch == progress.best_epoch + 2 < 30  # type: ignore[operator]


def test_class_balanced_sampling_draws_images_of_rare_classes_more_often(shapes: Shapes) -> None:
    from harness.training.loader import class_balanced_weights

    ids = shapes.ids("train")
    samples = DecodedSamples(shapes)
    found = class_balanced_weights(samples, ids)
    held = [set(samples.get(i)[1].unique().tolist()) - {255} for i in ids]
    images = {label: sum(label in h for h in held) for label in range(6)}
    assert found.tolist() == pytest.approx([max(1 / images[label] for label in h) for h in held])
    batches = EpochBatches(len(ids), 8, 0, found)
    drawn = [index for batch in batches for _, index in batch]
    assert drawn == [index for batch in batches for _, index in batch]
    assert len(set(drawn)) < len(drawn) == len(ids)


def test_the_network_is_compiled_where_the_recipe_says_so(
    shapes: Shapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(torch, "compile", lambda model: asked.append(model) or model)
    context = context_for(shapes, tmp_path)
    train(tiny_job("iterations=1", "compile=true", "channels_last=true"), context)
    assert asked == [context.model]


def test_weights_of_another_network_are_refused_by_name(tmp_path: Path) -> None:
    from harness.training.network import load_weights

    torch.save(build("unet", 6, width=4).state_dict(), tmp_path / "w.pt")
    with pytest.raises(BadModel, match=r"w.pt does not fit this network: missing key.* and \d+ more"):
        load_weights(build("segnet", 6, width=4), tmp_path / "w.pt")
    with pytest.raises(BadModel, match="has shape"):
        load_weights(build("unet", 5, width=4), tmp_path / "w.pt")
    model = build("unet", 6, width=4)
    torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "wrapped.pt")
    other = build("unet", 6, width=4)
    load_weights(other, tmp_path / "wrapped.pt")
    assert all(torch.equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())


def test_fcn_is_trained_in_stages_by_starting_from_the_coarser_network(tmp_path: Path) -> None:
    from harness.training.network import start_from

    small = {"width": 4, "hidden": 8}
    coarse, fine = build("fcn32s", 3, **small), build("fcn16s", 3, **small)
    torch.nn.init.normal_(coarse.score.weight)  # type: ignore[union-attr, arg-type]
    torch.save(coarse.state_dict(), tmp_path / "32s.pt")
    start_from(fine, tmp_path / "32s.pt")
    taken = [
        n for n, v in fine.state_dict().items() if n in coarse.state_dict() and v.shape == coarse.state_dict()[n].shape
    ]
    assert all(torch.equal(fine.state_dict()[n], coarse.state_dict()[n]) for n in taken)
    assert "score.weight" in taken
    assert not any(n.startswith(("score_pool4", "up2", "up_final")) for n in taken)
    with pytest.raises(BadModel, match="no weight with the name"):
        start_from(build("segformer", 3, width=8), tmp_path / "32s.pt")
