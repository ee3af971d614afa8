"""docs/peers.md says what the cases say."""

from __future__ import annotations

from dataclasses import replace

from tests.conftest import ROOT
from tests.peers.all_cases import PEERS
from tests.peers.case import Case, same
from tests.peers.page import page, row


def test_the_page_is_what_the_cases_say() -> None:
    assert (ROOT / "docs" / "peers.md").read_text(encoding="utf-8") == page(PEERS), "run: python -m tests.peers"


def test_every_case_that_differs_or_is_not_here_says_why() -> None:
    for peer in PEERS:
        for case in peer.cases:
            assert case.verdict == "agrees" or case.why.endswith("."), f"{peer.title}: {case.where}: {case.what}"


def test_a_row_shows_the_figures_and_the_reason() -> None:
    case = Case("a.py", "two | masks", [0.5, None], lambda: [0.5, None], "level=image")
    assert row(case) == "| a.py | two \\| masks | 0.5, undefined | the same | level=image | agrees |"
    differs = replace(case, instead=[1, float("inf")], why="Because.")
    assert row(differs).endswith("| 0.5, undefined | 1, infinite | level=image | differs: Because. |")
    assert row(replace(differs, ours=None, expects=None)).endswith(
        "| two \\| masks |  |  | level=image | not here: Because. |"
    )


def test_figures_are_the_same_only_if_each_is() -> None:
    assert same([1, None], [[1.0], [float("nan")]], 0)
    assert not same([1, None], [1, 0], 1)
    assert not same([1, 2], [1], 1)
    assert same("refused", "refused", 0)
    assert not same("refused", 1, 0)
    assert not same(1.0, 1.1, 0.05)
