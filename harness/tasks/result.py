"""What a task returns: everything that its row in the database needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from harness.metrics import Scores

State = Literal["ok", "failed", "oom", "timeout", "interrupted"]


def now() -> str:
    """The time as ISO 8601 in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True)
class LabelMaps:
    """The label maps of one split that a run keeps."""

    split: str
    path: str
    """Their folder among the run's files."""
    files: int
    sha256: str
    """Of the list of the files' checksums."""
    kind: str = "predictions"


@dataclass(frozen=True)
class Evaluation:
    """One scored split."""

    split: str
    scores: Scores
    statistics: bytes
    """`StatisticsTable.to_bytes`."""
    ceiling: dict[str, Any] = field(default_factory=dict)
    """What a network would score that is perfect at its input size: see `harness.scoring.ceiling.ceiling`. Empty where
    that is not known."""


@dataclass(frozen=True)
class GalleryImage:
    """A small copy of a test image with truth and prediction."""

    image_id: str
    image: bytes
    """JPEG."""
    target: bytes
    """Palette PNG."""
    prediction: bytes
    """Palette PNG."""


@dataclass(frozen=True)
class Result:
    """How a task ended, and what came out."""

    fingerprint: str
    attempt: int
    state: State
    reason: str = ""
    """One line; empty if ok."""
    error: str = ""
    """The exception's type."""
    traceback: str = ""
    started: str = ""
    finished: str = ""
    times: dict[str, float] = field(default_factory=dict)
    """Seconds: train, predict, evaluate, total."""
    progress: dict[str, Any] = field(default_factory=dict)
    """Epochs, iterations, the selected epoch and its score."""
    curve: list[dict[str, Any]] = field(default_factory=list)
    """One record for each epoch."""
    evaluations: list[Evaluation] = field(default_factory=list)
    gallery: list[GalleryImage] = field(default_factory=list)
    label_maps: list[LabelMaps] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    parameters: int | None = None
    """Trainable and frozen parameters of the network; None if it was not built."""
    cost: dict[str, Any] = field(default_factory=dict)
    """What using the network costs: see `harness.tasks.inference_cost.cost_record`."""
