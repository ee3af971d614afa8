"""Training and prediction show a network the same stretch and as much of an image, or the file says why not."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.augmentations.transforms.compose import augmented, training_transform
from harness.config.expand import expand
from harness.config.job import Job
from harness.config.load import load_suite
from harness.config.recipe import Recipe
from harness.datasets import dataset_class
from harness.scoring.predict import predict_image
from harness.scoring.samples import seeded
from tests.conftest import ROOT

SHAPE = (375, 500)  # the commonest of VOC
DRAWS = 40
# What changes colours, and so what this test's image says of its pixels' places, moves no pixel.
OF_COLOUR = ("blur", "color_jitter", "photometric")
SUITES = sorted(path.stem for path in (ROOT / "configs" / "suites").glob("*.yaml"))


def coordinates() -> Tensor:
    """An image whose red and green are its columns and rows, as grey levels from 0 to 254; blue: no padding."""
    rows, columns = torch.meshgrid(*(torch.arange(n) * 254 / (n - 1) for n in SHAPE), indexing="ij")
    return torch.stack([columns, rows, torch.full(SHAPE, 255.0)]).round().to(torch.uint8)


def seen(image: NDArray[np.uint8]) -> tuple[float, float]:
    """How much wider than high an image made of `coordinates` shows a square, and the share of the source it shows."""
    inside = image[2] == 255
    place = np.stack([image[c] / 254 * (n - 1) for c, n in ((0, SHAPE[1]), (1, SHAPE[0]))])
    some = np.zeros_like(inside)
    some[::5, ::5] = inside[::5, ::5]
    rows, columns = np.nonzero(some)
    design = np.stack([columns, rows, np.ones(len(rows))], axis=1)
    fit = np.linalg.lstsq(design, place[:, some].T, rcond=None)[0][:2].T  # source by output
    wide, high = np.linalg.norm(np.linalg.inv(fit), axis=0)
    return float(wide / high), float(inside.sum() * abs(np.linalg.det(fit)) / (SHAPE[0] * SHAPE[1]))


def in_training(recipe: Recipe) -> tuple[float, float]:
    """The geometric mean of the stretch over draws, and the mean share of an image."""
    transform = training_transform([one for one in recipe.augment if one.op not in OF_COLOUR], recipe.size)
    found = []
    for seed in range(DRAWS):
        with seeded(seed):
            found.append(seen(augmented(transform, coordinates(), torch.zeros(SHAPE, dtype=torch.uint8))[0].numpy()))
    stretch, share = zip(*found, strict=True)
    return float(np.exp(np.log(stretch).mean())), float(np.mean(share))


def in_prediction(recipe: Recipe) -> tuple[float, float]:
    """The same of what the network is shown, without scales and mirror images; of its windows the widest look."""
    found = []

    def network(images: Tensor) -> Tensor:
        found.append(seen(images[0].numpy()))
        return images[:, :2].float()

    plain = recipe.predict.model_copy(update={"flip": False, "scales": (1.0,)})
    predict_image(network, coordinates(), recipe.size, plain)
    stretch, share = zip(*found, strict=True)
    return float(np.exp(np.log(stretch).mean())), float(max(share))


def jobs(name: str) -> list[Job]:
    suite = load_suite(name)
    infos = {entry.name: dataset_class(entry.name).info for entry in suite.datasets}
    # One of each way to bring images to a network.
    found = expand(suite, infos)
    return list({f"{j.recipe.augment}{j.recipe.size}{j.recipe.predict}": j for j in found}.values())


def files(name: str, job: Job) -> str:
    """What the suite's file and its recipe's say."""
    paths = [ROOT / "configs" / "suites" / f"{name}.yaml", ROOT / "configs" / "recipes" / f"{job.recipe.name}.yaml"]
    text = "\n".join(path.read_text() for path in paths if path.exists())
    bases = re.findall(r"base: ([a-z0-9-]+)", text)
    return text + "".join(Path(ROOT / "configs" / "recipes" / f"{base}.yaml").read_text() for base in bases)


@pytest.mark.parametrize("name", SUITES)
def test_stretch_and_share_agree_between_training_and_prediction(name: str) -> None:
    for job in jobs(name):
        (stretch, share), (wanted, whole) = in_training(job.recipe), in_prediction(job.recipe)
        text, what = files(name, job), f"{name}, {job.model.title}"
        assert stretch == pytest.approx(wanted, rel=0.03), f"{what}: a square is shown otherwise than in prediction"
        said = re.search(r"Training shows about (\d+) % of an image\D+(\d+) %", text.replace("\n#", "\n"))
        if abs(share - whole) > 0.02:
            assert said, (
                f"{what}: {share:.2f} of an image in training, {whole:.2f} in prediction; no file of it says so"
            )
            assert (int(said[1]) / 100, int(said[2]) / 100) == (
                pytest.approx(share, abs=0.06),
                pytest.approx(whole, abs=0.06),
            ), what


def test_the_reports_square_is_seen_as_it_is_tested() -> None:
    recipe = jobs("deeplabv3plus-voc-report")[0].recipe
    stretch, share = in_training(recipe)
    assert stretch == pytest.approx(0.75, rel=0.02)
    assert 0.8 < share < 0.9
    # Without the step, cuts are taken of the photograph: what the report never showed its network.
    later = tuple(one for one in recipe.augment if one.op != "resize")
    assert in_training(recipe.model_copy(update={"augment": later}))[0] > 0.9
