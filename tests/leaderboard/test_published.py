"""Results as one file: everything that is ours, nothing that is others' or tells of the machine; and the app on it."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bench.export import export_text
from bench.leaderboard import leaderboard
from harness.errors import BenchError, DatabaseError
from harness.results import open_store
from harness.results.check import check_database
from harness.results.publish import LIMIT, publish, unpacked, without_paths
from leaderboard.boards.board import boards
from leaderboard.queries.load import load_runs
from leaderboard.shown.pictures import Picture, own_copy, picture, pictured_ids, said_where, source_of
from tests.conftest import REAL_DATA, ROOT, TINY, Shared, real, rows, run_bench, serving


@pytest.fixture(scope="module")
def published(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished database of the tests, published."""
    target = tmp_path_factory.mktemp("published") / "published.db"
    assert publish([str(finished)], target) == 8
    return target


# -- what is in it ---------------------------------------------------------------------------------


def test_its_figures_are_those_of_the_databases(published: Path, finished: Path) -> None:
    assert export_text("json", str(published)) == export_text("json", str(finished))
    assert export_text("csv", str(published)) == export_text("csv", str(finished))
    for table in ("scores", "curves", "gallery_predictions"):
        assert rows(published, f"select count(*) from {table}") == rows(finished, f"select count(*) from {table}")
    # Generated images are ours.
    query = "select image_id, image, target from gallery_images order by image_id"
    assert rows(published, query) == rows(finished, query)


def test_nothing_tells_of_the_machine_that_made_it(published: Path, finished: Path) -> None:
    content = published.read_bytes()
    for trace in (str(finished.parent), str(ROOT), str(Path.home()) + "/", sys.prefix, str(Path.cwd())):
        assert trace.encode() not in content, trace
    assert rows(published, "select count(*) from artifacts") == [(0,)]
    assert rows(published, "select distinct driver, heartbeat from runs") == [(None, None)]
    for (text,) in rows(published, "select provenance from runs"):
        known = json.loads(text)
        assert socket.gethostname() not in json.dumps(known["hardware"])
        assert known["hardware"]["cores"] == os.cpu_count()
        assert known["packages"]["torch"]
    assert sorted(p.name for p in published.parent.iterdir()) == ["published.db"], "no log beside it"


def test_the_same_databases_give_the_same_rows(published: Path, finished: Path, tmp_path: Path) -> None:
    publish([str(finished)], tmp_path / "again.db")
    for table in ("runs", "evaluations", "scores", "gallery_predictions", "meta"):
        assert rows(tmp_path / "again.db", f"select * from {table}") == rows(published, f"select * from {table}")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('File "/home/a.b/seg/net.py", line 3', 'File "…/net.py", line 3'),
        ("plugin: /tmp/x/my_net.py", "plugin: …/my_net.py"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("precision/recall 3/4 of bench/run.py", "precision/recall 3/4 of bench/run.py"),
        ("/data: is empty", "/data: is empty"),
    ],
)
def test_of_a_path_the_name_stays(text: str, left: str) -> None:
    assert without_paths({"a": [text, 1, None]}) == {"a": [left, 1, None]}


@pytest.mark.slow
@pytest.mark.long
def test_failed_runs_are_there_without_their_folders(home: Path) -> None:
    (home / "bad.py").write_text('NAME = "bad"\n\n\ndef build(num_classes):\n    raise ValueError("no such width")\n')
    words = ("run", "--suite", TINY, "--local", "--plugin", "bad.py", "--set", "models=[bad]", "--set", "seeds=[0]")
    run_bench(*words, cwd=home, check=False)
    run_bench("db", "publish", "results.db", "--out", "out.db", cwd=home)
    ((state, reason, trace),) = rows(home / "out.db", "select state, reason, traceback from runs")
    assert (state, reason) == ("failed", "ValueError: no such width")
    assert "bad.py" in trace
    assert str(home) not in trace


# -- what is refused -------------------------------------------------------------------------------


def test_too_large_says_what_is_large_and_leaves_what_was_there(
    published: Path, finished: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out.db"
    target.write_bytes(b"before")
    with pytest.raises(BenchError, match=r"may have 0\.01 MB: .*statistics image by image"):
        publish([str(finished)], target, limit=10_000)
    assert target.read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["out.db"]


def copied(source: Path, to: Path, *statements: str) -> Path:
    """A copy of a database, changed."""
    with sqlite3.connect(source) as original, sqlite3.connect(to) as copy:
        original.backup(copy)
        for statement in statements:
            copy.execute(statement)
    return to


def test_databases_that_contradict_each_other_are_refused(finished: Path, tmp_path: Path) -> None:
    # The test scores of two seeds change places: each is what its statistics give, and not what the other file says.
    other = copied(
        finished,
        tmp_path / "other.db",
        "create temp table was as select id, run_id, score_fingerprint from evaluations"
        " where split = 'test' and run_id in (1, 2)",
        "update evaluations set score_fingerprint = 'x' || id where id in (select id from was)",
        "update evaluations set (run_id, score_fingerprint) ="
        " (select run_id, score_fingerprint from was where was.id != evaluations.id) where id in (select id from was)",
    )
    with pytest.raises(BenchError, match=r"contradicts what is taken in before it: .*on test is .* here and"):
        publish([str(finished), str(other)], tmp_path / "out.db")
    assert not (tmp_path / "out.db").exists()


def test_scores_that_their_statistics_do_not_give_are_refused(finished: Path, tmp_path: Path) -> None:
    other = copied(finished, tmp_path / "other.db", "update scores set value = value + 0.1 where metric = 'miou'")
    with pytest.raises(BenchError, match=r"is not sound: .*miou is stored as"):
        publish([str(finished), str(other)], tmp_path / "out.db")
    assert not (tmp_path / "out.db").exists()


def test_a_trace_that_nobody_knew_of_is_found(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(finished) as source, sqlite3.connect(other) as copy:
        source.backup(copy)
        copy.execute("update runs set model_source = ?", (f"WEIGHTS = '{tmp_path}/w.pt'",))
    with pytest.raises(BenchError, match="would be in the published file"):
        publish([str(other)], tmp_path / "out.db")
    assert not (tmp_path / "out.db").exists()


def test_no_database_is_said(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="there is no results database here yet"):
        publish([str(tmp_path / "none.db")], tmp_path / "out.db")
    assert list(tmp_path.iterdir()) == []


# -- opening it ------------------------------------------------------------------------------------


def test_it_is_copied_once_under_its_contents_hash_by_many_at_once(published: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        copies = set(pool.map(lambda _: unpacked(published, tmp_path / "cache"), range(16)))
    (copy,) = copies
    assert copy.read_bytes() == published.read_bytes()
    assert list((tmp_path / "cache").iterdir()) == [copy]


def test_a_damaged_file_and_somebody_elses_are_refused(finished: Path, published: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "published.db"
    damaged.write_bytes(b"no database at all, whatever its name says" * 9)
    with pytest.raises(DatabaseError, match="is not an SQLite database"):
        unpacked(damaged, tmp_path / "cache")
    damaged.write_bytes(published.read_bytes()[:8192])
    with pytest.raises(DatabaseError):
        unpacked(damaged, tmp_path / "cache")
    with pytest.raises(DatabaseError, match="but not a published one"):
        unpacked(finished, tmp_path / "cache")
    with pytest.raises(DatabaseError, match="cannot be read"):
        unpacked(tmp_path / "missing.db", tmp_path / "cache")


def no_photograph_is_handed_on(before: Path, after: Path, data: Path) -> None:
    """Look into both files for photographs, and at what the pages draw with and without a copy of the data set."""
    assert all(image and target for image, target in rows(before, "select image, target from gallery_images"))
    assert set(rows(after, "select image, target from gallery_images")) == {(b"", b"")}
    content = after.read_bytes()
    for image, target in rows(before, "select image, target from gallery_images"):
        assert image[100:200] not in content
        assert target not in content
    # Without a copy of the data set there are label maps alone, and a line that says why.
    bare = drawn(after, None)
    assert (bare.photo, bare.truth) == (None, None)
    assert bare.maps
    assert "belong to the data set and are not in this file" in said_where(bare)
    # With one, everything is as in the database that was published.
    whole = drawn(after, data)
    assert whole.photo is not None
    assert whole.truth is not None
    assert "from your copy of the data set" in said_where(whole)


def drawn(db: Path, data: Path | None) -> Picture:
    """What the page of images draws of an image of the gallery."""
    store = open_store(str(db), read_only=True)
    board = boards(load_runs(store))[0]
    sources = [source_of(store, run) for row in board.rows for run in row.cell.scored]
    image = min(pictured_ids(store, [one.run.run_id for one in sources]))
    found = picture(store, board.data, image, sources, own_copy(board.data, data, {}))
    store.close()
    return found


def test_no_photograph_of_others_is_handed_on_and_the_readers_own_is_shown(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.results.publish.is_generated", lambda name: False)
    target = tmp_path / "published.db"
    publish([str(finished)], target)
    monkeypatch.undo()
    no_photograph_is_handed_on(finished, target, finished.parent / "data")


@pytest.fixture(scope="module")
def horses(shared_once: Shared) -> Path:
    """A published file of real photographs' results: a smoke run on Weizmann Horse."""

    def fill(folder: Path) -> None:
        words = (
            "run",
            "--suite",
            "horse-quick",
            "--models",
            "U-Net (16)",
            "--smoke",
            "--local",
            "--data-dir",
            REAL_DATA,
        )
        run_bench(*words, cwd=folder)
        run_bench("db", "publish", "results.db", "--out", "published.db", cwd=folder)

    return shared_once("published-horses", fill)


@pytest.mark.slow
@pytest.mark.long
@real("weizmann_horse_db")
def test_no_photograph_of_a_real_data_set_is_handed_on(horses: Path) -> None:
    no_photograph_is_handed_on(horses / "results.db", horses / "published.db", REAL_DATA)


# -- what the project ships ------------------------------------------------------------------------


def test_the_file_that_comes_with_the_project_is_one(tmp_path: Path) -> None:
    file = ROOT / "leaderboard" / "published.db"
    assert file.stat().st_size <= LIMIT
    copy = unpacked(file, tmp_path)
    assert rows(copy, "select count(*) from runs where state = 'ok'")[0][0] > 0
    store = open_store(str(copy), read_only=True)
    assert list(check_database(store, None, lambda *_: None)) == []
    store.close()
    sets = "select image, target from gallery_images i join datasets d on d.test_manifest = i.test_manifest"
    assert set(rows(copy, f"{sets} where d.name not in ('shapes', 'strips')")) <= {(b"", b"")}


@pytest.mark.slow
def test_the_command_serves_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of somebody who has never started Streamlit, which would ask for an e-mail address first.
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("BROWSER", "true")
    words = ["-m", "bench", "leaderboard", "--published", "--port", "{port}"]
    with serving(words, "/_stcore/health") as served, urllib.request.urlopen(f"http://{served}/_stcore/health") as told:
        assert told.read() == b"ok"
    assert not (home / "results.db").exists()
    with pytest.raises(BenchError, match="name two databases"):
        leaderboard(published=True, db="results.db")


@pytest.mark.slow
def test_the_wheel_has_it(tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert "leaderboard/published.db" in zipfile.ZipFile(wheel).namelist()
