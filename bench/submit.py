"""`bench submit`: a stranger's model file is checked, run on a suite and ranked with the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from bench.check_model import parameters
from bench.console import DataOption, DbOption, refuse_idle
from bench.run import LOCAL_HELP, run_and_report, run_options


def submit(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="One Python file with NAME and build.")],
    suite: Annotated[
        str | None, typer.Option("--suite", "-s", metavar="NAME|FILE", help="Which suite.", show_default="demo")
    ] = None,
    params: Annotated[
        list[str] | None, typer.Option("--param", metavar="KEY=VALUE", help="A parameter of build.")
    ] = None,
    check_only: Annotated[bool, typer.Option("--check", help="Check the file; run nothing.")] = False,
    smoke: Annotated[bool, typer.Option("--smoke", help="A few steps only, ranked apart.")] = False,
    local: Annotated[bool, typer.Option("--local", help=LOCAL_HELP)] = False,
    seeds: Annotated[str | None, typer.Option(metavar="0,1|0-4", help="These seeds.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the suite.")
    ] = None,
    data_dir: DataOption = None,
    db: DbOption = None,
) -> None:
    """Check a model file, run it on a suite and rank it with the rest.

    The file needs NAME = "my_net" and def build(num_classes, **params), which returns an nn.Module whose
    forward takes images (N, 3, H, W) and returns logits (N, num_classes, H, W). `bench new-model` writes one to begin
    with, `bench check-model` tries everything that is asked of it.

    Example: bench submit my_net.py --suite demo
    """
    from harness.config.job import ModelChoice
    from harness.config.load import load_suite
    from harness.config.narrow import parse_seeds
    from harness.datasets import data_dir as folder_of
    from harness.models.registry import read_plugin
    from harness.runner.check_model import check_model

    if check_only:
        of_runs = {
            "--suite": suite, "--smoke": smoke, "--local": local, "--seeds": seeds, "--set": overrides or None,
            "--db": db,
        }  # fmt: skip
        refuse_idle(of_runs, "--check runs nothing")
    entry = read_plugin(file)
    given = parameters(params or ())
    wanted = load_suite(suite or "demo", overrides or ())  # a broken suite is said before anything runs
    changes: dict[str, Any] = {"models": (ModelChoice(name=entry.name, params=given),)}
    if seeds:
        changes["seeds"] = parse_seeds(seeds)
    report = check_model(entry, given, folder_of(data_dir))
    print(f"{file}: {entry.name} is sound: {report}")
    if check_only:
        return
    options = run_options(db=db, data_dir=data_dir, plugins=[entry], smoke=smoke, local=local)
    code = run_and_report(wanted.model_copy(update=changes), options)
    if code:
        raise typer.Exit(code)
