"""Databases of earlier versions in less room: `bench db compact`."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import pytest

from harness.metrics import StatisticsTable
from harness.results import open_store
from harness.results.check import check_database
from harness.results.migrate import migrate
from harness.results.schema import Evaluation
from leaderboard.queries.load import load_image_scores, load_runs
from tests.conftest import ROOT, Bench, rows

OLD = ROOT / "tests" / "databases" / "version_2" / "results.db.gz"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A database of an earlier version, migrated."""
    place = tmp_path / "old.db"
    place.write_bytes(gzip.decompress(OLD.read_bytes()))
    migrate(str(place))
    return place


def npz(place: Path) -> dict[int, bytes]:
    """Every figure of the statistics, by evaluation."""
    stored = rows(place, "SELECT id, statistics FROM evaluations")
    return {number: StatisticsTable.from_bytes(data).to_npz() for number, data in stored}


def test_no_figure_changes_and_scores_of_images_are_there(old: Path, bench: Bench) -> None:
    before, scores = npz(old), rows(old, "SELECT * FROM scores ORDER BY 1, 2, 3")
    ((size,),) = rows(old, "SELECT sum(length(statistics)) FROM evaluations")
    store = open_store(str(old), read_only=True)
    folded = load_image_scores(store, [run.run_id for run in load_runs(store)], "miou").figures
    store.close()
    done = bench("db", "compact", "--db", old)
    assert f"{len(before)} of the scored splits written anew" in done.stdout
    assert npz(old) == before
    assert rows(old, "SELECT * FROM scores ORDER BY 1, 2, 3") == scores
    ((smaller,),) = rows(old, "SELECT sum(length(statistics)) FROM evaluations")
    assert smaller < 0.75 * size  # of ten small images
    store = open_store(str(old), read_only=True)
    assert list(check_database(store, None)) == []
    found = load_image_scores(store, [run.run_id for run in load_runs(store)], "miou").figures
    assert found.tobytes() == folded.tobytes()
    assert rows(old, "SELECT count(*) FROM image_scores WHERE metric = 'miou'") == [(len(before),)]
    assert "0 of the scored splits written anew" in bench("db", "compact", "--db", old).stdout


def test_what_cannot_be_read_is_left_and_told_of(old: Path, bench: Bench) -> None:
    connection = sqlite3.connect(old)
    connection.execute(f"UPDATE {Evaluation.__tablename__} SET statistics = x'0102' WHERE id = 1")
    connection.commit()
    connection.close()
    assert "1 cannot be read" in bench("db", "compact", "--db", old).stdout
    assert rows(old, "SELECT statistics FROM evaluations WHERE id = 1") == [(b"\x01\x02",)]
