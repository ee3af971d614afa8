"""`bench leaderboard`: serve the Streamlit app on a results database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.console import DbOption


def leaderboard(
    db: DbOption = None,
    port: Annotated[int, typer.Option(help="Port to serve on.")] = 8501,
    host: Annotated[str, typer.Option(help="Address to serve on; 0.0.0.0 for everyone.")] = "localhost",
    published: Annotated[
        bool, typer.Option("--published", help="The results that come with segbench instead of your own.")
    ] = False,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open a browser.")] = True,
) -> None:
    """Serve the leaderboard on a results database.

    Example: bench leaderboard --db results.db
    """
    import os
    import sys
    from importlib.util import find_spec

    from harness.errors import BenchError
    from harness.results import open_store

    if published:
        if db is not None:
            raise BenchError("--published and --db name two databases", "Leave one of them out.")
        db = str(published_file())
    store = open_store(db, read_only=True)  # a missing or foreign database is refused here, not in the page
    url = store.engine.url if store.path is None else None
    if not port_is_free(host, port):
        raise BenchError(f"Port {port} on {host} is taken.", f"Choose another with --port, e.g. --port {port + 1}.")
    spec = find_spec("leaderboard.app")
    if spec is None or spec.origin is None:
        raise BenchError("The app's files are missing from this installation.")
    script = Path(spec.origin).with_name("main.py")
    # The app reads the database's place from the environment: a password must not stand in a process list.
    os.environ["SEGBENCH_DB"] = url.render_as_string(hide_password=False) if url else str(store.path)
    print(f"Serving {store.name} on http://{host}:{port}  (Ctrl-C ends it)", flush=True)
    words = [sys.executable, "-m", "streamlit", "run", str(script)]
    words += [f"--server.port={port}", f"--server.address={host}", "--browser.gatherUsageStats=false"]
    words += [f"--server.headless={'false' if browser else 'true'}", "--server.fileWatcherType=none"]
    words += ["--theme.base=light", "--client.toolbarMode=minimal", "--logger.level=warning"]
    os.execv(words[0], words)


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
