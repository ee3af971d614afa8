"""The `bench` command."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from bench import (
    bundle,
    check_data,
    check_model,
    db,
    demo,
    diff,
    doctor,
    export,
    export_predictions,
    leaderboard,
    listing,
    new_model,
    replay,
    run,
    score,
    status,
    submit,
    withdraw,
)
from bench.console import print_error, use_plain_streams

app = typer.Typer(
    name="bench",
    help="Train, score and rank semantic segmentation networks.\n\nStart with: bench demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("new-model")(new_model.new_model)
app.command("check-model")(check_model.check_model)
app.command("submit")(submit.submit)
app.command("score")(score.score)
app.command("leaderboard")(leaderboard.leaderboard)
app.add_typer(export.app, name="export")
app.command("export-predictions")(export_predictions.export_predictions)
app.command("status")(status.status)
app.command("why")(status.why)
app.command("withdraw")(withdraw.withdraw)
app.command("diff")(diff.diff)
app.command("bundle")(bundle.bundle)
app.command("verify")(bundle.verify)
app.command("replay")(replay.replay)
app.command("suites")(listing.suites)
app.command("models")(listing.models)
app.command("datasets")(listing.datasets)
app.command("metrics")(listing.metrics)
app.command("check-data")(check_data.check_data)
app.add_typer(db.app, name="db")
app.command("merge")(db.merge)
app.command("doctor")(doctor.doctor)
app.command("demo")(demo.demo)


def _version(wanted: bool) -> None:
    if wanted:
        from harness.utils.version import __version__

        print(f"segbench {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""
    if debug:
        os.environ["SEGBENCH_DEBUG"] = "1"


def main() -> None:
    """Run the command; a user's mistake ends in one message and exit code 2."""
    use_plain_streams()
    try:
        app()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        # The reader (head, less) has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(0)
    except Exception as error:
        from harness.errors import BenchError
        from harness.utils.environment import setting

        if not isinstance(error, BenchError) or setting("SEGBENCH_DEBUG"):
            raise
        print_error(error)
        sys.exit(2)


if __name__ == "__main__":
    main()
