"""Schema 1: the tables of the first release. Later changes have revisions of their own; this one stays as it is."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

TEXT, DIGEST, JSON, BYTES = sa.String(), sa.String(64), sa.JSON(), sa.LargeBinary()
NUMBER = sa.Integer()
REAL: Any = sa.Double()


def needed(name: str, kind: Any, *key: Any, **more: Any) -> Any:
    """A column that is never empty."""
    return sa.Column(name, kind, *key, nullable=False, **more)


def perhaps(name: str, kind: Any, *key: Any) -> Any:
    """A column that may be empty."""
    return sa.Column(name, kind, *key, nullable=True)


def key(name: str, kind: Any, *to: Any) -> Any:
    """A column of the primary key."""
    return sa.Column(name, kind, *to, primary_key=True)


def to(column: str) -> sa.ForeignKey:
    """A reference to another table."""
    return sa.ForeignKey(column)


def upgrade() -> None:
    """Make the tables; a database of schema 1 has them."""
    op.create_table("meta", key("key", sa.String(64)), needed("value", TEXT))
    op.create_table(
        "datasets",
        key("manifest", DIGEST), needed("name", TEXT), needed("title", TEXT), needed("variant", TEXT),
        needed("test_manifest", DIGEST, index=True), needed("classes", JSON), needed("palette", JSON),
        perhaps("foreground", NUMBER), needed("counts", JSON), needed("scored_as", DIGEST),
    )  # fmt: skip
    op.create_table(
        "merges",
        key("id", NUMBER), needed("source", TEXT), needed("sha256", DIGEST), needed("at", TEXT), needed("who", TEXT),
        needed("counts", JSON), needed("replaced", JSON), perhaps("undone", TEXT),
    )  # fmt: skip
    op.create_table(
        "runs",
        key("id", NUMBER), needed("fingerprint", DIGEST, unique=True), needed("parts", JSON),
        needed("cell", DIGEST, index=True), needed("manifest", DIGEST, to("datasets.manifest"), index=True),
        needed("model", TEXT), needed("model_name", TEXT), needed("model_params", JSON), needed("model_origin", TEXT),
        perhaps("model_source", TEXT), perhaps("parameters", NUMBER), needed("recipe", TEXT), needed("grid", JSON),
        needed("seed", NUMBER), needed("config", JSON), needed("selection", JSON),
        needed("selected_on_test", sa.Boolean()), needed("state", sa.String(16), index=True), needed("reason", TEXT),
        needed("error", TEXT), needed("traceback", TEXT), needed("attempt", NUMBER), needed("history", JSON),
        perhaps("search", JSON), perhaps("driver", TEXT), perhaps("heartbeat", REAL), needed("created", TEXT),
        perhaps("started", TEXT), perhaps("finished", TEXT), needed("times", JSON), needed("progress", JSON),
        needed("provenance", JSON), needed("cost", JSON), perhaps("merge_id", NUMBER, to("merges.id")),
    )  # fmt: skip
    op.create_table(
        "suite_entries",
        key("suite", TEXT), key("run_id", NUMBER, to("runs.id")), perhaps("merge_id", NUMBER, to("merges.id")),
    )  # fmt: skip
    op.create_table(
        "withdrawals",
        key("id", NUMBER), needed("run_id", NUMBER, to("runs.id"), index=True), needed("action", sa.String(16)),
        needed("why", TEXT), needed("who", TEXT), needed("at", TEXT), perhaps("replaced_by", NUMBER, to("runs.id")),
    )  # fmt: skip
    op.create_table("image_lists", key("key", DIGEST), needed("images", BYTES))
    op.create_table(
        "evaluations",
        key("id", NUMBER), needed("run_id", NUMBER, to("runs.id"), index=True), needed("score_fingerprint", DIGEST),
        needed("split", sa.String(8)), needed("protocol_name", TEXT), needed("protocol_hash", DIGEST, index=True),
        needed("protocol", JSON), needed("evaluator_version", NUMBER), perhaps("loss", REAL),
        needed("n_images", NUMBER), needed("details", JSON), needed("statistics", BYTES),
        needed("ceiling", JSON),
        needed("image_list", DIGEST, to("image_lists.key")), needed("created", TEXT),
        perhaps("merge_id", NUMBER, to("merges.id")), sa.UniqueConstraint("score_fingerprint", "split"),
    )  # fmt: skip
    op.create_table(
        "image_scores",
        key("evaluation_id", NUMBER, to("evaluations.id")), key("metric", sa.String(32)), needed("figures", BYTES),
    )  # fmt: skip
    op.create_table(
        "scores",
        key("evaluation_id", NUMBER, to("evaluations.id")), key("metric", sa.String(32)), key("class_index", NUMBER),
        perhaps("value", REAL), sa.Index("ix_scores_metric", "metric", "class_index"), sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table(
        "curves",
        key("run_id", NUMBER, to("runs.id")), key("name", sa.String(64)), key("epoch", NUMBER), perhaps("value", REAL),
        sqlite_with_rowid=False,
    )  # fmt: skip
    op.create_table(
        "gallery_images",
        key("test_manifest", DIGEST), key("image_id", TEXT), needed("image", BYTES), needed("target", BYTES),
    )  # fmt: skip
    op.create_table(
        "gallery_predictions",
        key("run_id", NUMBER, to("runs.id")), key("image_id", TEXT), needed("prediction", BYTES),
    )  # fmt: skip
    op.create_table(
        "artifacts",
        key("run_id", NUMBER, to("runs.id")), key("kind", sa.String(32)), key("split", sa.String(8)),
        needed("path", TEXT), needed("files", NUMBER), needed("sha256", DIGEST),
    )  # fmt: skip
