"""Ray Tune, one after another, and in-process: the same rows and the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import TINY, Bench, rows, run_bench

SCORES = (
    "select r.fingerprint, e.split, s.metric, s.class_index, s.value from scores s join evaluations e "
    "on e.id = s.evaluation_id join runs r on r.id = e.run_id order by 1, 2, 3, 4"
)
MAPS = "select r.fingerprint, a.split, a.sha256 from artifacts a join runs r on r.id = a.run_id order by 1, 2"


@pytest.mark.slow
@pytest.mark.long
def test_ray_local_and_in_process_give_the_same_bits(finished: Path, bench: Bench, home: Path) -> None:
    # The finished database was made by --local with two learning rates; one of them is enough here.
    for name, how in {"ray": (), "in-process": ("--local", "--in-process")}.items():
        db = home / f"{name}.db"
        bench("run", "--suite", TINY, "--set", "grid.lr=[1e-2]", *how, "--db", db)
        ours = rows(db, SCORES)
        keys = {row[0] for row in ours}
        assert len(keys) == 4
        assert ours == [row for row in rows(finished, SCORES) if row[0] in keys]
        assert rows(db, MAPS) == [row for row in rows(finished, MAPS) if row[0] in keys]


def test_the_finished_suite_is_whole(finished: Path) -> None:
    assert rows(finished, "select state, count(*) from runs group by 1") == [("ok", 8)]
    assert rows(finished, "select count(*) from evaluations") == [(16,)]
    files = [
        p.name
        for p in finished.parent.iterdir()
        if p.name.startswith("results.db") and p.stat().st_size and not p.name.endswith("-shm")
    ]
    assert files == ["results.db"], "the one file is the whole board"
    (provenance,) = rows(finished, "select provenance from runs limit 1")[0]
    stored = json.loads(str(provenance))
    assert stored["packages"]["torch"]
    assert stored["hardware"]["cores"] == os.cpu_count()
    assert stored["threads"] == 1


def test_predicted_label_maps_are_kept_with_checksums(finished: Path) -> None:
    folders = list((finished.with_suffix(".artifacts")).glob("*/predictions/test"))
    assert len(folders) == 8
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=folders[0], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout
    assert len(list(folders[0].glob("*.png"))) == 40


@pytest.mark.slow
def test_a_finished_suite_trains_nothing_and_a_new_protocol_only_rescores(bench: Bench, home: Path) -> None:
    words = ("run", "--suite", TINY, "--local", "--models", "U-Net", "--seeds", "0")
    bench(*words)
    before = rows(home / "results.db", "select id, attempt, finished from runs")
    again = bench(*words)
    assert "Nothing to do: all 1 jobs" in again.stdout
    other = bench(*words, "--set", "protocol.void=mask")
    assert "0 to train, 1 to rescore" in other.stdout
    assert rows(home / "results.db", "select id, attempt, finished from runs") == before
    assert rows(home / "results.db", "select count(distinct protocol_hash) from evaluations") == [(2,)]
    assert "Nothing to do" in bench(*words, "--set", "protocol.void=mask").stdout


@pytest.mark.slow
@pytest.mark.long
def test_a_failing_network_is_a_row_and_the_others_go_on(bench: Bench, home: Path) -> None:
    bad = home / "bad.py"
    bad.write_text('NAME = "bad"\nimport torch\n\n\ndef build(num_classes):\n    raise ValueError("no such width")\n')
    done = bench(
        "run", "--suite", TINY, "--plugin", bad, "--models", "U-Net,bad", "--set", "epochs=1", "--seeds", "0",
        check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed" in done.stdout
    assert "ValueError: no such width" in done.stdout
    assert sorted(rows(home / "results.db", "select state from runs")) == [("failed",), ("ok",)]
    told = bench("status", "--failed").stdout
    assert "no such width" in told
    assert "Traceback" in told


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("how", [[], ["--local"]], ids=["ray", "local"])
def test_ctrl_c_writes_checkpoints_and_the_next_run_continues(home: Path, how: list[str]) -> None:
    words = [sys.executable, "-m", "bench", "run", "--suite", str(TINY), "--models", "U-Net", "--seeds", "0"]
    words += ["--set", "epochs=10", *how]
    process = subprocess.Popen(words, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(60) == 130, rest
    assert "continues from the last checkpoints" in rest
    assert rows(home / "results.db", "select state from runs") == [("interrupted",)]
    assert list((home / "results.artifacts").glob("*/checkpoints/resume.pt"))
    done = subprocess.run(words, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(home / "results.db", "select state, attempt from runs") == [("ok", 2)]
    epochs = rows(home / "results.db", "select epoch from curves where name = 'train_loss' order by 1")
    assert [e for (e,) in epochs] == list(range(1, 11))


@pytest.mark.slow
@pytest.mark.long
def test_a_killed_driver_leaves_rows_that_the_next_run_takes_up(home: Path) -> None:
    words = [sys.executable, "-m", "bench", "run", "--suite", str(TINY), "--models", "U-Net", "--seeds", "0"]
    words += ["--set", "epochs=8", "--local"]
    process = subprocess.Popen(words, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch" in line:
            break
    process.kill()
    process.wait()
    process.stdout.close()
    assert rows(home / "results.db", "select state from runs") == [("running",)]
    time.sleep(1)
    done = subprocess.run(words, cwd=home, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert rows(home / "results.db", "select state, attempt from runs") == [("ok", 2)]
    ((history,),) = rows(home / "results.db", "select history from runs")
    assert "its command ended without saying so" in str(history)
    subprocess.run([*words, "--db", "undisturbed.db"], cwd=home, capture_output=True, check=True)
    assert rows(home / "results.db", SCORES) == rows(home / "undisturbed.db", SCORES), "bit for bit"


@pytest.mark.slow
@pytest.mark.long
def test_a_job_has_the_priority_of_its_command(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_worker_niceness", raising=False)
    (home / "asks.py").write_text(
        "import os\nfrom torch import nn\nNAME = 'asks'\nSTRIDE = 1\n\n\ndef build(num_classes):\n"
        "    print('priority', os.getpriority(os.PRIO_PROCESS, 0), flush=True)\n"
        "    return nn.Conv2d(3, num_classes, 1)\n"
    )
    run_bench("run", "--suite", TINY, "--plugin", "asks.py", "--models", "asks", "--seeds", "0", cwd=home)
    (log,) = (home / "results.artifacts").glob("*/log.txt")
    assert f"priority {os.getpriority(os.PRIO_PROCESS, 0)}" in log.read_text()
