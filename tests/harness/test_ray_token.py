"""Ray's token: asked for, readable by nobody else, and what is said where a cluster is joined."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.runner.ray_token import prepare_token, token_file, warning_of
from tests.conftest import ROOT, TINY, run_bench


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder without a token, and an environment that says nothing of one."""
    home = tmp_path / "user"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        # Set first, so that what a test sets is undone as well.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return home


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_token_is_made_that_nobody_else_can_read(own_home: Path) -> None:
    path = own_home / ".ray" / "auth_token"
    prepare_token(create=False)
    assert not path.exists(), "a cluster's token is not to be invented"
    prepare_token(create=True)
    assert token_file() == path
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    token = path.read_text()
    assert len(token) == 64
    path.chmod(0o644)  # as Ray itself writes it
    prepare_token(create=False)
    assert mode(path) == 0o600
    assert path.read_text() == token


def test_what_the_user_has_set_stays(own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "mine"))
    (tmp_path / "mine").write_text("secret")
    prepare_token(create=True)
    assert mode(tmp_path / "mine") == 0o600
    assert (tmp_path / "mine").read_text() == "secret"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "secret")
    assert token_file() is None
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    prepare_token(create=True)
    assert not (own_home / ".ray").exists()


def test_without_a_folder_for_it_the_token_is_the_process_s_own(own_home: Path) -> None:
    (own_home / ".ray").write_text("a file")
    prepare_token(create=True)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


def test_who_joins_a_cluster_is_told_who_can_run_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "--address head:6379: whoever has its token can run code as you" in warning_of("head:6379")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    assert "whoever can reach it (RAY_AUTH_MODE is not `token`) can run code as you" in warning_of("auto")


def test_a_cluster_whose_token_is_not_here_is_one_clear_error(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # somebody answers there
        address = f"127.0.0.1:{server.getsockname()[1]}"
        done = run_bench("run", "--suite", TINY, "--address", address, "--smoke", cwd=home, check=False)
    assert done.returncode == 2, done.stderr
    assert f"warning  --address {address}: whoever has its token can run code as you" in done.stdout
    assert "error: Ray's token is not here" in done.stderr
    assert "Copy ~/.ray/auth_token" in done.stderr


STRANGER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print('IN', ray.cluster_resources())"
OURS = """
import os, subprocess, sys
import harness.runner.ray_tune as tune
tune.start_ray(None, 1)
address = tune.ray.get_runtime_context().gcs_address
bare = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")} | {"HOME": sys.argv[1]}
for mode in ("disabled", "token"):
    env = bare | {"RAY_AUTH_MODE": mode} | ({"RAY_AUTH_TOKEN": "f" * 64} if mode == "token" else {})
    words = [sys.executable, "-c", sys.argv[2], address]
    try:
        done = subprocess.run(words, env=env, capture_output=True, text=True, timeout=90)
        print(mode, "IN" if "IN" in done.stdout else "refused", flush=True)
    except subprocess.TimeoutExpired:
        print(mode, "refused", flush=True)
tune.stop_ray()
"""


@pytest.mark.slow
@pytest.mark.long
def test_a_stranger_does_not_reach_the_ray_that_a_command_starts(own_home: Path, tmp_path: Path) -> None:
    (tmp_path / "stranger").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", OURS, str(tmp_path / "stranger"), STRANGER],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.stdout.split("\n")[:2] == ["disabled refused", "token refused"], done.stdout + done.stderr
    assert mode(own_home / ".ray" / "auth_token") == 0o600
