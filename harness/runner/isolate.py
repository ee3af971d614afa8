"""One task in a process of its own: limits, log, signals. Knows no Ray.

A template process is made once for each parent; it has torch loaded and forks the task's process in milliseconds. That
one leads a session of its own, and speaks JSON alone. Whatever a network does to it (threads, environment, random
state, memory, an exit) ends with it; where this process ends, however it does, everything it started ends too.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pickle
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from harness.errors import ArtifactsError
from harness.runner.child_environment import allowed_environment
from harness.runner.scratch import scratch_folder
from harness.runner.task_order import Order
from harness.runner.template import NUMBER
from harness.tasks.messages import Emit, Message
from harness.tasks.result import Result, State, now
from harness.tasks.task import Task
from harness.tasks.wire import LONGEST, BadMessage, decode
from harness.utils.frames import FrameReader, FrameTooLong, send_frame
from harness.utils.text import plain_text

LOG = "log.txt"
LOG_BYTES = 4 * 1024**2
# Seconds a task has to write a checkpoint after it was asked to stop, and its process to end by itself.
GRACE_S, ENDING_S = 30.0, 5.0
# Seconds between two looks at memory and processes, and after which a process is asked again to stop.
LOOK_S, ASK_AGAIN_S = 0.5, 1.0
# How often a task's process is started whose template ends before it has forked it, and seconds between two tries.
STARTS, START_AGAIN_S = 3, 0.2
# A task may have so many processes, and so much of the machine's memory where its job sets no limit.
MOST_PROCESSES, MOST_MEMORY = 512, 0.95


class TaskProcess:
    """A task in a process of its own.

    Args:
        task: what to do.

    Use `poll` until it returns the result.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.scratch = scratch_folder()
        self._files = task.files
        self._log_name = f"log.{task.first_rank}.txt" if task.first_rank else LOG
        self._starts = 0
        self._start()
        self._started = time.monotonic()
        self._looked = 0.0
        self._stop_by: float | None = None
        self._asked = 0.0
        self._result: Result | None = None
        self._code: int | None = None
        self._told = False

    def _start(self) -> None:
        """Have the process forked, and tell it what to do."""
        self._starts += 1
        self._pid = 0
        self._connection, theirs = socket.socketpair()
        log_read, log_write = os.pipe()
        self._ends, ends_write = os.pipe()
        try:
            _fork(theirs.fileno(), log_write, ends_write)
        finally:
            theirs.close()
            os.close(log_write)
            os.close(ends_write)
        self._log = _LogFile(log_read, self._files.local / self._log_name)
        allowed = allowed_environment(os.environ)
        self._connection.settimeout(ENDING_S)
        with contextlib.suppress(OSError):  # it has ended already: `poll` tells how
            send_frame(self._connection, pickle.dumps(Order(self.task, str(self.scratch), allowed)))
            send_frame(self._connection, pickle.dumps(dict(os.environ)))
        self._connection.settimeout(None)
        self._messages = FrameReader(self._connection, LONGEST)

    def _started_again(self) -> bool:
        """Start it anew where its template ended before it was forked, which says nothing of the task."""
        if self._process_id() or self._starts >= STARTS or self._stop_by is not None:
            return False
        self._connection.close()
        self._log.close()
        os.close(self._ends)
        self._start()
        return True

    def poll(self, timeout: float) -> Message | None:
        """The task's next message, or None after `timeout` seconds without one; the last one is the result.

        Limits are enforced in here, and nothing in here waits for a message to be whole.
        """
        if self._result is not None:
            return self._result
        try:
            data = self._messages.poll(timeout)
            if data is None:
                return self._limits()
            message = decode(data)
        except EOFError:
            return None if self._started_again() else self._finish(self._result_of_death())
        except (BadMessage, FrameTooLong) as error:
            self._end()
            return self._finish(self._ended("failed", f"the process sent something that is no message: {error}"))
        if not isinstance(message, Result):
            return self._limits() or message
        if message.state == "failed" and not message.traceback:
            message = replace(message, traceback=self._tail())
        return self._finish(message)

    def request_stop(self) -> None:
        """Ask the task to write a checkpoint and end; it is killed if that takes too long."""
        if self._stop_by is None:
            self._asked = time.monotonic()
            self._stop_by = self._asked + GRACE_S
            self._signal(signal.SIGTERM)

    def close(self) -> None:
        """End the process and everything it started, and remove its scratch folder."""
        self._end()
        self._log.close()
        os.close(self._ends)
        shutil.rmtree(self.scratch, ignore_errors=True)
        if self._result is not None:
            with contextlib.suppress(ArtifactsError):  # a log that cannot be kept is no reason to lose a result
                self._files.keep(self._log_name)
            if self._result.state == "ok" and not self.task.first_rank:
                self._files.release()

    def _limits(self) -> Message | None:
        """Stop a task that is over its time or memory, or late in stopping."""
        limits, now = self.task.job.resources, time.monotonic()
        if limits.time_limit_s is not None and now - self._started > limits.time_limit_s:
            return self._stopped("timeout", f"over the time limit of {limits.time_limit_s:g} s")
        if self._stop_by is not None and now > self._stop_by:
            return self._stopped("interrupted", f"did not stop within {GRACE_S:g} s")
        if self._stop_by is not None and now - self._asked > ASK_AGAIN_S:
            self._asked = now  # on a busy machine it may not have been there to hear it
            self._signal(signal.SIGTERM)
        if now - self._looked < LOOK_S:
            return None
        self._looked = now
        family = self._family()
        if len(family) > MOST_PROCESSES:
            return self._stopped("failed", f"{len(family)} processes, over the limit of {MOST_PROCESSES}")
        allowed = limits.memory_gb or MOST_MEMORY * psutil.virtual_memory().total / 1e9
        used = sum(_resident_bytes(process) for process in family) / 1e9
        if used > allowed and len(family) > 1:  # what processes share was counted for each
            used = sum(_own_bytes(process) for process in family) / 1e9
        if used > allowed:
            return self._stopped("oom", f"{used:.2f} GB resident, over the memory limit of {allowed:.3g} GB")
        return None

    def _stopped(self, state: State, reason: str) -> Result:
        self._end()
        return self._finish(self._ended(state, reason))

    def _finish(self, result: Result) -> Result:
        if self._result is None:
            self._result = result
        return self._result

    def _result_of_death(self) -> Result:
        """The result of a process that ended without one."""
        code = self._exit_code()
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
            traceback=self._tail() if state == "failed" else "",
            finished=now(),
            times={"total": time.monotonic() - self._started},
        )

    def _tail(self) -> str:
        return plain_text(self._log.tail())

    def _number(self, timeout: float) -> int | None:
        """The next number that the template tells of the process, its pid and later its exit code; None without one."""
        if select.select([self._ends], [], [], timeout)[0]:
            data = os.read(self._ends, NUMBER)
            return int.from_bytes(data, "big", signed=True) if len(data) == NUMBER else None
        return None

    def _process_id(self, timeout: float = 0.0) -> int:
        """The process's number; 0 as long as the template has not told it, which may have to be started first."""
        self._pid = self._pid or self._number(timeout) or 0
        return self._pid

    def _exit_code(self) -> int | None:
        """How the process ended, which is waited for a little; None where nobody knows."""
        if not self._process_id(ENDING_S):
            return None
        if not self._told:
            self._code, self._told = self._number(ENDING_S), True
        return self._code

    def _end(self) -> None:
        """Have the process end everything it has started, and itself; kill what is left of it."""
        if self._connection.fileno() < 0:
            return
        family = self._family()
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
        self._signal(signal.SIGCONT)
        self._exit_code()
        for process in family:
            with contextlib.suppress(psutil.Error):  # a pid that is another's by now is noticed by its start
                process.kill()

    def _signal(self, number: int) -> None:
        if self._process_id():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, number)

    def _family(self) -> list[psutil.Process]:
        """The process and everything that descends from it."""
        with contextlib.suppress(psutil.Error):
            if self._process_id():
                child = psutil.Process(self._pid)
                return [child, *child.children(recursive=True)]
        return []


def _resident_bytes(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0


def _own_bytes(process: psutil.Process) -> int:
    """Resident bytes, where what several processes share counts in parts; where the kernel does not say, all of it."""
    with contextlib.suppress(psutil.Error, AttributeError):
        return int(process.memory_full_info().pss)
    return _resident_bytes(process)


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


class _Template:
    """The process that forks those of tasks."""

    def __init__(self) -> None:
        self._requests, theirs = socket.socketpair()
        # In a session of its own: what a terminal or a scheduler sends to a command is the driver's to decide.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "harness.runner.template", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env=allowed_environment(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        theirs.close()

    @property
    def usable(self) -> bool:
        """Whether it is alive, and this process's own: not one that it was forked with."""
        return self.process.poll() is None

    def fork(self, connection: int, log: int, ends: int) -> None:
        """Have a task's process forked, with these descriptors."""
        socket.send_fds(self._requests, [b"f"], [connection, log, ends])

    def close(self) -> None:
        """Let it end."""
        self._requests.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(ENDING_S)


_template: _Template | None = None
_template_of = 0
_starting = threading.Lock()


def _the_template() -> _Template:
    """This process's template, started when it is needed or has ended."""
    global _template, _template_of
    with _starting:
        if _template is None or _template_of != os.getpid() or not _template.usable:
            _template, _template_of = _Template(), os.getpid()
            atexit.register(_template.close)
        return _template


def _fork(connection: int, log: int, ends: int) -> None:
    """Have a task's process forked; by another template where this one ends at this very moment.

    Raises:
        OSError: none can be had.
    """
    for left in reversed(range(STARTS)):
        try:
            return _the_template().fork(connection, log, ends)
        except OSError:
            if not left:
                raise
            time.sleep(START_AGAIN_S)


class _LogFile:
    """What the child prints, written to a file up to a limit; the rest is read and dropped."""

    def __init__(self, source: int, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._source = source
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        left = LOG_BYTES
        with self.path.open("wb") as file, contextlib.suppress(OSError):
            while chunk := os.read(self._source, 65536):
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
        with contextlib.suppress(OSError):
            os.close(self._source)
