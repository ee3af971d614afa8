"""What is known of a run, a board and a copy of a data set, as plain records."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from harness.results.facts import ScoresFrom

# What runs of one board share: suite, data set, scored images, what is scored of them, protocol, and whether the
# scored images chose anything.
BoardKey = tuple[str, str, str, str, str, bool]


@dataclass(frozen=True)
class Data:
    """The copy of a data set a result is on."""

    name: str
    title: str
    variant: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    foreground: int | None
    test_manifest: str
    counts: dict[str, int]
    scored_as: str = ""
    """SHA-256 over what is scored of the images; empty where its row cannot be read."""

    @property
    def headline(self) -> str:
        """The metric its board is ranked by."""
        return "miou" if self.foreground is None else f"iou[{self.classes[self.foreground]}]"


@dataclass(frozen=True)
class Withdrawn:
    """One line of the record of withdrawals."""

    action: str
    """`withdrawn` or `restored`."""
    why: str
    who: str
    at: str
    replaced_by: int | None


@dataclass(frozen=True)
class Ceiling:
    """What a network would score on the test images that is perfect at its input size."""

    input: str
    """That size and how images are brought to it: `256×256 (letterbox)`."""
    scores: dict[str, float | None]
    """The headline metric and Boundary IoU."""


@dataclass(frozen=True)
class ScoredRun:
    """A run under one protocol. A run that is not scored has empty scores."""

    run_id: int
    suite: str
    data: Data
    model: str
    model_name: str
    params: dict[str, Any]
    origin: str
    recipe: str
    grid: dict[str, Any]
    seed: int
    cell: str
    state: str
    reason: str
    error: str
    traceback: str
    selection: dict[str, Any]
    selected_on_test: bool
    protocol_name: str
    protocol_hash: str
    smoke: bool
    parameters: int | None
    started: str | None
    finished: str | None
    attempt: int
    times: dict[str, float]
    progress: dict[str, Any]
    provenance: dict[str, Any]
    fingerprint: str
    test: dict[str, float | None] = field(default_factory=dict)
    """Scores over classes under their names, those of a class as `iou[horse]`; `loss`."""
    val: dict[str, float | None] = field(default_factory=dict)
    n_images: int = 0
    ceiling: Ceiling | None = None
    """None where no input size is known: of label maps from elsewhere."""
    search: dict[str, Any] | None = None
    """How its hyperparameters were found, where they were searched: trials, hours, values; None: they were given."""
    scores_from: ScoresFrom = "training"
    """Trained here, or weights or label maps from elsewhere that were scored."""
    pretrained_on: tuple[str, ...] | None = ()
    """The data sets that its first weights were trained on; () from scratch, None where nobody declared it."""
    cost: dict[str, Any] = field(default_factory=dict)
    """What using the network costs, as measured, with batch, precision and hardware; empty where it was not."""
    withdrawn: Withdrawn | None = None
    """Why it does not count; None while it counts."""
    merged_from: str | None = None
    """The name of the database file it was taken over from; None for a run of this database's own."""
    protocol_title: str = ""
    """The protocol's name and what it changes."""
    problem: str = ""
    """Why what is stored of it is not sound; such a run has no scores, and what cannot be read is left empty."""


@dataclass(frozen=True)
class BoardSummary:
    """A board without its rows: enough to list and to link it."""

    board_id: str
    """Short, and the same as long as suite, data, protocol and selection are."""
    suite: str
    data: Data
    protocol_name: str
    protocol_title: str
    """Its name and what it changes."""
    protocol_hash: str
    smoke: bool
    selected_on_test: bool
    states: dict[str, int]
    """How many runs are in each state."""
    newest: str | None
    """When the latest run that ended did so."""

    @property
    def runs(self) -> int:
        """How many runs it has."""
        return sum(self.states.values())


def board_key(suite: str, data: Data, protocol_hash: str, selected_on_test: bool) -> BoardKey:
    """What a run has in common with the other runs of its board, and with no other run."""
    return suite, data.name, data.test_manifest, data.scored_as, protocol_hash, selected_on_test


def board_id(key: BoardKey) -> str:
    """A short name of a board for links: the same for the same key, in every database."""
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()[:12]
