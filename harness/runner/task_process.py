"""The life of a task's own process, from the fork to its last message."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import shutil
import signal
import socket
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from harness.datasets import Dataset
from harness.runner.task_order import Order
from harness.runner.trainer_process import TrainerProcess, end_descendants
from harness.runner.worker import Worker
from harness.tasks.messages import Message
from harness.tasks.wire import encode
from harness.utils.frames import receive_frame, send_frame
from harness.utils.libc import call_libc

# Number of prctl.
_CHILD_SUBREAPER = 36


def life(connection: int, log: int) -> None:
    """Do one task; never returns.

    Args:
        connection: a socket to the driver. It sends an `Order`, and then the rest of the environment, which the
            network's process, forked in between, never has in its memory.
        log: where everything goes that is printed.
    """
    status = 1
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(log, stream)
        os.close(log)
        sys.stdout, sys.stderr = open(1, "w", 1, closefd=False), open(2, "w", 1, closefd=False)  # noqa: SIM115
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _TaskLife(socket.socket(fileno=connection)).run()
        status = 0
    except (EOFError, OSError):
        pass  # the driver has gone
    finally:
        with contextlib.suppress(Exception):
            end_descendants()
        os._exit(status)


class _TaskLife:
    """A task's process and its connection to the driver."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._stop = threading.Event()
        self._trainer: TrainerProcess | None = None

    def run(self) -> None:
        """Do the task and send its result."""
        signal.signal(signal.SIGTERM, self._asked_to_stop)
        order: Order = pickle.loads(receive_frame(self._connection, sys.maxsize))
        _set_environment(order.environment)
        os.chdir(order.scratch)
        if sys.platform.startswith("linux"):
            # Whatever the network starts, and however it leaves its parent, stays below this process.
            call_libc("prctl", _CHILD_SUBREAPER, 1)
        self._order = order
        worker = Worker(order.task, self._emit, self._stop.is_set, self._open, Path(order.scratch))
        if order.task.kind == "rescore":
            self._trusted()
        self._emit(worker.run())

    def _open(self, dataset: Dataset) -> TrainerProcess:
        """The network's process; from then on this one has the whole environment, and watches the driver."""
        scratch = Path(self._order.scratch, "network")
        scratch.mkdir()
        gc.freeze()
        self._trainer = TrainerProcess(self._order.task, dataset, scratch, [self._connection.fileno()])
        self._trusted()
        if self._stop.is_set():
            self._trainer.interrupt()
        return self._trainer

    def _trusted(self) -> None:
        _set_environment(pickle.loads(receive_frame(self._connection, sys.maxsize)))
        threading.Thread(target=self._end_with_driver, daemon=True).start()

    def _end_with_driver(self) -> None:
        """A driver that is gone, however it ended, ends everything that this process has started, and this process."""
        with contextlib.suppress(OSError):
            while self._connection.recv(1):
                pass
        end_descendants()
        shutil.rmtree(self._order.scratch, ignore_errors=True)
        os._exit(1)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop.set()
        if self._trainer is not None:
            self._trainer.interrupt()

    def _emit(self, message: Message) -> None:
        with self._sending:
            send_frame(self._connection, encode(message))


def _set_environment(environment: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(environment)
