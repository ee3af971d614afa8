"""Runs that are withdrawn, and put back: who, when and why. Nothing is ever removed, and the latest word counts."""

from __future__ import annotations

import getpass
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.errors import BenchError
from harness.results.schema import Run, Withdrawal
from harness.results.store import Store
from harness.tasks.result import now
from harness.utils.text import plain_line

WITHDRAWN, RESTORED = "withdrawn", "restored"


@dataclass(frozen=True)
class Word:
    """One word on a run: that it is withdrawn, or put back."""

    run_id: int
    action: str
    """`withdrawn` or `restored`."""
    why: str
    who: str
    at: str
    replaced_by: int | None

    @property
    def text(self) -> str:
        """In a line: what, by whom, when, why, and the run that corrects it."""
        by = f"; replaced by run {self.replaced_by}" if self.replaced_by is not None else ""
        return f"{self.action} by {self.who} on {self.at[:10]}: {self.why}{by}"


def words_on(store: Store, run_id: int) -> list[Word]:
    """Everything that was said of a run, oldest first."""
    with store.session() as session:
        rows = select(Withdrawal).where(Withdrawal.run_id == run_id).order_by(Withdrawal.id)
        return [_word(row) for row in session.scalars(rows)]


def withdrawn_runs(store: Store) -> dict[int, Word]:
    """Every run that is withdrawn now, by its number, with the word that counts."""
    with store.session() as session:
        latest = {row.run_id: _word(row) for row in session.scalars(select(Withdrawal).order_by(Withdrawal.id))}
    return {number: word for number, word in latest.items() if word.action == WITHDRAWN}


def withdrawn_among(store: Store, fingerprints: Iterable[str]) -> dict[str, Word]:
    """Those of some runs that are withdrawn now, by their fingerprint."""
    known = withdrawn_runs(store)
    if not known:
        return {}
    wanted = set(fingerprints)
    with store.session() as session:
        rows = session.execute(select(Run.id, Run.fingerprint).where(Run.id.in_(known)))
        return {row.fingerprint: known[row.id] for row in rows if row.fingerprint in wanted}


def withdraw(
    store: Store, run_ids: Iterable[int], why: str, who: str | None = None, replaced_by: int | None = None
) -> None:
    """Take runs off the boards' rankings, where they stay visible with the reason.

    Args:
        store: the database.
        run_ids: the runs.
        why: the reason, which everybody will read.
        who: says so; None: the user of this process.
        replaced_by: the run that corrects them, where there is one.

    Raises:
        BenchError: a run does not exist or is withdrawn already, or there is no reason. Nothing is written then.
    """
    _say(store, run_ids, WITHDRAWN, why, who, replaced_by)


def restore(store: Store, run_ids: Iterable[int], why: str, who: str | None = None) -> None:
    """Put withdrawn runs back.

    Args:
        store: the database.
        run_ids: the runs.
        why: the reason.
        who: says so; None: the user of this process.

    Raises:
        BenchError: a run does not exist or is not withdrawn, or there is no reason. Nothing is written then.
    """
    _say(store, run_ids, RESTORED, why, who, None)


def _say(store: Store, run_ids: Iterable[int], action: str, why: str, who: str | None, replaced_by: int | None) -> None:
    numbers, why = list(dict.fromkeys(run_ids)), plain_line(why).strip()
    if not why:
        raise BenchError("--why: a reason is needed; it is shown with the run")
    with store.writing() as session:
        for number in numbers:
            _check(session, store.name, number, action, replaced_by, numbers)
            session.add(
                Withdrawal(
                    run_id=number,
                    action=action,
                    why=why,
                    who=plain_line(who or this_user(), 100),
                    at=now(),
                    replaced_by=replaced_by,
                )
            )


def _check(session: Session, name: str, number: int, action: str, replaced_by: int | None, numbers: list[int]) -> None:
    listed = "`bench status --runs` lists the runs."
    for wanted in (number, *([] if replaced_by is None else [replaced_by])):
        if session.get(Run, wanted) is None:
            raise BenchError(f"{name}: there is no run {wanted}", listed)
    if replaced_by in numbers:
        raise BenchError(f"--replaced-by {replaced_by}: a run cannot correct itself")
    if replaced_by is not None and _is_withdrawn(session, replaced_by):
        raise BenchError(f"--replaced-by {replaced_by}: that run is withdrawn itself")
    if _is_withdrawn(session, number) == (action == WITHDRAWN):
        state = "withdrawn already" if action == WITHDRAWN else "not withdrawn"
        raise BenchError(f"{name}: run {number} is {state}", f"`bench why {number}` says what was said of it.")


def _is_withdrawn(session: Session, number: int) -> bool:
    latest = select(Withdrawal.action).where(Withdrawal.run_id == number).order_by(Withdrawal.id.desc()).limit(1)
    return session.scalars(latest).first() == WITHDRAWN


def this_user() -> str:
    """Who runs this process, as the system calls them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may have no name for its user
        return "unknown"


def _word(row: Withdrawal) -> Word:
    return Word(row.run_id, row.action, row.why, row.who, row.at, row.replaced_by)
