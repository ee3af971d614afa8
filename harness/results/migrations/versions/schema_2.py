"""Schema 2: runs remember how their hyperparameters were searched, and their earlier attempts."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Add both columns; what is there was not searched and has no history."""
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("search", sa.JSON(), nullable=True))
        table.add_column(sa.Column("history", sa.JSON(), nullable=False, server_default="[]"))
