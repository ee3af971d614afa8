"""What is handed out: the wheel in an environment without the checkout, the source archive, the files in deploy/."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import site
import subprocess
import sys
import tarfile
import tomllib
import urllib.request
import zipfile
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT, rows, serving

NETWORK = """
from torch import nn

NAME = "two_layers"


def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))
"""


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source archive."""
    out = tmp_path_factory.mktemp("dist")
    words = [sys.executable, "-m", "hatchling", "build", "-d", str(out)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def installed(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new environment that has the wheel, and all other packages from the tests' own."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
    (wheel,) = archives.glob("*.whl")
    python = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "--quiet"]
    done = subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (packages,) = home.glob("lib/python*/site-packages")
    # Not through site: the editable installation of the checkout is named in a .pth there, and must not be followed.
    others = [path for path in site.getsitepackages() if Path(path).is_dir()]
    (packages / "others.pth").write_text("\n".join(others))
    return home / "bin"


def call(programs: Path, *words: str | Path, cwd: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """The installed command, knowing nothing of the checkout."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [str(programs / "bench"), *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=590, env=env
    )
    assert not check or done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.mark.slow
def test_the_source_archive_makes_the_same_wheel(archives: Path, tmp_path: Path) -> None:
    (source,) = archives.glob("*.tar.gz")
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    words = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "again")]
    assert subprocess.run(words, cwd=folder, capture_output=True).returncode == 0
    (again,) = (tmp_path / "again").glob("*.whl")
    (wheel,) = archives.glob("*.whl")
    assert sorted(zipfile.ZipFile(again).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


@pytest.mark.slow
def test_versions_agree(archives: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert {path.name.removesuffix(".tar.gz").split("-")[1] for path in archives.iterdir()} == {version}
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version
    assert f"\n## {version} (" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.slow
@pytest.mark.long
def test_the_wheel_works_without_the_checkout(installed: Path, tmp_path: Path) -> None:
    where = "import harness, bench, leaderboard; print(harness.__file__, bench.__file__, leaderboard.__file__)"
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    told = subprocess.check_output([str(installed / "python"), "-c", where], cwd=tmp_path, text=True, env=env)
    assert str(ROOT) not in told
    # The demo from its start to its table.
    shown = call(installed, "demo", cwd=tmp_path).stdout
    assert "Wrote the LaTeX table" in shown
    assert rows(tmp_path, "select count(*) from runs where state = 'ok'") == [(12,)]
    # A stranger's network.
    (tmp_path / "two_layers.py").write_text(NETWORK)
    words = ("submit", "two_layers.py", "--suite", "demo", "--local", "--seeds", "0", "--set", "epochs=1")
    call(installed, *words, cwd=tmp_path)
    assert rows(tmp_path, "select distinct state from runs where model_name = 'two_layers'") == [("ok",)]


@pytest.mark.long
@pytest.mark.slow
def test_the_wheel_serves_the_published_results_and_has_the_revisions(installed: Path, tmp_path: Path) -> None:
    words = ["-c", f"import os, sys; os.execv({str(installed / 'bench')!r}, sys.argv)", "leaderboard", "--published"]
    with serving([*words, "--no-browser", "--port", "{port}"], "/_stcore/health") as address:
        page = urllib.request.urlopen(f"http://{address}/").read().decode()
    assert "streamlit" in page.lower()
    upgraded = (
        "from sqlalchemy import create_engine, inspect; from harness.results.migrate import upgrade\n"
        "with create_engine('sqlite://').begin() as connection:\n"
        "    upgrade(connection, 0); print(*inspect(connection).get_table_names())"
    )
    told = subprocess.check_output([str(installed / "python"), "-c", upgraded], cwd=tmp_path, text=True)
    assert {"runs", "scores", "alembic_version"} <= set(told.split())


def instructions(file: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile."""
    lines = (line for line in file.read_text().splitlines() if line and not line.startswith("#"))
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines]


@pytest.mark.parametrize("name", ["Dockerfile", "Dockerfile.gpu"])
def test_an_image_copies_what_is_there_and_what_a_wheel_needs(name: str) -> None:
    found = instructions(ROOT / "deploy" / name)
    assert found[0][0] == "FROM"
    copied = {word for kind, rest in found if kind == "COPY" for word in rest.split()[:-1]}
    assert all((ROOT / word).exists() for word in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    needed = {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "configs", "README.md", "LICENSE"}
    assert needed | {"pyproject.toml"} <= copied
    for kind, rest in found:
        if kind == "RUN":
            assert subprocess.run(["bash", "-n", "-c", rest], capture_output=True).returncode == 0
            assert not shlex.split(rest)[0].startswith("-")
    assert ("ENTRYPOINT", '["bench"]') in found


def pins(file: str) -> dict[str, str]:
    """Name → version of a file of constraints."""
    found = re.findall(r"^([\w.-]+)==([^\s;\\]+)", (ROOT / file).read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def needed(name: str, extras: tuple[str, ...] = ()) -> set[str]:
    """What a package needs here; of one that is not installed nothing is known."""
    found: set[str] = set()
    try:
        texts = requires(name) or []
    except PackageNotFoundError:
        return found
    for text in texts:
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            found.add(canonicalize_name(one.name))
    return found


def test_hashes_are_of_the_pinned_versions_and_nothing_is_missing() -> None:
    hashed, pinned = pins("constraints.hashed.txt"), pins("constraints.txt")
    # Of other systems alone, which this one does not pin.
    elsewhere = hashed.keys() - pinned.keys()
    assert elsewhere <= {"colorama", "httpx2-jsfetch", "setuptools"}, elsewhere
    assert {name: hashed[name] for name in hashed.keys() & pinned} == {
        name: pinned[name] for name in hashed if name in pinned
    }
    waiting, seen = [("segbench", ("lite", "figures", "postgres", "zoo")), ("hatchling", ())], set()
    while waiting:
        name, extras = waiting.pop()
        seen.add(name)
        # CUDA comes with torch's builds.
        waiting += [(one, ()) for one in needed(name, extras) if one not in seen and one in pinned]
    assert seen - hashed.keys() == {"segbench", "torch", "torchvision"}


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "six-1.17.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("six.py", "raise SystemExit('not the six that is meant')")
    (line,) = re.findall(r"^six==.*(?:\n    --hash.*)+", (ROOT / "constraints.hashed.txt").read_text(), re.MULTILINE)
    (tmp_path / "six.txt").write_text(line + "\n")
    words = [
        "--require-hashes",
        "--no-deps",
        "--no-index",
        "--find-links",
        str(tmp_path),
        "--target",
        str(tmp_path / "t"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *words, "--requirement", str(tmp_path / "six.txt")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "t" / "six.py").exists()


def test_the_slurm_script_is_sound() -> None:
    file = ROOT / "deploy" / "slurm.sbatch"
    assert subprocess.run(["bash", "-n", str(file)], capture_output=True).returncode == 0
    if shutil.which("shellcheck"):
        assert subprocess.run(["shellcheck", str(file)], capture_output=True).returncode == 0
    known = {*subprocess.check_output([sys.executable, "-m", "bench", "run", "--help"], text=True).split()}
    line = next(line for line in file.read_text().splitlines() if line.startswith("bench run"))
    assert {word for word in line.split() if word.startswith("--")} <= known


def test_ray_takes_the_cluster_file() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((ROOT / "deploy" / "ray-cluster.yaml").read_text())
    validate_config(prepare_config(config))
