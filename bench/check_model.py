"""`bench check-model`: whether a network keeps the contract, check by check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import DataOption, new_console, table

if TYPE_CHECKING:
    from harness.models.registry import ModelEntry


def check_model(
    model: Annotated[str, typer.Argument(metavar="FILE|NAME", help="A model file, or a network's name.")],
    params: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter of build.")
    ] = None,
    limit: Annotated[float, typer.Option(metavar="SECONDS", min=1, help="How long it may take.")] = 600,
    data_dir: DataOption = None,
) -> None:
    """Check that a network keeps the contract: what was tried, what came of it, and what to do.

    It runs in a process of its own that cannot see your files, as in a run. Ends with 1 if a check failed.

    Example: bench check-model my_net.py
    """
    from harness.datasets import data_dir as folder_of
    from harness.errors import PluginError
    from harness.models.declaration import misspelt
    from harness.runner import check_model as checks
    from harness.tasks.messages import CheckDone

    entry, given = entry_of(model), parameters(params or ())
    folder, console = folder_of(data_dir), new_console()
    told = new_console(stderr=True)
    with told.status("starting") as status:
        done = checks.check_contract(entry, given, folder, limit, lambda name: status.update(f"checking: {name}"))
        if all(one.state != "failed" for one in done):
            status.update("checking: the whole way")
            try:
                said = checks.check_model(entry, given, folder, limit)
                done.append(CheckDone("the whole way", "ok", said, ""))
            except PluginError as error:
                message = error.message.removeprefix(f"{entry.origin}: ")
                done.append(CheckDone("the whole way", "failed", message, error.hint or ""))
    # After a wrong number of classes nothing else is tried.
    first_alone = len(done) == 1 and done[0].name == "number of classes"
    done += [
        CheckDone("constants", "note", f"{wrong} means nothing here", f"Call it {right}, if that is what you mean.")
        for wrong, right in misspelt(entry.source).items()
    ]
    signs = {"ok": "ok", "note": "note", "failed": "FAILED"}
    rows = [(one.name, signs[one.state], one.said, one.todo) for one in done]
    console.print(table(("tried", "", "what came", "what to do"), rows, title=f"{entry.name} ({entry.origin})"))
    failed, notes = (sum(one.state == state for one in done) for state in ("failed", "note"))
    if failed:
        left = " The other checks need the right number of classes first." if first_alone else ""
        console.print(f"{failed} failed, {notes} to note: it cannot be trusted in a run yet.{left}")
        raise typer.Exit(1)
    noted = f", {notes} to note" if notes else ""
    console.print(f"It keeps the contract{noted}. Next: bench submit {model} --suite demo", markup=False)


def entry_of(model: str) -> ModelEntry:
    """The network of a file, or of a name.

    Raises:
        BenchError: there is none.
    """
    from harness.models.registry import find_model, read_plugin

    path = Path(model)
    return read_plugin(path) if path.suffix == ".py" or path.is_file() else find_model(model)


def parameters(words: list[str] | tuple[()]) -> dict[str, object]:
    """What --param says.

    Raises:
        BenchError: it is not key=value.
    """
    from harness.errors import BenchError
    from harness.utils.yaml_file import parse_value

    given = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise BenchError(f"--param {word}: write it as key=value, e.g. width=16")
        given[key.strip()] = parse_value(value)
    return given
