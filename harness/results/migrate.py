"""Older databases: brought to the present schema by Alembic, after a backup, in one transaction."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError

from harness.errors import DatabaseError
from harness.results.opening import open_store
from harness.results.schema import SCHEMA_VERSION, Meta
from harness.results.store import Store
from harness.utils.files import new_file


def migrate(db: str | None) -> tuple[int, int, Path | None]:
    """Bring a database to the present schema.

    Args:
        db: a path, a URL, or None for ./results.db.

    Returns:
        The schema it had, the one it has, and the backup of an SQLite file that was made before (None where nothing had
        to be done, or for PostgreSQL).

    Raises:
        DatabaseError: it is no results database, is of a newer schema, or could not be migrated: it is as before then.
    """
    store = open_store(db, any_schema=True)
    try:
        before = schema_of(store)
        if before == SCHEMA_VERSION:
            return before, before, None
        backup = None
        if store.path is not None:
            backup = backup_sqlite(store.path, store.path.with_suffix(f".schema{before}.db"))
        try:
            with store.engine.begin() as connection:
                _upgrade(connection, before)
        except SQLAlchemyError as error:
            raise DatabaseError(f"{store.name}: could not be migrated and was left as it was: {error}") from error
        return before, SCHEMA_VERSION, backup
    finally:
        store.close()


def schema_of(store: Store) -> int:
    """The number of a database's schema.

    Raises:
        DatabaseError: it is no results database, or of a newer schema.
    """
    if not {"meta", "runs"} <= set(inspect(store.engine).get_table_names()):
        raise DatabaseError(f"{store.name}: is not a results database; it was left alone")
    with store.engine.connect() as connection:
        found = connection.execute(select(Meta.value).where(Meta.key == "schema_version")).scalar()
    if found is None or not str(found).isdigit() or int(found) > SCHEMA_VERSION:
        raise DatabaseError(
            f"{store.name}: has schema {found}, which is newer than {SCHEMA_VERSION}; it was left alone"
        )
    return int(found)


def _upgrade(connection: Connection, before: int) -> None:
    config = Config()
    config.set_main_option("script_location", "harness.results:migrations")
    config.attributes["connection"] = connection
    if "alembic_version" not in inspect(connection).get_table_names():
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
