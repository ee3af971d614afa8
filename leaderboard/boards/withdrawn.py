"""What is said of a withdrawn run."""

from __future__ import annotations

from leaderboard.queries.load import Withdrawn


def withdrawn_text(word: Withdrawn) -> str:
    """In a line: by whom, when, why, and the run that corrects it."""
    by = f"; replaced by run {word.replaced_by}" if word.replaced_by is not None else ""
    return f"withdrawn by {word.who} on {word.at[:10]}: {word.why}{by}"
