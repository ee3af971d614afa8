"""Regular expressions that others wrote, matched within a time limit.

Some expressions take for ever on a short text, and nothing in Python stops them: they are matched in a process of
their own, all texts at once.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence

# Seconds for all texts of a call; characters of an expression.
TIME_S, LONGEST = 20.0, 500

_SEARCH = """
import json, re, sys
pattern, texts = json.load(sys.stdin)
search = re.compile(pattern).search
json.dump([[found[1]] if (found := search(text)) else None for text in texts], sys.stdout)
"""


class BadExpression(ValueError):
    """Why an expression is not used."""


def check_expression(pattern: str) -> None:
    """Refuse what is no regular expression with a group in parentheses.

    Raises:
        BadExpression: says what is wrong.
    """
    if len(pattern) > LONGEST:
        raise BadExpression(f"the expression has more than {LONGEST} characters")
    try:
        groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        raise BadExpression(f"no regular expression: {error}") from error
    if groups < 1:
        raise BadExpression("the expression needs a group in parentheses")


def first_groups(pattern: str, texts: Sequence[str], seconds: float = TIME_S) -> list[str | None]:
    """What the first group of an expression finds in each text; None where the expression is not found.

    Args:
        pattern: a regular expression that has a group.
        texts: where it is searched for.
        seconds: the limit for all of them together.

    Raises:
        BadExpression: it takes longer, or is none.
    """
    check_expression(pattern)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SEARCH],
            input=json.dumps([pattern, list(texts)]),
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        raise BadExpression(
            f"searching {len(texts)} names took longer than {seconds:g} s: it has repetitions inside of repetitions"
        ) from None
    if done.returncode != 0:
        raise BadExpression(f"searching failed: {(done.stderr.strip().splitlines() or ['no reason'])[-1]}")
    return [None if found is None else str(found[0]) for found in json.loads(done.stdout)]
