"""Schema 3: scores and lists of images, costs, what is scored, merges that can be undone, withdrawn runs."""

import sqlalchemy as sa
from alembic import op

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """Add tables and columns; of what is there none of it is known."""
    op.create_table(
        "merges",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("counts", sa.JSON(), nullable=False),
        sa.Column("replaced", sa.JSON(), nullable=False),
        sa.Column("undone", sa.String(), nullable=True),
    )
    op.create_table(
        "withdrawals",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("run_id", sa.Integer(), sa.ForeignKey("runs.id"), nullable=False, index=True),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("at", sa.String(), nullable=False),
        sa.Column("replaced_by", sa.Integer(), sa.ForeignKey("runs.id"), nullable=True),
    )
    op.create_table(
        "image_lists",
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("images", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "image_scores",
        sa.Column("evaluation_id", sa.Integer(), sa.ForeignKey("evaluations.id"), primary_key=True),
        sa.Column("metric", sa.String(32), primary_key=True),
        sa.Column("figures", sa.LargeBinary(), nullable=False),
    )
    op.add_column("datasets", sa.Column("scored_as", sa.String(64), nullable=False, server_default=""))
    op.add_column("runs", sa.Column("cost", sa.JSON(), nullable=False, server_default="{}"))
    # SQLite adds a column that refers to another table only in these words; to rebuild the table would break what
    # refers to it.
    for table in ("runs", "suite_entries", "evaluations"):
        op.execute(f"ALTER TABLE {table} ADD COLUMN merge_id INTEGER REFERENCES merges (id)")
    op.execute("ALTER TABLE evaluations ADD COLUMN image_list VARCHAR(64) REFERENCES image_lists (key)")
