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
from streamlit.testing.v1 import AppTest

from bench.export import export_text
from harness.errors import BenchError, DatabaseError
from harness.results.publish import LIMIT, publish, unpacked, without_paths
from tests.conftest import REAL_DATA, ROOT, TINY, Shared, real, rows, run_bench, serving

GALLERY = """
from leaderboard.app.views import gallery
gallery.show()
"""


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


def test_databases_that_contradict_each_other_are_refused(finished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(finished) as source, sqlite3.connect(other) as copy:
        source.backup(copy)
        copy.execute("update scores set value = value + 0.1 where metric = 'miou'")
    with pytest.raises(BenchError, match=r"contradicts what is taken in before it: .*miou"):
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


def test_nothing_finished_and_no_database_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run_bench("db", "publish", "none.db", "--out", "out.db", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "there is no results database here yet" in done.stderr
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


def shown_gallery(db: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SEGBENCH_DB", str(db))
    monkeypatch.setenv("SEGBENCH_DATA", str(data))
    page = AppTest.from_string(GALLERY, default_timeout=120).run()
    assert not page.exception, page.exception
    return page


def captions(page: AppTest) -> list[str]:
    return [one.caption for image in page.get("image") for one in image.proto.imgs]


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
@real("weizmann_horse_db")
def test_no_photograph_is_handed_on_and_the_readers_own_is_shown(
    horses: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = horses / "results.db", horses / "published.db"
    assert all(image and target for image, target in rows(before, "select image, target from gallery_images"))
    assert set(rows(after, "select image, target from gallery_images")) == {(b"", b"")}
    content = after.read_bytes()
    for image, target in rows(before, "select image, target from gallery_images"):
        assert image[100:200] not in content
        assert target not in content
    # Without a copy of the data set there are predictions alone, and a line that says why.
    page = shown_gallery(after, tmp_path, monkeypatch)
    assert any("belong to the data set" in one.value for one in page.info)
    assert any("not yours" in one.value for one in page.info)
    kinds = {caption.split(":")[0] for caption in captions(page)}
    assert kinds == {"prediction"}
    # With one, everything is as in the database that was published.
    page = shown_gallery(after, REAL_DATA, monkeypatch)
    assert not any("belong to the data set" in one.value for one in page.info)
    assert {caption.split(":")[0] for caption in captions(page)} == {"image", "truth", "prediction", "error"}


# -- what the project ships ------------------------------------------------------------------------


def test_the_file_that_comes_with_the_project_is_one(tmp_path: Path) -> None:
    file = ROOT / "leaderboard" / "published.db"
    assert file.stat().st_size <= LIMIT
    copy = unpacked(file, tmp_path)
    assert rows(copy, "select count(*) from runs where state = 'ok'")[0][0] > 0
    assert run_bench("db", "check", "--db", str(copy), cwd=tmp_path).returncode == 0
    sets = "select image, target from gallery_images i join datasets d on d.test_manifest = i.test_manifest"
    assert set(rows(copy, f"{sets} where d.name not in ('shapes', 'strips')")) <= {(b"", b"")}


@pytest.mark.slow
def test_the_command_serves_it(home: Path) -> None:
    words = ["-m", "bench", "leaderboard", "--published", "--port", "{port}", "--no-browser"]
    with serving(words, "/_stcore/health") as served, urllib.request.urlopen(f"http://{served}/_stcore/health") as told:
        assert told.read() == b"ok"
    assert not (home / "results.db").exists()
    done = run_bench("leaderboard", "--published", "--db", "results.db", cwd=home, check=False)
    assert done.returncode == 2
    assert "name two databases" in done.stderr


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
