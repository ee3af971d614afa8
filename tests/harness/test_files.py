"""Files and folders appear whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.training.loop import save_atomically
from harness.utils.files import move, new_file, new_folder, scratch_beside, write_bytes, write_text

SIZE = 2_000_000


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def break_off(path: Path, error: type[BaseException]) -> None:
    path.write_text("half")
    raise error


def test_what_is_written_is_there_afterwards_with_the_usual_permissions(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "größer")
    write_bytes(tmp_path / "b", b"\x00\xff")
    with new_folder(tmp_path / "c") as new:
        (new / "inside").mkdir()
        (new / "inside" / "file").write_text("deep")
    assert names(tmp_path) == ["a.txt", "b", "c"]
    assert (tmp_path / "a.txt").read_bytes() == "größer".encode()
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert (tmp_path / "c" / "inside" / "file").read_text() == "deep"
    (tmp_path / "plain").touch()
    (tmp_path / "folder").mkdir()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert (tmp_path / "c").stat().st_mode == (tmp_path / "folder").stat().st_mode


def test_a_library_that_looks_at_the_name_sees_the_target_s(tmp_path: Path) -> None:
    with new_file(tmp_path / "a.npz") as path:
        assert path.name == "a.npz"
        path.touch()
    with new_folder(tmp_path / "maps") as folder:
        assert folder.name == "maps"


def test_a_checkpoint_s_bytes_do_not_depend_on_when_and_where_it_was_written(tmp_path: Path) -> None:
    state = {"weight": torch.arange(100.0)}
    save_atomically(state, tmp_path / "one" / "best.pt")
    save_atomically(state, tmp_path / "two" / "best.pt")
    torch.save(state, tmp_path / "best.pt")
    expected = (tmp_path / "best.pt").read_bytes()
    assert (tmp_path / "one" / "best.pt").read_bytes() == expected
    assert (tmp_path / "two" / "best.pt").read_bytes() == expected


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_a_writer_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), new_file(target) as path:
        break_off(path, error)
    assert names(tmp_path) == ["a.txt"]
    assert target.read_text() == "old"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
def test_a_writer_that_fails_leaves_the_old_folder_and_no_other(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "maps"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(error), new_folder(target, overwrite=True) as path:
        break_off(path / "half", error)
    assert names(tmp_path) == ["maps"]
    assert names(target) == ["old"]


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    # The limit on a file's size is the disk's end: the system refuses to write on, as it does where no room is left.
    script = (
        "import resource, sys; from pathlib import Path; from harness.utils.files import new_folder, write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "target = Path(sys.argv[1])\n"
        "for write in (lambda: write_bytes(target / 'a', bytes(5000)), lambda: folder(target / 'b')):\n"
        "    try:\n        write()\n    except OSError:\n        print('refused')\n"
    )
    folder = (
        "def folder(target):\n    with new_folder(target) as new:\n"
        "        (new / 'small').write_bytes(bytes(500))\n        (new / 'large').write_bytes(bytes(5000))\n"
    )
    first, _, rest = script.partition("\n")
    done = subprocess.run(
        [sys.executable, "-c", f"{first}\n{folder}{rest}", str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["refused", "refused"]
    assert names(tmp_path) == ["a"]
    assert (tmp_path / "a").read_text() == "old"


def test_a_folder_that_is_there_is_only_overwritten_on_request(tmp_path: Path) -> None:
    target = tmp_path / "maps"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(OSError), new_folder(target) as new:  # noqa: PT011 (which one, the file system decides)
        (new / "new").touch()
    assert names(tmp_path) == ["maps"]
    assert names(target) == ["old"]
    with new_folder(target, overwrite=True) as new:
        (new / "new").touch()
    assert names(tmp_path) == ["maps"]
    assert names(target) == ["new"]


def test_a_target_in_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "no" / "a.txt", "text")
    assert names(tmp_path) == []


def _read_until(stop: threading.Event, look: Callable[[], object], seen: set[object]) -> None:
    while not stop.is_set():
        seen.add(look())


def test_a_reader_sees_the_old_file_or_the_new_one_never_half(tmp_path: Path) -> None:
    target, stop, seen = tmp_path / "a", threading.Event(), set[object]()
    write_bytes(target, bytes(SIZE))
    reader = threading.Thread(target=_read_until, args=(stop, lambda: _summary(target.read_bytes()), seen))
    reader.start()
    try:
        for _ in range(20):
            for value in (b"\x01", b"\x00"):
                write_bytes(target, value * SIZE)
    finally:
        stop.set()
        reader.join()
    assert seen <= {(SIZE, b"\x00"), (SIZE, b"\x01")}


def _summary(data: bytes) -> tuple[int, bytes]:
    return len(data), bytes(sorted(set(data)))


def test_a_reader_sees_no_folder_or_all_of_it(tmp_path: Path) -> None:
    target, stop, seen = tmp_path / "maps", threading.Event(), set[object]()

    def look() -> object:
        return len(list(target.iterdir())) if target.exists() else None

    reader = threading.Thread(target=_read_until, args=(stop, look, seen))
    reader.start()
    try:
        with new_folder(target) as new:
            for i in range(100):
                (new / str(i)).touch()
    finally:
        stop.set()
        reader.join()
    assert seen <= {None, 100}


WRITER = """
import sys
from pathlib import Path
from harness.utils.files import write_bytes
for _ in range(30):
    write_bytes(Path(sys.argv[1]), sys.argv[2].encode() * 1_000_000)
"""


def test_of_two_writers_at_once_one_wins_whole(tmp_path: Path) -> None:
    target = tmp_path / "a"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(target), letter]) for letter in "ab"]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert target.read_bytes() in (b"a" * 1_000_000, b"b" * 1_000_000)
    assert names(tmp_path) == ["a"]


KILLED = """
import os, signal, sys
from pathlib import Path
from harness.utils.files import new_file
with new_file(Path(sys.argv[1])) as path:
    path.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_when_the_only_writer_comes_again(tmp_path: Path) -> None:
    target = tmp_path / "a"
    (tmp_path / ".ab.other.partial").mkdir()  # of another file
    assert subprocess.run([sys.executable, "-c", KILLED, str(target)]).returncode == -signal.SIGKILL
    assert len(names(tmp_path)) == 2
    write_text(target, "not alone")
    assert len(names(tmp_path)) == 3, "another writer may still be at work there"
    with new_file(target, only_writer=True) as path:
        path.write_text("alone")
    assert names(tmp_path) == [".ab.other.partial", "a"]
    assert target.read_text() == "alone"


def test_data_are_on_the_disk_before_the_file_is_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[tuple[str, bool]] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        synced.append((Path(f"/proc/self/fd/{handle}").readlink().name, any((tmp_path / n).exists() for n in "ab")))
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    write_text(tmp_path / "a", "text")
    assert synced == [("a", False)]
    with scratch_beside(tmp_path / "c") as scratch:
        (scratch / "c").mkdir()
        for name in ("one", "two"):
            (scratch / "c" / name).touch()
        move(scratch / "c", tmp_path / "c")
    assert sorted(name for name, _ in synced) == ["a", "one", "two"]
