"""The baseline of the tables and the first change after it, backups, and the check of every figure."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, inspect, text

from harness.errors import DatabaseError
from harness.results import migrate as migrating
from harness.results import open_store
from harness.results.check import check_database
from harness.results.migrate import backup_sqlite, migrate, upgrade
from harness.results.schema import SCHEMA_VERSION, Base
from leaderboard.queries.load import load_runs
from tests.conftest import ROOT, run_bench

# A change of the tables as one after a release would be.
NEXT = f"""
import sqlalchemy as sa
from alembic import op

revision = "{SCHEMA_VERSION + 1}"
down_revision = "{SCHEMA_VERSION}"


def upgrade():
    with op.batch_alter_table("runs") as table:
        table.add_column(sa.Column("note", sa.String(), nullable=False, server_default="none"))
"""


@pytest.fixture
def path(finished: Path, tmp_path: Path) -> Path:
    """A copy of a finished database."""
    return Path(shutil.copy(finished, tmp_path))


@pytest.fixture
def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The next schema, made by the revision in the file that is given."""
    folder = tmp_path / "migrations"
    shutil.copytree(ROOT / "harness" / "results" / "migrations", folder)
    revision = folder / "versions" / "next.py"
    revision.write_text(NEXT)
    monkeypatch.setattr(migrating, "SCRIPTS", str(folder))
    for module in ("schema", "migrate"):
        monkeypatch.setattr(f"harness.results.{module}.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    return revision


def dumped(path: Path) -> str:
    connection = sqlite3.connect(path)
    lines = "\n".join(connection.iterdump())
    connection.close()
    return lines


def tables(connection: Connection) -> dict[str, Any]:
    """What a database says of its tables: columns, types, defaults, keys, references, indexes."""
    found = inspect(connection)
    return {
        name: {
            "columns": {
                c["name"]: (c["type"].compile(connection.dialect), c["nullable"], c["default"])
                for c in found.get_columns(name)
            },
            "key": found.get_pk_constraint(name)["constrained_columns"],
            "references": sorted(
                (r["constrained_columns"], r["referred_table"], r["referred_columns"], sorted(r["options"].items()))
                for r in found.get_foreign_keys(name)
            ),
            "unique": sorted(u["column_names"] for u in found.get_unique_constraints(name)),
            "indexes": sorted((str(i["name"]), i["column_names"], i["unique"]) for i in found.get_indexes(name)),
            "without rowid": connection.dialect.name == "sqlite" and "WITHOUT ROWID" in _statement(connection, name),
        }
        for name in found.get_table_names()
        if name != "alembic_version"
    }


def _statement(connection: Connection, table: str) -> str:
    query = text("SELECT sql FROM sqlite_master WHERE name = :name")
    return str(connection.execute(query, {"name": table}).scalar_one())


def tables_of(engine: Engine, make: Any) -> dict[str, Any]:
    """The tables that something makes in an empty database, which is empty again afterwards."""
    with engine.begin() as connection:
        make(connection)
    with engine.begin() as connection:
        found = tables(connection)
        Base.metadata.drop_all(connection)
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))
        assert inspect(connection).get_table_names() == []
    return found


def test_the_revisions_make_the_very_tables_of_the_models(url: str) -> None:
    engine = create_engine(url)
    migrated = tables_of(engine, lambda connection: upgrade(connection, 0))
    modelled = tables_of(engine, Base.metadata.create_all)
    engine.dispose()
    assert migrated.keys() == modelled.keys() == Base.metadata.tables.keys()
    for name, table in modelled.items():
        assert migrated[name] == table, name


def test_a_database_of_this_schema_needs_nothing(path: Path) -> None:
    before = path.read_bytes()
    assert migrate(str(path)) == (SCHEMA_VERSION, SCHEMA_VERSION, None)
    assert path.read_bytes() == before


def test_a_schema_that_is_not_known_here_is_never_migrated(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("update meta set value = '3' where key = 'schema_version'")
    connection.commit()
    connection.close()
    before = dumped(path)
    with pytest.raises(DatabaseError, match="has schema 3, this version of segbench reads schema 1") as caught:
        migrate(str(path))
    assert "the version that wrote it" in str(caught.value.hint)
    assert dumped(path) == before


def test_the_first_change_after_the_baseline_is_refused_then_migrated(path: Path, changed: Path) -> None:
    before = dumped(path)
    with pytest.raises(DatabaseError, match="this version of segbench reads") as caught:
        open_store(str(path))
    assert "bench db migrate" in str(caught.value.hint)
    assert dumped(path) == before
    old, new, backup = migrate(str(path))
    assert (old, new) == (SCHEMA_VERSION, SCHEMA_VERSION + 1)
    assert backup is not None
    assert dumped(backup) == before
    store = open_store(str(path))
    assert len(load_runs(store)) == 8
    assert list(check_database(store, None)) == []
    with store.engine.connect() as connection:
        assert connection.execute(text("select distinct note from runs")).scalars().all() == ["none"]
    store.close()
    assert migrate(str(path)) == (SCHEMA_VERSION + 1, SCHEMA_VERSION + 1, None)


def test_migration_on_postgresql(postgres_url: str, request: pytest.FixtureRequest) -> None:
    open_store(postgres_url).close()
    request.getfixturevalue("changed")
    assert migrate(postgres_url) == (SCHEMA_VERSION, SCHEMA_VERSION + 1, None)
    store = open_store(postgres_url)
    assert "note" in {column["name"] for column in inspect(store.engine).get_columns("runs")}
    store.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(path: Path, changed: Path) -> None:
    changed.write_text(NEXT + "    op.execute('alter table nowhere add column x')\n")
    before = dumped(path)
    with pytest.raises(DatabaseError, match="could not be migrated and was left as it was"):
        migrate(str(path))
    assert dumped(path) == before


def test_a_backup_is_whole_and_never_overwrites(path: Path, tmp_path: Path) -> None:
    copy = backup_sqlite(path, tmp_path / "copy.db")
    assert dumped(copy) == dumped(path)
    with pytest.raises(DatabaseError, match="exists already"):
        backup_sqlite(path, copy)
    with pytest.raises(DatabaseError, match="could not be written"):
        backup_sqlite(path, tmp_path / "no" / "folder.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "results.db"]


def test_a_changed_figure_and_a_damaged_statistic_are_found(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("update scores set value = value + 1e-6 where evaluation_id = 2 and metric = 'miou'")
    connection.execute("update evaluations set statistics = x'00' where id = 4")
    connection.execute("insert into suite_entries (suite, run_id) values ('s', 77)")
    connection.commit()
    connection.close()
    store = open_store(str(path), read_only=True)
    found = list(check_database(store, None))
    assert any("miou is stored as" in line for line in found)
    assert any("its statistics cannot be read" in line for line in found)
    assert any("refers to a row of runs that does not exist" in line for line in found)
    assert len(found) == 3


def test_the_command_checks_backs_up_and_migrates(path: Path, tmp_path: Path) -> None:
    assert "Nothing to do: the database has schema 1" in run_bench("db", "migrate", cwd=tmp_path).stdout
    assert "0 problem(s)" in run_bench("db", "check", cwd=tmp_path).stdout
    assert "wrote monday.db" in run_bench("db", "backup", "--out", "monday.db", cwd=tmp_path).stdout
    assert "0 problem(s)" in run_bench("db", "check", "--db", "monday.db", cwd=tmp_path).stdout


def test_changed_label_maps_are_found(finished: Path, tmp_path: Path) -> None:
    path = shutil.copy(finished, tmp_path)
    shutil.copytree(finished.with_suffix(".artifacts"), tmp_path / "results.artifacts")
    store = open_store(str(path), read_only=True)
    artifacts = tmp_path / "results.artifacts"
    assert list(check_database(store, store.artifacts)) == []
    victim = sorted(artifacts.glob("*/predictions/val/*.png"))[0]
    victim.write_bytes(victim.read_bytes()[:-1])
    assert [line for line in check_database(store, store.artifacts) if str(victim) in line]
