"""Suite file (YAML) -> validated Suite; every mistake names file, line and field."""

from __future__ import annotations

import copy
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.config.fields import SHORT_PATHS, cell_recipe, grid_cells, merge
from harness.config.job import ModelChoice, Resources
from harness.config.paths import config_dir
from harness.config.recipe import Recipe
from harness.config.suite import Suite
from harness.errors import SuiteError, UnknownName
from harness.metrics.protocol import Protocol
from harness.utils.yaml_file import YamlFile, parse_value, validate, validate_at


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
    if "given" in data:
        raise SuiteError(f"{path}:{file.line(['given'])}: given: only the command line says what it gives")
    data["recipe"] = _resolved_recipe(data.get("recipe"), file)
    for number, model in enumerate(data.get("models") or []):
        if isinstance(model, dict) and "recipe" in model:
            model["recipe"] = _own_recipe(model["recipe"], file, number)
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
    return own if base is None else _named_recipe(base, own, file, ["recipe", "base"])


def _own_recipe(given: Any, file: YamlFile, number: int) -> Any:
    """A network's own recipe: fields on top of the suite's, or one by name, which takes the place of the suite's."""
    own = {"base": given} if isinstance(given, str) else given
    if not isinstance(own, dict) or "base" not in own:
        return own  # of another kind than a mapping: the suite's record says so
    own = dict(own)
    named = _named_recipe(own.pop("base"), own, file, ["models", number, "recipe"])
    # Every field, so that nothing of the suite's recipe shows through.
    whole = validate(Recipe, named, None, f"{file.path}:{file.line(['models', number, 'recipe'])}: recipe")
    return whole.model_dump(mode="json")


def _named_recipe(base: Any, own: dict[str, Any], file: YamlFile, place: Sequence[int | str]) -> dict[str, Any]:
    """The recipe of a file, with fields on top."""
    recipes = {p.stem: p for p in sorted((config_dir() / "recipes").glob("*.yaml"))}
    if base not in recipes:
        error = UnknownName.of("recipe", str(base), recipes, "ls configs/recipes")
        raise SuiteError(f"{file.path}:{file.line(place)}: recipe: {error.message}")
    recipe_file = YamlFile.read(recipes[base])
    merged = merge(recipe_file.data, own)
    validate(Recipe, recipe_file.data, recipe_file, str(recipe_file.path))
    return {"name": base, **merged}


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
        raise SuiteError(f"--set {override}: {steps[0]} is a list; give the whole list, e.g. {steps[0]}=[...]")
    data[steps[0]] = merge(data.get(steps[0], {}), nested)
    # A grid axis, or a network's own recipe, would override what the user just set by hand.
    for model in data.get("models") or []:
        if isinstance(model, dict) and steps[0] in ("recipe", "resources"):
            _forget(model.get(steps[0]), steps[1:])
    if steps[0] == "recipe":
        dotted = ".".join(steps[1:])
        data["given"] = [*data.get("given", []), dotted]
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
        recipe = cell_recipe(merge(suite.recipe, model.recipe), cell)
        validate_at(Recipe, recipe, partial(_place_in_recipe, file, number, model, cell))
    for number, model in enumerate(suite.models):
        try:
            validate(Resources, merge(suite.resources.model_dump(), model.resources), None, "resources")
        except SuiteError as error:
            line = file.line(["models", number, "resources"])
            raise SuiteError(f"{file.path}:{line}: {error.message}") from error
    for place, conventions in ((["protocol"], suite.protocol), (["selection", "protocol"], suite.selection.protocol)):
        try:
            validate(Protocol, conventions or {}, None, ".".join(place))
        except SuiteError as error:
            raise SuiteError(f"{file.path}:{file.line(place)}: {error.message}") from error


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
