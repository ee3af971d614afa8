"""Random kills: a suite is trained undisturbed, and again while processes of it are killed; the bits must be the same.

Each kill has a moment, a kind of process and a signal, drawn from a seed: the command itself (`bench run`, with --local
or with Ray), the template, a task's process, its network's process, a Ray worker, or the command's whole process group,
with SIGKILL or SIGTERM. Whenever the command has ended it is started again, until every job is done. Then the two
databases are compared: no row lost or doubled, the same scores, curves and label maps, nothing left over.

    python benchmarks/soak.py --jobs 200 --kills 100
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from rich.console import Console
from rich.table import Table

from harness.datasets.shapes import Shapes

# The environment's variable by which processes of a run of this program are known.
MARK = "SOAK_MARK"
TEMPLATE = "harness.runner.template"
PLUGIN = """NAME = "tiny"
STRIDE = 1
from torch import nn


def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, num_classes, 1))
"""
# What may be killed. A template ignores SIGTERM, which a scheduler sends to everything.
WORKER = "ray worker"
KINDS = ("command", "process group", "template", "task", "network", WORKER)
SIGNALS = ("SIGKILL", "SIGTERM")
# Seconds that processes have to be gone after their command, and that a command has to end after its signal.
GONE_S, END_S = 60.0, 120.0
# Commands in a row that do nothing, undisturbed, after which the rest is given up.
IDLE = 5
# Seconds between two looks at the processes.
LOOK_S = 0.02
BACKENDS = {"local": ("--local",), "ray": ()}


def suite_of(jobs: int) -> dict[str, Any]:
    """So many jobs that differ in their seed, of three epochs each, so that there are checkpoints to go on from."""
    return {
        "name": "soak",
        "datasets": ["shapes"],
        "models": ["tiny"],
        "recipe": {"size": [16, 16], "epochs": 3, "batch_size": 4, "checkpoint_every": 1},
        "seeds": list(range(jobs)),
        "resources": {"cpus": 1},
    }


@dataclass
class Lab:
    """A folder in which the suite is trained, and one for temporary files: Ray's sockets need a short path."""

    home: Path
    temporary: Path
    mark: str = field(default_factory=lambda: uuid4().hex)
    roles: dict[tuple[int, float], str] = field(default_factory=dict)
    """The processes that were seen to be a task's or a network's: an orphan's parent says nothing any more."""

    @classmethod
    def made(cls, home: Path, temporary: Path, jobs: int) -> Lab:
        """With data, suite and network."""
        home.mkdir()
        temporary.mkdir()
        Shapes.obtain(home / "data", lambda line: None)
        (home / "tiny.py").write_text(PLUGIN)
        (home / "soak.yaml").write_text(json.dumps(suite_of(jobs)))  # JSON is YAML
        return cls(home, temporary)

    @property
    def database(self) -> Path:
        """The results."""
        return self.home / "results.db"

    def start(self, backend: str) -> subprocess.Popen[bytes]:
        """The command, in a process group of its own."""
        words = ["-m", "bench", "run", "--suite", "soak.yaml", "--plugin", "tiny.py", *BACKENDS[backend]]
        own = {MARK: self.mark, "SEGBENCH_PASS": MARK, "TMPDIR": str(self.temporary)}
        own["XDG_CACHE_HOME"] = str(self.home / "cache")
        # Else Ray's workers wait for whatever else the machine does.
        own["RAY_worker_niceness"] = "0"
        with (self.home / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, *words],
                cwd=self.home,
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """The end of what its commands printed."""
        return (self.home / "output.txt").read_text(errors="replace")[-2000:]

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Its living processes by kind; `other` are those that are never killed, such as Ray's own."""
        found: dict[str, list[psutil.Process]] = collections.defaultdict(list)
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found[self._role(process)].append(process)
        return found

    def _role(self, process: psutil.Process) -> str:
        key = process.pid, process.create_time()
        if key not in self.roles:
            # Only what is forked from a template keeps its name: anything else may just be about to become another.
            role = self._role_now(process)
            if role not in ("task", "network"):
                return role
            self.roles[key] = role
        return self.roles[key]

    def _role_now(self, process: psutil.Process) -> str:
        words = " ".join(process.cmdline())
        if TEMPLATE in words:
            parent = process.parent()
            above = "" if parent is None or TEMPLATE not in " ".join(parent.cmdline()) else self._role(parent)
            return {"template": "task", "task": "network", "network": "other"}.get(above, "template")
        if words.startswith("ray::"):
            return WORKER
        return "other"

    def done(self) -> int:
        """Jobs that are ok."""
        with contextlib.suppress(sqlite3.Error), contextlib.closing(self._opened()) as connection:
            return int(connection.execute("select count(*) from runs where state = 'ok'").fetchone()[0])
        return 0

    def rows(self, query: str) -> list[Any]:
        """What a query gives."""
        with contextlib.closing(self._opened()) as connection:
            return connection.execute(query).fetchall()

    def _opened(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=30)


@dataclass
class Soak:
    """One disturbed training of a suite.

    Args:
        lab: where.
        jobs: of the suite.
        kills: how many there shall be.
        generator: draws everything.
        interval: mean seconds between two of them.
        backends: how the command may be started.
        until: when it has to be over.
    """

    lab: Lab
    jobs: int
    kills: int
    generator: random.Random
    interval: float
    backends: list[str]
    until: float
    made: collections.Counter[tuple[str, str]] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)
    commands: int = 0

    def run(self) -> None:
        """Start the command and kill, until every job is done."""
        waiting = iter(self._plan())
        wanted = next(waiting, None)
        idle = 0
        while self.lab.done() < self.jobs:
            if time.monotonic() > self.until:
                self.faults.append(f"{self.jobs - self.lab.done()} jobs were not done in time")
                break
            backend = self.generator.choice(self.backends)
            if wanted is not None and wanted[0] == WORKER:
                backend = "ray"
            command = self.lab.start(backend)
            self.commands += 1
            before = self.made.total(), self.lab.done()
            wanted = self._disturb(command, backend, wanted, waiting)
            self._gone(command, backend)
            idle = 0 if before != (self.made.total(), self.lab.done()) else idle + 1
            if idle == IDLE:
                self.faults.append(f"{IDLE} commands ended by themselves and did nothing: {self.lab.said()}")
                break

    def _plan(self) -> list[tuple[str, str]]:
        """Kinds and signals of the kills: every one of them about as often, in random order."""
        kinds = [kind for kind in KINDS if kind != WORKER or "ray" in self.backends]
        each = [(kind, name) for name in SIGNALS for kind in kinds]
        repeated = [each[i % len(each)] for i in range(self.kills)]
        self.generator.shuffle(repeated)
        return repeated

    def _disturb(
        self,
        command: subprocess.Popen[bytes],
        backend: str,
        wanted: tuple[str, str] | None,
        waiting: Iterator[tuple[str, str]],
    ) -> tuple[str, str] | None:
        """Kill while the command runs; returns the kill that comes next."""
        due = time.monotonic() + self.generator.uniform(0, 2 * self.interval)
        while command.poll() is None:
            if time.monotonic() > self.until:
                self._end(command)
                return wanted
            if wanted is None or time.monotonic() < due:
                time.sleep(0.05)
                self.lab.processes()
                continue
            if not self._kill(command, *wanted):
                if wanted[0] == WORKER and backend != "ray":
                    os.killpg(command.pid, signal.SIGTERM)  # the next command has workers
                    return wanted
                time.sleep(LOOK_S)
                continue
            kind = wanted[0]
            wanted = next(waiting, None)
            due = time.monotonic() + self.generator.uniform(0, 2 * self.interval)
            if kind in ("command", "process group"):
                break
        return wanted

    def _kill(self, command: subprocess.Popen[bytes], kind: str, name: str) -> bool:
        """Kill one of a kind; returns whether there was one."""
        number = signal.Signals[name]
        if kind == "process group":
            with contextlib.suppress(ProcessLookupError):
                os.killpg(command.pid, number)
                return self._note(kind, name, command.pid)
            return False
        found = [psutil.Process(command.pid)] if kind == "command" else self.lab.processes()[kind]
        if not found:
            return False
        with contextlib.suppress(psutil.Error):
            chosen = self.generator.choice(sorted(found, key=lambda process: process.pid))
            chosen.send_signal(number)
            return self._note(kind, name, chosen.pid)
        return False

    def _note(self, kind: str, name: str, pid: int) -> bool:
        self.made[kind, name] += 1
        print(
            f"{sum(self.made.values())}/{self.kills}: {name} to {kind} {pid}, {self.lab.done()} jobs done", flush=True
        )
        return True

    @staticmethod
    def _end(command: subprocess.Popen[bytes]) -> None:
        """End a command that is in the way."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(command.pid, signal.SIGKILL)

    def _gone(self, command: subprocess.Popen[bytes], backend: str) -> None:
        """Wait until a command that was killed or is done has ended, and everything that it started."""
        try:
            command.wait(END_S)
        except subprocess.TimeoutExpired:
            self.faults.append(f"a command ({backend}) did not end within {END_S:g} s of its signal")
            self._end(command)
            command.wait()
        deadline = time.monotonic() + GONE_S
        while (left := self.lab.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        for process in (one for kind in left.values() for one in kind):
            with contextlib.suppress(psutil.Error):
                told = " ".join(process.cmdline())[:80]
                self.faults.append(f"left over {GONE_S:g} s after its command ({backend}): {process.pid} {told}")
                process.kill()


# What has to be the same in both databases, by what stays the same from one to the other.
COMPARED = {
    "runs": "select fingerprint, state, seed, parameters, cell, model, config, selected_on_test from runs",
    "scores": (
        "select r.fingerprint, e.split, e.score_fingerprint, s.metric, s.class_index, s.value from scores s "
        "join evaluations e on e.id = s.evaluation_id join runs r on r.id = e.run_id"
    ),
    "statistics": (
        "select r.fingerprint, e.split, e.score_fingerprint, e.loss, e.n_images, e.details, e.statistics "
        "from evaluations e join runs r on r.id = e.run_id"
    ),
    "curves": (
        "select r.fingerprint, c.name, c.epoch, c.value from curves c join runs r on r.id = c.run_id "
        "where c.name != 'seconds'"
    ),
    "label maps": (
        "select r.fingerprint, a.kind, a.split, a.path, a.files, a.sha256 from artifacts a "
        "join runs r on r.id = a.run_id"
    ),
    "gallery": (
        "select r.fingerprint, g.image_id, g.prediction from gallery_predictions g join runs r on r.id = g.run_id"
    ),
    "suites": "select r.fingerprint, s.suite from suite_entries s join runs r on r.id = s.run_id",
}


def differences(calm: Lab, stormy: Lab) -> Iterator[str]:
    """What the disturbed database has lost, doubled or changed."""
    for name, query in COMPARED.items():
        ours, theirs = (collections.Counter(lab.rows(query)) for lab in (calm, stormy))
        if ours != theirs:
            yield f"{name}: {(ours - theirs).total()} rows are missing or changed, {(theirs - ours).total()} are new"


def leftovers(lab: Lab) -> Iterator[str]:
    """Files that nobody needs once every job is done."""
    artifacts = lab.home / "results.artifacts"
    for pattern, what in (
        ("*/checkpoints/resume.pt", "checkpoints to go on from"),
        ("*/result.json", "results that are not taken in"),
        ("**/*.partial", "half-written files"),
    ):
        if found := len(list(artifacts.glob(pattern))):
            yield f"{found} {what} were left over"


def unsound(lab: Lab) -> Iterator[str]:
    """What `bench db check` finds, label maps included."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "db", "check"], cwd=lab.home, capture_output=True, text=True, check=False
    )
    if done.returncode:
        yield f"bench db check: {(done.stdout + done.stderr).strip()[-300:]}"


def undisturbed(lab: Lab, jobs: int, minutes: float) -> float:
    """Train the suite without a kill; returns the seconds."""
    began = time.monotonic()
    command = lab.start("local")
    try:
        command.wait(60 * minutes)
    except subprocess.TimeoutExpired:
        command.terminate()
        command.wait()
    if lab.done() != jobs:
        sys.exit(f"{lab.said()}\nundisturbed, {lab.done()} of {jobs} jobs were done in {minutes:g} minutes")
    return time.monotonic() - began


def report(soak: Soak, problems: list[str], seconds: tuple[float, float]) -> None:
    """The table of kills, and the verdict."""
    table = Table("killed", *SIGNALS, title=f"{sum(soak.made.values())} kills, {soak.jobs} jobs")
    for kind in KINDS:
        table.add_row(kind, *(str(soak.made[kind, name]) for name in SIGNALS))
    console = Console(width=120)
    console.print(table)
    ((total, most),) = soak.lab.rows("select sum(attempt), max(attempt) from runs")
    histories = (json.loads(text) for (text,) in soak.lab.rows("select history from runs"))
    states = collections.Counter(f"{one['state']}: {one['reason']}" for history in histories for one in history)
    console.print(
        f"The command was started {soak.commands} times; {total} attempts at {soak.jobs} jobs, {most} at most at one. "
        f"Undisturbed: {seconds[0]:.0f} s, disturbed: {seconds[1]:.0f} s. Attempts that ended early:",
        soft_wrap=True,
    )
    for told, count in states.most_common(12):
        console.print(f"  {count} × {told}", markup=False, soft_wrap=True)
    for problem in problems:
        console.print(f"FAULT {problem}", markup=False, soft_wrap=True)
    if not problems:
        console.print("Nothing lost, nothing twice, the same bits, nothing left over.")


def main() -> None:
    """Train twice, compare, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200, help="small jobs of the suite")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--every", type=float, help="mean seconds between two kills; without it, by --jobs and --kills")
    parser.add_argument("--minutes", type=float, default=60, help="after which it is given up")
    parser.add_argument("--backends", default="local,ray", help="how the command may be started")
    parser.add_argument("--undisturbed", type=Path, help="a folder of --keep, whose undisturbed training counts again")
    parser.add_argument("--keep", type=Path, help="a folder that does not exist yet, which keeps both trainings")
    options = parser.parse_args()
    backends = options.backends.split(",")
    if not set(backends) <= BACKENDS.keys():
        parser.error(f"--backends: choose among {', '.join(BACKENDS)}")
    began = time.monotonic()
    temporary = Path(tempfile.mkdtemp(prefix="soak-"))
    folder = options.keep or temporary
    folder.mkdir(parents=True, exist_ok=options.keep is None)
    try:
        stormy = Lab.made(folder / "stormy", temporary / "t1", options.jobs)
        if options.undisturbed:
            calm, alone = Lab(options.undisturbed / "calm", temporary / "t0"), 0.0
        else:
            calm = Lab.made(folder / "calm", temporary / "t0", options.jobs)
            alone = undisturbed(calm, options.jobs, options.minutes)
        soak = Soak(
            stormy,
            options.jobs,
            options.kills,
            random.Random(options.seed),
            # Commands have to start again, and that takes its time: they are killed while they do, too.
            options.every or max(0.5, 2 * alone / max(1, options.kills)),
            backends,
            began + 60 * options.minutes,
        )
        start = time.monotonic()
        soak.run()
        problems = [*soak.faults, *unsound(stormy)]
        if stormy.done() == options.jobs:  # else everything that follows is a consequence
            problems += [*differences(calm, stormy), *leftovers(stormy)]
        if (made := sum(soak.made.values())) < options.kills:
            problems.append(f"only {made} of {options.kills} kills were made before all was done: give it more --jobs")
        report(soak, problems, (alone, time.monotonic() - start))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
