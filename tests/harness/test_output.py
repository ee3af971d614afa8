"""What other threads print while Ray Tune runs arrives; nothing of Ray's own does, even where it loses a worker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY

STUDY = """
import logging, os, subprocess, sys, threading, time
import psutil
import harness

def chatter():
    while not ended.is_set():
        print("printed", flush=True)
        os.write(1, b"written\\n")
        subprocess.run(["echo", "said by a child"])
        print("complained", file=sys.stderr, flush=True)
        logging.getLogger("my.study").warning("logged")
        time.sleep(0.2)

def words(process):
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""

class Kills(harness.Watcher):
    lost = False

    def message(self, task, message):
        workers = [p for p in psutil.Process().children(recursive=True) if words(p).startswith("ray::")]
        busy = [p for p in workers if any("harness.runner.template" in words(c) for c in p.children(recursive=True))]
        if busy and not self.lost:
            self.lost = True
            busy[0].kill()

ended = threading.Event()
thread = threading.Thread(target=chatter)
thread.start()
try:
    watcher = Kills()
    outcome = harness.run(sys.argv[1], harness.RunOptions(cpus=1), watcher, overrides=["seeds=[0]"])
finally:
    ended.set()
    thread.join()
assert watcher.lost, "a worker was killed"
assert (outcome.ok, outcome.exit_code) == (2, 0), outcome
from ray._private import worker
assert logging.getLogger("ray").level == logging.INFO, "a program's own use of Ray is as loud as before"
assert worker._worker_logs_enabled
"""


@pytest.mark.slow
@pytest.mark.long
def test_others_lines_arrive_and_ray_says_nothing_even_of_a_lost_worker(home: Path) -> None:
    (home / "study.py").write_text(STUDY)
    words = [sys.executable, "study.py", str(TINY)]
    done = subprocess.run(words, cwd=home, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.splitlines()) == {"printed", "written", "said by a child"}
    assert set(done.stderr.splitlines()) == {"complained", "logged"}
    for line in ("printed", "written", "said by a child"):
        # A run takes many seconds: all of it was heard, not only its beginning and end.
        assert done.stdout.count(line) >= 20
