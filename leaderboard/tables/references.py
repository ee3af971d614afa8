"""Figures that others reported: as configs/references.yaml has them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.config.grid import grid_text
from harness.config.paths import config_dir
from harness.errors import SuiteError
from harness.utils.yaml_file import YamlFile, validate_at


class Reported(BaseModel):
    """One row of figures under the settings it was reported for."""

    model_config = ConfigDict(frozen=True)

    grid: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, float]
    batch_losses: tuple[float, ...] = ()
    """The losses of single test batches, in the order printed; their mean, least and greatest are among the metrics."""
    parameters: float | None = Field(None, gt=0)
    """Of the network, as far as they were reported."""

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        """Everything but the other fields is a metric."""
        if not isinstance(data, dict) or "metrics" in data:
            return data
        own = {k: v for k, v in data.items() if k in ("grid", "batch_losses", "parameters")}
        return own | {"metrics": {k: v for k, v in data.items() if k not in own}}

    @model_validator(mode="after")
    def _fold(self) -> Reported:
        losses = self.batch_losses
        if losses:
            folded = {
                "batch_loss": sum(losses) / len(losses),
                "batch_loss_min": min(losses),
                "batch_loss_max": max(losses),
            }
            self.metrics.update(folded)
        return self


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


class Log(BaseModel):
    """A printed log of a training: a CSV file beside the references, with a column `epoch` and one for each curve."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    loss_batches: int = Field(1, ge=1)
    """Its train losses are sums over so many batches; ours are means."""

    def points(self, folder: Path) -> list[Point]:
        """Its lines, as our learning curves have them.

        Raises:
            SuiteError: the file cannot be read as such a log; names it.
        """
        path, found = folder / self.file, []
        try:
            with path.open(newline="") as file:
                for line in csv.DictReader(file):
                    values = {name: float(text) for name, text in line.items() if name != "epoch"}
                    if "train_loss" in values:
                        values["train_loss"] /= self.loss_batches
                    found.append(Point.model_validate({"epoch": line.get("epoch"), "values": values}))
        except (OSError, TypeError, ValueError, ValidationError) as error:
            raise SuiteError(f"{path}: is no log of epochs: {str(error).splitlines()[0]}") from error
        return found


class Reference(BaseModel):
    """What a paper or report says of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    model: str
    source: str
    note: str = ""
    dataset: str = ""
    """The scored images, where they are not the suite's; nothing of it is comparable then."""
    ours: tuple[str, ...] = ()
    """The labels of the suite's rows that are meant to be the same."""
    comparable: tuple[str, ...] = ()
    """The metrics whose definition is ours; the others are shown with a mark."""
    protocol: str = "standard"
    """The protocol under which they are comparable. Smoke runs have protocols of their own: nothing compares there."""
    rows: tuple[Reported, ...]
    curve: tuple[Point, ...] = ()
    log: Log | None = None
    """More of the curve."""

    @model_validator(mode="after")
    def _compares_like_with_like(self) -> Reference:
        if self.dataset and self.comparable:
            raise ValueError(f"comparable: figures of {self.dataset} are not the suite's")
        return self

    def setting(self, row: Reported) -> str:
        """What one of its rows was reported for: other images than the suite's, and hyperparameters."""
        return ", ".join(filter(None, (self.dataset, grid_text(row.grid))))

    def mark(self, metric: str, protocol: str) -> str:
        """What a figure that is defined otherwise than ours under a protocol is shown with."""
        return "" if metric in self.comparable and protocol == self.protocol else " ≁"


class References(BaseModel):
    """The whole file."""

    entries: tuple[Reference, ...]


def load_references(path: Path | None = None) -> tuple[Reference, ...]:
    """Every reference.

    Raises:
        SuiteError: the file, or a log that it names, is broken; names line and field.
    """
    file = YamlFile.read(path or config_dir() / "references.yaml")
    entries = validate_at(
        References,
        {"entries": file.data},
        # The file is the list itself: the step into `entries` is ours.
        lambda field: f"{file.path}:{file.line(field[1:])}",
    ).entries
    return tuple(_with_log(entry, file.path.parent) for entry in entries)


def _with_log(reference: Reference, folder: Path) -> Reference:
    """A reference whose curve has the lines of its log, by epoch."""
    if reference.log is None:
        return reference
    points = sorted((*reference.curve, *reference.log.points(folder)), key=lambda point: point.epoch)
    return reference.model_copy(update={"curve": tuple(points)})
