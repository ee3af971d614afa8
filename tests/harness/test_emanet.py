"""EMANet: its bases, which are moved and not trained; its dilations."""

from __future__ import annotations

import os
import time
from itertools import count
from pathlib import Path

import pytest
import torch

from harness.config.expand import expand
from harness.config.load import load_suite
from harness.datasets.shapes import Shapes
from harness.models import build
from harness.models.emanet import EMAUnit
from harness.scoring.samples import DecodedSamples
from harness.training.loop import Interrupted, TrainingContext, train
from tests.conftest import TINY
from tests.harness.test_models import SMALL


def small_emanet() -> torch.nn.Module:
    torch.manual_seed(0)
    return build("emanet", 3, **SMALL["emanet"])


def test_emanets_bases_move_in_training_only_and_are_saved() -> None:
    model = small_emanet()
    unit = model.attention
    before = unit.bases.clone()  # type: ignore[union-attr, operator]
    assert torch.allclose(before.norm(dim=1), torch.ones(8))
    x = torch.randn(2, 3, 64, 64)
    model.eval()(x)
    assert torch.equal(unit.bases, before)  # type: ignore[union-attr, arg-type]
    model.train()(x)
    model.after_step()  # type: ignore[operator]
    assert not torch.equal(unit.bases, before)  # type: ignore[union-attr, arg-type]
    other = small_emanet()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.attention.bases, unit.bases)  # type: ignore[union-attr, arg-type]


def test_emanets_first_convolution_is_frozen_and_its_dilations_are_2_8_16() -> None:
    model = small_emanet()
    frozen = [n for n, p in model.named_parameters() if not p.requires_grad]
    assert frozen == ["attention.conv1.weight", "attention.conv1.bias"]
    whole = build("emanet", 3, width=4, channels=8)
    assert [b.conv2.dilation[0] for b in whole.encoder.layer4] == [2, 8, 16]  # type: ignore[union-attr]
    assert {m.momentum for m in whole.modules() if isinstance(m, torch.nn.BatchNorm2d)} == {3e-4}


def _ema_worker(rank: int, place: str, folder: str) -> None:
    """One of two data-parallel processes: a training step on images of its own, in two parts."""
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{place}", rank=rank, world_size=2)
    model = DistributedDataParallel(small_emanet().train())
    generator = torch.Generator().manual_seed(rank)
    # In two parts: before the second, rank 0's buffers overwrite the others'.
    for _ in range(2):
        model(torch.randn(2, 3, 64, 64, generator=generator)).sum().backward()
    model.module.after_step()
    torch.save(model.module.attention.bases, Path(folder) / f"{rank}.partial")
    (Path(folder) / f"{rank}.partial").rename(Path(folder) / f"{rank}.pt")
    # Both leave at once, and without taking the group apart: gloo's threads can wait for a peer that has gone already.
    while not all((Path(folder) / f"{r}.pt").exists() for r in (0, 1)):
        time.sleep(0.05)
    os._exit(0)


@pytest.mark.long
@pytest.mark.slow
def test_data_parallel_processes_move_the_bases_as_one_process_with_all_images(tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_ema_worker, (str(tmp_path / "meet"), str(tmp_path)), nprocs=2)
    one, two = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert torch.equal(one, two)
    alone = small_emanet().train()
    generators = [torch.Generator().manual_seed(rank) for rank in (0, 1)]
    for generator in generators * 2:
        alone(torch.randn(2, 3, 64, 64, generator=generator))
    alone.after_step()  # type: ignore[operator]
    assert torch.allclose(one, alone.attention.bases, atol=1e-6)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize("parts", [(2, 2, 2, 2), (3, 5)], ids=["even", "uneven"])
def test_the_bases_move_once_for_a_batch_by_the_mean_over_its_images(parts: tuple[int, ...]) -> None:
    """By equation: 0.9 of the old ones, 0.1 of the mean of what EM finds in each image by itself."""
    unit = EMAUnit(channels=6, bases=4, stages=3, momentum=0.9).train()
    x, before = torch.randn(sum(parts), 6, 9, 7), unit.bases.clone()
    found = []
    with torch.no_grad():
        for pixels in unit.conv1(x).flatten(2):  # (C, pixels)
            mu = before[0]
            for _ in range(3):
                z = torch.softmax(pixels.T @ mu, dim=1)
                mu = torch.nn.functional.normalize(pixels @ (z / (1e-6 + z.sum(dim=0))), dim=0)
            found.append(mu)
    for part in x.split(list(parts)):
        unit(part)
        assert torch.equal(unit.bases, before)
    unit.move()
    assert torch.allclose(unit.bases[0], 0.9 * before[0] + 0.1 * torch.stack(found).mean(dim=0), atol=1e-6)
    moved = unit.bases.clone()
    unit.move()  # nothing was seen since
    unit.eval()(x)
    unit.move()
    assert torch.equal(unit.bases, moved)


def trained(home: Path, folder: Path, parts: int, stop_after: int | None = None) -> torch.nn.Module:
    """EMANet after four steps of eight images; without normalizations, which see each part of a batch for itself."""
    torch.manual_seed(0)
    model = build("emanet", 6, **SMALL["emanet"])
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.BatchNorm2d | torch.nn.Dropout2d):
                setattr(module, name, torch.nn.Identity())
    dataset = Shapes(home / "data" / Shapes.folders[0])
    words = ["iterations=4", f"accumulate={parts}", "optimizer={name: sgd, lr: 1e-5}", "batch_size=8"]
    job = expand(load_suite(str(TINY), words), {"shapes": Shapes.info})[0]
    calls = count(1)
    context = TrainingContext(model, 1, 6, dataset, DecodedSamples(dataset), folder)
    if stop_after is not None:
        context.stopping = lambda: next(calls) == stop_after
        with pytest.raises(Interrupted):
            train(job, context)
        return trained(home, folder, parts)
    train(job, context)
    return model


def test_a_batch_in_parts_moves_the_bases_as_the_whole_batch_does(shapes_home: Path, tmp_path: Path) -> None:
    whole, parts = (trained(shapes_home, tmp_path / str(n), n).attention.bases for n in (1, 4))  # type: ignore[union-attr]
    torch.manual_seed(0)
    start = build("emanet", 6, **SMALL["emanet"]).attention.bases  # type: ignore[union-attr]
    assert torch.allclose(whole, parts, atol=1e-5)  # type: ignore[arg-type]
    assert not torch.allclose(whole, start, atol=1e-2)  # type: ignore[arg-type]


def test_a_stopped_training_in_parts_keeps_the_bases_bits(shapes_home: Path, tmp_path: Path) -> None:
    whole, continued = trained(shapes_home, tmp_path / "whole", 4), trained(shapes_home, tmp_path / "cut", 4, 2)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, continued.state_dict()[name]), name
