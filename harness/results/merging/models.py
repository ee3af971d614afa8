"""What a row of each table has to be, where a stranger wrote it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from harness.config.fingerprint import cell_fingerprint, train_fingerprint
from harness.datasets.base import SPLITS
from harness.metrics.protocol import Protocol
from harness.results.merging.fields import (
    Boolean,
    Count,
    Exact,
    Finite,
    Hash,
    ImageId,
    Line,
    Name,
    Real,
    Shown,
    Source,
    Text,
    Time,
    Told,
    Whole,
    json_value,
    one_line,
    plain_json,
)
from harness.results.rows import PREDICTIONS
from harness.scoring.keep import PREDICTIONS as LABEL_MAPS
from harness.utils.text import plain_line, plain_values

# Labels are one byte, and one of its values is void.
CLASSES = 255


class Row(BaseModel):
    """A row: no value is converted, and no column is left over."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Facts(BaseModel):
    """A part of a JSON column of which some fields are read; it may have more."""

    model_config = ConfigDict(strict=True, extra="allow")


class _Code(_Facts):
    version: str | None = None
    commit: str | None = None
    dirty: bool | None = None


class _Hardware(_Facts):
    processor: str | None = None
    cores: int | None = None
    memory: int | None = None
    gpus: list[str] = []


class _Provenance(_Facts):
    code: _Code = _Code()
    packages: dict[str, str] = {}
    hardware: _Hardware = _Hardware()
    pretrained_on: list[str] | None = None
    isolation: dict[str, Any] = {}


class _Attempt(_Facts):
    attempt: int
    state: str
    reason: str
    finished: str | None


class _Search(_Facts):
    values: dict[str, Finite | bool | str | None]
    trials: Count
    stopped: Count
    gpu_hours: Finite
    cpu_hours: Finite
    hours: Finite
    spec: dict[str, Any] = {}


class _Selection(_Facts):
    rule: str
    split: str
    metric: str


class _Choice(_Facts):
    name: Name
    variant: str | None = None


class _Ceiling(_Facts):
    input: str
    scores: dict[str, Annotated[Finite, Field(ge=0, le=1)] | None]


class _Config(_Facts):
    dataset: _Choice


class DatasetModel(Row):
    """A row of `datasets`."""

    manifest: Hash
    name: Name
    title: Name
    variant: Line
    test_manifest: Hash
    classes: Annotated[list[Name], BeforeValidator(json_value), Field(min_length=1, max_length=CLASSES)]
    palette: Annotated[
        list[Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]],
        BeforeValidator(json_value),
    ]
    foreground: int | None
    counts: Annotated[dict[str, Count], BeforeValidator(json_value)]
    scored_as: Hash

    @model_validator(mode="after")
    def _agree(self) -> DatasetModel:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        if not len(self.classes) <= len(self.palette) <= CLASSES + 1:
            raise ValueError(f"{len(self.palette)} colours for {len(self.classes)} classes")
        if self.foreground is not None and not 0 <= self.foreground < len(self.classes):
            raise ValueError(f"foreground {self.foreground} is no class")
        if not self.counts.keys() <= set(SPLITS):
            raise ValueError(f"counts names other splits than {', '.join(SPLITS)}")
        return self


class RunModel(Row):
    """A row of `runs` that is done: what was hashed has to give its fingerprints."""

    id: Whole
    fingerprint: Hash
    parts: Exact
    cell: Hash
    manifest: Hash
    model: Name
    model_name: Name
    model_params: Exact
    model_origin: Line
    model_source: Source | None
    parameters: Count | None
    recipe: Line
    grid: Exact
    seed: Whole
    config: Exact
    selection: Exact
    selected_on_test: Boolean
    state: Literal["ok", "failed", "oom", "timeout"]
    reason: Told
    error: Told
    traceback: Text
    attempt: Annotated[int, Field(ge=0, le=1_000_000)]
    history: Annotated[list[dict[str, Any]], BeforeValidator(json_value), AfterValidator(plain_values)]
    search: Annotated[dict[str, Any] | None, BeforeValidator(json_value), AfterValidator(plain_json)]
    created: Time
    started: Time | None
    finished: Time | None
    times: Annotated[dict[str, Finite], BeforeValidator(json_value), AfterValidator(plain_values)]
    progress: Shown
    provenance: Shown
    cost: Shown

    @model_validator(mode="after")
    def _agree(self) -> RunModel:
        _Provenance.model_validate(self.provenance)
        _Selection.model_validate(self.selection)
        _Config.model_validate(self.config)
        for attempt in self.history:
            _Attempt.model_validate(attempt)
        if self.search is not None:
            _Search.model_validate(self.search)
        if train_fingerprint(self.parts) != self.fingerprint or cell_fingerprint(self.parts) != self.cell:
            raise ValueError("its fingerprints are not those of its parts")
        said: dict[str, Any] = {"seed": self.seed}
        if self.model_origin == PREDICTIONS:
            said |= {"kind": PREDICTIONS, "name": self.model}
        else:
            choice = {"name": self.model_name, "params": self.model_params}
            said |= {"model": choice}
        for name, value in said.items():
            if self.parts.get(name) != value:
                raise ValueError(f"its {name} is not what its fingerprint was taken over")
        dataset = self.parts.get("dataset")
        if isinstance(dataset, dict) and dataset.get("name") != self.config["dataset"]["name"]:
            raise ValueError("its data set is not what its fingerprint was taken over")
        Protocol.model_validate(self.config["protocol"])
        on_test = self.selection["rule"] == "best" and self.selection["split"] == "test"
        if on_test and not self.selected_on_test:
            raise ValueError("it was selected on the scored images and does not say so")
        return self


class EvaluationModel(Row):
    """A row of `evaluations`."""

    id: Whole
    score_fingerprint: Hash
    split: Literal["train", "val", "test"]
    protocol_name: Name
    protocol_hash: Hash
    protocol: Exact
    evaluator_version: Annotated[int, Field(ge=0, le=1_000_000)]
    loss: Finite | None
    n_images: Count
    statistics: bytes
    ceiling: Shown
    image_list: Hash
    created: Time

    @model_validator(mode="after")
    def _agree(self) -> EvaluationModel:
        if self.ceiling:
            _Ceiling.model_validate(self.ceiling)
        return self


class ScoreModel(Row):
    """A row of `scores`."""

    metric: Annotated[str, StringConstraints(min_length=1, max_length=32), AfterValidator(one_line)]
    class_index: Annotated[int, Field(ge=-1, lt=CLASSES)]
    value: Finite | None


class ImageScoreModel(Row):
    """A row of `image_scores`."""

    metric: Annotated[str, StringConstraints(min_length=1, max_length=32), AfterValidator(one_line)]
    figures: bytes


class ImageListModel(Row):
    """A row of `image_lists`."""

    key: Hash
    images: bytes


class CurveModel(Row):
    """A row of `curves`; a loss can have become infinite."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(one_line)]
    epoch: Annotated[int, Field(ge=0, lt=2**31)]
    value: Real | None


class GalleryImageModel(Row):
    """A row of `gallery_images`."""

    test_manifest: Hash
    image_id: ImageId
    image: bytes
    target: bytes


class GalleryPredictionModel(Row):
    """A row of `gallery_predictions`."""

    image_id: ImageId
    prediction: bytes


class ArtifactModel(Row):
    """A row of `artifacts`: label maps, where they always are in a run's folder."""

    kind: Literal["predictions"]
    split: Literal["val", "test"]
    path: str
    files: Count
    sha256: Hash

    @model_validator(mode="after")
    def _agree(self) -> ArtifactModel:
        if self.path != f"{LABEL_MAPS}/{self.split}":
            raise ValueError(f"label maps of {self.split} are in {LABEL_MAPS}/{self.split}, and nowhere else")
        return self


class SuiteModel(Row):
    """A row of `suite_entries`."""

    suite: Name


class WithdrawalModel(Row):
    """A row of `withdrawals`."""

    id: Whole
    action: Literal["withdrawn", "restored"]
    why: Text
    who: Told
    at: Time
    replaced_by: Whole | None


def problem_of(error: Exception) -> str:
    """What was wrong with a row, in a line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        told = first["msg"].removeprefix("Value error, ")
        more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        return plain_line(f"{place}: {told}{more}" if place else f"{told}{more}", 300)
    told = str(getattr(error, "message", error)) or type(error).__name__
    return plain_line(told.splitlines()[0] if told.strip() else type(error).__name__, 300)
