"""Whether a network keeps the model contract: it builds, trains a step, and predicts label maps that score."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from harness.config.job import DatasetChoice, Job, ModelChoice, Resources, Selection
from harness.config.recipe import Recipe
from harness.datasets import open_dataset
from harness.errors import PluginError
from harness.metrics.protocol import Protocol
from harness.models.registry import ModelEntry
from harness.runner.isolate import run_isolated
from harness.tasks.result import Result
from harness.tasks.task import Task

TIME_LIMIT_S = 300.0


def check_model(entry: ModelEntry, params: dict[str, Any], data_folder: Path) -> str:
    """Take a network the whole way on two generated images, as a job does: docs/security.md says what holds it.

    Args:
        entry: the network.
        params: of its builder.
        data_folder: where data sets are looked for.

    Returns:
        One line about it.

    Raises:
        PluginError: it breaks the contract; says what was expected and what came.
    """
    dataset = open_dataset("shapes", None, data_folder)
    job = Job(
        suite="check",
        dataset=DatasetChoice(name="shapes", variant=dataset.variant),
        model=ModelChoice(name=entry.name, params=params),
        recipe=Recipe(iterations=1, batch_size=2, size=(64, 64)),
        seed=0,
        selection=Selection(),
        protocol=Protocol(name="check"),
        images=2,
        smoke=True,
        resources=Resources(time_limit_s=TIME_LIMIT_S),
        grid={},
    )
    with tempfile.TemporaryDirectory(prefix="segbench-check-") as folder:
        task = Task(job, entry, fingerprint="check", data_root=str(dataset.root), folder=folder)
        result = run_isolated(task, lambda message: None, lambda: False)
    if result.state != "ok":
        raise PluginError(f"{entry.origin}: {result.reason or result.error}", _place(result, entry))
    return f"{result.parameters:,} parameters; built, trained one step, predicted and scored"


def _place(result: Result, entry: ModelEntry) -> str | None:
    """The last place in the stranger's own file, which is what its author can correct."""
    name = entry.origin.removeprefix("file ")
    places = [line.strip() for line in result.traceback.splitlines() if f'"{name}"' in line]
    return places[-1] if places else None
