"""Figures that others reported: as configs/references.yaml has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.config.paths import config_dir
from harness.utils.yaml_file import YamlFile, validate_at


class Reported(BaseModel):
    """One row of figures under the settings it was reported for."""

    model_config = ConfigDict(frozen=True)

    grid: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Everything but `grid` is a metric."""
        if isinstance(data, dict) and "metrics" not in data:
            return {"grid": data.get("grid", {}), "metrics": {k: v for k, v in data.items() if k != "grid"}}
        return data


class Point(BaseModel):
    """What was reported of a training at one epoch; its figures are named as our learning curves are."""

    model_config = ConfigDict(frozen=True)

    epoch: int = Field(ge=1)
    approximate: bool = False
    """Read off a plot, or said in words."""
    best: bool = False
    """Reported as the best epoch."""
    values: dict[str, float]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Everything but the other fields is a figure."""
        if isinstance(data, dict) and "values" not in data:
            own = {k: v for k, v in data.items() if k in ("epoch", "approximate", "best")}
            return own | {"values": {k: v for k, v in data.items() if k not in own}}
        return data


class Reference(BaseModel):
    """What a paper or report says of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    model: str
    source: str
    note: str = ""
    ours: tuple[str, ...] = ()
    """The labels of the suite's rows that are meant to be the same."""
    comparable: tuple[str, ...] = ()
    """The metrics whose definition is ours; the others are shown with a mark."""
    protocol: str = "standard"
    """The protocol under which they are comparable. Smoke runs have protocols of their own: nothing compares there."""
    rows: tuple[Reported, ...]
    curve: tuple[Point, ...] = ()

    def mark(self, metric: str, protocol: str) -> str:
        """What a figure that is defined otherwise than ours under a protocol is shown with."""
        return "" if metric in self.comparable and protocol == self.protocol else " ≁"


class References(BaseModel):
    """The whole file."""

    entries: tuple[Reference, ...]


def load_references(path: Path | None = None) -> tuple[Reference, ...]:
    """Every reference.

    Raises:
        SuiteError: the file is broken; names line and field.
    """
    file = YamlFile.read(path or config_dir() / "references.yaml")
    return validate_at(
        References,
        {"entries": file.data},
        # The file is the list itself: the step into `entries` is ours.
        lambda field: f"{file.path}:{file.line(field[1:])}",
    ).entries
