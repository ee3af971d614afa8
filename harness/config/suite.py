"""Suite: a validated suite file."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from harness.config.fields import check_recipe_path
from harness.config.job import DatasetChoice, ModelChoice, Resources, Selection
from harness.utils.options import Strict


class Range(Strict):
    """Values a hyperparameter may take: exactly one kind."""

    uniform: tuple[float, float] | None = None
    loguniform: tuple[float, float] | None = None
    integers: tuple[int, int] | None = None
    """Both ends included."""
    choice: tuple[Any, ...] | None = None
    times: tuple[float, float] | None = None
    """The value that the network's own recipe has, times a factor drawn log-uniformly; a value of 0 stays."""

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        given = [v for v in (self.uniform, self.loguniform, self.integers, self.choice, self.times) if v is not None]
        if len(given) != 1:
            raise ValueError("give one of uniform, loguniform, integers, choice and times")
        if self.choice is None and given[0][0] >= given[0][1]:
            raise ValueError("the first end must be less than the second")
        for name, ends in (("loguniform", self.loguniform), ("times", self.times)):
            if ends is not None and ends[0] <= 0:
                raise ValueError(f"{name}: both ends must be positive")
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
    note: str = ""
    """What the board says under its tables: such as that all networks have one recipe."""
    datasets: tuple[DatasetChoice, ...] = Field(min_length=1)
    models: tuple[ModelChoice, ...] = Field(min_length=1)
    recipe: dict[str, Any]
    """The resolved recipe's fields: a file's, with the suite's own on top."""
    given: tuple[str, ...] = ()
    """Fields of the recipe that the command line gave: no network's own default takes their place."""
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
            raise ValueError("a seed is given twice")
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
