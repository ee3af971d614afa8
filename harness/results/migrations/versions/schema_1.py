"""Schema 1: the tables as the first version made them."""

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing: a database of schema 1 has its tables."""
