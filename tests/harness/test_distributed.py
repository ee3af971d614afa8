"""Several processes that train one network: the result of one process with the same batches."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from harness.config.expand import expand
from harness.config.job import Job, ModelChoice, Resources
from harness.config.load import load_suite
from harness.datasets.shapes import Shapes
from harness.errors import BenchError, SuiteError
from harness.models.registry import find_model, read_plugin
from harness.runner.isolate import TaskProcess, run_isolated
from harness.tasks.messages import EpochDone, Message
from harness.tasks.result import Result
from harness.tasks.task import Task
from harness.training.cuda import start_cuda
from tests.conftest import TINY, run_bench

# Two kinds of batch statistics would be two trainings: without normalisation.
MODEL = ModelChoice(name="unet", params={"width": 4, "depth": 2, "norm": False})


def task_of(
    home: Path, folder: Path, processes: int, *overrides: str, model: ModelChoice = MODEL, **more: object
) -> Task:
    words = [
        "epochs=2",
        "recipe.optimizer={name: sgd, lr: 0.1, momentum: 0.9}",
        "recipe.augment=[{op: hflip}]",
        *overrides,
    ]
    job: Job = expand(load_suite(str(TINY), words), {"shapes": Shapes.info})[0]
    job = job.model_copy(update={"model": model, "resources": Resources(cpus=1, processes=processes)})
    entry = more.pop("entry", None) or find_model(model.name)
    root = str(home / "data" / Shapes.folders[0])
    return Task(job, entry, "f" * 64, root, str(folder), **more)  # type: ignore[arg-type]


def run(task: Task) -> tuple[Result, list[Message]]:
    heard: list[Message] = []
    result = run_isolated(task, heard.append, lambda: False)
    return result, heard


def failing_at_rank_1(word: str) -> str:
    """The source of a network that raises in the second process only."""
    return (
        'NAME = "bad"\nSTRIDE = 4\nimport torch\nfrom torch import nn\n\n\nclass Net(nn.Conv2d):\n'
        "    def forward(self, x):\n"
        f"        if torch.distributed.get_rank() == 1:\n            raise ValueError({word!r})\n"
        "        return super().forward(x)\n\n\n"
        "def build(num_classes):\n    return Net(3, num_classes, 1)\n"
    )


# A network that drops elements, and fails where two processes draw the same numbers.
DROPPING = """
NAME = "dropping"
STRIDE = 4
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Dropout(0.5), nn.Conv2d(8, classes, 1))

    def forward(self, x):
        if self.training:
            own = torch.rand(4)
            drawn = [torch.empty(4) for _ in range(torch.distributed.get_world_size())]
            torch.distributed.all_gather(drawn, own)
            if torch.equal(drawn[0], drawn[1]):
                raise ValueError("two processes draw the same numbers")
        return self.layers(x)


def build(num_classes):
    return Net(num_classes)
"""


def dropping_task(home: Path, folder: Path, *overrides: str) -> Task:
    (folder.parent / "dropping.py").write_text(DROPPING)
    entry = read_plugin(folder.parent / "dropping.py")
    return task_of(home, folder, 2, *overrides, model=ModelChoice(name="dropping"), entry=entry)


def stopped_after_an_epoch(task: Task) -> Result:
    """The result of a task that is asked to stop when it tells of its first epoch."""
    process = TaskProcess(task)
    result = None
    while result is None:
        message = process.poll(0.5)
        if isinstance(message, EpochDone) and message.epoch == 1:
            process.request_stop()
        if isinstance(message, Result):
            result = message
    process.close()
    return result


def weights(folder: Path) -> torch.Tensor:
    state = torch.load(folder / "checkpoints" / "last.pt")
    return torch.cat([value.flatten().double() for value in state.values()])


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param((), id="plain"),
        pytest.param(("recipe.accumulate=2",), id="parts", marks=[pytest.mark.slow, pytest.mark.long]),
        # Of three images one process has two and the other one: both compute them in one part. Corners are void.
        pytest.param(
            (
                "recipe.accumulate=2",
                "recipe.batch_size=3",
                "iterations=6",
                "recipe.augment=[{op: rotate, degrees: 45}]",
                "recipe.loss={terms: [ce], average: all}",
            ),
            id="uneven",
        ),
        pytest.param(("recipe.ema=0.9",), id="average", marks=[pytest.mark.slow, pytest.mark.long]),
    ],
)
def test_two_processes_train_what_one_trains(shapes_home: Path, tmp_path: Path, extra: tuple[str, ...]) -> None:
    one, said = run(task_of(shapes_home, tmp_path / "one", 1, *extra))
    two, heard = run(task_of(shapes_home, tmp_path / "two", 2, *extra))
    assert (one.state, two.state) == ("ok", "ok"), two.traceback
    assert torch.allclose(weights(tmp_path / "one"), weights(tmp_path / "two"), atol=1e-5)
    for a, b in zip(one.curve, two.curve, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-5)
    assert one.curve, "something was trained"
    assert [e["n"] for e in _sizes(two)] == [40, 40], "every image is scored once"
    assert len(heard) == len(said), "one voice"


def _sizes(result: Result) -> list[dict[str, int]]:
    return [{"n": e.scores.n_images} for e in result.evaluations]


def test_processes_draw_numbers_of_their_own_also_when_they_continue(shapes_home: Path, tmp_path: Path) -> None:
    task = dropping_task(shapes_home, tmp_path / "stopped", "epochs=3")
    result = stopped_after_an_epoch(task)
    assert result.state == "interrupted", result.traceback
    again, _ = run(task)
    whole, _ = run(dropping_task(shapes_home, tmp_path / "whole", "epochs=3"))
    assert (again.state, whole.state) == ("ok", "ok"), again.traceback
    assert torch.allclose(weights(tmp_path / "stopped"), weights(tmp_path / "whole"), atol=1e-6)


@pytest.mark.slow
@pytest.mark.long
def test_an_interrupted_training_of_two_continues(shapes_home: Path, tmp_path: Path) -> None:
    task = task_of(shapes_home, tmp_path / "stopped", 2, "epochs=4")
    result = stopped_after_an_epoch(task)
    assert result.state == "interrupted"
    again, _ = run(task)
    whole, _ = run(task_of(shapes_home, tmp_path / "whole", 2, "epochs=4"))
    assert (again.state, whole.state) == ("ok", "ok")
    assert torch.allclose(weights(tmp_path / "stopped"), weights(tmp_path / "whole"), atol=1e-6)


def test_a_failure_of_another_process_is_told_with_its_reason(shapes_home: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(failing_at_rank_1("only here"))
    entry = read_plugin(tmp_path / "bad.py")
    result, _ = run(task_of(shapes_home, tmp_path / "run", 2, model=ModelChoice(name="bad"), entry=entry))
    assert result.state == "failed"
    assert "ValueError: only here" in result.reason


def test_more_processes_than_images_in_a_batch_are_refused(home: Path) -> None:
    words = ("run", "--suite", TINY, "--set", "resources.processes=9", "--local")
    done = run_bench(*words, cwd=home, check=False)
    assert done.returncode == 2
    assert "9 processes cannot share batches of 8" in done.stderr


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gpus: 1.5", "give a fraction below 1, or a whole number"),
        ("gpus: 2, processes: 3", "there is one process for each GPU"),
    ],
)
def test_impossible_resources_are_refused(given: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load_suite(str(TINY), [f"resources={{{given}}}"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA starts here")
def test_where_cuda_does_not_start_it_is_said_what_to_try() -> None:
    with pytest.raises(BenchError, match="CUDA does not start in the process of this network") as told:
        start_cuda()
    assert "SEGBENCH_ISOLATION=off" in str(told.value)
