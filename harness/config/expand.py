"""Suite -> list of Jobs, nothing left to default."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from harness.config.fields import cell_recipe, grid_cells, merge
from harness.config.job import Job, ModelChoice, Resources
from harness.config.recipe import Recipe
from harness.config.suite import Suite
from harness.datasets.base import DatasetInfo
from harness.metrics.protocol import Protocol


class Smoke(BaseModel):
    """What `--smoke` changes: everything small, and ranked apart."""

    iterations: int = 2
    images: int = 2
    batch_size: int = 2
    side: int = 96

    def recipe(self, recipe: Recipe, fixed: tuple[int, int] | None = None) -> Recipe:
        """The recipe, cut down to a few steps on small images in fp32; a network that declares its size keeps it."""
        scale = min(1.0, self.side / max(recipe.size))
        size = tuple(max(32, round(s * scale)) for s in recipe.size)
        data = recipe.model_dump() | {
            "epochs": None,
            "iterations": self.iterations,
            "val_every": self.iterations,
            "batch_size": min(self.batch_size, recipe.batch_size),
            "accumulate": 1,
            "size": recipe.size if recipe.size == fixed else size,
            "precision": "fp32",  # it runs on the CPU, where others can be hundreds of times slower
        }
        return Recipe.model_validate(data)

    def model(self, model: ModelChoice) -> ModelChoice:
        """The network without pretrained weights and those of other runs, which a smoke run must not need."""
        params = {k: v for k, v in model.params.items() if k != "pretrained"}
        label = model.title if model.label else None
        return model.model_copy(update={"params": params, "label": label, "start_from_run": None})


def expand(
    suite: Suite,
    infos: Mapping[str, DatasetInfo],
    smoke: Smoke | None = None,
    sizes: Mapping[str, tuple[int, int]] | None = None,
) -> list[Job]:
    """Every job of a suite: data set × model × grid cell × seed, fully resolved.

    Args:
        suite: the suite.
        infos: the facts of each data set: its default variant, and the protocol fields that suit it.
        smoke: cut every job down to a few steps.
        sizes: of networks that declare the size of their input, which a smoke run leaves them.
    """
    jobs = []
    for dataset, model, cell in itertools.product(suite.datasets, suite.models, grid_cells(suite.grid)):
        recipe = Recipe.model_validate(cell_recipe(merge(suite.recipe, model.recipe), cell))
        info = infos[dataset.name]
        protocol = Protocol.model_validate({**info.protocol, **suite.protocol})
        extra = {k.removeprefix("model."): v for k, v in cell.items() if k.startswith("model.")}
        chosen = model.model_copy(update={"params": {**model.params, **extra}})
        resources = Resources.model_validate(merge(suite.resources.model_dump(), model.resources))
        selection = suite.selection
        if selection.protocol is not None:
            selection = selection.model_copy(update={"protocol": {**info.protocol, **selection.protocol}})
        if smoke:
            # After two steps there is nothing to choose; the largest networks' weights would be written for nothing.
            selection = selection.model_copy(update={"rule": "last"})
            recipe, chosen = smoke.recipe(recipe, (sizes or {}).get(model.name)), smoke.model(chosen)
            resources = Resources(cpus=1)  # whatever machine this is
        first = Job(
            suite=suite.name,
            dataset=dataset.model_copy(update={"variant": dataset.variant or info.default_variant}),
            model=chosen,
            recipe=recipe,
            seed=suite.seeds[0],
            selection=selection,
            protocol=protocol,
            resources=resources,
            grid=cell,
            images=smoke.images if smoke else None,
            smoke=smoke is not None,
        )
        # Seeds of a cell share everything else: of very many jobs, little is held more than once.
        jobs += [first.model_copy(update={"seed": seed}) for seed in suite.seeds]
    return jobs


def with_values(job: Job, values: Mapping[str, Any]) -> Job:
    """A job with hyperparameters of its own: recipe fields, and `model.PARAM`."""
    data = job.recipe.model_dump()
    recipe = Recipe.model_validate(cell_recipe(data, dict(values)))
    extra = {k.removeprefix("model."): v for k, v in values.items() if k.startswith("model.")}
    model = job.model.model_copy(update={"params": {**job.model.params, **extra}})
    return job.model_copy(update={"recipe": recipe, "model": model, "grid": {**job.grid, **values}})


def tuned(job: Job, found: Mapping[str, Any], seed: int) -> Job:
    """The winner of a search as a full job, under a label of its own."""
    label = f"{job.model.title} (tuned, {found['trials']} trials)"
    own = with_values(job, found["values"])
    model = own.model.model_copy(update={"label": label})
    return own.model_copy(update={"model": model, "seed": seed, "search": dict(found)})
