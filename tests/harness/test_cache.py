"""The machine's cache of decoded samples."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.datasets import manifest_of
from harness.datasets.cache import IMAGES, INDEX, LIMIT_GB, NoCache, caches_folder, decoded_store, limit_bytes
from harness.datasets.shapes import Shapes
from harness.errors import BenchError
from harness.scoring.samples import DecodedSamples
from tests.conftest import ROOT

BUILD = """
import sys, time
from pathlib import Path
from harness.datasets import manifest_of
from harness.datasets.cache import decoded_store
from harness.datasets.shapes import Shapes
class Slow(Shapes):
    def read(self, image_id):
        print("read", flush=True)
        time.sleep(float(sys.argv[2]))
        return super().read(image_id)
dataset = Slow(Path(sys.argv[1]))
store = decoded_store(dataset, "content", 1)
print("done", len(store), flush=True)
"""


@pytest.fixture
def shapes(shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shapes:
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "caches"))
    return Shapes(shapes_home / "data" / Shapes.folders[0])


def start_build(shapes: Shapes, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILD, str(shapes.root), str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)


def test_samples_from_the_cache_are_those_from_the_files(shapes: Shapes) -> None:
    store = decoded_store(shapes, manifest_of(shapes).content_hash, 2)
    assert len(store) == 240
    cached, decoded = DecodedSamples(shapes, store), DecodedSamples(shapes)
    for image_id in [*shapes.ids("train")[:5], *shapes.ids("test")[:5]]:
        for a, b in zip(cached.get(image_id)[:2], decoded.get(image_id)[:2], strict=True):
            assert torch.equal(a, b)
            assert a.stride() == b.stride(), "the same memory layout, so that every operation gives the same bits"


def test_what_a_transform_changes_in_place_stays_its_own(shapes: Shapes) -> None:
    store = decoded_store(shapes, "content", 1)
    image = DecodedSamples(shapes, store).get("train_0000")[0]
    before = image.clone()
    image.zero_()
    assert torch.equal(DecodedSamples(shapes, decoded_store(shapes, "content", 1)).get("train_0000")[0], before)


def test_two_that_start_together_build_once(shapes: Shapes) -> None:
    both = [start_build(shapes, 0.003) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in both]
    assert all("done 240" in output for output in outputs)
    assert sum(output.count("read") for output in outputs) == 240


def test_a_killed_build_leaves_nothing_that_the_next_one_would_take(shapes: Shapes) -> None:
    process = start_build(shapes, 0.05)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list(caches_folder().glob(f"*/{INDEX}"))
    assert list(caches_folder().glob("*.partial"))
    store = decoded_store(shapes, "content", 1)
    assert len(store) == 240
    assert not list(caches_folder().glob("*.partial"))


def test_one_that_waits_can_be_stopped(shapes: Shapes) -> None:
    process = start_build(shapes, 0.2)
    assert process.stdout is not None
    process.stdout.readline()

    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        decoded_store(shapes, "content", 1, waiting=stop)
    process.kill()
    process.wait()


def test_without_room_the_reason_says_what_is_wanted_and_what_there_is(
    shapes: Shapes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGBENCH_CACHE_GB", "0.001")
    with pytest.raises(NoCache, match=r"take 0\.00 GB; 0\.00 GB may be used"):
        decoded_store(shapes, "content", 1)
    assert not list(caches_folder().glob("*/*"))
    monkeypatch.setenv("SEGBENCH_CACHE_GB", "lots")
    with pytest.raises(BenchError, match="write gigabytes"):
        limit_bytes()
    monkeypatch.delenv("SEGBENCH_CACHE_GB")
    assert limit_bytes() == LIMIT_GB * 1e9


def test_the_cache_used_longest_ago_makes_room(shapes: Shapes, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 240 * 64 * 64 * 4
    monkeypatch.setenv("SEGBENCH_CACHE_GB", str(2.5 * size / 1e9))
    first = decoded_store(shapes, "first", 1)
    second = decoded_store(shapes, "second", 1)
    assert sum(path.stat().st_size for path in first.folder.glob("*.bin")) == size
    assert (first.folder / IMAGES).stat().st_size == size * 3 // 4
    os.utime(second.folder / "used", (time.time() - 100,) * 2)
    decoded_store(shapes, "third", 1)
    assert first.folder.exists()
    assert not second.folder.exists()
    assert second.get("train_0000").image.shape == (64, 64, 3), "who has it open keeps it"


def test_a_folder_that_cannot_be_written_is_no_error(
    shapes: Shapes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(NoCache):
        decoded_store(shapes, "content", 1)


def test_training_gives_the_same_bits_with_and_without_a_cache(shapes: Shapes, tmp_path: Path) -> None:
    from harness.training.loop import train
    from tests.harness.test_train import context_for, tiny_job

    weights = []
    for name, store in (("with", decoded_store(shapes, "content", 1)), ("without", None)):
        context = context_for(shapes, tmp_path / name)
        context.samples = DecodedSamples(shapes, store)
        train(tiny_job("recipe.epochs=1", "recipe.augment=[{op: scale_crop}, {op: blur}]"), context)
        weights.append(torch.cat([value.flatten().float() for value in context.model.state_dict().values()]))
    assert torch.equal(*weights)


def test_a_valid_region_is_kept(tmp_path: Path, shapes: Shapes, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.datasets.base import Sample

    plain = Shapes.read

    def with_region(self: Shapes, image_id: str) -> Sample:
        sample = plain(self, image_id)
        return Sample(sample.image, sample.mask, sample.image[..., 0] > 100)

    monkeypatch.setattr(Shapes, "read", with_region)
    store = decoded_store(shapes, "region", 2)
    for image_id in shapes.ids("val")[:3]:
        expected = shapes.read(image_id)
        found = store.get(image_id)
        assert found.valid is not None
        assert np.array_equal(found.valid, expected.valid)
        assert np.array_equal(found.image, expected.image)
