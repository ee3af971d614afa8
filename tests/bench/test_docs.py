"""Every command that README and docs show is one: its options and names are those of the program, and it runs.

What a reader is told to type is read out of the texts. A command that can run here does; the others have a reason.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from bench.__main__ import app
from tests.conftest import ROOT, run_bench

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = "cli.md"
# What stands for a number of the reader's.
NUMBERS = ("RUN", "N", "PORT", "A", "B")


def typed_commands(page: Path) -> Iterator[str]:
    """The `bench` commands in the blocks of a page, which a reader types as they are."""
    text = page.read_text()
    blocks = re.findall(r"```(?:console|bash|sh)\n(.*?)```", text, flags=re.S)
    for block in blocks:
        for line in block.replace("\\\n", " ").splitlines():
            shown = line.strip().removeprefix("$ ").removeprefix(".venv/bin/")
            if shown.startswith("bench "):
                yield shown


def commands(page: Path) -> Iterator[str]:
    """The `bench` commands of a page: lines of its blocks, and what stands between backticks."""
    yield from typed_commands(page)
    text = page.read_text()
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for shown in re.findall(r"`(bench [a-z][^`→]*)`", prose):
        yield " ".join(shown.split())


def shown_commands() -> list[tuple[str, str]]:
    """Page and command, each command once."""
    found = {command: page.name for page in PAGES if page.name != GENERATED for command in commands(page)}
    return [(page, command) for command, page in sorted(found.items())]


def words_of(command: str) -> list[str]:
    return shlex.split(command, comments=True)[1:]


def check_words(words: list[str], whole: bool = False) -> None:
    """Read a command as the program does, nothing run.

    Args:
        words: of the command.
        whole: whether no required word may be missing; prose leaves some out.

    Raises:
        TyperException: there is no such command or option, or a value is none.
    """
    command: Any = typer.main.get_command(app)
    context = command.make_context("bench", ["run"])
    while isinstance(command, TyperGroup):
        name, *words = words
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name!r}"
        if not words:
            return
    try:
        command.make_context("bench", words, parent=context)
    except TyperException as error:
        # An option named without its value is prose as well.
        if whole or type(error).__name__ not in ("MissingParameter", "BadOptionUsage"):
            raise


@pytest.mark.parametrize(("page", "command"), shown_commands(), ids=lambda text: text[:60])
def test_a_command_in_the_docs_is_one(page: str, command: str) -> None:
    words = [word.split("|")[0] for word in words_of(command) if word not in ("…", "...")]
    whole = "…" not in command and command in typed_commands(next(p for p in PAGES if p.name == page))
    check_words(["1" if word in NUMBERS else word for word in words], whole)


def test_an_option_that_does_not_exist_is_found() -> None:
    with pytest.raises(TyperException, match="--suit"):
        check_words(["run", "--suit", "voc"])
    with pytest.raises(TyperException, match="integer"):
        check_words(["why", "twelve"])
    with pytest.raises(TyperException, match="suite"):
        check_words(["run", "--datasets", "./mine"], whole=True)


# Those that run here as they are shown, in a folder that has a finished suite and what they name.
RUN = (
    "bench run --suite demo --dry-run",
    "bench suites",
    "bench suites --show demo",
    "bench models",
    "bench metrics",
    "bench datasets",
    "bench status --failed",
    "bench db check",
    "bench db artifacts",
)


def test_the_commands_that_are_run_are_shown() -> None:
    shown = {" ".join(["bench", *words_of(command)]) for _, command in shown_commands()}
    assert set(RUN) <= shown


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_docs_runs(command: str, finished: Path, home: Path) -> None:
    shutil.copy(finished, home)
    done = run_bench(*words_of(command), *(("--no-timing",) if "--dry-run" in command else ()), cwd=home)
    assert done.stdout.strip()
