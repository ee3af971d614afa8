"""Databases of earlier schemas, backups, and the check of every figure."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text

from harness.errors import DatabaseError
from harness.results import open_store
from harness.results.check import check_database
from harness.results.migrate import backup_sqlite, migrate
from harness.results.schema import SCHEMA_VERSION
from leaderboard.queries.load import load_runs
from tests.conftest import ROOT, run_bench

SCHEMAS = sorted((ROOT / "tests" / "schemas").glob("schema_*.sql"))


def old_database(dump: Path, folder: Path) -> Path:
    path = folder / "results.db"
    connection = sqlite3.connect(path)
    connection.executescript(dump.read_text())
    connection.close()
    return path


def dumped(path: Path) -> str:
    connection = sqlite3.connect(path)
    lines = "\n".join(connection.iterdump())
    connection.close()
    return lines


def columns(path: Path) -> dict[str, list[str]]:
    connection = sqlite3.connect(path)
    tables = [t for (t,) in connection.execute("select name from sqlite_master where type = 'table'")]
    found = {t: sorted(row[1] for row in connection.execute(f"pragma table_info({t})")) for t in tables}
    connection.close()
    found.pop("alembic_version", None)
    return found


def test_there_is_a_dump_of_every_earlier_schema() -> None:
    assert [path.stem for path in SCHEMAS] == [f"schema_{number}" for number in range(1, SCHEMA_VERSION)]


@pytest.mark.parametrize("dump", SCHEMAS, ids=lambda path: path.stem)
def test_an_earlier_schema_is_refused_then_migrated_and_its_figures_stay(dump: Path, tmp_path: Path) -> None:
    path = old_database(dump, tmp_path)
    before = dumped(path)
    with pytest.raises(DatabaseError, match="this version of segbench reads") as caught:
        open_store(str(path))
    assert "bench db migrate" in (caught.value.hint or "")
    assert dumped(path) == before
    old, new, backup = migrate(str(path))
    assert (old, new) == (int(dump.stem.split("_")[1]), SCHEMA_VERSION)
    assert backup is not None
    assert backup.exists()
    store = open_store(str(path))
    results = load_runs(store)
    assert len(results) == 2
    assert list(check_database(store, None)) == []
    store.close()
    assert migrate(str(path)) == (SCHEMA_VERSION, SCHEMA_VERSION, None)
    fresh = tmp_path / "fresh.db"
    open_store(str(fresh)).close()
    assert columns(path) == columns(fresh), "a migrated database has the tables of a new one"


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    path = old_database(SCHEMAS[0], tmp_path)
    connection = sqlite3.connect(path)
    connection.execute("alter table runs add column history text")  # as if somebody had been at it
    connection.commit()
    connection.close()
    before = columns(path)
    with pytest.raises(DatabaseError, match="could not be migrated and was left as it was"):
        migrate(str(path))
    assert columns(path) == before


def test_migration_on_postgresql(postgres_url: str) -> None:
    store = open_store(postgres_url)
    with store.engine.begin() as connection:
        # As schema 1 was: what later versions added is taken away.
        connection.execute(text("alter table evaluations drop column image_list, drop column merge_id"))
        connection.execute(text("alter table suite_entries drop column merge_id"))
        connection.execute(text("alter table datasets drop column scored_as"))
        gone = ("search", "history", "cost", "merge_id")
        connection.execute(text(f"alter table runs {', '.join(f'drop column {name}' for name in gone)}"))
        connection.execute(text("drop table image_scores, image_lists, withdrawals, merges"))
        connection.execute(text("update meta set value = '1' where key = 'schema_version'"))
    store.close()
    assert migrate(postgres_url) == (1, SCHEMA_VERSION, None)
    open_store(postgres_url).close()


def test_a_backup_is_whole_and_never_overwrites(tmp_path: Path) -> None:
    path = old_database(SCHEMAS[0], tmp_path)
    copy = backup_sqlite(path, tmp_path / "copy.db")
    assert columns(copy) == columns(path)
    with pytest.raises(DatabaseError, match="exists already"):
        backup_sqlite(path, copy)
    with pytest.raises(DatabaseError, match="could not be written"):
        backup_sqlite(path, tmp_path / "no" / "folder.db")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.db", "results.db"]


def test_a_changed_figure_and_a_damaged_statistic_are_found(tmp_path: Path) -> None:
    path = old_database(SCHEMAS[0], tmp_path)
    migrate(str(path))
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


def test_the_command_checks_backs_up_and_migrates(tmp_path: Path) -> None:
    old_database(SCHEMAS[0], tmp_path)
    refused = run_bench("db", "check", cwd=tmp_path, check=False)
    assert refused.returncode == 2
    assert "bench db migrate" in refused.stderr
    assert "Migrated from schema 1" in run_bench("db", "migrate", cwd=tmp_path).stdout
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
