"""What a network's process tells, keeps and leaves behind: nothing of it stops its driver or reaches its neighbours."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path

import psutil
import pytest

from harness.runner.isolate import TaskProcess, run_isolated
from harness.tasks.messages import EpochDone, SharedResult, Stage
from harness.tasks.result import Result
from harness.tasks.wire import BadMessage, decode, encode
from harness.utils.frames import FrameReader, FrameTooLong, frame
from tests.harness.test_isolate import GOOD, run, task_of

# Writes to every connection that its process has.
TELL = """
def build(num_classes):
    import socket, stat
    for number in range(3, 64):
        try:
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                os.write(number, DATA)
        except OSError:
            pass
    time.sleep(SLEEP)
    return nn.Conv2d(3, num_classes, 1)
"""


def telling(data: bytes, sleep: float = 0.0) -> str:
    return f"DATA = {data!r}\nSLEEP = {sleep}\n{TELL}"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (frame(b"this is no JSON"), "BadMessage: Expecting value"),
        (frame(b'{"kind": "result", "state": "ok"}'), "unexpected answer: result"),
        (frame(b"[1, 2]"), "no object"),
        (frame(b'{"kind": "done", "built": {"parameters": "many", "gpus": []}}'), "Built: parameters"),
        (frame(b"[" * 100_000), "recursion"),
        ((10**15).to_bytes(8, "big"), "1,000,000,000,000,000 bytes"),
    ],
    ids=["no JSON", "a result of its own", "a list", "another type", "nested", "endless"],
)
def test_what_is_no_answer_is_a_failed_row_with_its_reason(
    shapes_home: Path, tmp_path: Path, data: bytes, reason: str
) -> None:
    result = run(telling(data), shapes_home, tmp_path)
    assert result.state == "failed"
    assert reason.lower() in result.reason.lower(), result.reason


def test_half_a_message_does_not_outlast_the_time_limit(shapes_home: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    result = run(telling(frame(b'{"kind": "done"}' * 10)[:50], 600), shapes_home, tmp_path, time_limit_s=3.0)
    assert (result.state, result.reason) == ("timeout", "over the time limit of 3 s")
    assert time.monotonic() - began < 60


def test_a_reader_never_waits_for_the_rest_of_a_message() -> None:
    here, there = socket.socketpair()
    reader = FrameReader(here, limit=100)
    whole = frame(b"first") + frame(b"second")
    for one in whole[:-1]:
        there.sendall(bytes([one]))
        began = time.monotonic()
        reader.poll(0.05)
        assert time.monotonic() - began < 1
    there.sendall(whole[-1:])
    assert reader.poll(1) == b"second"
    assert reader.poll(0.01) is None
    there.sendall(frame(b"x" * 101))
    with pytest.raises(FrameTooLong, match="101 bytes; 100 are allowed"):
        reader.poll(1)
    there.sendall(frame(b"half")[:-1])
    there.close()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"null",
        b'"stage"',
        b'{"kind": "stage", "text": 3}',
        b'{"kind": "result"}',
        b"\x80\x04K.",
        b"[" * 10**5,
    ],
)
def test_what_is_no_message_of_a_task_is_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(data)


def test_texts_of_messages_are_cleaned_and_figures_keep_their_bits() -> None:
    said = Result(
        "f" * 64,
        1,
        "failed",
        reason="first\nsecond \x1b[31mred\x00 \udcff" + "x" * 5000,
        traceback="line\nline\u2028" + "y" * 10**6,
        curve=[{"epoch": 1, "lr": 0.1 + 0.2, "val_loss": float("inf")}],
        provenance={"a\x1b": ["\x9b1m"]},
    )
    heard = decode(encode(said))
    assert isinstance(heard, Result)
    assert heard.reason.startswith("first second \ufffd[31mred\ufffd \ufffdxxx")
    assert len(heard.reason) < 600
    assert len(heard.traceback) < 21_000
    assert heard.traceback.startswith("line\nline\ufffdyyy")
    assert heard.curve == said.curve
    assert heard.provenance == {"a\ufffd": ["\ufffd1m"]}
    stage = decode(encode(Stage("a" * 10**6)))
    assert isinstance(stage, Stage)
    assert len(stage.text) < 300
    for message in (EpochDone(1, 2, {"lr": 1e-300, "val_loss": None}), SharedResult(heard), heard):
        assert decode(encode(message)) == message


def test_a_name_that_is_no_unicode_and_a_very_long_reason_become_a_row(shapes_home: Path, tmp_path: Path) -> None:
    odd = "def build(num_classes):\n    open(os.fsdecode(b'caf\\xe9'))\n"
    result = run(odd, shapes_home, tmp_path)
    assert result.state == "failed"
    result.reason.encode()
    assert "FileNotFoundError" in result.reason
    (tmp_path / "long").mkdir()
    long = run("def build(num_classes):\n    raise ValueError('x' * 50_000_000)\n", shapes_home, tmp_path / "long")
    assert len(long.reason) + len(long.traceback) < 25_000


LEAVES = """
def build(num_classes):
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                print(os.getpid(), flush=True)
                time.sleep(600)
            os._exit(0)
    time.sleep(1)
    return nn.Conv2d(3, num_classes, 1)
"""


def command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def test_a_network_s_daemons_that_keep_its_log_open_end_with_it(shapes_home: Path, tmp_path: Path) -> None:
    run(GOOD, shapes_home, tmp_path)
    (tmp_path / "next").mkdir()
    templates = [p for p in psutil.process_iter() if "harness.runner.template" in command(p)]
    began, before = time.monotonic(), {p.pid for p in (*templates, *psutil.Process().children(recursive=True))}
    assert run(LEAVES, shapes_home, tmp_path / "next").state == "ok"
    assert time.monotonic() - began < 60
    left = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
    assert not [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    log = tmp_path / "next" / "run" / "log.txt"
    daemons = [int(word) for word in log.read_text().split()]
    assert len(daemons) == 3
    assert not [pid for pid in daemons if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


@pytest.mark.slow
@pytest.mark.long
def test_a_fork_bomb_becomes_a_row(shapes_home: Path, tmp_path: Path) -> None:
    bomb = (
        "def build(num_classes):\n    for _ in range(700):\n        os.fork() or time.sleep(600)\n    time.sleep(600)\n"
    )
    before = len(psutil.pids())
    result = run(bomb, shapes_home, tmp_path, time_limit_s=60.0)
    assert "over the limit of 512" in result.reason or result.state == "oom", result.reason
    assert len(psutil.pids()) < before + 100


def test_a_stopped_network_is_ended_in_time(shapes_home: Path, tmp_path: Path) -> None:
    stop = "def build(num_classes):\n    os.kill(os.getpid(), 19)\n"
    assert run(stop, shapes_home, tmp_path, time_limit_s=3.0).state == "timeout"


def test_a_killed_template_costs_the_running_tasks_nothing(shapes_home: Path, tmp_path: Path) -> None:
    from harness.runner import isolate

    task = task_of(GOOD, shapes_home, tmp_path)
    process = TaskProcess(task)
    result = None
    while result is None:  # it has begun
        result = process.poll(1)
    isolate._the_template().process.kill()
    while not isinstance(result, Result):
        result = process.poll(1)
    process.close()
    assert result.state == "ok", result.reason
    (tmp_path / "next").mkdir()
    assert run_isolated(task_of(GOOD, shapes_home, tmp_path / "next"), lambda m: None, lambda: False).state == "ok"


@pytest.mark.slow
@pytest.mark.long
def test_a_template_that_is_killed_before_it_forks_costs_nothing(
    shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.runner import isolate

    fork, lost = isolate._Template.fork, []

    def dies_once(self: isolate._Template, connection: int, log: int, ends: int) -> None:
        if not lost:
            lost.append(self)
            raise BrokenPipeError("it was killed just now")
        fork(self, connection, log, ends)

    monkeypatch.setattr(isolate._Template, "fork", dies_once)
    template = isolate._the_template().process
    template.send_signal(signal.SIGSTOP)  # it has heard of the task, and has not forked it
    process = TaskProcess(task_of(GOOD, shapes_home, tmp_path))
    template.kill()
    result = None
    while not isinstance(result, Result):
        result = process.poll(1)
    process.close()
    assert result.state == "ok", result.reason
    assert lost
