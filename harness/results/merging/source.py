"""A stranger's database, opened so that it can do no harm: a private copy, checked, with limits of size and time."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, StaticPool, Table, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from harness.errors import DatabaseError
from harness.results.merging.limits import MEGABYTE, Clock, Limits
from harness.results.opening import connected_to_read, open_store
from harness.results.schema import Base, refuse_other_schema
from harness.tasks.artifacts import is_url
from harness.utils.text import plain_line

# Steps of SQLite's machine between two looks at the clock.
STEPS = 100_000
# Pages that are copied between two looks at the clock.
PAGES = 4096
# What SQLite is allowed to do for a file that others wrote.
_CAUTION = (
    "PRAGMA trusted_schema=OFF",
    "PRAGMA cell_size_check=ON",
    "PRAGMA mmap_size=0",
    "PRAGMA query_only=ON",
    "PRAGMA ignore_check_constraints=ON",
)


class Source:
    """The other database while it is read; every value comes as it is stored, of whatever type.

    Args:
        connection: in one transaction, which sees one state of it.
        name: what messages call it.
        sha256: of its file; empty where it is none.
        path: the file; None where it is none.
        limits: how much is read.
        clock: how long.
    """

    def __init__(
        self, connection: Connection, name: str, sha256: str, path: Path | None, limits: Limits, clock: Clock
    ) -> None:
        self._connection = connection
        self.name, self.sha256, self.path, self.limits, self.clock = name, sha256, path, limits, clock

    def rows(self, table: Table, most: int, order: str = "", **where: Any) -> list[dict[str, Any]]:
        """Rows of a table.

        Args:
            table: one of the schema's.
            most: how many there may be.
            order: the column to sort by.
            where: values of columns.

        Raises:
            ValueError: there are more, or one cannot be read (text that is no Unicode, a value over the limit).
            DatabaseError: the time is over.
        """
        names = ", ".join(f'"{column.name}"' for column in table.columns)
        return [dict(row) for row in self._select(names, table, most, order, where)]

    def numbers(self, table: Table, most: int) -> list[Any]:
        """The primary keys of a table of one key, in order.

        Raises:
            ValueError: there are more.
        """
        (key,) = table.primary_key.columns
        return [row[key.name] for row in self._select(f'"{key.name}"', table, most, key.name, {})]

    def _select(
        self, names: str, table: Table, most: int, order: str, where: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        chosen = " AND ".join(f'"{name}" = :{name}' for name in where)
        query = f'SELECT {names} FROM "{table.name}"'
        query += (f" WHERE {chosen}" if chosen else "") + (f' ORDER BY "{order}"' if order else "") + " LIMIT :most_"
        found: list[Mapping[str, Any]] = []
        size = 0
        try:
            for row in self._connection.execute(text(query), {**where, "most_": most + 1}).mappings():
                found.append(row)  # type: ignore[arg-type]
                size += sum(len(value) for value in row.values() if isinstance(value, str | bytes))
                if size > self.limits.answer_bytes:
                    raise ValueError(f"{table.name}: more than {self.limits.answer_bytes / MEGABYTE:,.0f} MB")
        except SQLAlchemyError as error:
            self.clock.check(self.name)
            first = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise ValueError(f"{table.name}: {plain_line(first)}") from error
        if len(found) > most:
            raise ValueError(f"{table.name}: more than {most:,} rows")
        return found


@contextlib.contextmanager
def opened(other: str, folder: Path, limits: Limits) -> Iterator[Source]:
    """Open another database for reading.

    Args:
        other: a path or a URL.
        folder: a private one, for the copy.
        limits: how much is read, and for how long.

    Raises:
        DatabaseError: it is no sound results database of this schema; says why in a line.
    """
    clock = Clock(limits.seconds)
    file = _file_of(other)
    if file is None:
        store = open_store(other, read_only=True)
        try:
            isolated = store.engine.connect().execution_options(isolation_level="REPEATABLE READ")
            with isolated as connection, connection.begin():
                yield Source(connection, store.name, "", None, limits, clock)
        finally:
            store.close()
        return
    _refuse_odd_file(file, limits, folder)
    copy = folder / "copy.db"
    with contextlib.ExitStack() as stack:
        try:
            sha256 = _copied(file, copy, clock)
            own = stack.enter_context(_connected(copy, limits, clock))
            _check(own, file, clock)
        except (sqlite3.Error, OSError) as error:
            clock.check(str(file))
            raise DatabaseError(f"{file}: cannot be read: {plain_line(str(error))}") from error
        yield Source(own, str(file), sha256, file.absolute(), limits, clock)


def _file_of(other: str) -> Path | None:
    """The file of a database; None where it is on a server.

    Raises:
        DatabaseError: a URL that names nothing.
    """
    if not is_url(other):
        return Path(other)
    try:
        url = make_url(other)
    except ArgumentError as error:
        raise DatabaseError(f"{other}: not a database URL: {error}") from error
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database:
        raise DatabaseError(f"{other}: names no file")
    return Path(url.database)


def _refuse_odd_file(path: Path, limits: Limits, folder: Path) -> None:
    try:
        facts = path.stat()
    except OSError as error:
        raise DatabaseError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise DatabaseError(f"{path}: is no regular file")
    for name in ("-wal", "-shm", "-journal"):
        if path.with_name(path.name + name).is_symlink():
            raise DatabaseError(f"{path}{name}: is a link: no database has that")
    with path.open("rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise DatabaseError(f"{path}: is not an SQLite database; it was left alone")
    free = shutil.disk_usage(folder).free
    most = min(limits.file_bytes, free // 3)  # its copy, and what of it is sound
    if facts.st_size > most:
        raise DatabaseError(
            f"{path}: has {facts.st_size / 1e6:,.0f} MB; at most {most / 1e6:,.0f} MB can be read here",
            "It is copied into the folder for temporary files first, whose place TMPDIR names."
            if most < limits.file_bytes
            else None,
        )


def _copied(path: Path, copy: Path, clock: Clock) -> str:
    """Copy one state of the database, its log included; returns the SHA-256 of its file."""

    def look(status: int, remaining: int, total: int) -> None:
        clock.check(str(path))

    with contextlib.closing(connected_to_read(path)) as theirs, contextlib.closing(sqlite3.connect(copy)) as ours:
        theirs.execute("PRAGMA trusted_schema=OFF")
        theirs.set_progress_handler(lambda: clock.is_over, STEPS)
        theirs.execute("BEGIN")
        theirs.execute("PRAGMA schema_version").fetchone()  # from here on it sees one state
        theirs.backup(ours, pages=PAGES, progress=look)
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while chunk := file.read(1 << 22):
                digest.update(chunk)
                clock.check(str(path))
    return digest.hexdigest()


@contextlib.contextmanager
def _connected(copy: Path, limits: Limits, clock: Clock) -> Iterator[Connection]:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(f"{copy.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limits.value_bytes)
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.set_progress_handler(lambda: clock.is_over, STEPS)
        for line in _CAUTION:
            connection.execute(line)
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=StaticPool)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _check(connection: Connection, path: Path, clock: Clock) -> None:
    """Refuse what is no sound results database of this schema.

    Raises:
        DatabaseError: says why.
    """
    try:
        kinds = _kinds(connection)
        if not {"meta", "runs"} <= kinds.keys():
            raise DatabaseError(f"{path}: is not a results database; it was left alone")
        _check_version(connection, path, kinds)
        for table in Base.metadata.sorted_tables:
            _check_table(connection, path, table, kinds)
        problem = connection.execute(text("PRAGMA quick_check(1)")).scalar()
    except SQLAlchemyError as error:
        clock.check(str(path))
        first = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise DatabaseError(f"{path}: is damaged: {plain_line(first)}") from error
    if problem != "ok":
        lines = str(problem).splitlines() or ["no reason given"]
        raise DatabaseError(f"{path}: is damaged: {plain_line(' '.join(lines))}")


def _kinds(connection: Connection) -> dict[str, str]:
    """What every name of the schema is: a table that has pages of its own, or a view, an index, a virtual table."""
    found = {}
    for row in connection.execute(text("SELECT name, type, rootpage, sql FROM sqlite_master")).mappings():
        begins = str(row["sql"]).upper().split()[:2]
        real = begins == ["CREATE", "TABLE"] and isinstance(row["rootpage"], int) and row["rootpage"] > 0
        found[row["name"]] = "virtual table" if row["type"] == "table" and not real else str(row["type"])
    return found


def _check_version(connection: Connection, path: Path, kinds: Mapping[str, str]) -> None:
    if kinds["meta"] != "table":
        raise DatabaseError(f"{path}: meta is no table but a {kinds['meta']}; nothing was read")
    query = text("SELECT value FROM meta WHERE key = 'schema_version' LIMIT 1")
    refuse_other_schema(str(path), plain_line(str(connection.execute(query).scalar())))


def _check_table(connection: Connection, path: Path, table: Table, kinds: Mapping[str, str]) -> None:
    """A table of the schema has to be one: with its columns, and none that is computed when it is read."""
    kind = kinds.get(table.name, "missing")
    if kind != "table":
        told = "is missing" if kind == "missing" else f"is no table but a {plain_line(kind)}"
        raise DatabaseError(f"{path}: {table.name} {told}; nothing was taken over")
    found = connection.execute(text(f'PRAGMA table_xinfo("{table.name}")')).mappings().all()
    names = {row["name"] for row in found if row["hidden"] == 0}
    if missing := sorted({column.name for column in table.columns} - names):
        raise DatabaseError(f"{path}: {table.name} has no column {', '.join(missing)}; nothing was taken over")
