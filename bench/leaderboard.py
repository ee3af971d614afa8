"""`bench leaderboard`: serve the Streamlit app on a results database, or write it as a static site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.console import DataOption, DbOption

if TYPE_CHECKING:
    from harness.results import Store


def leaderboard(
    db: DbOption = None,
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 for everyone.")] = "localhost",
    published: Annotated[
        bool, typer.Option("--published", help="The results that come with segbench instead of your own.")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
    data_dir: DataOption = None,
    export: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a static site there instead: no server, no outside request."),
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="With --export: boards of smoke runs, too.")] = False,
) -> None:
    """Serve the leaderboard on a results database, or write it as a static site.

    Photographs and truths come from a copy of the data set where --data-dir has one, else from small copies in the
    database.

    Example: bench leaderboard --db results.db
    """
    import os
    import sys
    from importlib.util import find_spec

    from harness.datasets import data_dir as folder_of
    from harness.errors import BenchError
    from harness.results import open_store

    if published:
        if db is not None:
            raise BenchError("--published and --db name two databases", "Leave one of them out.")
        db = str(published_file())
    store = open_store(db, read_only=True)  # a missing or foreign database is refused here, not in the page
    if export is not None:
        write(store, export, data_dir, smoke)
        return
    url = store.engine.url if store.path is None else None
    if not port_is_free(host, port):
        raise BenchError(f"Port {port} on {host} is taken.", f"Choose another with --port, e.g. --port {port + 1}.")
    spec = find_spec("leaderboard.app")
    if spec is None or spec.origin is None:
        raise BenchError("The app's files are missing from this installation.")
    script = Path(spec.origin).with_name("main.py")
    # The app reads the database's place from the environment: a password must not stand in a process list.
    if data_dir is not None:
        os.environ["SEGBENCH_DATA"] = str(folder_of(str(data_dir)))
    os.environ["SEGBENCH_DB"] = url.render_as_string(hide_password=False) if url else str(store.path)
    print(f"Serving {store.name} on http://{host}:{port}  (Ctrl-C ends it)", flush=True)
    os.execv(sys.executable, [sys.executable, *served_by(script, host, str(port), browser)])


def served_by(script: Path, host: str, port: str, browser: bool) -> list[str]:
    """Python's arguments that serve the app: without usage statistics, watching of files or a developer's menu."""
    words = ["-m", "streamlit", "run", str(script)]
    words += [f"--server.port={port}", f"--server.address={host}", "--browser.gatherUsageStats=false"]
    words += [f"--server.headless={'false' if browser else 'true'}", "--server.fileWatcherType=none"]
    words += ["--server.showEmailPrompt=false"]  # it would wait for an answer before anything is served
    return [
        *words,
        "--client.toolbarMode=minimal",
        "--client.showErrorDetails=none",
        "--logger.level=warning",
        # Its welcome, and an advertisement for developers that would lie over the page.
        "--logger.hideWelcomeMessage=true",
        *COLOURS,
    ]


# Of buttons and links, in light and in dark: dark enough, and light enough, to be read.
COLOURS = [
    f"--theme.{base}.{what}={colour}"
    for base, colour in (("light", "#0059A8"), ("dark", "#7DB8F5"))
    for what in ("primaryColor", "linkColor")
]


def write(store: Store, folder: Path, data_dir: Path | None, smoke: bool) -> None:
    """Write the static site."""
    from harness.datasets import data_dir as folder_of
    from leaderboard.site import write_site

    made = write_site(store, folder, folder_of(str(data_dir) if data_dir else None), lambda line: print(line), smoke)
    what = f"{made.boards} board{'s' if made.boards > 1 else ''}, {made.images} images, {made.size / 1e6:.1f} MB"
    print(f"wrote {made.folder}: {what}. Open {made.folder / 'index.html'}")


def published_file() -> Path:
    """A readable copy of the results that come with the package.

    Raises:
        BenchError: this installation has none.
    """
    from importlib.resources import files

    from harness.errors import BenchError
    from harness.results.publish import unpacked
    from harness.utils.caches import caches_home

    file = Path(str(files("leaderboard") / "published.db"))
    if not file.is_file():
        raise BenchError("This installation has no published results.", "Make your own: bench run --suite demo")
    return unpacked(file, caches_home() / "published")


def port_is_free(host: str, port: int) -> bool:
    """Whether nothing listens there."""
    import socket

    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True
