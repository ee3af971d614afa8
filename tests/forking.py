"""A process that has imported the command once and forks itself for each call: a call costs no import.

What is called is the real command in a process of its own; only its start is shared. The process imports neither torch,
nor Ray, nor numba, and has no threads.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
# What most commands import, when they are called.
PRELOADED = (
    "bench.__main__", "bench.progress", "harness.config.load", "harness.config.narrow", "harness.datasets",
    "harness.models.registry", "harness.results", "harness.results.merge", "harness.runner.suite_run",
    "leaderboard.boards.board", "leaderboard.queries.load", "leaderboard.stats.significance",
    "leaderboard.tables.table", "pandas",
)  # fmt: skip
HEAVY = ("torch", "ray", "numba", "streamlit")


class Forker:
    """Runs commands, one at a time; started at the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str] | None:
        """Run a command and return what it printed; None while another thread's command runs.

        Raises:
            subprocess.TimeoutExpired: it took longer than `timeout` seconds; it was killed.
        """
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if self._process is None or self._process.poll() is not None:
                self._start()
            try:
                return self._call(words, cwd, env, timeout)
            except BaseException:  # pytest's own limit among them
                self._stop()
                raise
        finally:
            self._lock.release()

    def _stop(self) -> None:
        """End the process and its command: answers that are still to come would be taken for those of the next call."""
        assert self._process is not None
        for one in (*psutil.Process(self._process.pid).children(recursive=True), self._process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        self._process.wait()
        self._process = None
        self._lines.close()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        code = f"from tests.forking import serve; serve({theirs.fileno()})"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=ROOT, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL
        )
        theirs.close()
        self._lines = ours.makefile("rw")

    def _call(
        self, words: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory(prefix="segbench-call-") as name:
            out, err = Path(name, "out"), Path(name, "err")
            request = {"words": list(words), "cwd": str(cwd), "env": dict(env), "out": str(out), "err": str(err)}
            self._lines.write(json.dumps(request) + "\n")
            self._lines.flush()
            child = json.loads(self._lines.readline())
            timer = threading.Timer(timeout, os.kill, (child, signal.SIGKILL))
            timer.start()
            code = json.loads(self._lines.readline())
            late = not timer.is_alive()
            timer.cancel()
            told = [path.read_text() for path in (out, err)]
        if late:
            raise subprocess.TimeoutExpired(list(words), timeout, *told)
        return subprocess.CompletedProcess(list(words), code, *told)


def serve(number: int) -> None:
    """Fork a child for each line that comes; returns in the child when its command has ended well."""
    for name in PRELOADED:
        importlib.import_module(name)
    if loaded := set(HEAVY) & set(sys.modules):
        raise SystemExit(f"{loaded} must not be imported before the fork")
    gc.collect()
    gc.freeze()
    connection = socket.socket(fileno=number)
    lines = connection.makefile("rw")
    for line in lines:
        child = os.fork()
        if child == 0:
            connection.detach()
            os.close(number)
            _become(json.loads(line))
            return
        lines.write(f"{child}\n")
        lines.flush()
        _, status = os.waitpid(child, 0)
        lines.write(f"{os.waitstatus_to_exitcode(status)}\n")
        lines.flush()
    os._exit(0)


def _become(request: dict[str, object]) -> None:
    """Be the command `python -m bench …` with its folder, environment and files."""
    for path, target in ((request["out"], 1), (request["err"], 2)):
        opened = os.open(str(path), os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(opened, target)
        os.close(opened)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 (the process's own, until it ends)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.chdir(str(request["cwd"]))
    os.environ.clear()
    os.environ.update({str(k): str(v) for k, v in dict(request["env"]).items()})  # type: ignore[call-overload]
    sys.argv = [str(ROOT / "bench" / "__main__.py"), *map(str, request["words"])]  # type: ignore[call-overload]
    sys.path[0] = str(request["cwd"])
    from bench.__main__ import main

    main()
