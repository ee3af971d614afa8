"""Tables of the results database. Figures are stored at full precision and never rounded."""

from __future__ import annotations

from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from harness.errors import DatabaseError, other_version

# Raised, after a release, with every change of the tables, which comes with a migration; a database of a higher number
# is refused.
SCHEMA_VERSION = 1

STATES = ("pending", "running", "ok", "failed", "oom", "timeout", "interrupted")
UNFINISHED = ("pending", "running", "interrupted")
FAILED = ("failed", "oom", "timeout")

# The class index of a score over all classes.
OVERALL = -1


def is_older(found: str | None) -> bool:
    """Whether a schema, as `meta` says it, can be migrated to this one."""
    return found is not None and found in map(str, range(1, SCHEMA_VERSION))


def refuse_other_schema(name: str, found: str | None) -> None:
    """Refuse a database of another schema than this version reads.

    Args:
        name: what messages call the database.
        found: its schema, as `meta` says it.

    Raises:
        DatabaseError: says which it has, and what to do.
    """
    if found != str(SCHEMA_VERSION):
        raise DatabaseError(
            f"{name}: {other_version('schema', found, SCHEMA_VERSION)}; it was left alone",
            "`bench db migrate` brings it up to date, after a backup."
            if is_older(found)
            else "Open it with the version that wrote it, or install a newer segbench.",
        )


class Base(DeclarativeBase):
    """The declarative base; dictionaries and lists are stored as JSON."""

    type_annotation_map = {dict[str, Any]: JSON, list[Any]: JSON, bytes: LargeBinary}  # noqa: RUF012


class Meta(Base):
    """Facts about the database itself: `schema_version`."""

    __tablename__ = "meta"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[str]


class DatasetRow(Base):
    """One copy of a data set in one variant, identified by its files and what is scored of them."""

    __tablename__ = "datasets"

    manifest: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 over the files of all splits and `scored_as`."""
    name: Mapped[str]
    title: Mapped[str]
    variant: Mapped[str]
    test_manifest: Mapped[str] = mapped_column(String(64), index=True)
    """SHA-256 over the scored split: results are comparable only where it is the same."""
    classes: Mapped[list[Any]]
    palette: Mapped[list[Any]]
    foreground: Mapped[int | None]
    counts: Mapped[dict[str, Any]]
    """Images of each split."""
    scored_as: Mapped[str] = mapped_column(String(64))
    """SHA-256 over what is scored of the images: table of labels, classes, void, region. Results are comparable only
    where it is the same."""


class Merge(Base):
    """One `bench merge`: where rows came from, and what it takes to undo it."""

    __tablename__ = "merges"

    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str]
    """The name of the other database's file, without its folder."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Of that file; empty for a database that is no file."""
    at: Mapped[str]
    who: Mapped[str]
    counts: Mapped[dict[str, Any]]
    """What it did: `added`, `replaced`, `scored` and the like."""
    replaced: Mapped[list[Any]]
    """Rows of runs that had failed here and were replaced, as they were."""
    undone: Mapped[str | None]
    """When it was undone; None while it stands."""


class Run(Base):
    """One training and what became of it; a training is identified by its fingerprint."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)
    """The train fingerprint."""
    parts: Mapped[dict[str, Any]]
    """What the fingerprint was taken over, part by part."""
    cell: Mapped[str] = mapped_column(String(64), index=True)
    """The fingerprint without the seed: repetitions share it."""
    manifest: Mapped[str] = mapped_column(ForeignKey("datasets.manifest"), index=True)
    model: Mapped[str]
    """The label the board shows."""
    model_name: Mapped[str]
    model_params: Mapped[dict[str, Any]]
    model_origin: Mapped[str]
    model_source: Mapped[str | None]
    """Single-file plugins: the whole source."""
    parameters: Mapped[int | None]
    """Parameters of the network; None until it was built."""
    recipe: Mapped[str]
    grid: Mapped[dict[str, Any]]
    """Hyperparameters of this cell."""
    seed: Mapped[int]
    config: Mapped[dict[str, Any]]
    """The resolved job."""
    selection: Mapped[dict[str, Any]]
    selected_on_test: Mapped[bool]
    """Whether the scored images chose: the checkpoint, or, as val, among cells; such rows are ranked apart."""
    state: Mapped[str] = mapped_column(String(16), index=True)
    reason: Mapped[str] = mapped_column(default="")
    """Why it did not end well, in a line; empty if it did."""
    error: Mapped[str] = mapped_column(default="")
    traceback: Mapped[str] = mapped_column(default="")
    attempt: Mapped[int] = mapped_column(default=0)
    history: Mapped[list[Any]] = mapped_column(default=list)
    """Earlier attempts that did not end well: `attempt`, `state`, `reason`, `finished`."""
    search: Mapped[dict[str, Any] | None]
    """How its hyperparameters were found: `trials`, `gpu_hours`, `cpu_hours`, `budget`; None where they were given."""
    driver: Mapped[str | None]
    """host:pid of the command that runs it."""
    heartbeat: Mapped[float | None]
    """When that command last said it is alive, seconds since 1970."""
    created: Mapped[str]
    started: Mapped[str | None]
    finished: Mapped[str | None]
    times: Mapped[dict[str, Any]]
    """Seconds by part: train, predict, evaluate, total."""
    progress: Mapped[dict[str, Any]]
    """Epochs, iterations, the selected epoch and its score."""
    provenance: Mapped[dict[str, Any]]
    cost: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What using the network costs, as measured: `flops`, `latency_ms` and others; with batch and hardware."""
    merge_id: Mapped[int | None] = mapped_column(ForeignKey("merges.id"))
    """The merge that brought it; None for a run of this database's own."""

    entries: Mapped[list[SuiteEntry]] = relationship(back_populates="run")
    evaluations: Mapped[list[Evaluation]] = relationship(back_populates="run")


class SuiteEntry(Base):
    """A run as part of a suite; the same run can be part of several."""

    __tablename__ = "suite_entries"

    suite: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    merge_id: Mapped[int | None] = mapped_column(ForeignKey("merges.id"))
    """The merge that brought it."""
    run: Mapped[Run] = relationship(back_populates="entries")


class Withdrawal(Base):
    """A run withdrawn from the boards, or put back: the latest of a run's rows counts, none is ever removed."""

    __tablename__ = "withdrawals"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    action: Mapped[str] = mapped_column(String(16))
    """`withdrawn` or `restored`."""
    why: Mapped[str]
    who: Mapped[str]
    at: Mapped[str]
    replaced_by: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    """The run that corrects it, where one does."""


class Evaluation(Base):
    """One split of a run, scored under one protocol."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("score_fingerprint", "split"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    score_fingerprint: Mapped[str] = mapped_column(String(64))
    split: Mapped[str] = mapped_column(String(8))
    protocol_name: Mapped[str]
    protocol_hash: Mapped[str] = mapped_column(String(64), index=True)
    protocol: Mapped[dict[str, Any]]
    evaluator_version: Mapped[int]
    loss: Mapped[float | None]
    """The recipe's loss, averaged over images; None where there is none."""
    n_images: Mapped[int]
    details: Mapped[dict[str, Any]]
    """Everything the evaluator says besides the scores: undefined counts, variants, trimap, image level."""
    statistics: Mapped[bytes]
    """Per-image statistics: enough to fold every score anew, over any subset of images."""
    ceiling: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """What a network would score that is perfect at its input size: `input`, which says what that is, and `scores`;
    empty where there is no input size that is known."""
    image_list: Mapped[str] = mapped_column(ForeignKey("image_lists.key"))
    """The images that were scored, in order."""
    created: Mapped[str]
    merge_id: Mapped[int | None] = mapped_column(ForeignKey("merges.id"))
    """The merge that brought it."""

    run: Mapped[Run] = relationship(back_populates="evaluations")


class ImageList(Base):
    """The images of a scored split, shared by every evaluation of them."""

    __tablename__ = "image_lists"

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """SHA-256 of `images`, before it is compressed."""
    images: Mapped[bytes]
    """JSON `{"ids": [...], "groups": [...]}`, compressed by zlib; `groups` is empty where images have none."""


class ImageScore(Base):
    """One score of each image of an evaluation."""

    __tablename__ = "image_scores"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(32), primary_key=True)
    figures: Mapped[bytes]
    """Little-endian float32, in the order of the evaluation's image list; NaN where undefined."""


class Score(Base):
    """One figure of an evaluation; None where it is undefined."""

    __tablename__ = "scores"
    __table_args__ = (
        Index("ix_scores_metric", "metric", "class_index"),
        {"sqlite_with_rowid": False},
    )

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluations.id"), primary_key=True)
    metric: Mapped[str] = mapped_column(String(32), primary_key=True)
    class_index: Mapped[int] = mapped_column(primary_key=True)
    """The class, or -1 for the score over classes."""
    value: Mapped[float | None]


class CurvePoint(Base):
    """One figure of a learning curve."""

    __tablename__ = "curves"
    __table_args__ = {"sqlite_with_rowid": False}  # noqa: RUF012

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float | None]


class GalleryImage(Base):
    """A small copy of a test image and its truth, shared by every run on that copy of the data."""

    __tablename__ = "gallery_images"

    test_manifest: Mapped[str] = mapped_column(String(64), primary_key=True)
    image_id: Mapped[str] = mapped_column(primary_key=True)
    image: Mapped[bytes]
    """JPEG."""
    target: Mapped[bytes]
    """Palette PNG."""


class GalleryPrediction(Base):
    """A small copy of what a run predicted for a gallery image."""

    __tablename__ = "gallery_predictions"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    image_id: Mapped[str] = mapped_column(primary_key=True)
    prediction: Mapped[bytes]
    """Palette PNG."""


class Artifact(Base):
    """Files kept beside the database: the predicted label maps of a split."""

    __tablename__ = "artifacts"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    split: Mapped[str] = mapped_column(String(8), primary_key=True)
    path: Mapped[str]
    """Relative to the run's folder among the artifacts."""
    files: Mapped[int]
    sha256: Mapped[str] = mapped_column(String(64))
    """Over the folder's SHA256SUMS."""
