"""`bench demo`: the whole way once, on generated images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.console import DbOption

NEXT = """
Next:
  bench leaderboard                                   open the leaderboard in a browser
  bench run --suite voc --smoke --data-dir DIR        try every network on PASCAL VOC 2012, a few steps each
  bench run --suite voc --data-dir DIR                train them in full (a GPU's work)
  bench submit my_net.py --suite demo                 add a model: one Python file (docs/add-a-model.md)
  bench export latex --suite demo                     the table again\
"""


def demo(
    db: DbOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the LaTeX table goes.")] = Path(
        "exports/demo.tex"
    ),
    local: Annotated[bool, typer.Option("--local", help="Without Ray.")] = False,
) -> None:
    """Generate images, train three small networks, rank them and write the LaTeX table.

    Example: bench demo
    """
    from bench.export import export_text, write_whole
    from bench.run import run_and_report, run_options
    from harness.config.load import load_suite

    code = run_and_report(load_suite("demo"), run_options(db=db, local=local))
    if code:
        raise typer.Exit(code)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, export_text("latex", db, suite="demo", label="tab:demo"))
    print(f"\nWrote the LaTeX table to {out}")
    prefix = "" if _on_path() else ".venv/bin/"
    print(NEXT.replace("  bench ", f"  {prefix}bench "))


def _on_path() -> bool:
    import shutil

    return shutil.which("bench") is not None
