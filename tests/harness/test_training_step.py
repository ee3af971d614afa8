"""One training step by hand: void, further outputs and the parts of a batch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from harness.config.expand import expand
from harness.config.load import load_suite
from harness.datasets.shapes import Shapes
from harness.optim import build_optimizer
from harness.scoring.samples import DecodedSamples
from harness.training.loop import TrainingContext, training_step
from tests.conftest import TINY


class TwoHeads(nn.Module):
    """Pixel by pixel: logits, and those of a further output."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.further = nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"out": self.main(x), "aux": self.further(x)}


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("average", ["counted", "all"])
def test_a_step_is_the_mean_that_the_recipe_names_in_any_number_of_parts(
    shapes_home: Path, tmp_path: Path, average: str, parts: int
) -> None:
    loss = f"recipe.loss={{terms: [ce], aux_weight: 0.25, average: {average}}}"
    words = [loss, f"accumulate={parts}", "recipe.normalize=unit", "recipe.optimizer={name: sgd, lr: 1.0}"]
    job = expand(load_suite(str(TINY), words), {"shapes": Shapes.info})[0]
    dataset = Shapes(shapes_home / "data" / Shapes.folders[0])
    torch.manual_seed(0)
    model = TwoHeads()
    before = [value.detach().clone() for value in model.parameters()]
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    targets = torch.randint(0, 6, (3, 16, 16), dtype=torch.uint8)
    targets[0, :12], targets[1, :3] = 255, 255  # 15 of 48 rows are void, spread unevenly over the parts

    both = model(images / 255)
    sums = [cross_entropy(both[name], targets.long(), ignore_index=255, reduction="sum") for name in ("out", "aux")]
    expected = (sums[0] + 0.25 * sums[1]) / (16 * (48 if average == "all" else 33))
    slopes = torch.autograd.grad(expected, list(model.parameters()))

    context = TrainingContext(model, 16, 6, dataset, DecodedSamples(dataset), tmp_path)
    optimizer = build_optimizer(model, job.recipe.optimizer)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    found = training_step(images, targets, model, job, context, optimizer, scaler, parts)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    for value, old, slope in zip(model.parameters(), before, slopes, strict=True):
        assert torch.allclose(old - value, slope, atol=1e-6)
