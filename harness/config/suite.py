"""Suite file (YAML) -> validated Suite -> list of Jobs, nothing left to default."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from harness.config.grid import grid_text
from harness.config.recipe import Recipe, carried_over, recipe_paths
from harness.datasets.base import DatasetInfo
from harness.errors import SuiteError, UnknownName
from harness.losses import LOSSES
from harness.metrics.protocol import Protocol
from harness.optim.optimizers import OPTIMIZERS
from harness.optim.schedules import SCHEDULES
from harness.utils.options import Component, Strict
from harness.utils.registry import Registry
from harness.utils.yaml_file import YamlFile, parse_value, validate, validate_at


def config_dir() -> Path:
    """The folder of suites, recipes and references: the checkout's, or the installed package's."""
    here = Path(__file__).resolve().parents[1]
    checkout = here.parent / "configs"
    return checkout if checkout.is_dir() else here / "configs"


class DatasetChoice(Strict):
    """A data set and the variant that says which images train."""

    name: str
    variant: str | None = None
    """None: the data set's default variant."""
    params: dict[str, Any] = Field(default_factory=dict)


class ModelChoice(Strict):
    """A network and its parameters."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)
    label: str | None = None
    """What the board calls it; None: the name with its parameters."""
    recipe: dict[str, Any] = Field(default_factory=dict)
    """Fields of the recipe that are this network's own, on top of the suite's."""
    resources: dict[str, Any] = Field(default_factory=dict)
    """Fields of the resources that are this network's own, on top of the suite's."""
    checkpoint: str | None = None
    """A file with weights that are scored as they are: nothing is trained."""
    start_from: str | None = None
    """A file with weights that the training starts from, as far as names and shapes agree: FCN-16s from FCN-32s."""
    label_map: tuple[int, ...] | None = None
    """With a checkpoint that was trained on other classes: for each of its classes the data set's."""

    @property
    def title(self) -> str:
        """The label, or the name with its parameters; and the checkpoint that is scored."""
        params = ", ".join(f"{k}={v}" for k, v in sorted(self.params.items()))
        title = self.label or (f"{self.name} ({params})" if params else self.name)
        return f"{title} [{Path(self.checkpoint).name}]" if self.checkpoint else title


class Selection(Strict):
    """Which checkpoint, and which hyperparameters, stand for a model."""

    rule: Literal["best", "last"] = "best"
    split: Literal["train", "val", "test"] = "val"
    metric: str = "miou"


class Resources(Strict):
    """What one trial takes. `cpus` sets torch's threads, and so belongs to the fingerprint."""

    cpus: int = Field(1, ge=1)
    gpus: float = Field(0.0, ge=0)
    memory_gb: float | None = Field(None, gt=0)
    """Resident memory above which the trial is stopped and recorded as out of memory."""
    time_limit_s: float | None = Field(None, gt=0)
    """Wall-clock seconds after which the trial is stopped and recorded as timed out."""
    processes: int = Field(1, ge=1)
    """Processes that train data-parallel, each with `cpus` processors: with several GPUs one for each, by itself."""
    nodes: int = Field(1, ge=1)
    """Machines of a Ray cluster that train together; each has `gpus`, `processes` and `memory_gb` as they are said."""
    oom_retries: int = Field(0, ge=0)
    """How often a job that ran out of memory is tried again, each time with its batches in twice as many parts."""

    @property
    def local_processes(self) -> int:
        """Processes that train together on one machine."""
        return max(self.processes, int(self.gpus))

    @property
    def world_size(self) -> int:
        """Processes that train together, on all machines."""
        return self.nodes * self.local_processes

    @model_validator(mode="after")
    def _whole_gpus(self) -> Resources:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError("gpus: a fraction of one, or whole ones")
        if self.gpus > 0 and self.processes not in (1, max(1, int(self.gpus))):
            raise ValueError("processes: with GPUs there is one for each; leave it out")
        return self


class Range(Strict):
    """Values a hyperparameter may take: exactly one kind."""

    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    integers: tuple[int, int] | None = None
    """Both ends included."""
    choice: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        given = [v for v in (self.uniform, self.loguniform, self.integers, self.choice) if v is not None]
        if len(given) != 1:
            raise ValueError("give one of uniform, loguniform, integers and choice")
        if self.choice is None and given[0][0] >= given[0][1]:
            raise ValueError("the first end must be less than the second")
        if self.loguniform is not None and self.loguniform[0] <= 0:
            raise ValueError("loguniform: both ends must be positive")
        return self


class Search(Strict):
    """Hyperparameters that are searched for each network on val; the winner is then trained as a full job."""

    space: dict[str, Range] = Field(min_length=1)
    """Recipe field (dotted, as in a grid) or `model.PARAM` -> what it may be."""
    trials: int = Field(gt=0)
    hours: float | None = Field(None, gt=0)
    """Wall-clock hours for each network after which no trial goes on."""
    seed: int = 0
    """Of the search, and of its trials."""
    searcher: str = "random"
    """`random`, or one of Ray Tune's whose package is installed: optuna, hyperopt, bayesopt, …"""
    scheduler: Literal["asha", "none"] = "asha"
    grace: int = Field(1, gt=0)
    """asha: epochs that every trial gets."""
    reduction: float = Field(3, gt=1)
    """asha: one of so many trials goes on at each rung."""

    @field_validator("space")
    @classmethod
    def _known_axes(cls, value: dict[str, Range]) -> dict[str, Range]:
        for key in value:
            if not key.startswith("model."):
                check_recipe_path(key)
        return value


class Suite(Strict):
    """A suite file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    title: str = ""
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    models: tuple[ModelChoice, ...] = Field(min_length=1)
    recipe: dict[str, Any]
    """The resolved recipe's fields: a file's, with the suite's own on top."""
    grid: dict[str, tuple[Any, ...]] = Field(default_factory=dict)
    """Recipe field (dotted; `lr` for `optimizer.lr`) or `model.PARAM` -> values to try."""
    search: Search | None = None
    seeds: tuple[int, ...] = Field((0,), min_length=1)
    selection: Selection = Selection()
    protocol: dict[str, Any] = Field(default_factory=dict)
    """Fields of the protocol that differ from the data set's defaults."""
    resources: Resources = Resources()

    @field_validator("datasets", "models", mode="before")
    @classmethod
    def _names_are_short_forms(cls, value: Any) -> Any:
        """`unet` is short for `{name: unet}`."""
        return [{"name": v} if isinstance(v, str) else v for v in value] if isinstance(value, list) else value

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("a seed stands twice")
        return value

    @field_validator("grid")
    @classmethod
    def _known_axes(cls, value: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, options in value.items():
            if not options:
                raise ValueError(f"{key} has no values")
            if not key.startswith("model."):
                check_recipe_path(key)
        return value


class Job(Strict):
    """One cell of a suite, fully resolved."""

    suite: str
    dataset: DatasetChoice
    model: ModelChoice
    recipe: Recipe
    seed: int
    selection: Selection
    protocol: Protocol
    resources: Resources
    grid: dict[str, Any]
    """The grid's values in this cell: what the board shows as hyperparameters."""
    images: int | None = None
    """Train on, validate and score only so many images of each split; None: all."""
    smoke: bool = False
    """A few steps that only show that all parts work: no weights are kept, and the scores are ranked apart."""
    search: dict[str, Any] | None = None
    """How its hyperparameters were found, where they were searched; the board keeps such rows apart."""

    @property
    def protocol_hash(self) -> str:
        """The hash of what its scores are scored under: only those of the same hash are ranked together."""
        return self.protocol.hash_of(self.smoke, self.images)

    @property
    def stored_protocol(self) -> dict[str, Any]:
        """What the database keeps of it."""
        return self.protocol.stored(self.smoke, self.images)

    @property
    def title(self) -> str:
        """A short name for messages: model on data set, hyperparameters, seed."""
        parts = (self.model.title, "on", self.dataset.name, grid_text(self.grid, " "), f"seed={self.seed}")
        return " ".join(filter(None, parts))


def stored_protocol(config: Mapping[str, Any]) -> tuple[Protocol, bool, int | None]:
    """Protocol, `smoke` and `images` of a stored job: version 2 kept the last two inside the first."""
    stored = config["protocol"]
    protocol = Protocol.from_stored(stored)
    if "smoke" not in stored:
        return protocol, config.get("smoke", False), config.get("images")
    if stored["smoke"]:
        protocol = protocol.model_copy(update={"name": protocol.name.removesuffix("-smoke")})
    return protocol, stored["smoke"], stored["images"]


def job_from_stored(config: Mapping[str, Any]) -> Job:
    """The job of a database's row, also of one that an earlier version wrote.

    Raises:
        SuiteError: it names a loss, say, of a package that is no longer installed.
    """
    protocol, smoke, images = stored_protocol(config)
    recipe = _recipe_from_stored(config["recipe"])
    own = {"recipe": recipe, "protocol": protocol, "smoke": smoke, "images": images}
    return validate(Job, {**config, **own}, None, "the stored job")


def _recipe_from_stored(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """A stored recipe: version 2 kept the fields of every kind of optimizer, schedule and loss with each of them."""
    loss = recipe["loss"]
    return {
        **recipe,
        "optimizer": _own_fields(recipe["optimizer"], OPTIMIZERS),
        "schedule": _own_fields(recipe["schedule"], SCHEDULES),
        "loss": {**loss, "terms": [_own_fields(term, LOSSES) for term in loss["terms"]]},
    }


def _own_fields(stored: Mapping[str, Any], registry: Registry[Any]) -> dict[str, Any]:
    """Without the fields that version 2 stored although they are those of other kinds."""
    if stored["name"] not in registry:
        return dict(stored)
    kind: type[Component] = registry.get(stored["name"])
    others = kind.former_fields.keys() - kind.model_fields.keys()
    return {name: value for name, value in stored.items() if name not in others}


SHORT_PATHS = {
    "lr": "optimizer.lr",
    "weight_decay": "optimizer.weight_decay",
    "momentum": "optimizer.momentum",
}


def check_recipe_path(key: str) -> None:
    """Refuse a dotted path that leads to no field of a recipe.

    Raises:
        ValueError: naming the nearest field.
    """
    known = list(recipe_paths())
    if SHORT_PATHS.get(key, key) not in known:
        raise ValueError(UnknownName.of("recipe field", key, [*known, *SHORT_PATHS], "docs/suites.md").message)


def suite_files() -> dict[str, Path]:
    """The suites that come with the project, by name."""
    return {path.stem: path for path in sorted((config_dir() / "suites").glob("*.yaml"))}


def load_suite(name_or_path: str, overrides: Iterable[str] = ()) -> Suite:
    """Load a suite by name or from a file.

    Args:
        name_or_path: a name `bench suites` lists, or a path to a YAML file.
        overrides: `key=value` pairs; the key is a dotted path into the suite file.

    Raises:
        UnknownName: there is no such suite.
        SuiteError: the file or an override is broken; names file, line and field.
    """
    path = _suite_path(name_or_path)
    file = YamlFile.read(path)
    if not isinstance(file.data, dict):
        raise SuiteError(f"{path}:1: a suite file is a mapping of fields")
    data = copy.deepcopy(file.data)
    data["recipe"] = _resolved_recipe(data.get("recipe"), file)
    for override in overrides:
        _apply(data, override)
    data.setdefault("name", path.stem)
    suite = validate(Suite, data, file, str(path))
    _check_parts(suite, file)
    return suite


def _suite_path(name_or_path: str) -> Path:
    files = suite_files()
    if name_or_path in files:
        return files[name_or_path]
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml") or os.sep in name_or_path:
        if not path.is_file():
            raise SuiteError(f"{path}: there is no such suite file", "`bench suites` lists the suites.")
        return path
    raise UnknownName.of("suite", name_or_path, files, "bench suites")


def _resolved_recipe(given: Any, file: YamlFile) -> Any:
    """A recipe by name, inline, or by name with fields of its own: `{base: NAME, ...}`."""
    if given is None:
        raise SuiteError(f"{file.path}:1: recipe: this field is required")
    own = {"base": given} if isinstance(given, str) else given
    if not isinstance(own, dict):
        raise SuiteError(f"{file.path}:{file.line(['recipe'])}: recipe: a name or a mapping of fields")
    own = dict(own)
    base = own.pop("base", None)
    if base is None:
        return own
    recipes = {p.stem: p for p in sorted((config_dir() / "recipes").glob("*.yaml"))}
    if base not in recipes:
        error = UnknownName.of("recipe", str(base), recipes, "ls configs/recipes")
        raise SuiteError(f"{file.path}:{file.line(['recipe', 'base'])}: recipe: {error.message}")
    recipe_file = YamlFile.read(recipes[base])
    merged = merge(recipe_file.data, own)
    validate(Recipe, recipe_file.data, recipe_file, str(recipe_file.path))
    return {"name": base, **merged}


def merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one nested mapping over another.

    A new length replaces the old kind of length, and a new kind of optimizer or schedule what only the old kind has.
    """
    result = dict(under)
    if "epochs" in over or "iterations" in over:
        result.pop("epochs", None)
        result.pop("iterations", None)
    for key, value in over.items():
        old = result.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            result[key] = merge(carried_over(key, old, value), value)
        else:
            result[key] = value
    return result


def _apply(data: dict[str, Any], override: str) -> None:
    """Apply one `key=value` to the suite's raw fields."""
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise SuiteError(f"--set {override}: write it as key=value, e.g. recipe.epochs=5")
    steps = key.strip().split(".")
    if steps[0] in SHORT_PATHS:
        steps = ["recipe", *SHORT_PATHS[steps[0]].split("."), *steps[1:]]
    elif steps[0] in Recipe.model_fields and steps[0] not in Suite.model_fields:
        steps = ["recipe", *steps]
    if steps[0] not in Suite.model_fields:
        known = [*Suite.model_fields, *Recipe.model_fields, *SHORT_PATHS]
        error = UnknownName.of("field", steps[0], known, "bench suites --show NAME")
        raise SuiteError(f"--set {override}: {error.message}")
    value = parse_value(text)
    nested: Any = value
    for step in reversed(steps[1:]):
        nested = {step: nested}
    if len(steps) == 1:
        data[steps[0]] = value
        return
    if not isinstance(data.get(steps[0], {}), dict):
        raise SuiteError(f"--set {override}: {steps[0]} is a list; give it whole, e.g. {steps[0]}=[...]")
    data[steps[0]] = merge(data.get(steps[0], {}), nested)
    # A grid axis, or a network's own recipe, would override what the user just set by hand.
    for model in data.get("models") or []:
        if isinstance(model, dict) and steps[0] in ("recipe", "resources"):
            _forget(model.get(steps[0]), steps[1:])
    if steps[0] == "recipe":
        dotted = ".".join(steps[1:])
        axes = data.get("grid") or {}
        data["grid"] = {k: v for k, v in axes.items() if SHORT_PATHS.get(k, k) != dotted}


def _forget(recipe: Any, steps: Sequence[str]) -> None:
    """Take a field out of a network's own recipe, in place."""
    for step in steps[:-1]:
        recipe = recipe.get(step) if isinstance(recipe, dict) else None
    if isinstance(recipe, dict):
        recipe.pop(steps[-1], None)
        if steps[-1] in ("epochs", "iterations"):
            recipe.pop("epochs", None)
            recipe.pop("iterations", None)


def _check_parts(suite: Suite, file: YamlFile) -> None:
    """Validate what pydantic saw only as mappings: every cell's recipe, and the protocol."""
    for (number, model), cell in itertools.product(enumerate(suite.models), grid_cells(suite.grid)):
        recipe = _cell_recipe(merge(suite.recipe, model.recipe), cell)
        validate_at(Recipe, recipe, partial(_place_in_recipe, file, number, model, cell))
    for number, model in enumerate(suite.models):
        try:
            validate(Resources, merge(suite.resources.model_dump(), model.resources), None, "resources")
        except SuiteError as error:
            line = file.line(["models", number, "resources"])
            raise SuiteError(f"{file.path}:{line}: {error.message}") from error
    try:
        validate(Protocol, suite.protocol, None, "protocol")
    except SuiteError as error:
        raise SuiteError(f"{file.path}:{file.line(['protocol'])}: {error.message}") from error


def _place_in_recipe(
    file: YamlFile, number: int, model: ModelChoice, cell: Mapping[str, Any], field: Sequence[int | str]
) -> str:
    """Where a cell's recipe has a field from: an axis of the grid, a model's own recipe, or the suite's."""
    dotted = ".".join(map(str, field))
    axes = [key for key in cell if f"{dotted}.".startswith(f"{SHORT_PATHS.get(key, key)}.") or not field]
    place: list[int | str]
    if axes:
        place = ["grid", *axes[:1]]
    elif model.recipe and (not field or field[0] in model.recipe):
        place = ["models", number, "recipe", *field]
    else:
        place = ["recipe", *field]
    return f"{file.path}:{file.line(place)}: recipe"


def grid_cells(grid: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the grid's values; one empty cell for an empty grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _cell_recipe(recipe: dict[str, Any], cell: dict[str, Any]) -> dict[str, Any]:
    for key, value in cell.items():
        if key.startswith("model."):
            continue
        nested: Any = value
        for step in reversed(SHORT_PATHS.get(key, key).split(".")):
            nested = {step: nested}
        recipe = merge(recipe, nested)
    return recipe


class Smoke(BaseModel):
    """What `--smoke` changes: everything small, and ranked apart."""

    iterations: int = 2
    images: int = 2
    batch_size: int = 2
    side: int = 96

    def recipe(self, recipe: Recipe) -> Recipe:
        """The recipe, cut down to a few steps on small images."""
        scale = min(1.0, self.side / max(recipe.size))
        size = tuple(max(32, round(s * scale)) for s in recipe.size)
        data = recipe.model_dump() | {
            "epochs": None,
            "iterations": self.iterations,
            "val_every": self.iterations,
            "batch_size": min(self.batch_size, recipe.batch_size),
            "size": size,
        }
        return Recipe.model_validate(data)

    def model(self, model: ModelChoice) -> ModelChoice:
        """The network without pretrained weights, which a smoke run must not need."""
        params = {k: v for k, v in model.params.items() if k != "pretrained"}
        return model.model_copy(update={"params": params, "label": model.title if model.label else None})


def with_values(job: Job, values: Mapping[str, Any]) -> Job:
    """A job with hyperparameters of its own: recipe fields, and `model.PARAM`."""
    data = job.recipe.model_dump()
    recipe = Recipe.model_validate(_cell_recipe(data, dict(values)))
    extra = {k.removeprefix("model."): v for k, v in values.items() if k.startswith("model.")}
    model = job.model.model_copy(update={"params": {**job.model.params, **extra}})
    return job.model_copy(update={"recipe": recipe, "model": model, "grid": {**job.grid, **values}})


def tuned(job: Job, found: Mapping[str, Any], seed: int) -> Job:
    """The winner of a search as a full job, under a label of its own."""
    label = f"{job.model.title} (tuned, {found['trials']} trials)"
    own = with_values(job, found["values"])
    model = own.model.model_copy(update={"label": label})
    return own.model_copy(update={"model": model, "seed": seed, "search": dict(found)})


def expand(suite: Suite, infos: Mapping[str, DatasetInfo], smoke: Smoke | None = None) -> list[Job]:
    """Every job of a suite: data set × model × grid cell × seed, fully resolved.

    Args:
        suite: the suite.
        infos: the facts of each data set: its default variant, and the protocol fields that suit it.
        smoke: cut every job down to a few steps.
    """
    jobs = []
    for dataset, model, cell in itertools.product(suite.datasets, suite.models, grid_cells(suite.grid)):
        recipe = Recipe.model_validate(_cell_recipe(merge(suite.recipe, model.recipe), cell))
        info = infos[dataset.name]
        protocol = Protocol.model_validate({**info.protocol, **suite.protocol})
        extra = {k.removeprefix("model."): v for k, v in cell.items() if k.startswith("model.")}
        chosen = model.model_copy(update={"params": {**model.params, **extra}})
        resources = Resources.model_validate(merge(suite.resources.model_dump(), model.resources))
        selection = suite.selection
        if smoke:
            # After two steps there is nothing to choose; the largest networks' weights would be written for nothing.
            selection = selection.model_copy(update={"rule": "last"})
            recipe, chosen = smoke.recipe(recipe), smoke.model(chosen)
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
