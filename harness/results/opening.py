"""How a results database is opened: by path or URL, for writing or for reading alone."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil
from sqlalchemy import URL, Engine, NullPool, QueuePool, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from harness.errors import DatabaseError
from harness.results.store import Store
from harness.tasks.artifacts import is_url

BUSY_TIMEOUT_S = 30.0
# File systems on which SQLite's locks cannot be trusted.
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "afs", "9p", "fuse.s", "lustre", "gpfs", "beegfs", "ceph")


def network_file_system(path: Path) -> str | None:
    """The kind of network file system a path is on, or None."""
    found, longest = None, 0
    for mount in psutil.disk_partitions(all=True):
        if path.resolve().is_relative_to(mount.mountpoint) and len(mount.mountpoint) > longest:
            found, longest = mount.fstype, len(mount.mountpoint)
    return found if found and found.lower().startswith(NETWORK_FILE_SYSTEMS) else None


def _file_url(path: Path) -> URL:
    return URL.create("sqlite", database=str(path.resolve()))


def open_existing(db: str | None) -> Store | None:
    """Open a database for writing if it exists; None, and nothing created, if it could be made.

    Raises:
        DatabaseError: it cannot be opened, or could not be made here.
    """
    if db and is_url(db):
        return open_store(db)
    path = Path(db or "results.db").resolve()
    _check_file(path, read_only=False)
    return open_store(db) if path.exists() else None


def open_store(db: str | None, *, read_only: bool = False, any_schema: bool = False) -> Store:
    """Open a database by path or SQLAlchemy URL.

    Args:
        db: a path, a URL, or None for ./results.db.
        read_only: never create, alter or write.
        any_schema: open it as it is, of whatever schema: for migrating.

    Raises:
        DatabaseError: it cannot be opened, is not a results database, or is of another schema.
    """
    try:
        # A path is no URL: `#`, `?` and `%` are characters of it.
        parsed = make_url(db) if db and is_url(db) else _file_url(Path(db or "results.db"))
    except ArgumentError as error:
        raise DatabaseError(f"--db {db}: not a database URL: {error}") from error
    path = Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else None
    if path is not None:
        _check_file(path, read_only)
    try:
        engine = _engine(parsed, read_only, path)
        store = Store(engine, path)
        engine.connect().close()  # what cannot be reached is told here
        if not any_schema:
            store.check_schema(create=not read_only)
    except (SQLAlchemyError, NoSuchModuleError, ImportError) as error:
        message = str(getattr(error, "orig", None) or error).splitlines()[0]
        hint = 'pip install "segbench[postgres]"' if isinstance(error, ImportError) else None
        raise DatabaseError(f"{path or parsed.render_as_string()}: cannot be used: {message}", hint) from error
    return store


def _check_file(path: Path, read_only: bool) -> None:
    if read_only and not path.is_file():
        raise DatabaseError(
            f"{path}: there is no results database here yet",
            "`bench run --suite demo` makes one, or name another with --db.",
        )
    if path.is_file() and path.stat().st_size and path.open("rb").read(16) != b"SQLite format 3\0":
        raise DatabaseError(f"{path}: is not an SQLite database; it was left alone")
    if read_only:
        return
    if not path.parent.is_dir():
        raise DatabaseError(f"{path.parent}: there is no such folder for the database")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise DatabaseError(f"{path}: cannot be written", "Name another place with --db.")


def _engine(url: URL, read_only: bool, path: Path | None) -> Engine:
    if path is None:
        return create_engine(url, pool_pre_ping=True)
    if read_only:
        # Where the folder cannot be written each transaction opens the file anew: see `connected_to_read`.
        pool = QueuePool if os.access(path.parent, os.W_OK) else NullPool
        engine = create_engine("sqlite://", creator=lambda: connected_to_read(path), poolclass=pool)
    else:
        engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # transactions are begun below, not by the driver
        connection.execute("PRAGMA foreign_keys=ON")
        if not read_only:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        # A writer takes its lock at once: two that upgraded a read lock would fail, not wait.
        connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

    return engine


def connected_to_read(path: Path) -> sqlite3.Connection:
    """A connection that can only read.

    A file in WAL mode in a folder that cannot be written opens only as immutable once its WAL is folded in. Such a
    connection never sees what is written later, and one that saw a WAL does: which it is, is asked each time.
    """
    immutable = not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists()
    uri = f"file:{quote(str(path))}?mode=ro{'&immutable=1' if immutable else ''}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, check_same_thread=False)


def open_results(db: str | None = None, *, read_only: bool = True) -> Store:
    """Open a results database: to look at it, or with `read_only=False` to let runs write into it.

    Args:
        db: a path or a URL; None: ./results.db.
        read_only: never create, alter or write.

    Raises:
        DatabaseError: it cannot be opened, is not a results database, or is of another schema.
    """
    return open_store(db, read_only=read_only)
