"""`bench export-predictions`: a run's label maps as a test server wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.console import DbOption


def export_predictions(
    run: Annotated[int, typer.Argument(metavar="RUN", help="A run's number: `bench status` lists them.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="A folder that does not exist yet.")],
    split: Annotated[str, typer.Option(metavar="val|test", help="Which split.")] = "test",
    db: DbOption = None,
) -> None:
    """Write the predicted label maps of a run in its data set's server format.

    PASCAL VOC: palette PNGs in the server's tree. Cityscapes: label ids. ADE20K: labels from 1. Others: palette PNGs.

    Example: bench export-predictions 12 --out upload
    """
    from harness.datasets import dataset_class
    from harness.errors import BenchError
    from harness.results import open_store
    from harness.results.schema import Run
    from harness.scoring.keep import PREDICTIONS
    from harness.scoring.server_format import write_server_files

    if split not in ("val", "test"):
        raise BenchError(f"--split {split}: choose val or test")
    store = open_store(db, read_only=True)
    with store.session() as session:
        found = session.get(Run, run)
    if found is None:
        raise BenchError(f"{store.name}: there is no run {run}", "`bench status` lists the runs.")
    choice = found.config["dataset"]
    files = store.artifacts.run(found.fingerprint)
    kept = files.fetch(f"{PREDICTIONS}/{split}")
    count = write_server_files(dataset_class(choice["name"], choice.get("params")), kept, out)
    files.release()
    print(f"wrote {count} label maps of run {run} ({found.model} on {choice['name']}) to {out}")
