"""One task in a fresh child process: limits, log, signals. Knows no Ray.

A template process is made once for each parent; it has torch loaded and forks a child in milliseconds. The
child leads a session of its own, works in a scratch folder, and whatever a network does to it (threads,
environment, random state, memory, an exit) ends with it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from harness.errors import ArtifactsError
from harness.tasks.messages import Emit, Message
from harness.tasks.result import Result, State, now
from harness.tasks.task import Task
from harness.utils.libc import call_libc

LOG = "log.txt"
LOG_BYTES = 4 * 1024**2
# Seconds a child has to write a checkpoint after it was asked to stop.
GRACE_S = 30.0
# What the template loads before the first child is forked.
PRELOAD = ["harness.runner.preload"]


class TaskProcess:
    """A task in a child process of its own.

    Args:
        task: what to do.

    Use `poll` until it returns the result.
    """

    def __init__(self, task: Task) -> None:
        context = _context()
        self.task = task
        self._messages, theirs = context.Pipe(duplex=False)
        log_read, log_write = context.Pipe(duplex=False)
        self.scratch = Path(tempfile.mkdtemp(prefix="segbench-"))
        self._process = context.Process(
            target=_child, args=(task, theirs, log_write, str(self.scratch), dict(os.environ))
        )
        with _no_main_module():
            self._process.start()
        theirs.close()
        log_write.close()
        self._files = task.files
        self._log_name = f"log.{task.first_rank}.txt" if task.first_rank else LOG
        self._log = _LogFile(log_read, self._files.local / self._log_name)
        self._started = time.monotonic()
        self._memory_checked = 0.0
        self._stop_by: float | None = None
        self._result: Result | None = None

    def poll(self, timeout: float) -> Message | None:
        """The child's next message, or None after `timeout` seconds without one; the last one is the result.

        Limits are enforced in here.
        """
        with contextlib.suppress(EOFError, OSError):
            if self._messages.poll(timeout):
                message: Message = self._messages.recv()
                return self._finish(message) if isinstance(message, Result) else message
            return self._limits()
        self._process.join(5)
        return self._finish(self._result_of_death())

    def request_stop(self) -> None:
        """Ask the child to write a checkpoint and end; it is killed if that takes too long."""
        if self._stop_by is None:
            self._stop_by = time.monotonic() + GRACE_S
            self._signal(signal.SIGTERM)

    def close(self) -> None:
        """End the child and everything it started, and remove its scratch folder."""
        self._signal(signal.SIGKILL)
        self._process.join(5)
        self._messages.close()
        self._log.close()
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._result is not None:
            with contextlib.suppress(ArtifactsError):  # a log that cannot be kept is no reason to lose a result
                self._files.keep(self._log_name)
            if self._result.state == "ok" and not self.task.first_rank:
                self._files.release()

    def _limits(self) -> Message | None:
        """Stop a child that is over its time or memory, or late in stopping."""
        limits, now = self.task.job.resources, time.monotonic()
        if limits.time_limit_s is not None and now - self._started > limits.time_limit_s:
            self._signal(signal.SIGKILL)
            return self._finish(self._ended("timeout", f"over the time limit of {limits.time_limit_s:g} s"))
        if self._stop_by is not None and now > self._stop_by:
            self._signal(signal.SIGKILL)
            return self._finish(self._ended("interrupted", f"did not stop within {GRACE_S:g} s"))
        if limits.memory_gb is not None and now - self._memory_checked > 0.5:
            self._memory_checked = now
            used = self._resident_bytes() / 1e9
            if used > limits.memory_gb:
                self._signal(signal.SIGKILL)
                reason = f"{used:.2f} GB resident, over the memory limit of {limits.memory_gb:g} GB"
                return self._finish(self._ended("oom", reason))
        return None

    def _finish(self, result: Result) -> Result:
        if self._result is None:
            self._result = result
        return self._result

    def _result_of_death(self) -> Result:
        """The result of a child that ended without one."""
        code = self._process.exitcode
        if self._stop_by is not None:
            return self._ended("interrupted", "ended while stopping")
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = " (the kernel's out-of-memory killer sends this)" if name == "SIGKILL" else ""
            return self._ended("failed", f"the process was ended by {name}{hint}")
        return self._ended("failed", f"the process ended by itself with exit code {code}")

    def _ended(self, state: State, reason: str) -> Result:
        return Result(
            self.task.fingerprint,
            self.task.attempt,
            state,
            reason,
            traceback=self._log.tail() if state == "failed" else "",
            finished=now(),
            times={"total": time.monotonic() - self._started},
        )

    def _signal(self, number: int) -> None:
        """Signal the child's whole session."""
        pid = self._process.pid
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getpgid(pid) == pid:
                os.killpg(pid, number)
            else:  # so early that it does not lead its own group yet
                os.kill(pid, number)

    def _resident_bytes(self) -> int:
        with contextlib.suppress(psutil.Error):
            child = psutil.Process(self._process.pid)
            family = [child, *child.children(recursive=True)]
            return sum(int(process.memory_info().rss) for process in family)
        return 0


def run_isolated(task: Task, emit: Emit, stopping: Callable[[], bool]) -> Result:
    """Do a task in a child process to its end, passing its messages on."""
    process = TaskProcess(task)
    try:
        while True:
            if stopping():
                process.request_stop()
            message = process.poll(0.2)
            if isinstance(message, Result):
                return message
            if message is not None:
                emit(message)
    finally:
        process.close()


def _context() -> Any:
    """Forked from a template where that exists; a fresh interpreter elsewhere."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOAD)
    return context


@contextlib.contextmanager
def _no_main_module() -> Iterator[None]:
    """Keep children from importing the parent's main module (Ray's worker, pytest, a user's script)."""
    main = sys.modules["__main__"]
    hidden = {name: main.__dict__.pop(name) for name in ("__file__",) if name in main.__dict__}
    spec, main.__spec__ = getattr(main, "__spec__", None), None
    try:
        yield
    finally:
        main.__dict__.update(hidden)
        main.__spec__ = spec


def _child(task: Task, messages: Connection, log: Connection, scratch: str, environment: dict[str, str]) -> None:
    """The child's whole life."""
    os.setsid()
    os.environ.clear()  # the template's is that of the time when it was started
    os.environ.update(environment)
    _die_with_parent()
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    sys.stdout, sys.stderr = open(1, "w", 1, closefd=False), open(2, "w", 1, closefd=False)  # noqa: SIM115
    os.chdir(scratch)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the driver, which decides
    from harness.runner.worker import run_task

    messages.send(run_task(task, messages.send, stop.is_set))
    messages.close()
    # Threads a network left behind must not keep the process.
    os._exit(0)


def _die_with_parent() -> None:
    """Linux: be killed when the template dies, which ends with its parent."""
    if sys.platform.startswith("linux"):
        call_libc("prctl", 1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class _LogFile:
    """What the child prints, written to a file up to a limit; the rest is read and dropped."""

    def __init__(self, source: Connection, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._source = source
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        left = LOG_BYTES
        with self.path.open("wb") as file, contextlib.suppress(OSError):
            while chunk := os.read(self._source.fileno(), 65536):
                if left > 0:
                    file.write(chunk[:left])
                    file.flush()
                    left -= len(chunk)
                    if left <= 0:
                        file.write(b"\n[the log ends here: over its size limit]\n")

    def tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        self._thread.join(1)
        with contextlib.suppress(OSError):
            return "\n".join(self.path.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def close(self) -> None:
        """Stop copying once the child's end is closed."""
        self._thread.join(2)
        self._source.close()
