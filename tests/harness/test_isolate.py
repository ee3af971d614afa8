"""A task in its child process: what a network does there ends there."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from harness.config.expand import expand
from harness.config.job import Job, ModelChoice, Resources
from harness.config.load import load_suite
from harness.datasets.shapes import Shapes
from harness.models.registry import read_plugin
from harness.runner.isolate import TaskProcess, run_isolated
from harness.tasks.messages import EpochDone
from harness.tasks.result import Result
from harness.tasks.task import Task
from tests.conftest import TINY

HEAD = 'NAME = "bad"\nSTRIDE = 4\nimport os, sys, time, torch\nfrom torch import nn\n\n'
GOOD = "def build(num_classes):\n    return nn.Conv2d(3, num_classes, 3, padding=1)\n"


def task_of(source: str, home: Path, folder: Path, **limits: float) -> Task:
    path = folder / "bad.py"
    path.write_text(HEAD + source)
    entry = read_plugin(path)
    job: Job = expand(load_suite(str(TINY), ["epochs=1"]), {"shapes": Shapes.info})[0]
    job = job.model_copy(
        update={"model": ModelChoice(name="bad"), "resources": Resources.model_validate({"cpus": 1, **limits})}
    )
    root = str(home / "data" / Shapes.folders[0])
    return Task(job, entry, fingerprint="f" * 64, data_root=root, folder=str(folder / "run"))


def run(source: str, home: Path, folder: Path, **limits: float) -> Result:
    return run_isolated(task_of(source, home, folder, **limits), lambda message: None, lambda: False)


@pytest.mark.parametrize(
    ("source", "limits", "state", "reason"),
    [
        (GOOD, {}, "ok", ""),
        ("def build(num_classes):\n    raise ValueError('no such width')\n", {}, "failed", "ValueError: no such width"),
        ("def build(num_classes):\n    import nothing_of_that_name\n", {}, "failed", "ModuleNotFoundError"),
        ("def build(num_classes):\n    return 3\n", {}, "failed", "build returned int"),
        ("def build(num_classes):\n    return nn.ReLU()\n", {}, "failed", "no trainable parameter"),
        ("def build(num_classes):\n    return nn.Conv2d(3, 99, 1)\n", {}, "failed", "expected (N, 6, 32, 32)"),
        ("def build(num_classes):\n    sys.exit(3)\n", {}, "failed", "SystemExit: 3"),
        ("def build(num_classes):\n    os._exit(7)\n", {}, "failed", "exit code 7"),
        ("def build(num_classes):\n    os.kill(os.getpid(), 11)\n", {}, "failed", "ended by SIGSEGV"),
        ("def build(num_classes):\n    raise MemoryError\n", {}, "oom", "MemoryError"),
        ("def build(num_classes):\n    time.sleep(600)\n", {"time_limit_s": 2.0}, "timeout", "time limit of 2 s"),
        (
            "def build(num_classes):\n    x = [torch.ones(1 << 26) for _ in range(40)]\n    time.sleep(60)\n",
            {"memory_gb": 1.0},
            "oom",
            "over the memory limit of 1 GB",
        ),
    ],
    ids=[
        "good", "exception", "import error", "no module", "no parameters", "wrong classes", "sys.exit", "_exit",
        "segfault", "MemoryError", "endless", "memory",
    ],
)  # fmt: skip
def test_whatever_a_network_does_becomes_a_result(
    shapes_home: Path, tmp_path: Path, source: str, limits: dict[str, float], state: str, reason: str
) -> None:
    result = run(source, shapes_home, tmp_path, **limits)
    assert (result.state, reason in result.reason) == (state, True), (result.reason, result.traceback)


def test_a_network_sees_the_environment_of_now_without_its_secrets(
    shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_TOKEN", "hunter2")
    shown = "{k: os.environ.get(k) for k in ('TZ', 'LAB', 'LAB_TOKEN')}"
    asks = f"def build(num_classes):\n    raise ValueError({shown})\n"
    for zone in ("UTC", "CET"):  # the process that forks the others is as old as the first of them
        monkeypatch.setenv("TZ", zone)
        monkeypatch.setenv("LAB", "north")
        told = {"TZ": zone, "LAB": None, "LAB_TOKEN": None}
        assert run(asks, shapes_home, tmp_path).reason == f"ValueError: {told}"
    monkeypatch.setenv("SEGBENCH_PASS", "LAB, OTHER")
    assert "'LAB': 'north', 'LAB_TOKEN': None" in run(asks, shapes_home, tmp_path).reason
    monkeypatch.delenv("TZ")
    assert "'TZ': None" in run(asks, shapes_home, tmp_path).reason


def test_a_network_finds_no_secret_in_its_memory_or_in_proc(
    shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_TOKEN", "-".join(["hunter2", "of", "the", "lab"]))
    look = (
        "def build(num_classes):\n"
        "    word = b'-'.join([b'hunter2', b'of', b'the', b'lab'])\n"
        "    found = []\n"
        "    for pid in ('self', str(os.getppid())):\n"
        "        for name in ('environ', 'mem'):\n"
        "            try:\n"
        "                with open(f'/proc/{pid}/{name}', 'rb') as file:\n"
        "                    data = regions(file) if name == 'mem' else file.read()\n"
        "            except OSError:\n"
        "                continue\n"
        "            found += [(pid == 'self', name, data.count(word))] if word in data else []\n"
        "    raise ValueError(found)\n"
        "\n\n"
        "def regions(file):\n"
        "    data = bytearray()\n"
        "    for line in open('/proc/self/maps'):\n"
        "        place, rights = line.split()[:2]\n"
        "        start, end = (int(n, 16) for n in place.split('-'))\n"
        "        if rights == 'rw-p':\n"
        "            try:\n"
        "                file.seek(start)\n"
        "                data += file.read(end - start)\n"
        "            except (OSError, OverflowError, ValueError):\n"
        "                pass\n"
        "    return data\n"
    )
    # Its own memory holds the word that it looks for, perhaps once more where what was read was moved; nothing else.
    assert run(look, shapes_home, tmp_path).reason in {f"ValueError: [(True, 'mem', {n})]" for n in (1, 2)}
    monkeypatch.setenv("SEGBENCH_PASS", "LAB_TOKEN")
    told = run(look, shapes_home, tmp_path).reason
    assert int(told.rstrip(")]").split(", ")[-1]) > 2, "it looks in the right places"


def test_what_a_network_prints_goes_to_a_log_with_a_limit(
    shapes_home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flood = "def build(num_classes):\n    print('hello from the network')\n    print('x' * 20_000_000)\n"
    result = run(flood + "    return nn.Conv2d(3, num_classes, 1)\n", shapes_home, tmp_path)
    assert result.state == "ok"
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.startswith("hello from the network")
    assert len(log) < 5_000_000
    assert "hello" not in capfd.readouterr().out


def test_nothing_reaches_this_process_and_nobody_is_left_behind(shapes_home: Path, tmp_path: Path) -> None:
    mess = (
        "def build(num_classes):\n"
        "    os.environ['LEFT'] = 'behind'\n"
        "    os.chdir('/')\n"
        "    torch.set_default_dtype(torch.float64)\n"
        "    if os.fork() == 0:\n"
        "        time.sleep(600)\n"
        "    return nn.Conv2d(3, num_classes, 1).float()\n"
    )
    before, here = set(psutil.pids()), Path.cwd()
    run(mess, shapes_home, tmp_path)
    assert "LEFT" not in os.environ
    assert Path.cwd() == here
    (tmp_path / "next").mkdir()
    assert run(GOOD, shapes_home, tmp_path / "next").state == "ok"
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        own = [p for p in psutil.Process().children(recursive=True) if p.pid not in before]
        sleeping = [p for p in own if p.ppid() != os.getpid() and p.is_running() and p.status() != "zombie"]
        if len(sleeping) <= 1:  # the template may live on
            break
        time.sleep(0.2)
    assert len(sleeping) <= 1


def test_a_task_asked_to_stop_writes_a_checkpoint_and_continues(shapes_home: Path, tmp_path: Path) -> None:
    task = task_of(GOOD, shapes_home, tmp_path)
    task = Task(**{**vars(task), "job": task.job.model_copy(update={"recipe": _long(task.job)})})
    process = TaskProcess(task)
    result = None
    while result is None:
        message = process.poll(0.5)
        if isinstance(message, EpochDone):
            process.request_stop()
        if isinstance(message, Result):
            result = message
    process.close()
    assert result.state == "interrupted"
    assert (tmp_path / "run" / "checkpoints" / "resume.pt").exists()
    assert not process.scratch.exists()


def _long(job: Job) -> object:
    return job.recipe.model_copy(update={"epochs": 500})
