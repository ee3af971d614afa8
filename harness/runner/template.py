"""The template process: has torch loaded, and forks the process of each task in milliseconds.

A driver starts one (`harness.runner.isolate`), with those variables of its environment alone that a network may see.
The template ends when its driver does. It ignores SIGTERM and Ctrl-C, which a scheduler sends to every process of a
command: the driver decides what becomes of the tasks.

    python -m harness.runner.template NUMBER        the number of a connected socket
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys

# Descriptors that come with a request: the task's connection, its log, and where its pid and its end are told.
WITH_A_REQUEST = 3
# How a pid and an exit code are written.
NUMBER = 8


def main(requests: socket.socket) -> None:
    """Fork processes until the driver is gone."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from harness.runner import preload, task_process  # noqa: F401 (loaded here once)

    wake, woken = socket.socketpair()
    for one in (wake, woken):
        one.setblocking(False)
    signal.set_wakeup_fd(woken.fileno())
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    told: dict[int, int] = {}  # pid -> where its end is told
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(wake, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is wake:
                    with contextlib.suppress(BlockingIOError):
                        wake.recv(4096)
                    _tell_ends(told)
                    continue
                data, given, _, _ = socket.recv_fds(requests, 1, WITH_A_REQUEST)
                if not data:
                    return
                connection, log, status = given
                pid = os.fork()
                if pid == 0:
                    signal.set_wakeup_fd(-1)
                    for number in (requests.fileno(), wake.fileno(), woken.fileno(), status, *told.values()):
                        os.close(number)
                    selector.close()
                    task_process.life(connection, log)
                os.close(connection)
                os.close(log)
                told[pid] = status
                _write(status, pid)


def _tell_ends(told: dict[int, int]) -> None:
    """Tell how processes ended that have."""
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            if pid in told:
                where = told.pop(pid)
                _write(where, os.waitstatus_to_exitcode(status))
                os.close(where)


def _write(where: int, number: int) -> None:
    with contextlib.suppress(OSError):  # the driver asks no more
        os.write(where, number.to_bytes(NUMBER, "big", signed=True))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
