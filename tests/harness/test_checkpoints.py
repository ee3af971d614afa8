"""Weights that are kept every few epochs: those of a shorter training, whatever interrupted or shared it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from harness.datasets.shapes import Shapes
from harness.tasks.artifacts import RunFiles
from harness.tasks.checkpoint_files import EPOCHS
from harness.training.loop import Interrupted, train
from tests.conftest import TINY, rows, run_bench
from tests.harness.test_train import context_for, tiny_job

SHORT = ("schedule={name: constant}", "selection={rule: last}", "val_every=9")


@pytest.fixture
def shapes(shapes_home: Path) -> Shapes:
    return Shapes(shapes_home / "data" / Shapes.folders[0])


def same(a: Path, b: Path) -> bool:
    one, two = (torch.load(path, weights_only=True) for path in (a, b))
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize("more", [(), ("ema=0.9",)], ids=["plain", "averaged"])
def test_weights_of_an_epoch_are_those_of_a_training_that_ends_there(
    shapes: Shapes, tmp_path: Path, more: tuple[str, ...]
) -> None:
    train(tiny_job("epochs=4", "checkpoint_every=2", *SHORT, *more), context_for(shapes, tmp_path / "long"))
    train(tiny_job("epochs=2", *SHORT, *more), context_for(shapes, tmp_path / "short"))
    assert sorted(p.name for p in (tmp_path / "long").iterdir()) == ["epoch-0002.pt", "epoch-0004.pt", "last.pt"]
    assert same(tmp_path / "long" / "epoch-0002.pt", tmp_path / "short" / "last.pt")
    assert same(tmp_path / "long" / "epoch-0004.pt", tmp_path / "long" / "last.pt")
    assert not same(tmp_path / "long" / "epoch-0002.pt", tmp_path / "long" / "last.pt")


@pytest.mark.slow
@pytest.mark.long
def test_an_interrupted_training_keeps_the_same_files(shapes: Shapes, tmp_path: Path) -> None:
    job = tiny_job("epochs=3", "checkpoint_every=1", *SHORT)
    train(job, context_for(shapes, tmp_path / "whole"))
    asked = iter([False] * 25 + [True])  # 20 iterations make an epoch
    with pytest.raises(Interrupted):
        train(job, context_for(shapes, tmp_path / "parts", stopping=lambda: next(asked)))
    assert (tmp_path / "parts" / "epoch-0001.pt").exists()
    train(job, context_for(shapes, tmp_path / "parts"))
    whole = sorted((tmp_path / "whole").glob(EPOCHS))
    assert [path.name for path in whole] == ["epoch-0001.pt", "epoch-0002.pt", "epoch-0003.pt"]
    assert all(path.read_bytes() == (tmp_path / "parts" / path.name).read_bytes() for path in whole)


@pytest.mark.slow
@pytest.mark.long
def test_shared_trainings_keep_each_their_own_and_such_a_file_can_be_scored(home: Path) -> None:
    kept = ["--set", "schedule={name: constant}", "--set", "selection={rule: last}", "--set", "checkpoint_every=1"]
    words: list[Any] = ["run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local", *kept]
    told = run_bench(*words, "--set", "grid.epochs=[1, 3]", cwd=home).stdout
    assert "Shared trainings: 3 epochs instead of 4" in told
    folders = {
        json.loads(config)["recipe"]["epochs"]: home / "results.artifacts" / fingerprint[:16] / "checkpoints"
        for config, fingerprint in rows(home, "select config, fingerprint from runs")
    }
    names = {epochs: sorted(p.name for p in folder.glob(EPOCHS)) for epochs, folder in folders.items()}
    assert names == {1: ["epoch-0001.pt"], 3: ["epoch-0001.pt", "epoch-0002.pt", "epoch-0003.pt"]}
    assert same(folders[1] / "epoch-0001.pt", folders[1] / "last.pt")
    # Nothing that is done is trained again for files that nobody had asked for.
    again = run_bench(*words, "--set", "grid.epochs=[1, 3]", "--set", "checkpoint_every=2", cwd=home).stdout
    assert "Nothing to do" in again
    run_bench(*words, "--set", "epochs=1", "--checkpoint", folders[3] / "epoch-0001.pt", cwd=home)
    miou = "select value from scores where metric = 'miou' and class_index = -1 and evaluation_id in "
    of = "(select e.id from evaluations e join runs r on r.id = e.run_id where e.split = 'test' and "
    (trained,) = rows(home, f"{miou}{of}json_extract(r.config, '$.recipe.epochs') = 1 and r.model = 'U-Net')")
    (scored,) = rows(home, f"{miou}{of}r.model = 'U-Net [epoch-0001.pt]')")
    assert scored == trained


def test_weights_of_an_epoch_go_to_a_store_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path))
    files = RunFiles("memory://epochs/run")
    folder = files.local / "checkpoints"
    folder.mkdir(parents=True)

    def write(text: str) -> None:
        for name in ("epoch-0001.pt", "resume.pt"):
            (folder / name).write_text(text)

    def stored(name: str) -> str:
        return str(files._store.cat_file(files._path(f"checkpoints/{name}")).decode())

    write("one")
    files.keep("checkpoints", written_once=EPOCHS)
    write("two")
    files.keep("checkpoints", written_once=EPOCHS)
    assert (stored("epoch-0001.pt"), stored("resume.pt")) == ("one", "two")
    write("cut off")
    files.keep("checkpoints", written_once=EPOCHS)
    assert stored("epoch-0001.pt") == "cut off", "a file that did not arrive in full is copied again"
    write("at last")
    files.keep("checkpoints")
    assert stored("epoch-0001.pt") == "at last"
