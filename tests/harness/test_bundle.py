"""What a reviewer gets is complete and always the same bytes, and a stranger's archive is checked, not believed."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import socket
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import BenchError, UnknownName
from harness.results import open_store
from harness.results.bundling import part
from harness.results.bundling.unpack import ArchiveLimits, unpack
from harness.results.bundling.verify import Verified, verify_bundle
from harness.results.bundling.write import Bundled, write_bundle
from tests.conftest import Shared, rows, run_bench
from tests.harness.test_merge import forget, lab
from tests.leaderboard.mixed import mixed_database


@pytest.fixture
def database(finished: Path, tmp_path: Path) -> Path:
    """A database with runs 1 and 2 of the finished suite, their label maps beside it."""
    path = lab(finished, tmp_path / "lab", *forget("id not in (1, 2)"))
    known = {f[:16] for (f,) in rows(path, "select fingerprint from runs")}
    for folder in path.with_suffix(".artifacts").iterdir():
        if folder.name not in known:
            shutil.rmtree(folder)
    return path


def bundled(database: Path, target: Path, suite: str = "tiny", label_maps: bool = True) -> Bundled:
    store = open_store(str(database), read_only=True)
    try:
        return write_bundle(store, suite, target, label_maps)
    finally:
        store.close()


def change(database: Path, *statements: str, values: tuple[object, ...] = ()) -> None:
    connection = sqlite3.connect(database)
    for statement in statements:
        connection.execute(statement, values)
    connection.commit()
    connection.close()


def files_of(archive: Path) -> dict[str, bytes]:
    """Everything in an archive, by its name below the top folder."""
    with tarfile.open(archive) as tar:
        return {m.name.partition("/")[2]: tar.extractfile(m).read() for m in tar.getmembers()}  # type: ignore[union-attr]


def packed(files: dict[str, bytes], target: Path, sums: bool = True) -> Path:
    """An archive as a forger makes one: with checksums that fit."""
    files = {name: data for name, data in files.items() if not sums or name != "SHA256SUMS"}
    if sums:
        lines = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items()]
        files["SHA256SUMS"] = "".join(lines).encode()
    with tarfile.open(target, "w:gz") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(f"x/{name}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return target


def test_the_same_results_give_the_same_bytes_and_everything_agrees(database: Path, home: Path) -> None:
    first = bundled(database, home / "a.tar.gz", str(Path(__file__).parents[1] / "suites" / "tiny.yaml"))
    os.utime(database)
    bundled(database, home / "b.tar.gz", str(Path(__file__).parents[1] / "suites" / "tiny.yaml"))
    assert (home / "a.tar.gz").read_bytes() == (home / "b.tar.gz").read_bytes()
    assert first.runs == 2
    assert first.label_maps == 4
    assert first.left_out == []
    files = files_of(home / "a.tar.gz")
    assert {"README.txt", "SHA256SUMS", "bundle.json", "results.db", "suite.yaml"} <= files.keys()
    sums = dict(reversed(line.split("  ", 1)) for line in files["SHA256SUMS"].decode().splitlines())
    assert sums == {n: hashlib.sha256(data).hexdigest() for n, data in files.items() if n != "SHA256SUMS"}
    done = run_bench("verify", "a.tar.gz", cwd=home)
    assert "All of it agrees" in done.stdout
    assert "2 of 2 runs were scored anew" in done.stdout
    assert done.stdout.count("246 of 246 agree") == 4, "by statistics, and anew"


def test_nothing_of_this_machine_is_in_it(database: Path, tmp_path: Path) -> None:
    change(database, "update runs set driver = 'myhost:1', traceback = 'File /home/me/secret/x.py'")
    bundled(database, tmp_path / "a.tar.gz")
    files = files_of(tmp_path / "a.tar.gz")
    whole = b"".join(data for name, data in files.items() if name.endswith((".db", ".txt", ".json")))
    for trace in (b"myhost", b"/home/me", str(tmp_path).encode(), b'"host"', *_host()):
        assert trace not in whole, trace
    numbers = rows(database, "select id, fingerprint from runs order by id")
    (tmp_path / "r.db").write_bytes(files["results.db"])
    assert rows(tmp_path / "r.db", "select id, fingerprint from runs order by id") == numbers
    for table in ("scores", "curves", "gallery_predictions", "artifacts", "image_scores", "image_lists"):
        count = f"select count(*) from {table}"
        assert rows(tmp_path / "r.db", count) == rows(database, count), table


def _host() -> list[bytes]:
    name = socket.gethostname()
    return [name.encode()] if len(name) > 5 else []


def test_photographs_of_data_that_are_not_ours_stay_here(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled(database, tmp_path / "generated.tar.gz")
    monkeypatch.setattr(part, "is_generated", lambda name: False)
    bundled(database, tmp_path / "others.tar.gz")
    sizes = []
    for name in ("generated", "others"):
        (tmp_path / "r.db").write_bytes(files_of(tmp_path / f"{name}.tar.gz")["results.db"])
        query = "select sum(length(image)), sum(length(target)), count(*) from gallery_images"
        sizes.append(rows(tmp_path / "r.db", query)[0])
    assert min(sizes[0]) > 0
    assert sizes[1] == (0, 0, sizes[0][2])


def test_the_sources_of_single_files_go_along_and_are_compared(mixed: Path, tmp_path: Path, home: Path) -> None:
    done = bundled(mixed, tmp_path / "a.tar.gz", "mixed")
    files = files_of(tmp_path / "a.tar.gz")
    plugins = {name: data for name, data in files.items() if name.startswith("plugins/")}
    stored = rows(mixed, "select distinct model_source from runs where model_source is not null")
    assert sorted(data.decode() for data in plugins.values()) == sorted(source for (source,) in stored)
    assert all(hashlib.sha256(data).hexdigest()[:12] in name for name, data in plugins.items())
    assert any("weights.pt" in line for line in done.left_out)
    # The failed runs of this database were never timed, and are refused for that.
    before = verify_bundle(tmp_path / "a.tar.gz").problems
    assert all("finished: Invalid isoformat string" in problem for problem in before)
    changed = {**files, next(iter(plugins)): b"other"}
    after = verify_bundle(packed(changed, tmp_path / "b.tar.gz")).problems
    (told,) = set(after) - set(before)
    assert told.startswith(f"{next(iter(plugins))} is missing, or is not what the runs")


@pytest.fixture(scope="session")
def mixed(shapes_home: Path, shared_once: Shared) -> Path:
    """A real database with networks from single files; read it, never write it."""
    return shared_once("mixed", lambda folder: mixed_database(folder, shapes_home / "data") and None) / "mixed.db"


def test_what_is_missing_is_said(database: Path, tmp_path: Path) -> None:
    shutil.rmtree(database.with_suffix(".artifacts"))
    done = bundled(database, tmp_path / "a.tar.gz")
    assert done.label_maps == 0
    assert sum("label maps of run" in line for line in done.left_out) == 4
    assert any("suite's file" in line for line in done.left_out)
    assert not any(str(tmp_path) in line for line in done.left_out)
    found = verify_bundle(tmp_path / "a.tar.gz")
    assert found.problems == []
    assert found.left_out == done.left_out
    assert [row.label_maps for row in found.rows] == ["not in it"] * 2


def test_a_suite_that_is_not_there_and_one_without_results_are_refused(database: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'tiny'"):
        bundled(database, tmp_path / "a.tar.gz", "tinny")
    change(database, "update runs set state = 'pending'")
    with pytest.raises(BenchError, match="no run of suite tiny is finished"):
        bundled(database, tmp_path / "a.tar.gz")
    assert not list(tmp_path.glob("*.gz*"))


def _a_byte(files: dict[str, bytes], tmp_path: Path) -> tuple[dict[str, bytes], bool, str]:
    name = next(n for n in files if n.endswith("test_0001.png"))
    return {**files, name: files[name] + b"\0"}, False, "is not what its checksum says"


def _another_map(files: dict[str, bytes], tmp_path: Path) -> tuple[dict[str, bytes], bool, str]:
    name = next(n for n in files if n.endswith("test_0001.png"))
    folder = name.rpartition("/")[0]
    other = files[name.replace("0001", "0002")]
    lines = files[f"{folder}/SHA256SUMS"].decode().splitlines()
    lines = [f"{hashlib.sha256(other).hexdigest()}  test_0001.png" if "0001" in line else line for line in lines]
    return {**files, name: other, f"{folder}/SHA256SUMS": "\n".join(lines).encode()}, True, "are not those that the run"


def _a_figure(files: dict[str, bytes], tmp_path: Path) -> tuple[dict[str, bytes], bool, str]:
    place = tmp_path / "f.db"
    place.write_bytes(files["results.db"])
    change(place, "update scores set value = 0.999 where metric = 'miou'")
    return {**files, "results.db": place.read_bytes()}, True, "miou is stored as 0.999"


def _an_extra_file(files: dict[str, bytes], tmp_path: Path) -> tuple[dict[str, bytes], bool, str]:
    return {**files, "extra.txt": b"x"}, False, "extra.txt is not in SHA256SUMS"


def _a_run_less(files: dict[str, bytes], tmp_path: Path) -> tuple[dict[str, bytes], bool, str]:
    place = tmp_path / "g.db"
    place.write_bytes(files["results.db"])
    change(place, *forget("id = 2"))
    return {**files, "results.db": place.read_bytes()}, True, "lists other runs"


FORGED = [_a_byte, _another_map, _a_figure, _an_extra_file, _a_run_less]


@pytest.mark.parametrize("forge", FORGED, ids=lambda f: f.__name__)
def test_what_was_changed_is_found(
    database: Path, tmp_path: Path, forge: Callable[[dict[str, bytes], Path], tuple[dict[str, bytes], bool, str]]
) -> None:
    bundled(database, tmp_path / "a.tar.gz")
    files, sums, told = forge(files_of(tmp_path / "a.tar.gz"), tmp_path)
    found = verify_bundle(packed(files, tmp_path / "b.tar.gz", sums), tmp_path)
    assert any(told in problem for problem in found.problems), found.problems
    assert found.exit_code == 1


def test_label_maps_that_fit_every_checksum_and_give_other_figures_are_found(
    database: Path, tmp_path: Path, home: Path
) -> None:
    """A forger with patience: other label maps, and every list and row that names them to match."""
    fingerprint, number = rows(database, "select fingerprint, id from runs where id = 1")[0]
    folder = database.with_suffix(".artifacts") / fingerprint[:16] / "predictions" / "test"
    for path in folder.glob("*.png"):
        picture = Image.open(path)
        picture.paste(1, (0, 0, picture.width, picture.height // 2))
        picture.save(path)
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(folder.glob("[!S]*"))]
    (folder / "SHA256SUMS").write_text("".join(lines))
    sha = hashlib.sha256("".join(lines).encode()).hexdigest()
    change(database, "update artifacts set sha256 = ? where run_id = ? and split = 'test'", values=(sha, number))
    bundled(database, tmp_path / "a.tar.gz")
    found: Verified = verify_bundle(tmp_path / "a.tar.gz")
    assert any("run 1" in p and "test, scored anew: miou is stored as" in p for p in found.problems), found.problems
    assert not any("run 2" in p for p in found.problems)
    assert found.rows[1].rescored == "246 of 246 agree"


def test_without_the_data_the_figures_are_checked_and_the_rest_is_said(database: Path, tmp_path: Path) -> None:
    change(database, "update datasets set name = 'camvid'")
    bundled(database, tmp_path / "a.tar.gz")
    (tmp_path / "empty").mkdir()
    found = verify_bundle(tmp_path / "a.tar.gz", tmp_path / "empty")
    assert [row.rescored for row in found.rows] == ["no data here"] * 2
    assert any("camvid cannot be opened here" in note for note in found.notes)
    assert found.exit_code == 0


def member(name: str, **fields: object) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


HOSTILE: dict[str, list[tarfile.TarInfo]] = {
    "absolute": [member("/tmp/segbench-owned")],
    "above": [member("x/../../owned")],
    "dots": [member("x/./a")],
    "link": [member("x/a", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "hard link": [member("x/a", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
    "through a link": [member("x/d", type=tarfile.SYMTYPE, linkname=".."), member("x/d/owned")],
    "device": [member("x/a", type=tarfile.CHRTYPE, devmajor=1, devminor=5)],
    "pipe": [member("x/a", type=tarfile.FIFOTYPE)],
    "folder": [member("x/a", type=tarfile.DIRTYPE)],
    "twice": [member("x/a"), member("x/a")],
    "two folders": [member("x/a"), member("y/a")],
    "no folder": [member("a")],
    "a file and a folder": [member("x/a"), member("x/a/b")],
    "control characters": [member("x/a\x1b[31m")],
    "backslash": [member("x/..\\owned")],
    "deep": [member("x/" + "a/" * 40 + "b")],
    "long": [member("x/" + "a" * 5000)],
    "long pax header": [member("x/a", pax_headers={"comment": "a" * 3_000_000})],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_no_bundle_holds_is_refused_and_leaves_nothing_outside(tmp_path: Path, name: str) -> None:
    target, there = tmp_path / "t.tar.gz", tmp_path / "there" / "deep"
    with tarfile.open(target, "w:gz", format=tarfile.PAX_FORMAT) as tar:
        for one in HOSTILE[name]:
            tar.addfile(one)
    there.mkdir(parents=True)
    with pytest.raises(BenchError) as raised:
        unpack(target, there)
    assert "\n" not in raised.value.message
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.tar.gz", "there"]
    assert [p.name for p in (tmp_path / "there").iterdir()] == ["deep"]
    assert not any(p.is_symlink() for p in there.rglob("*"))
    assert not Path("/tmp/segbench-owned").exists()


def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    target = tmp_path / "t.tar.gz"
    with gzip.open(target, "wb") as file, tarfile.open(fileobj=file, mode="w") as tar:
        tar.addfile(member("x/a", size=50_000_000), io.BytesIO(bytes(50_000_000)))
    (tmp_path / "there").mkdir()
    with pytest.raises(BenchError, match="unpacks to more than 10 MB"):
        unpack(target, tmp_path / "there", ArchiveLimits(total_bytes=10_000_000))
    assert sum(p.stat().st_size for p in (tmp_path / "there").rglob("*") if p.is_file()) <= 10_000_000
    with pytest.raises(BenchError, match="has 50,000,000 bytes"):
        unpack(target, tmp_path / "there", ArchiveLimits(member_bytes=1000))


@pytest.mark.parametrize("kind", ["empty", "text", "cut", "damaged", "no sums", "missing"])
def test_what_is_no_bundle_is_said_in_a_line(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "t.tar.gz"
    whole = packed({"a": bytes(np.random.default_rng(0).integers(0, 256, 100_000, np.uint8))}, target).read_bytes()
    content = {
        "empty": b"",
        "text": b"hello",
        "cut": whole[:50_000],
        "damaged": whole[:500] + bytes(500) + whole[1000:],
    }
    if kind == "missing":
        target.unlink()
    elif kind == "no sums":
        packed({"a": b"x"}, target, sums=False)
    else:
        target.write_bytes(content[kind])
    with pytest.raises(BenchError) as raised:
        verify_bundle(target)
    assert str(target) in raised.value.message
    assert "\n" not in raised.value.message
