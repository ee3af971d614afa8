"""An existing Ray cluster of two nodes (on this machine): jobs reach it, and outlive a worker and a node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness.runner.ray_token import prepare_token
from tests.conftest import TINY, marked, rows, run_bench
from tests.harness.test_distributed import failing_at_rank_1

START = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster()
first = cluster.add_node(num_cpus=1, include_dashboard=False)
second = cluster.add_node(num_cpus=1)
print("address", cluster.address, flush=True)
for line in sys.stdin:
    if line.strip() == "remove":
        cluster.remove_node(second, allow_graceful=False)
        print("removed", flush=True)
    elif line.strip() == "add":
        second = cluster.add_node(num_cpus=1)
    else:
        break
cluster.shutdown()
"""

SCORES = (
    "select r.fingerprint, e.split, s.metric, s.class_index, s.value from scores s join evaluations e "
    "on e.id = s.evaluation_id join runs r on r.id = e.run_id order by 1, 2, 3, 4"
)


@pytest.fixture
def cluster(home: Path) -> Iterator[subprocess.Popen[str]]:
    """A cluster in a process of its own, which removes its second node when told to."""
    prepare_token(create=True)
    env = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token", "TEST_MARK": str(home)}
    process = subprocess.Popen(
        [sys.executable, "-c", START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, env=env, cwd="/",
    )  # fmt: skip
    yield process
    assert process.stdin is not None
    try:
        process.stdin.write("end\n")
        process.stdin.close()
        process.wait(60)
    except (BrokenPipeError, subprocess.TimeoutExpired):
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()


def address_of(cluster: subprocess.Popen[str]) -> str:
    assert cluster.stdout is not None
    for line in cluster.stdout:
        if line.startswith("address"):
            return line.split()[1]
    pytest.fail("the cluster did not start")


def start(home: Path, address: str, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "run", "--suite", str(TINY), "--address", address, *words]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def wait_for_epochs(run: subprocess.Popen[str], jobs: int) -> None:
    """Read what the command says until so many jobs have told of an epoch."""
    seen: set[str] = set()
    assert run.stdout is not None
    for line in run.stdout:
        if ": epoch" in line:
            seen.add(line.split(":")[0])
        if len(seen) >= jobs:
            return


@pytest.mark.slow
@pytest.mark.long
def test_a_lost_node_and_a_killed_worker_cost_no_row_and_no_bit(
    cluster: subprocess.Popen[str], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = address_of(cluster)
    words = ("--models", "U-Net", "--seeds", "0-2", "--set", "epochs=25")
    run = start(home, address, *words)
    wait_for_epochs(run, 2)
    # A worker process dies: the actor that holds one of the two running units.
    victims = marked(str(home), "ray::")
    template = "harness.runner.template"
    holders = [p for p in victims if any(template in " ".join(_words(c)) for c in p.children(recursive=True))]
    assert holders, "units run in children of Ray's workers"
    os.kill(holders[0].pid, signal.SIGKILL)
    time.sleep(5)
    # And a node.
    assert cluster.stdin is not None
    cluster.stdin.write("remove\n")
    cluster.stdin.flush()
    out = run.communicate(timeout=300)[0]
    assert run.returncode == 0, out
    assert sorted(rows(home, "select seed, state from runs")) == [(0, "ok"), (1, "ok"), (2, "ok")]
    attempts = [a for (a,) in rows(home, "select attempt from runs")]
    assert max(attempts) >= 2, "something was lost"
    assert any("lost" in h for (h,) in rows(home, "select history from runs")), "and the row says so"

    undisturbed = tmp_path_factory.mktemp("undisturbed")
    (undisturbed / "data").symlink_to(home / "data")
    run_bench("run", "--suite", TINY, "--local", *words, cwd=undisturbed)
    assert rows(home, SCORES) == rows(undisturbed, SCORES)


STRANGER = "import ray, sys; ray.init(address=sys.argv[1], log_to_driver=False); print('IN', ray.cluster_resources())"


@pytest.mark.slow
@pytest.mark.long
def test_a_cluster_with_a_token_does_the_work_of_who_has_it_and_of_nobody_else(
    cluster: subprocess.Popen[str], home: Path, tmp_path: Path
) -> None:
    address = address_of(cluster)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    stranger = kept | {"HOME": str(tmp_path), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
    refused = subprocess.Popen(
        [sys.executable, "-c", STRANGER, address],
        env=stranger,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        run = start(home, address, "--models", "U-Net", "--seeds", "0-1", "--set", "epochs=2")
        out = run.communicate(timeout=300)[0]
        assert run.returncode == 0, out
        assert f"--address {address}: whoever has its token can run code as you" in " ".join(out.split())
        assert rows(home, "select seed, state from runs order by 1") == [(0, "ok"), (1, "ok")]
    finally:
        # Ray tries for minutes: what it has printed by now counts.
        refused.kill()
        said = refused.communicate()[0]
    assert "IN" not in said.split()
    assert "InvalidAuthToken" in said or "Unauthenticated" in said, said


@pytest.mark.slow
@pytest.mark.long
def test_two_machines_train_one_network_as_two_processes_do_and_outlive_the_loss_of_one(
    cluster: subprocess.Popen[str], home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = address_of(cluster)
    words = ("--models", "U-Net", "--seeds", "0-1", "--set", "epochs=15")
    # Two jobs that each need both nodes: one waits for the other.
    run = start(home, address, *words, "--set", "resources.nodes=2")
    wait_for_epochs(run, 1)
    assert cluster.stdin is not None
    cluster.stdin.write("remove\nadd\n")
    cluster.stdin.flush()
    out = run.communicate(timeout=300)[0]
    assert run.returncode == 0, out
    assert any("lost" in h for (h,) in rows(home, "select history from runs")), (
        "a machine was lost, and the row says so"
    )

    one = tmp_path_factory.mktemp("one machine")
    (one / "data").symlink_to(home / "data")
    run_bench("run", "--suite", TINY, "--local", *words, "--set", "resources.processes=2", cwd=one)
    assert rows(home, SCORES) == rows(one, SCORES)

    (home / "bad.py").write_text(failing_at_rank_1("only there"))
    bad = start(home, address, "--models", "bad", "--seeds", "0", "--plugin", "bad.py", "--set", "resources.nodes=2")
    out = bad.communicate(timeout=120)[0]
    assert bad.returncode == 1, out
    ((reason,),) = rows(home, "select reason from runs where state = 'failed'")
    assert reason == "on another machine: ValueError: only there"

    waiting = start(home, address, "--models", "FCN", "--seeds", "0", "--set", "resources.nodes=3")
    assert waiting.stdout is not None
    assert any("waiting  for nodes: jobs ask for 3 times 1 CPU" in line for line in iter(waiting.stdout.readline, ""))
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=60)
    assert waiting.returncode == 130


def test_several_machines_need_ray(home: Path) -> None:
    words = ("run", "--suite", TINY, "--seeds", "0", "--set", "resources.nodes=2", "--local")
    done = run_bench(*words, cwd=home, check=False)
    assert (done.returncode, "and that needs Ray" in done.stderr) == (2, True), done.stderr


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.mark.slow
@pytest.mark.long
def test_a_folder_for_temporary_files_that_ray_cannot_use_is_one_clear_error(home: Path) -> None:
    deep = home / ("long" * 25)
    deep.mkdir()
    done = run_bench("run", "--suite", TINY, "--seeds", "0", cwd=home, check=False, TMPDIR=str(deep))
    assert done.returncode == 2
    assert "Ray could not be started" in done.stderr
    assert "let TMPDIR name a short one" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_cluster_that_is_not_there_is_one_clear_error(home: Path) -> None:
    run = start(home, "127.0.0.1:9", "--seeds", "0")
    out = run.communicate(timeout=200)[0]
    assert run.returncode == 2, out
    assert "127.0.0.1:9" in out
    assert "Traceback" not in out
