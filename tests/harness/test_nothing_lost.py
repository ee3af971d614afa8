"""Locks, kills, damaged files: whatever ordinarily happens to a command, no finished work is lost or done twice."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from harness.errors import DataError
from harness.results import lease, opening
from harness.runner.isolate import run_isolated
from harness.scoring.evaluate import read_checksums, stored_label_maps, verify_checksums, write_checksums
from harness.tasks.messages import EpochDone, Message, Stage
from harness.tasks.record import RECORD, read_record
from tests.conftest import TINY, marked, rows, run_bench
from tests.harness.test_isolate import GOOD, _long, task_of

MODEL = "models=[{name: unet, params: {width: 4, depth: 2}}]"
ONE = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local")


def start(home: Path, mark: str, *words: str | Path) -> subprocess.Popen[str]:
    """The command in a session of its own, its processes marked."""
    return subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, words)],
        cwd=home,
        env={**os.environ, "TEST_MARK": mark, "SEGBENCH_PASS": "TEST_MARK"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: str, home: Path, seconds: float = 90) -> Path:
    """The file of that pattern, once it is there."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := sorted(home.glob(path)):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {path}")


def wait_until_training(home: Path, command: subprocess.Popen[str]) -> None:
    """Until a first epoch is in the job's log of events."""
    wait_for("results.artifacts/*/tensorboard/events*", home)
    assert command.poll() is None


# -- the result is safe before anything is removed ------------------------------------------------------


def test_a_result_that_could_not_be_written_is_taken_in_by_the_next_command(home: Path) -> None:
    run_bench(*ONE, "--set", "epochs=1", cwd=home)
    db = home / "results.db"
    (finished,) = rows(db, "select id, attempt, fingerprint from runs")
    scores = rows(db, "select metric, class_index, value from scores order by 1, 2")
    folder = home / "results.artifacts" / finished[2][:16]
    assert not (folder / RECORD).exists(), "once the database has it, the file is gone"
    assert not (folder / "checkpoints" / "resume.pt").exists()
    # As if the database had been lost to the driver just as the job ended.
    (copy,) = [p for p in (home / "results.artifacts").iterdir() if p.is_dir()]
    assert copy == folder
    record = _record_of(home)
    with sqlite3.connect(db) as connection:
        connection.execute("update runs set state = 'interrupted'")
        for table in ("image_scores", "scores", "evaluations", "curves", "artifacts", "gallery_predictions"):
            connection.execute(f"delete from {table}")
    (folder / RECORD).write_bytes(record)
    done = run_bench(*ONE, "--set", "epochs=1", cwd=home)
    assert "Taken in: 1 finished job" in done.stdout
    assert rows(db, "select state, attempt from runs") == [("ok", finished[1] + 1)]
    assert rows(db, "select metric, class_index, value from scores order by 1, 2") == scores
    assert not (folder / RECORD).exists()


def _record_of(home: Path) -> bytes:
    """The record that the job writes, caught before its driver has it."""
    twin = home / "twin"
    twin.mkdir()
    (twin / "data").symlink_to(home / "data")
    script = (
        "import harness.runner.driver as d, runpy, sys\n"
        "d.forget_record = lambda files: None\n"
        f"sys.argv = {['bench', *map(str, ONE), '--set', 'epochs=1']!r}\n"
        "runpy.run_module('bench', run_name='__main__')\n"
    )
    subprocess.run([sys.executable, "-c", script], cwd=twin, check=True, capture_output=True)
    return next(twin.glob(f"results.artifacts/*/{RECORD}")).read_bytes()


def test_a_locked_database_is_waited_for(
    shapes_home: Path, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import harness

    monkeypatch.setattr(opening, "BUSY_TIMEOUT_S", 0.1)
    said: list[str] = []

    class Hold(harness.Watcher):
        """Locks the database when the job has begun, for some seconds."""

        def say(self, line: str) -> None:
            said.append(line)

        def started(self, task: harness.Task) -> None:
            connection = sqlite3.connect("results.db", isolation_level=None, check_same_thread=False)
            connection.execute("begin immediate")

            def release() -> None:
                connection.execute("rollback")
                connection.close()

            threading.Timer(8.0, release).start()

    options = harness.RunOptions(backend="local")
    outcome = harness.run(str(TINY), options, Hold(), overrides=["epochs=1", "seeds=[0]", MODEL])
    assert outcome.ok == 1
    assert any("locked" in line for line in said)
    assert rows(home / "results.db", "select state from runs") == [("ok",)]


# -- checkpoints ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"x" * 100, b"PK\x03\x04" + b"\0" * 200], ids=["empty", "noise", "half a zip"])
def test_a_damaged_checkpoint_is_set_aside_and_said_so(shapes_home: Path, tmp_path: Path, damage: bytes) -> None:
    task = task_of(GOOD, shapes_home, tmp_path)
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "resume.pt").write_bytes(damage)
    said: list[Message] = []
    result = run_isolated(task, said.append, lambda: False)
    assert result.state == "ok", result.reason
    assert (folder / "resume.broken.pt").read_bytes() == damage
    assert any(isinstance(m, Stage) and "resume.pt cannot be read" in m.text for m in said)
    again = run_isolated(replace(task, folder=str(tmp_path / "clean")), lambda message: None, lambda: False)
    assert [e.scores for e in again.evaluations] == [e.scores for e in result.evaluations]


# -- killed commands ------------------------------------------------------------------------------------


def test_a_driver_that_is_killed_takes_its_processes_along_and_the_next_one_goes_on(home: Path) -> None:
    mark = f"killed-{home}"
    command = start(home, mark, *ONE, "--set", "epochs=3000")
    wait_until_training(home, command)
    assert marked(mark, "template")
    command.send_signal(signal.SIGKILL)
    command.wait()
    deadline = time.monotonic() + 30
    while marked(mark, "python") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not marked(mark, "python"), "within seconds"
    assert rows(home / "results.db", "select state from runs") == [("running",)]
    done = run_bench(*ONE, "--set", "epochs=3000", "--smoke", cwd=home)
    assert done.returncode == 0


@pytest.mark.slow
@pytest.mark.long
def test_sigterm_to_the_whole_group_leaves_a_checkpoint(home: Path) -> None:
    command = start(home, f"group-{home}", *ONE, "--set", "epochs=3000")
    wait_until_training(home, command)
    os.killpg(command.pid, signal.SIGTERM)
    said, _ = command.communicate(timeout=60)
    assert command.returncode == 130, said
    ((state, reason),) = rows(home / "results.db", "select state, reason from runs")
    assert (state, reason[:16]) == ("interrupted", "stopped in epoch"), reason
    assert list(home.glob("results.artifacts/*/checkpoints/resume.pt"))


# -- leases ---------------------------------------------------------------------------------------------


def test_a_row_belongs_to_a_living_process_however_long_it_is_silent() -> None:
    own, now = lease.this_driver(), 1e9
    host, number, started, namespace = own.split(":")
    assert not lease.is_gone(own, now - 1e6, now)
    assert lease.is_gone(f"{host}:{number}:{float(started) - 100:.2f}:{namespace}", now, now), "a number used again"
    gone = subprocess.run([sys.executable, "-c", ""], check=True)
    assert gone.returncode == 0
    assert lease.is_gone(f"{host}:4194303:{started}:{namespace}", now, now)
    other = f"{host}:{number}:{float(started) - 100:.2f}:ffffffffffff"
    assert not lease.is_gone(other, now - 60, now), "a container with the same name: only its silence tells"
    assert lease.is_gone(other, now - 121, now)
    assert not lease.is_gone(f"elsewhere:1:0.00:{namespace}", now - 60, now)
    assert lease.is_gone(None, now, now)
    assert psutil.pid_exists(int(number))


def test_another_process_in_the_run_s_folder_is_waited_for(
    shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from filelock import FileLock

    from harness.runner import worker

    task = task_of(GOOD, shapes_home, tmp_path)
    (tmp_path / "run").mkdir()
    monkeypatch.setattr(worker, "ENDING_S", 0.2)
    with FileLock(tmp_path / "run" / worker.IN_USE):
        done = worker.run_task(task, lambda message: None)
    assert done.state == "failed"
    assert "another process works there" in done.reason
    assert worker.run_task(task, lambda message: None).state == "ok"


# -- names ----------------------------------------------------------------------------------------------


def nested(folder: Path) -> None:
    """A small data set whose images lie in folders."""
    import numpy as np
    from PIL import Image

    generator = np.random.default_rng(0)
    for number in range(12):
        for kind, shape in (("images", (32, 32, 3)), ("masks", (32, 32))):
            path = folder / kind / f"city{number % 3}" / f"{number:02}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            high = 256 if kind == "images" else 2
            Image.fromarray(generator.integers(0, high, shape, dtype=np.uint8)).save(path)
    (folder / "dataset.yaml").write_text(
        "name: cities\nimages: images\nmasks: masks\nclasses: [a, b]\nsplits: {train: 0.5, val: 0.25, test: 0.25}\n"
    )


@pytest.mark.slow
@pytest.mark.long
def test_label_maps_of_nested_ids_are_scored_again_under_another_protocol(home: Path) -> None:
    nested(home / "cities")
    words = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local", "--set", "epochs=1")
    choice = ("--set", "datasets=[{name: folder, params: {path: cities}}]")
    first = run_bench(*words, *choice, cwd=home)
    assert "1 ok" in first.stdout or rows(home / "results.db", "select state from runs") == [("ok",)], first.stdout
    again = run_bench(*words, *choice, "--set", "protocol={name: other, bf_tolerance: 3}", cwd=home)
    assert "1 to rescore" in again.stdout, again.stdout
    assert len(rows(home / "results.db", "select distinct protocol_hash from evaluations where split = 'test'")) == 2
    assert run_bench("db", "check", cwd=home).returncode == 0


def test_checksums_of_nested_names_are_compared(tmp_path: Path) -> None:
    import numpy as np

    from harness.datasets.palette import save_labels

    (tmp_path / "a").mkdir()
    save_labels(tmp_path / "a" / "1.png", np.zeros((4, 4), np.uint8), [(0, 0, 0)])
    write_checksums(tmp_path)
    assert [one.image_id for one in stored_label_maps(tmp_path, ["a/1"])] == ["a/1"]
    assert list(read_checksums(tmp_path)) == ["a/1.png"]
    save_labels(tmp_path / "a" / "1.png", np.ones((4, 4), np.uint8), [(0, 0, 0), (1, 1, 1)])
    with pytest.raises(ValueError, match="SHA-256 differs"):
        list(stored_label_maps(tmp_path, ["a/1"]))
    with pytest.raises(DataError, match="not what the run wrote"):
        verify_checksums(tmp_path)


@pytest.mark.parametrize(
    ("image_id", "why"),
    [
        ("a\nb", "no line of a list"),
        ("a\u2028b", "no line of a list"),
        ("a\x0bb", "no line of a list"),
        ("caf\udce9", "no line of a list"),
        ("../secret", "no plain path"),
        ("/etc/passwd", "no plain path"),
        ("a//b", "no plain path"),
        ("", "no character"),
        ("x" * 300, "more than 200 bytes"),
    ],
)
def test_ids_that_cannot_be_files_or_lines_are_refused_at_reading(
    shapes_home: Path, monkeypatch: pytest.MonkeyPatch, image_id: str, why: str
) -> None:
    from harness.datasets.shapes import Shapes

    monkeypatch.setattr(Shapes, "read_splits", lambda self: {"train": ["fine"], "val": [image_id], "test": []})
    with pytest.raises(DataError, match=why):
        Shapes(shapes_home / "data" / Shapes.folders[0])


def test_an_interrupted_training_says_its_epochs(shapes_home: Path, tmp_path: Path) -> None:
    task = task_of(GOOD, shapes_home, tmp_path)
    task = replace(task, job=task.job.model_copy(update={"recipe": _long(task.job)}))
    epochs: list[int] = []

    def take(message: Message) -> None:
        if isinstance(message, EpochDone):
            epochs.append(message.epoch)

    result = run_isolated(task, take, lambda: bool(epochs))
    assert (result.state, result.reason.startswith("stopped in epoch")) == ("interrupted", True)
    state = torch.load(tmp_path / "run" / "checkpoints" / "resume.pt", weights_only=True)
    assert state["progress"]["epoch"] >= 1
    assert read_record(task.files) is None


@pytest.mark.parametrize("name", ["a#b.db", "a%41.db", "a?b.db", "exp#3/results.db", "with space.db", "é?mode=rw.db"])
def test_a_path_is_no_url(tmp_path: Path, name: str) -> None:
    from harness.results import open_store

    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    store = open_store(str(path))
    store.save_search_result("one", {"lr": 0.1})
    store.close()
    seen = open_store(str(path), read_only=True)
    assert seen.search_result("one") == {"lr": 0.1}
    seen.close()
    found = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.db*")}
    assert found <= {name, f"{name}-wal", f"{name}-shm"}


def test_a_viewer_in_a_folder_that_it_cannot_write_sees_what_is_written_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.results import open_store

    path = str(tmp_path / "results.db")
    first = open_store(path)
    first.save_search_result("one", {"lr": 1})
    first.close()
    may = os.access
    monkeypatch.setattr(opening.os, "access", lambda place, mode: may(place, mode) and mode != os.W_OK)
    viewer = open_store(path, read_only=True)
    assert viewer.search_result("one") == {"lr": 1}
    monkeypatch.setattr(opening.os, "access", may)
    writer = open_store(path)
    writer.save_search_result("two", {"lr": 2})
    monkeypatch.setattr(opening.os, "access", lambda place, mode: may(place, mode) and mode != os.W_OK)
    assert viewer.search_result("two") == {"lr": 2}, "while it is in the WAL"
    monkeypatch.setattr(opening.os, "access", may)
    writer.close()
    monkeypatch.setattr(opening.os, "access", lambda place, mode: may(place, mode) and mode != os.W_OK)
    assert viewer.search_result("two") == {"lr": 2}, "and afterwards"
    viewer.engine.dispose()


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_of_ray_that_is_killed_before_it_is_ready_costs_no_job(home: Path, number: signal.Signals) -> None:
    command = start(home, str(home), "run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--set", "epochs=1")
    killed = None
    try:
        while killed is None and command.poll() is None:
            for process in psutil.Process(command.pid).children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    words = process.cmdline()[:4]
                    # The raylet has the same words further on: with them it starts workers.
                    if any(word.endswith("default_worker.py") for word in words):
                        process.send_signal(number)
                        killed = process.pid
                        break
            time.sleep(0.01)
        out = command.communicate(timeout=300)[0]
    finally:
        command.kill()
    assert command.returncode == 0, out
    assert killed is not None
    assert rows(home, "select seed, state from runs") == [(0, "ok")]
