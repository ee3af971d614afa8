"""Checkpoints and label maps in an object store (a real S3 protocol, served on this machine) and on other places."""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import ArtifactsError
from harness.tasks.artifacts import Artifacts, RunFiles, open_url, transfer
from harness.tasks.checkpoint_files import CHECKPOINTS
from harness.tasks.messages import EpochDone
from harness.training.loop import RESUME
from tests.conftest import TINY, run_bench, serving
from tests.harness.test_distributed import run, stopped_after_an_epoch, task_of

KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server; host:port."""
    with serving(["-m", "moto.server", "-H", "127.0.0.1", "-p", "{port}"], "/") as address:
        yield address


@pytest.fixture
def bucket(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket; returns a URL in it."""
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    name = f"lab-{tmp_path.name.lower().replace('_', '-')[:40]}"
    urllib.request.urlopen(urllib.request.Request(f"http://{server}/{name}", method="PUT"), timeout=10).close()
    return f"s3://{name}/runs?scheme=http&endpoint_override={server}"


def names_below(url: str) -> set[str]:
    """The names of everything at the place."""
    store, path = open_url(url)
    return {name.removeprefix(path).strip("/") for name in store.find(path)}


def stored(url: str) -> set[str]:
    """The names below the place, without the runs' own."""
    return {name.split("/", 1)[1] for name in names_below(url)}


@pytest.mark.slow
@pytest.mark.long
def test_a_suite_keeps_its_files_in_a_bucket(bucket: str, home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    words = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0", "--local")
    cache = tmp_path_factory.mktemp("machine")
    env = {"SEGBENCH_CACHE_DIR": str(cache)}
    run_bench(*words, "--artifacts", bucket, cwd=home, **env)
    names = stored(bucket)
    assert {"log.txt", "checkpoints/best.pt", "checkpoints/last.pt", "predictions/test/SHA256SUMS"} <= names
    assert f"{CHECKPOINTS}/{RESUME}" not in names
    assert not (home / "results.artifacts").exists()
    assert not list((cache / "work").iterdir()), "the machine's copies are given up"
    # Every later command finds them by itself.
    assert bucket in run_bench("db", "artifacts", cwd=home).stdout
    assert "0 problem(s)" in run_bench("db", "check", cwd=home, **env).stdout
    run_bench("export-predictions", "1", "--out", "upload", cwd=home, **env)
    assert len(list((home / "upload").rglob("*.png"))) == 40
    again = run_bench(*words, "--set", "protocol.void=mask", cwd=home, **env)
    assert "1 to rescore" in again.stdout

    refused = run_bench(*words, "--artifacts", "elsewhere", cwd=home, check=False)
    assert (refused.returncode, "bench db artifacts" in refused.stderr) == (2, True), refused.stderr
    missing = run_bench("db", "artifacts", "elsewhere", cwd=home, check=False)
    assert (missing.returncode, "1 of 1 runs are not there" in missing.stderr) == (2, True)
    (folder,) = {name.split("/")[0] for name in names_below(bucket)}
    transfer(Artifacts(bucket).of(folder), RunFiles(str(home / "elsewhere" / folder)), "predictions")
    assert "elsewhere" in run_bench("db", "artifacts", "elsewhere", cwd=home).stdout
    assert "0 problem(s)" in run_bench("db", "check", cwd=home).stdout


@pytest.mark.slow
@pytest.mark.long
def test_another_machine_continues_from_the_bucket(
    bucket: str, shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(task_of(shapes_home, tmp_path / "whole", 1, "epochs=3"))
    task = replace(task_of(shapes_home, tmp_path, 1, "epochs=3"), folder=Artifacts(bucket).of("f" * 16).location)
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "first machine"))
    record = stopped_after_an_epoch(task)
    assert record.state == "interrupted"
    assert f"{CHECKPOINTS}/{RESUME}" in stored(bucket)
    shutil.rmtree(tmp_path / "first machine")
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "second machine"))
    rest, heard = run(task)
    assert rest.state == "ok", rest.traceback
    assert 1 not in [m.epoch for m in heard if isinstance(m, EpochDone)], "it was continued"
    assert [c["train_loss"] for c in rest.curve] == [c["train_loss"] for c in whole.curve]
    assert [maps.sha256 for maps in rest.label_maps] == [maps.sha256 for maps in whole.label_maps]


@pytest.mark.slow
@pytest.mark.long
def test_what_cannot_be_kept_is_a_failure_with_its_reason(
    bucket: str, shapes_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGBENCH_CACHE_DIR", str(tmp_path / "machine"))
    gone = bucket.replace("/runs", "-not-made/runs")
    task = replace(task_of(shapes_home, tmp_path, 1), folder=Artifacts(gone).of("a" * 16).location)
    interrupted = stopped_after_an_epoch(task)
    assert interrupted.state == "interrupted"
    assert "only on this machine" in interrupted.reason
    record, heard = run(task)
    assert (record.state, record.error) == ("failed", "ArtifactsError")
    assert "cannot be written" in record.reason
    assert 1 not in [m.epoch for m in heard if isinstance(m, EpochDone)], "this machine's checkpoint was used"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("s3://someone:secret@lab/runs", "credentials would be kept in the database"),
        ("nosuch://lab/runs", "cannot be opened"),
        pytest.param(
            "s3://lab/runs?scheme=http&endpoint_override=127.0.0.1:9", "cannot be written", marks=pytest.mark.long
        ),
        ("/proc/runs", "cannot be written"),
    ],
    ids=["password", "scheme", "nobody there", "read-only"],
)
def test_a_place_that_cannot_be_used_ends_the_command_before_anything_is_made(
    place: str, message: str, home: Path
) -> None:
    words = ("run", "--suite", TINY, "--seeds", "0", "--local", "--artifacts", place)
    done = run_bench(*words, cwd=home, check=False, **KEYS)
    assert done.returncode == 2, done.stdout
    assert message in " ".join(done.stderr.split())
    assert "secret" not in done.stderr
    assert not (home / "results.db").exists()


def test_a_store_without_whole_objects_gets_files_that_appear_whole(tmp_path: Path) -> None:
    files = RunFiles((tmp_path / "far").as_uri())  # as any other protocol: written beside, then moved
    (files.local / "predictions").mkdir(parents=True)
    (files.local / "predictions" / "a.png").write_bytes(b"a")
    (files.local / "predictions" / "b.png").write_bytes(b"b")
    files.keep("predictions")
    files.keep("never written")
    (files.local / "predictions" / "b.png").unlink()
    files.keep("predictions")
    assert [p.name for p in (tmp_path / "far").rglob("*.*")] == ["a.png"], "what is gone here is gone there"
    files.release()
    assert files.fetch("predictions").joinpath("a.png").read_bytes() == b"a"
    assert files.has("predictions")
    assert not files.has("checkpoints")
    assert not files.fetch("checkpoints").exists()
    files.forget("predictions/a.png")
    assert not files.has("predictions")
    files.release()


def test_a_place_is_a_folder_or_a_url() -> None:
    assert Artifacts.named("runs").location == str(Path("runs").resolve())
    assert Artifacts.named("file:///lab/runs").location == "/lab/runs"
    assert Artifacts.named("s3://lab/runs/").of("abc").location == "s3://lab/runs/abc"
    assert Artifacts.named("s3://lab/runs?region=eu").of("abc").location == "s3://lab/runs/abc?region=eu"
    with pytest.raises(ArtifactsError, match="does not name a place"):
        Artifacts.named("s3://")
