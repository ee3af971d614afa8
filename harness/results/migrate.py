"""Older databases: brought to the present schema by Alembic, after a backup, in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, update
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import DatabaseError
from harness.results.opening import open_store
from harness.results.schema import SCHEMA_VERSION, Meta, is_older, refuse_other_schema
from harness.utils.files import new_file

# Where Alembic finds the revisions, one for each schema.
SCRIPTS = "harness.results:migrations"


def migrate(db: str | None) -> tuple[int, int, Path | None]:
    """Bring a database to the present schema.

    Args:
        db: a path, a URL, or None for ./results.db.

    Returns:
        The schema it had, the one it has, and the backup of an SQLite file that was made before (None where nothing had
        to be done, or for PostgreSQL).

    Raises:
        DatabaseError: it is no results database, is of a schema that is not known here, or could not be migrated: it is
            as before then.
    """
    store = open_store(db, any_schema=True)
    try:
        found = store.schema()
        if not is_older(found):
            refuse_other_schema(store.name, found)
            return SCHEMA_VERSION, SCHEMA_VERSION, None
        before, backup = int(str(found)), None
        if store.path is not None:
            backup = backup_sqlite(store.path, store.path.with_suffix(f".schema{before}.db"))
        try:
            with store.engine.begin() as connection:
                upgrade(connection, before)
        except SQLAlchemyError as error:
            raise DatabaseError(f"{store.name}: could not be migrated and was left as it was: {error}") from error
        return before, SCHEMA_VERSION, backup
    finally:
        store.close()


def upgrade(connection: Connection, before: int) -> None:
    """Run the revisions from one schema to the present one; from 0 on an empty database, which then has its tables.

    Args:
        connection: in a transaction.
        before: the schema.
    """
    config = Config()
    config.set_main_option("script_location", SCRIPTS)
    config.attributes["connection"] = connection
    if before and "alembic_version" not in inspect(connection).get_table_names():
        command.stamp(config, str(before))
    command.upgrade(config, str(SCHEMA_VERSION))
    connection.execute(update(Meta).where(Meta.key == "schema_version").values(value=str(SCHEMA_VERSION)))


def backup_sqlite(path: Path, target: Path) -> Path:
    """Copy an SQLite database, also while it is written; the copy appears whole or not at all.

    Raises:
        DatabaseError: the target exists or cannot be written.
    """
    if target.exists():
        raise DatabaseError(f"{target}: exists already; move it away or name another place")
    try:
        with (
            new_file(target) as new,
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as source,
            contextlib.closing(sqlite3.connect(new)) as copy,
        ):
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
    except (OSError, sqlite3.Error) as error:
        raise DatabaseError(f"{target}: the backup could not be written: {error}") from error
    return target
