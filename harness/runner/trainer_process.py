"""A network in a process of its own, held by a sandbox: what its worker asks, and what it answers, one frame each.

The worker asks in pickles, which only it writes. The network's process answers in JSON, of which only what is expected
is taken: it may do with its own memory whatever it likes. Logits follow their announcement as plain float32.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import pickle
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import psutil
import torch
from torch import Tensor

from harness.datasets import Dataset
from harness.datasets.cache import DecodedStore
from harness.errors import BenchError, RunFailure
from harness.runner.sandbox import Sandbox, own_places
from harness.runner.trainer import Built, Trainer, TrainingEvents, deterministic
from harness.tasks.inference_cost import InferenceCost
from harness.tasks.messages import CheckDone, EpochDone, Stage
from harness.tasks.task import Task
from harness.tasks.wire import BadMessage, cleaned, read_as
from harness.training.loop import Interrupted, Progress
from harness.utils.frames import FrameTooLong, receive_frame, send_frame
from harness.utils.libc import call_libc
from harness.utils.text import plain_line, plain_text

# Bytes of an answer without its logits: the curve of a very long training.
LONGEST_ANSWER = 64 * 1024**2
# Characters of the name of a curve.
_LONGEST_NAME = 64
# Numbers of prctl.
_DEATH_SIGNAL = 1


class TrainerFailed(Exception):
    """A network failed in its process: how, in words for the run's row.

    Args:
        state: `failed` or `oom`.
        reason: one line.
        error: the exception's type.
        trace: its traceback.
    """

    def __init__(self, state: str, reason: str, error: str, trace: str) -> None:
        super().__init__(reason)
        self.state, self.reason, self.error, self.trace = state, reason, error, trace


class TrainerProcess:
    """A network in a process of its own; to be used as a context.

    The process is forked from this one, which has to have one thread, and waits until `build`.

    Args:
        task: says which network, and its job.
        dataset: the copy of the data.
        scratch: the process's working folder.
        closed: descriptors of this process that the other must not have.
    """

    def __init__(self, task: Task, dataset: Dataset, scratch: Path, closed: list[int]) -> None:
        self._dataset, self._channels = dataset, 0
        self._connection, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            for number in (self._connection.fileno(), *closed):
                os.close(number)
            _life(theirs, task, dataset, scratch)
        theirs.close()

    def __enter__(self) -> TrainerProcess:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        end_descendants()

    def interrupt(self) -> None:
        """Ask it to write a checkpoint and stop."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    # -- what a worker asks ------------------------------------------------------------------------

    def confine(self, sandbox: Sandbox) -> dict[str, Any]:
        """Let it give up what it does not need; returns what is in force."""
        held = self._ask("confine", sandbox)["held"]
        return {plain_line(str(name), 40): value for name, value in held.items()}

    def build(self, task: Task, store: DecodedStore | None) -> Built:
        """See `Trainer.build`."""
        opened = None if store is None else (store.folder, store.splits)
        built: Built = read_as(Built, self._ask("build", (task, opened))["built"])
        return Built(built.parameters, [plain_line(name, 100) for name in built.gpus[:64]])

    def assist(self) -> None:
        """See `Trainer.assist`."""
        self._ask("assist")

    def train(self, events: TrainingEvents) -> Progress:
        """See `Trainer.train`."""
        self._send("train")
        while True:
            answer = self._receive()
            match answer.get("kind"):
                case "stage":
                    events.emit(cleaned(read_as(Stage, _without_kind(answer))))
                case "epoch":
                    events.emit(cleaned(read_as(EpochDone, _without_kind(answer))))
                case "checkpoint":
                    self._send("kept", events.keep_checkpoint())
                case "milestone":
                    place = answer.get("place")
                    if not isinstance(place, int):
                        raise BadMessage("a milestone without its place")
                    events.milestone(place, _progress(answer))
                    self._send("go on")
                case "done":
                    return _progress(answer)
                case other:
                    raise BadMessage(f"an unexpected answer: {plain_line(str(other), 40)}")

    def logits(self, split: str, limit: int | None) -> Iterator[tuple[str, Tensor]]:
        """See `Trainer.logits`; the images are those of the split, in their order, whatever the process says."""
        self._send("logits", (split, limit))
        for image_id in self._dataset.ids(split, limit):
            yield image_id, self._tensor(3)
        self._expect_done()

    def batch_logits(self, split: str, limit: int | None) -> Iterator[Tensor]:
        """See `Trainer.batch_logits`."""
        self._send("batch logits", (split, limit))
        while (logits := self._tensor(4, or_done=True)) is not None:
            yield logits

    def inference_cost(self) -> InferenceCost:
        """See `Trainer.inference_cost`; what comes is figures, and nothing else."""
        found: InferenceCost = read_as(InferenceCost, self._ask("inference cost").get("cost"))
        wrong = [name for name, value in vars(found).items() if isinstance(value, float) and not 0 < value < math.inf]
        if wrong or any(isinstance(value, int) and not 0 <= value < 2**62 for value in vars(found).values()):
            raise BadMessage("a cost with something else than figures")
        texts = {name: plain_line(value, 200) for name, value in vars(found).items() if isinstance(value, str)}
        return replace(found, **texts)  # type: ignore[arg-type]

    def step_times(self) -> dict[str, float]:
        """See `Trainer.step_times`."""
        found: dict[str, float] = {}
        for name, value in self._ask("step times")["times"].items():
            found[plain_line(name, 40)] = float(value)
        return found

    def step_memory(self) -> int:
        """See `Trainer.step_memory`."""
        return int(self._ask("step memory")["bytes"])

    def check(self, name: str) -> CheckDone:
        """See `Trainer.check`."""
        done: CheckDone = read_as(CheckDone, self._ask("check", name)["check"])
        return replace(done, name=name)

    # -- frames ------------------------------------------------------------------------------------

    def _ask(self, what: str, given: object = None) -> dict[str, Any]:
        self._send(what, given)
        return self._expect_done()

    def _expect_done(self) -> dict[str, Any]:
        answer = self._receive()
        if answer.get("kind") != "done":
            raise BadMessage(f"an unexpected answer: {plain_line(str(answer.get('kind')), 40)}")
        return answer

    def _send(self, what: str, given: object = None) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it has ended: reading says how
            send_frame(self._connection, pickle.dumps((what, given)))

    def _receive(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            TrainerFailed: the network failed, its process ended, or what it sent is no answer.
            Interrupted: it has stopped as it was asked to.
        """
        try:
            answer = json.loads(receive_frame(self._connection, LONGEST_ANSWER))
        except (EOFError, OSError):
            raise self._death() from None
        except (FrameTooLong, ValueError, RecursionError) as error:
            raise BadMessage(plain_line(str(error), 100)) from None
        if not isinstance(answer, dict):
            raise BadMessage("no object")
        if answer.get("kind") == "interrupted":
            raise Interrupted(plain_line(str(answer.get("reason", ""))))
        if answer.get("kind") == "failed":
            raise TrainerFailed(
                "oom" if answer.get("state") == "oom" else "failed",
                plain_line(str(answer.get("reason", ""))),
                plain_line(str(answer.get("error", "")), 100),
                plain_text(str(answer.get("traceback", ""))),
            )
        return answer

    def _tensor(self, dimensions: int, or_done: bool = False) -> Any:
        """Logits that follow their announcement; None where the end is announced instead."""
        answer = self._receive()
        if or_done and answer.get("kind") == "done":
            return None
        shape = answer.get("shape")
        if (
            answer.get("kind") != "logits"
            or not isinstance(shape, list)
            or len(shape) != dimensions
            or not all(isinstance(n, int) and 0 < n < 2**20 for n in shape)
        ):
            raise BadMessage("an unexpected answer in place of logits")
        size = 4 * torch.Size(shape).numel()
        try:
            data = receive_frame(self._connection, size)
        except EOFError:
            raise self._death() from None
        except FrameTooLong as error:
            raise BadMessage(str(error)) from None
        if len(data) != size:
            raise BadMessage("fewer logits than announced")
        return torch.frombuffer(data, dtype=torch.float32).reshape(shape)

    def _death(self) -> TrainerFailed:
        """How the process ended, which is known a moment after its connection has."""
        for _ in range(500):
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return TrainerFailed("failed", *_ending(os.waitstatus_to_exitcode(status)), "")
            time.sleep(0.01)
        return TrainerFailed("failed", "the process closed its connection", "", "")


def _ending(code: int) -> tuple[str, str]:
    if code >= 0:
        return f"the process ended by itself with exit code {code}", ""
    name = signal.Signals(-code).name
    hint = " (the kernel's out-of-memory killer sends this)" if name == "SIGKILL" else ""
    return f"the process was ended by {name}{hint}", ""


def end_descendants() -> None:
    """Kill every process that descends from this one, those too that left their parent or its session.

    This process has to be their subreaper, so that none can leave it.
    """
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        left = [process for process in psutil.Process().children(recursive=True) if _is_alive(process)]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not left:
            return
        time.sleep(0.01)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # it ended between the list and the question
        return False


def _progress(answer: dict[str, Any]) -> Progress:
    """A training's progress as its process tells it: a curve of figures, and nothing else.

    Raises:
        BadMessage: it is something else.
    """
    progress: Progress = read_as(Progress, answer.get("progress"))
    for record in progress.curve:
        wrong = [n for n, v in record.items() if len(n) > _LONGEST_NAME or not isinstance(v, int | float | None)]
        if wrong or not isinstance(record.get("epoch"), int):
            raise BadMessage("a curve with something else than figures")
    return progress


def _without_kind(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name != "kind"}


# -- the other side ------------------------------------------------------------------------------------


def _life(connection: socket.socket, task: Task, dataset: Dataset, scratch: Path) -> None:
    """The whole life of a network's process; it never returns."""
    status = 1
    try:
        if sys.platform.startswith("linux"):
            call_libc("prctl", _DEATH_SIGNAL, signal.SIGKILL)
        stop = threading.Event()

        def asked(number: int, frame: FrameType | None) -> None:
            stop.set()

        signal.signal(signal.SIGTERM, asked)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.chdir(scratch)
        os.environ.update(own_places(scratch))
        tempfile.tempdir = str(scratch)  # Python remembers what it was for the template
        with deterministic(task.job):
            _Server(connection).serve(Trainer(task, dataset, stop.is_set))
        status = 0
    finally:
        # Threads and exit handlers that a network left behind must not keep the process.
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


class _HungUp(Exception):
    """The worker has ended, or needs no more."""


class _Server:
    """Answers what a worker asks."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def serve(self, trainer: Trainer) -> None:
        """Answer until the worker hangs up, or the network fails, which is the last answer."""
        try:
            with trainer:
                self._answer_all(trainer, until=None)
        except _HungUp:
            return
        except Interrupted as stop:
            with contextlib.suppress(_HungUp):
                self._tell("interrupted", reason=str(stop))
        except BaseException as error:  # noqa: BLE001 (whatever a network raises becomes a row)
            with contextlib.suppress(_HungUp):
                self._tell("failed", **failure(error))

    def _answer_all(self, trainer: Trainer, until: str | None) -> Any:
        """Answer one request after the other; returns what comes with the one that is waited for."""
        while True:
            try:
                what, given = pickle.loads(receive_frame(self._connection, sys.maxsize))
            except (EOFError, OSError):
                raise _HungUp from None
            if what == until:
                return given
            getattr(self, "_" + what.replace(" ", "_"))(trainer, given)

    def _confine(self, trainer: Trainer, sandbox: Sandbox) -> None:
        self._tell("done", held=sandbox.apply())

    def _build(self, trainer: Trainer, given: tuple[Task, tuple[Path, tuple[str, ...]] | None]) -> None:
        task, opened = given
        built = trainer.build(task, None if opened is None else DecodedStore(*opened))
        self._tell("done", built=asdict(built))

    def _assist(self, trainer: Trainer, given: None) -> None:
        trainer.assist()
        self._tell("done")

    def _train(self, trainer: Trainer, given: None) -> None:
        def emit(message: object) -> None:
            self._tell("epoch" if isinstance(message, EpochDone) else "stage", **vars(message))

        def keep_checkpoint() -> str:
            self._tell("checkpoint")
            return str(self._answer_all(trainer, until="kept"))

        def milestone(place: int, progress: Progress) -> None:
            self._tell("milestone", place=place, progress=vars(progress))
            self._answer_all(trainer, until="go on")

        progress = trainer.train(TrainingEvents(emit, keep_checkpoint, milestone))
        self._tell("done", progress=vars(progress))

    def _logits(self, trainer: Trainer, given: tuple[str, int | None]) -> None:
        for _, logits in trainer.logits(*given):
            self._give(logits)
        self._tell("done")

    def _batch_logits(self, trainer: Trainer, given: tuple[str, int | None]) -> None:
        for logits in trainer.batch_logits(*given):
            self._give(logits)
        self._tell("done")

    def _inference_cost(self, trainer: Trainer, given: None) -> None:
        self._tell("done", cost=asdict(trainer.inference_cost()))

    def _step_times(self, trainer: Trainer, given: None) -> None:
        self._tell("done", times=trainer.step_times())

    def _step_memory(self, trainer: Trainer, given: None) -> None:
        self._tell("done", bytes=trainer.step_memory())

    def _check(self, trainer: Trainer, name: str) -> None:
        self._tell("done", check=asdict(trainer.check(name)))

    def _give(self, logits: Tensor) -> None:
        self._tell("logits", shape=list(logits.shape))
        self._send(logits.float().contiguous().numpy().data.cast("B"))

    def _tell(self, kind: str, **facts: Any) -> None:
        self._send(json.dumps({"kind": kind, **facts}).encode())

    def _send(self, data: bytes | memoryview) -> None:
        try:
            send_frame(self._connection, data)
        except OSError:
            raise _HungUp from None


def failure(error: BaseException) -> dict[str, Any]:
    """How a failure is told: `state`, `reason`, `error`, `traceback`."""
    out_of_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )
    first = (str(error).strip().splitlines() or [""])[0]
    known = isinstance(error, RunFailure | BenchError)
    return {
        "state": "oom" if out_of_memory else "failed",
        "reason": first if known else f"{type(error).__name__}: {first}".removesuffix(": "),
        "error": type(error).__name__,
        "traceback": "".join(traceback.format_exception(error)),
    }
