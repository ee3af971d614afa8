"""Downloads from a real server on this machine: resumed, verified, moved into place whole."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from harness.datasets.download import DOWNLOADS, Archive, fetch, fetch_archives
from harness.datasets.voc import Voc
from harness.errors import DataError

PARTS = f"{DOWNLOADS}/VOCdevkit-VOC2012"


class Handler(BaseHTTPRequestHandler):
    """Serves one file, with or without ranges, and can break off."""

    content: ClassVar[bytes] = b""
    ranges: ClassVar[bool] = True
    break_after: ClassVar[int | None] = None
    pause: ClassVar[float] = 0.0
    asked: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        if not self.path.startswith("/data"):
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        first = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and self.ranges else 0
        body = self.content[first:]
        self.send_response(206 if first else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:200])
        self.wfile.flush()
        time.sleep(self.pause)
        self.wfile.write(body[200 : self.break_after])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name in ("VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt", "VOCdevkit/VOC2012/JPEGImages/a.jpg"):
            info = tarfile.TarInfo(name)
            body = name.encode() * 5000
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    monkeypatch.setattr(Handler, "content", archive.getvalue())
    monkeypatch.setattr(Handler, "ranges", True)
    monkeypatch.setattr(Handler, "break_after", None)
    monkeypatch.setattr(Handler, "asked", [])
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_address[1]}/data.tgz"
    running.shutdown()
    running.server_close()


def md5() -> str:
    return hashlib.md5(Handler.content, usedforsecurity=False).hexdigest()


def obtain(url: str, folder: Path, checksum: str | None = None) -> Path:
    ticks: list[tuple[str, int, int]] = []
    archive = Archive(url, checksum or md5())
    found = fetch_archives(Voc, [archive], "VOCdevkit/VOC2012", folder, lambda line: None, lambda *t: ticks.append(t))
    assert ticks[-1] == ("Downloading data.tgz", len(Handler.content), len(Handler.content))
    return found


def test_a_copy_arrives_whole_and_leaves_nothing_beside_it(server: str, tmp_path: Path) -> None:
    root = obtain(server, tmp_path)
    assert root == tmp_path / "VOCdevkit" / "VOC2012"
    assert (root / "JPEGImages" / "a.jpg").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["VOCdevkit"]


def test_a_broken_download_is_continued_where_it_broke(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "break_after", 300)
    with pytest.raises(DataError, match="download was not possible either"):
        obtain(server, tmp_path)
    part = tmp_path / PARTS / "data.tgz.part"
    assert part.stat().st_size == 300
    assert not (tmp_path / "VOCdevkit").exists()
    monkeypatch.setattr(Handler, "break_after", None)
    obtain(server, tmp_path)
    assert Handler.asked == [None, "bytes=300-"]


def test_a_server_that_cannot_continue_sends_everything_again(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "ranges", False)
    (tmp_path / PARTS).mkdir(parents=True)
    (tmp_path / PARTS / "data.tgz.part").write_bytes(b"half")
    obtain(server, tmp_path)


def test_a_wrong_checksum_is_refused_and_the_file_removed(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected 0000") as caught:
        obtain(server, tmp_path, "0000")
    assert "it was removed" in caught.value.message
    assert list((tmp_path / PARTS).iterdir()) == []
    assert not (tmp_path / "VOCdevkit").exists()


def test_of_two_commands_that_want_one_file_the_second_waits(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Handler, "pause", 1.0)
    said: list[str] = []
    archive, found = Archive(server, md5()), []

    def want() -> None:
        found.append(fetch_archives(Voc, [archive], "VOCdevkit/VOC2012", tmp_path, said.append, None))

    both = [threading.Thread(target=want) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(60)
    assert found == [tmp_path / "VOCdevkit" / "VOC2012"] * 2
    assert Handler.asked == [None], "it was sent once"
    assert said.count("waiting  another command downloads it") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["VOCdevkit"]


def test_a_server_that_refuses_is_quoted(server: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the server says 404"):
        fetch(Archive(server.replace("/data", "/other"), "x"), tmp_path)


def test_a_host_that_cannot_be_reached_says_so_and_what_to_do(tmp_path: Path) -> None:
    archive = Archive("http://127.0.0.1:9/data.tgz", "x")
    with pytest.raises(DataError, match=r"no connection to 127\.0\.0\.1") as caught:
        fetch_archives(Voc, [archive], ".", tmp_path / "data", lambda line: None, None)
    assert str(tmp_path / "data" / "VOCdevkit" / "VOC2012") in (caught.value.hint or "")
    assert not (tmp_path / "data").exists()
