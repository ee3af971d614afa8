"""`bench withdraw`: a run that should not count any more, and why."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.console import DbOption


def withdraw(
    runs: Annotated[list[int], typer.Argument(metavar="RUN...", help="Their numbers: `bench status` lists them.")],
    why: Annotated[str, typer.Option(metavar="TEXT", help="The reason; it is shown with the run.")],
    replaced_by: Annotated[
        int | None, typer.Option(metavar="RUN", help="The run that corrects them, where there is one.")
    ] = None,
    restore: Annotated[bool, typer.Option("--restore", help="Put withdrawn runs back.")] = False,
    who: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who says so.", show_default="the name of the user")
    ] = None,
    db: DbOption = None,
) -> None:
    """Withdraw runs: boards and exports show them marked, with the reason, and rank them no more.

    Nothing is deleted, and no suite trains them again. Every withdrawal stays on record, also when it is taken back.

    Example: bench withdraw 12 --why "trained on a broken copy" --replaced-by 15

    Example: bench withdraw 12 --restore --why "the copy was sound"
    """
    from harness.errors import BenchError
    from harness.results import open_store, withdrawals

    if restore and replaced_by is not None:
        raise BenchError("--replaced-by cannot go with --restore: what is put back counts itself")
    open_store(db, read_only=True).close()  # a name that is mistyped must not make a database
    store = open_store(db)
    try:
        if restore:
            withdrawals.restore(store, runs, why, who)
        else:
            withdrawals.withdraw(store, runs, why, who, replaced_by)
        for number in dict.fromkeys(runs):
            print(f"run {number}: {withdrawals.words_on(store, number)[-1].text}")
    finally:
        store.close()
