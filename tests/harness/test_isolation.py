"""A network that tries to decide its own score, or its neighbours': as a stranger's file in a real run."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.utils import landlock
from tests.conftest import ROOT, TINY, rows, run_bench

TRIES = """NAME = "spy"
STRIDE = 1
import os, pathlib, signal, socket, subprocess, tempfile
from torch import nn


def attempt(name, act):
    try:
        act()
    except Exception as error:
        print(name, "denied", type(error).__name__, flush=True)
    else:
        print(name, "DONE", flush=True)


def build(num_classes):
    home = pathlib.Path(HOME)
    cache = next(iter(FILES))
    attempt("mask", lambda: (home / MASK).read_bytes())
    attempt("cached masks", lambda: pathlib.Path(cache).read_bytes())
    attempt("cache write", lambda: (pathlib.Path(cache).parent / "masks-train.bin").open("r+b"))
    attempt("cache add", lambda: (pathlib.Path(cache).parent / "more").write_bytes(b""))
    attempt("database", lambda: (home / "results.db").read_bytes())
    attempt("database write", lambda: (home / "results.db").open("ab"))
    attempt("another run", lambda: list((home / "results.artifacts").iterdir()))
    os.symlink(home, "link")
    attempt("link", lambda: list(os.scandir("link")))
    attempt("home", lambda: list(pathlib.Path(USER).iterdir()))
    attempt("tcp", lambda: socket.create_connection(("127.0.0.1", PORT), timeout=2))
    attempt("signal", lambda: os.kill(os.getppid(), signal.SIGTERM))
    attempt("parent", lambda: open(f"/proc/{os.getppid()}/environ", "rb").read())
    attempt("secret", lambda: os.environ["LAB_TOKEN"])
    attempt("shell", lambda: subprocess.run(["cat", str(home / "results.db")], check=True, capture_output=True))
    attempt("scratch", lambda: pathlib.Path("mine").write_text("mine"))
    attempt("temporary", lambda: tempfile.TemporaryFile().write(b"mine"))
    return nn.Conv2d(3, num_classes, 1)
"""


@pytest.fixture
def spied(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a finished run, and the spy's file in it."""
    if landlock.version() < 6:
        pytest.skip("this kernel's Landlock holds less")
    monkeypatch.setenv("LAB_TOKEN", "hunter2")
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(home / "caches"))
    words = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local", "--set", "epochs=1")
    run_bench(*words, cwd=home)
    return home


def test_a_network_reaches_nothing_that_decides_a_score(spied: Path) -> None:
    masks = sorted(str(path) for path in spied.glob("caches/decoded/*/masks-test.bin"))
    assert masks, "the cache keeps the masks of each split apart"
    (mask,) = sorted((spied / "data").glob("shapes-v1/SegmentationClass/test_0000.png"))
    before = rows(spied / "results.db", "select metric, class_index, value from scores order by 1, 2, 3")
    with socket.create_server(("127.0.0.1", 0)) as server:
        facts = {
            "HOME": str(spied),
            "FILES": masks,
            "MASK": str(mask.resolve()),
            "USER": str(Path.home()),
            "PORT": server.getsockname()[1],
        }
        head = "".join(f"{name} = {value!r}\n" for name, value in facts.items())
        (spied / "spy.py").write_text(head + TRIES)
        words = ("run", "--suite", TINY, "--plugin", "spy.py", "--models", "spy", "--seeds", "0", "--local")
        run_bench(*words, "--set", "models=[spy]", "--set", "epochs=1", cwd=spied)
    ((run, provenance),) = rows(
        spied / "results.db", "select substr(fingerprint, 1, 16), provenance from runs where model_name = 'spy'"
    )
    log = (spied / "results.artifacts" / run / "log.txt").read_text()
    done = [line.removesuffix(" DONE") for line in log.splitlines() if line.endswith(" DONE")]
    assert done == ["scratch", "temporary"], log
    assert log.count(" denied ") == 14, log
    assert json.loads(provenance)["isolation"] == {
        "no_new_privs": True,
        "landlock": landlock.version(),
        "files": "its own",
        "tcp": "denied",
    }
    after = rows(
        spied / "results.db",
        "select metric, class_index, value from scores where evaluation_id in (select evaluations.id from evaluations "
        "join runs on runs.id = run_id where model_name != 'spy') order by 1, 2, 3",
    )
    assert after == before


@pytest.mark.slow
@pytest.mark.long
def test_a_host_that_turns_isolation_off_reads_it_in_the_provenance(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local", "--smoke")
    run_bench(*words, cwd=home, SEGBENCH_ISOLATION="off")
    ((provenance,),) = rows(home / "results.db", "select provenance from runs")
    held = json.loads(provenance)["isolation"]
    assert (held["landlock"], held["why"]) == (0, "SEGBENCH_ISOLATION=off")
    refused = run_bench(*words, "--seeds", "1", cwd=home, check=False, SEGBENCH_ISOLATION="of")
    assert "SEGBENCH_ISOLATION=of: choose strict, network, off" in refused.stdout + refused.stderr


def overwritten(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"\5" * 1000)


def shortened(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def replaced(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[: len(data) // 2] = bytes(len(data) // 2)
    path.unlink()
    path.write_bytes(data)


def moved(path: Path) -> None:
    """The offsets of two images, exchanged."""
    index = json.loads(path.read_text())
    (first, a), (second, b) = list(index["images"].items())[:2]
    index["images"] |= {first: b, second: a}
    path.write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("masks-test.bin", overwritten),
        ("images.bin", overwritten),
        ("images.bin", shortened),
        ("masks-train.bin", replaced),
        ("masks-val.bin", Path.unlink),
        ("index.json", moved),
        ("index.json", shortened),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_is_in_a_cache_is_what_was_written(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, damage: Callable[[Path], None]
) -> None:
    from harness.datasets.cache import decoded_store, is_sound
    from harness.datasets.shapes import Shapes

    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(home / "caches"))
    shapes = Shapes(home / "data" / Shapes.folders[0])
    store = decoded_store(shapes, "content", 1)
    path = store.folder / name
    assert path.stat().st_mode & 0o222 == 0
    stat, image_id = path.stat(), shapes.ids("test")[0]
    before = store.get(image_id)
    image, mask = before.image.copy(), before.mask.copy()
    path.chmod(0o644)
    damage(path)
    if path.exists():  # its size and time of change are as they were, where that can be
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        path.chmod(0o444)
    assert not is_sound(store.folder)
    after = decoded_store(shapes, "content", 1).get(image_id)
    assert (after.mask == mask).all()
    assert (after.image == image).all()
    assert is_sound(store.folder)


@pytest.mark.parametrize("cuda", [False, True])
def test_a_process_names_its_threads_where_cuda_has_to(cuda: bool, tmp_path: Path) -> None:
    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    code = f"""if True:
        import threading
        from pathlib import Path
        from harness.runner.sandbox import Sandbox
        Sandbox((Path("/usr"),), (Path({str(tmp_path)!r}),), tcp="", cuda={cuda}).apply()
        Path(f"/proc/self/task/{{threading.get_native_id()}}/comm").write_text("mine")
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode == 0) is cuda, done.stderr
    assert cuda or "PermissionError" in done.stderr
