"""Study C, U-Net on DRIVE, as its report has it: dropout, three channels against an RGB mask, test batch losses."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from harness.config.expand import expand
from harness.config.job import Job
from harness.config.load import load_suite
from harness.config.recipe import Recipe
from harness.datasets.drive import Drive
from harness.losses import total_loss
from harness.metrics import StatisticsTable
from harness.models import build
from harness.models.blocks.dropout import Dropout
from harness.optim import build_optimizer
from harness.scoring.batch_loss import batch_logits, batch_losses
from harness.scoring.predict import as_one_channel, forward, label_map, predictions
from harness.scoring.samples import DecodedSamples
from harness.training.loader import training_loader
from harness.training.loop import TrainingContext, train, training_step
from harness.training.network import logit_channels
from harness.training.tensorboard import TrainingLog
from tests.conftest import rows, run_bench
from tests.harness.copies import drive

RECIPE: dict[str, Any] = {
    "epochs": 1,
    "size": [16, 16],
    "batch_size": 4,
    "normalize": "unit",
    "loss": {"terms": ["rgb_bce"], "ignore": "nothing"},
    "augment": [{"op": "letterbox"}],
    "predict": {"mode": "letterbox", "loss_batch": 2},
}
# The copy's images of 8×12 pixels are padded to squares of 12: without a resize, every pixel is known.
NOT_RESIZED = {**RECIPE, "size": [12, 12]}


@pytest.fixture
def samples(tmp_path: Path) -> DecodedSamples:
    return DecodedSamples(Drive(drive(tmp_path / "DRIVE"), "official"))


def rgb_mask(samples: DecodedSamples, image_id: str) -> Tensor:
    """The drawing as the report reads it: pasted onto a black square, converted to RGB, in [0, 1]."""
    drawn = Image.open(samples.dataset.files(image_id).mask).convert("L")
    square = Image.new("L", (12, 12))
    square.paste(drawn, (0, 2))
    return torch.from_numpy(np.array(square.convert("RGB"))).permute(2, 0, 1) / 255


def test_its_dropout_drops_single_elements_and_not_whole_channels() -> None:
    model = build("unet_strided", 1, width=4)
    seen: list[torch.Tensor] = []
    drops = [layer for layer in model.modules() if isinstance(layer, Dropout)]
    for layer in drops:
        layer.register_forward_hook(lambda module, inputs, output: seen.append((output == 0) & (inputs[0] != 0)))
    torch.manual_seed(0)
    model.train()(torch.randn(2, 3, 64, 64))
    assert len(seen) == 18
    # Of the finest maps every channel has elements that were dropped, and others that were not.
    share = seen[0].float().mean(dim=(2, 3))
    assert torch.all((share > 0.25) & (share < 0.35))
    share = seen[1].float().mean(dim=(2, 3))
    assert torch.all((share > 0.35) & (share < 0.45))
    seen.clear()
    model.eval()(torch.randn(1, 3, 64, 64))
    assert not any(bool(dropped.any()) for dropped in seen)


def test_its_loss_is_that_of_three_channels_against_the_rgb_mask_with_every_pixel(samples: DecodedSamples) -> None:
    recipe = Recipe.model_validate(NOT_RESIZED)
    ids = samples.dataset.ids("train")
    loader, batches = training_loader(samples, ids, recipe, seed=0)
    batches.at(0)
    (shown, *_), (_, targets) = list(batches), next(iter(loader))
    truth = torch.stack([rgb_mask(samples, ids[index]) for _, index in shown])
    assert 0 < truth.mean() < 1
    torch.manual_seed(0)
    logits = torch.randn(4, 3, 12, 12)
    found = total_loss(logits, recipe.loss.target(targets, 255), recipe.loss, 255)
    assert torch.allclose(found, binary_cross_entropy_with_logits(logits, truth))
    # The usual way, padding and what lies outside the field of view are void: other pixels, another loss.
    usual = Recipe.model_validate({**NOT_RESIZED, "loss": "rgb_bce"})
    loader, batches = training_loader(samples, ids, usual, seed=0)
    batches.at(0)
    _, targets = next(iter(loader))
    assert (targets == 255).sum() == 4 * (144 - 60)
    assert total_loss(logits, targets, usual.loss, 255) != found


@pytest.mark.parametrize("parts", [1, 3])
def test_padding_counts_in_a_training_step_however_many_parts_the_batch_has(
    samples: DecodedSamples, tmp_path: Path, parts: int
) -> None:
    suite = load_suite("unet-drive", [f"recipe.accumulate={parts}"])
    job: Job = expand(suite, {"drive": Drive.info})[0]
    torch.manual_seed(0)
    model = nn.Conv2d(3, logit_channels(job, Drive.info), 1)
    context = TrainingContext(model, 16, 3, samples.dataset, samples, tmp_path)
    images = torch.randint(0, 256, (4, 3, 16, 16), dtype=torch.uint8)
    targets = torch.randint(0, 2, (4, 16, 16), dtype=torch.uint8)
    targets[0, :8] = 255
    truth = (targets == 1)[:, None].float().expand(4, 3, 16, 16)
    expected = binary_cross_entropy_with_logits(model(images / 255), truth)
    optimizer = build_optimizer(model, job.recipe.optimizer)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    found = training_step(images, targets, model, job, context, optimizer, scaler, parts)
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("predict", [{"mode": "letterbox"}, {"mode": "letterbox", "flip": True}], ids=["once", "flip"])
def test_a_pixel_is_a_vessel_where_the_mean_of_the_three_probabilities_says_so(
    samples: DecodedSamples, predict: dict[str, Any]
) -> None:
    recipe = Recipe.model_validate({**NOT_RESIZED, "predict": predict})
    torch.manual_seed(0)
    model = nn.Conv2d(3, 3, 1)
    model.weight.data *= 8
    image_id = samples.dataset.ids("test")[0]
    ((_, logits),) = predictions(model, samples, [image_id], recipe, 3, 1)
    image = samples.get(image_id)[0]
    chances = model(image[None] / 255).sigmoid()[0]
    assert torch.allclose(logits.sigmoid(), chances, atol=1e-5)
    one = as_one_channel(logits, recipe.loss)
    assert torch.equal(label_map(one).bool(), chances.mean(dim=0) > 0.5)
    assert not torch.equal(label_map(one).bool(), chances[0] > 0.5)
    assert 0 < label_map(one).float().mean() < 1


def test_the_losses_of_test_batches_are_those_of_the_network_on_its_own_input(samples: DecodedSamples) -> None:
    resized, ids = Recipe.model_validate(RECIPE), samples.dataset.ids("test", 5)
    recipe = Recipe.model_validate(NOT_RESIZED)
    model = build("unet_strided", 3, width=4)
    found = batch_losses(batch_logits(model, samples, ids, recipe, 3, 16), samples, ids, recipe)
    assert model.training
    model.eval()
    expected = []
    with torch.no_grad():
        for pair in (ids[0:2], ids[2:4], ids[4:5]):
            images = torch.zeros(len(pair), 3, 12, 12, dtype=torch.uint8)
            for image, image_id in zip(images, pair, strict=True):
                image[:, 2:10] = samples.get(image_id)[0]
            truth = torch.stack([rgb_mask(samples, image_id) for image_id in pair])
            expected.append(binary_cross_entropy_with_logits(forward(model, images, recipe, 3, 16), truth).item())
    assert found == pytest.approx(expected, abs=1e-6)
    assert len(set(found)) == 3
    assert batch_losses(batch_logits(model, samples, ids, resized, 3, 16), samples, ids, resized) != found


def test_batches_of_a_size_of_their_own_need_one_size() -> None:
    with pytest.raises(ValidationError, match="loss_batch: images make a batch"):
        Recipe.model_validate({**RECIPE, "predict": {"mode": "slide", "loss_batch": 2}})


def test_each_epoch_draws_the_first_training_image_and_nothing_is_validated(
    samples: DecodedSamples, tmp_path: Path
) -> None:
    suite = load_suite("unet-drive", ["epochs=3", "recipe.size=[12,12]", "resources.cpus=1"])
    job: Job = expand(suite, {"drive": Drive.info})[0]
    assert job.recipe.val_every == 1
    context = TrainingContext(nn.Conv2d(3, 3, 1), 1, 3, samples.dataset, samples, tmp_path)
    log = TrainingLog(tmp_path)
    context.draw_samples = lambda epoch: log.draw(job, context, epoch)
    progress = train(job, context)
    log.close()
    assert [sorted(record) for record in progress.curve] == [["epoch", "lr", "seconds", "train_loss"]] * 3
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    first = samples.dataset.ids("train")[0]
    assert events.Tags()["images"] == [f"samples/{first}"]
    drawn = events.Images(f"samples/{first}")
    assert [image.step for image in drawn] == [1, 2, 3]
    picture = np.asarray(Image.open(io.BytesIO(drawn[-1].encoded_image_string)))
    image, mask, _ = samples.get(first)
    assert picture.shape == (8, 3 * 12, 3)
    assert np.array_equal(picture[:, :12], image.permute(1, 2, 0).numpy())
    drawing = (picture[:, 12:24] == Drive.info.palette[1]).all(axis=2)
    assert np.array_equal(drawing, mask.numpy() == 1)


SUITE = """
name: small
title: Small
datasets: [{name: drive, variant: official}]
models: [{name: unet_strided, params: {width: 2}, label: Literal}]
recipe: RECIPE
selection: {rule: last}
"""


@pytest.mark.slow
@pytest.mark.long
def test_mean_and_range_of_the_batches_are_scores_and_outlive_another_protocol(tmp_path: Path) -> None:
    drive(tmp_path / "DRIVE")
    (tmp_path / "small.yaml").write_text(SUITE.replace("RECIPE", json.dumps(RECIPE)))
    told = run_bench("run", "--suite", "small.yaml", "--data-dir", ".", "--local", cwd=tmp_path)
    assert "1 to train" in told.stdout
    ((details, statistics),) = rows(tmp_path, "select details, statistics from evaluations")
    losses = json.loads(details)["batch_losses"]
    assert len(losses) == 10
    assert StatisticsTable.from_bytes(statistics).batch_loss.tolist() == losses
    query = "select metric, value from scores where metric like 'batch_loss%' order by evaluation_id, metric"
    expected = [("batch_loss", np.mean(losses)), ("batch_loss_max", max(losses)), ("batch_loss_min", min(losses))]
    found = rows(tmp_path, query)
    assert [name for name, _ in found] == [name for name, _ in expected]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected])
    again = ("--set", "protocol.void=mask")
    told = run_bench("run", "--suite", "small.yaml", *again, "--data-dir", ".", "--local", cwd=tmp_path)
    assert "1 to rescore" in told.stdout
    assert rows(tmp_path, query) == found * 2
    assert "0 problem(s)" in run_bench("db", "check", cwd=tmp_path).stdout
