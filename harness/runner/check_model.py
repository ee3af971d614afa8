"""Whether a network keeps the model contract: it builds, trains a step, and predicts label maps that score.

`check_model` takes it the whole way once, `check_contract` tries everything that the contract says. Both hold it in a
process of its own, as a run does: docs/security.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.config.job import DatasetChoice, Job, ModelChoice, Resources, Selection
from harness.config.recipe import Recipe
from harness.datasets import open_dataset
from harness.errors import PluginError
from harness.metrics.protocol import Protocol
from harness.models.registry import ModelEntry
from harness.models.requirements import installed
from harness.runner.isolate import run_isolated
from harness.tasks.messages import CheckDone, Message, Stage
from harness.tasks.result import Result
from harness.tasks.task import Kind, Task

TIME_LIMIT_S = 300.0


def check_model(
    entry: ModelEntry, params: dict[str, Any], data_folder: Path, time_limit_s: float = TIME_LIMIT_S
) -> str:
    """Take a network the whole way on two generated images, as a job does.

    Args:
        entry: the network.
        params: of its builder.
        data_folder: where data sets are looked for.
        time_limit_s: seconds it may take.

    Returns:
        One line about it.

    Raises:
        PluginError: it breaks the contract; says what was expected and what came.
    """
    result = _done("train", entry, params, data_folder, time_limit_s, lambda message: None)
    if result.state != "ok":
        raise PluginError(f"{entry.origin}: {result.reason or result.error}", _place(result, entry))
    return f"{result.parameters:,} parameters; built, trained one step, predicted and scored"


def check_contract(
    entry: ModelEntry,
    params: dict[str, Any],
    data_folder: Path,
    time_limit_s: float = TIME_LIMIT_S,
    tell: Callable[[str], None] = lambda name: None,
) -> list[CheckDone]:
    """Try everything that the contract says, one check after the other.

    Args:
        entry: the network.
        params: of its builder.
        data_folder: where data sets are looked for.
        time_limit_s: seconds that all of it may take.
        tell: told of each check that begins.

    Returns:
        The checks that were done. One that ended the process, or was under way when time or memory ran out, failed and
        is the last.

    Raises:
        PluginError: a package that the network needs is not installed.
    """
    done: list[CheckDone] = []
    begun = ""

    def take(message: Message) -> None:
        nonlocal begun
        if isinstance(message, CheckDone):
            done.append(message)
        elif isinstance(message, Stage):
            begun = message.text
            tell(begun)

    result = _done("check", entry, params, data_folder, time_limit_s, take)
    if result.state != "ok":
        todo = "Nothing was checked after this." if begun else "It could not even be loaded."
        done.append(CheckDone(begun or "loading", "failed", result.reason or result.error, todo))
    return done


def _done(
    kind: Kind,
    entry: ModelEntry,
    params: dict[str, Any],
    data_folder: Path,
    time_limit_s: float,
    emit: Callable[[Message], None],
) -> Result:
    """A task with the network on two generated images, done in a process of its own."""
    installed(entry.requires, entry.name)
    dataset = open_dataset("shapes", None, data_folder)
    job = Job(
        suite="check",
        dataset=DatasetChoice(name="shapes", variant=dataset.variant),
        model=ModelChoice(name=entry.name, params=params),
        recipe=Recipe.model_validate({"iterations": 1, "batch_size": 2, "size": (64, 64), **entry.recipe}),
        seed=0,
        selection=Selection(),
        protocol=Protocol(name="check"),
        images=2,
        smoke=True,
        resources=Resources(time_limit_s=time_limit_s),
        grid={},
    )
    with tempfile.TemporaryDirectory(prefix="segbench-check-") as folder:
        task = Task(job, entry, fingerprint="check", data_root=str(dataset.root), folder=folder, kind=kind)
        return run_isolated(task, emit, lambda: False)


def _place(result: Result, entry: ModelEntry) -> str | None:
    """The last place in the stranger's own file, which is what its author can correct."""
    name = entry.origin.removeprefix("file ")
    places = [line.strip() for line in result.traceback.splitlines() if f'"{name}"' in line]
    return places[-1] if places else None
