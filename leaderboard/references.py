"""Figures that others reported: read from configs/references.yaml, shown beside a board, never ranked with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from harness.config.grid import grid_text
from harness.config.paths import config_dir
from harness.metrics.metric import find_metric, metric_title
from harness.utils.yaml_file import YamlFile, validate
from leaderboard.boards import Board


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


class Reference(BaseModel):
    """What a paper or report says of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    suite: str
    model: str
    source: str
    note: str = ""
    comparable: tuple[str, ...] = ()
    """The metrics whose definition is ours; the others are shown with a mark."""
    rows: tuple[Reported, ...]


class References(BaseModel):
    """The whole file."""

    entries: tuple[Reference, ...]


def load_references(path: Path | None = None) -> tuple[Reference, ...]:
    """Every reference.

    Raises:
        SuiteError: the file is broken; names line and field.
    """
    file = YamlFile.read(path or config_dir() / "references.yaml")
    return validate(References, {"entries": file.data}, None, str(file.path)).entries


def reported_rows(board: Board, references: tuple[Reference, ...]) -> tuple[list[str], list[list[str]], list[str]]:
    """The references of a board's suite as a table.

    Returns:
        The headings, the rows as text, and a note for each source. A figure marked ≁ is defined otherwise than ours.
    """
    own = [r for r in references if r.suite == board.suite]
    names = list(dict.fromkeys(name for r in own for row in r.rows for name in row.metrics))
    heads = ["model", "setting", *(metric_title(name) for name in names), "source"]
    rows = []
    for reference in own:
        for row in reference.rows:
            setting = grid_text(row.grid)
            figures = []
            for name in names:
                value = row.metrics.get(name)
                mark = "" if name in reference.comparable else " ≁"
                figures.append("–" if value is None else f"{value:.{find_metric(name).digits}f}{mark}")
            rows.append([f"{reference.model} (reported)", setting, *figures, reference.source])
    notes = list(dict.fromkeys(f"{r.source}: {r.note}" for r in own if r.note))
    return heads, rows, notes
