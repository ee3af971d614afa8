"""What reaches a terminal: text that can be printed, and the escape sequences of our own tables and live views."""

from __future__ import annotations

import io
import os
import pty
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bench.console import PlainStream, new_console, table, use_plain_streams
from bench.progress import Display
from tests.conftest import TINY, run_bench

# Sets the title of the window, and then colors; a C1 control; a link; clears the screen; turns the writing around.
HOSTILE = "a\x1b]0;pwned\x07b\x1b[31mc\x9b31md\x1b]8;;http://evil.example\x1b\\e\x1b[2Jf\u202eg\rh"
# The sequences that Rich writes: colors and weights, and for its live views the cursor's.
OURS = re.compile(r"\x1b\[(?:[0-9;]*m|[0-9]*[ABCDGK]|\?25[lh]|1A|2K)")


def on_a_terminal(*words: str | Path, cwd: Path) -> str:
    """What the command writes to a terminal, both streams."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", *map(str, words)],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200", "NO_COLOR": ""},
        start_new_session=True,
    )
    os.close(theirs)
    data = b""
    while True:
        try:
            got = os.read(ours, 65536)
        except OSError:  # the last process has closed it
            break
        if not got:
            break
        data += got
    os.close(ours)
    process.wait(60)
    return data.decode()


def foreign(text: str) -> list[str]:
    """Characters that a terminal obeys, and that are not our own."""
    left = OURS.sub("", text).replace("\r\n", "\n").replace("\r", "")
    return [c for c in left if not (c.isprintable() or c in "\n\t")]


@pytest.fixture(scope="module")
def spoiled(shapes_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database whose texts have been changed by somebody else."""
    folder = tmp_path_factory.mktemp("spoiled")
    (folder / "data").symlink_to(shapes_home / "data")
    words = ("run", "--suite", TINY, "--models", "U-Net", "--seeds", "0,1", "--local", "--set", "iterations=2")
    run_bench(*words, cwd=folder)
    with sqlite3.connect(folder / "results.db") as connection:
        connection.execute(
            "update runs set model_name = ?, reason = ?, traceback = ?, state = 'failed' where id = 1", (HOSTILE,) * 3
        )
        connection.execute("update runs set model_name = ? where id > 1", (HOSTILE,))
        connection.execute("update datasets set title = ?", (HOSTILE,))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [("status",), ("status", "--failed"), ("why", "1"), ("export", "markdown")],
    ids=" ".join,
)
def test_a_terminal_obeys_nothing_that_a_stranger_wrote(spoiled: Path, words: tuple[str, ...]) -> None:
    shown = on_a_terminal(*words, cwd=spoiled)
    assert "pwned" in shown, shown
    assert not foreign(shown), shown


def test_an_error_and_a_traceback_are_plain(home: Path) -> None:
    for words in (("export", "csv", "--db", HOSTILE), ("--debug", "export", "csv", "--db", HOSTILE)):
        shown = on_a_terminal(*words, cwd=home)
        assert "pwned" in shown, shown
        assert ("Traceback" in shown) == (words[0] == "--debug")
        assert not foreign(shown), shown


def test_whoever_prints_is_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    use_plain_streams()
    use_plain_streams()
    assert isinstance(sys.stdout, PlainStream)
    assert not sys.stdout.isatty()
    print(HOSTILE, "caf\udce9", "ü–日本\n\tx")
    print(HOSTILE, file=sys.stderr)
    sys.stdout.writelines(["\x1b", "a"])
    Display().say(HOSTILE)
    new_console().print("[bold]no markup[/bold] [/x] :smile: \x1b]8;;http://evil.example\x1b\\link")
    new_console().print(table(("a\x1b",), [("b\x9b31m",)], title="\x07"))
    shown = out.getvalue()
    assert not foreign(shown + err.getvalue())
    assert "caf\ufffd ü–日本\n\tx" in shown
    assert "[bold]no markup[/bold] [/x] :smile: \ufffd]8;;" in shown


def test_what_a_terminal_cannot_show_is_replaced() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    PlainStream(stream).write("a–b\x1b")
    stream.flush()
    assert stream.buffer.getvalue() == b"a?b?"
