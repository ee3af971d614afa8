"""Every case of the peers' tests gives the verdict that docs/peers.md prints."""

from __future__ import annotations

import pytest

from tests.peers.all_cases import PEERS
from tests.peers.case import Case, same

CASES = [
    pytest.param(case, id=f"{peer.title}-{number}") for peer in PEERS for number, case in enumerate(peer.cases, start=1)
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", CASES)
def test_the_case_gives_the_verdict_that_is_printed(case: Case) -> None:
    told = f"{case.where}: {case.what}"
    if case.ours is None:
        assert case.why, f"{told}: no reason is given"
        return
    if callable(case.expects) and not case.has_peer:
        pytest.skip(f"{case.needs} is not installed")
    expected, ours = case.expected(), case.ours()
    if case.peer is not None and case.has_peer:
        theirs = case.peer()
        assert same(theirs, expected, max(case.tolerance, 1e-6)), f"{told}: the installed peer gives {theirs}"
    if case.verdict == "agrees":
        assert same(ours, expected, case.tolerance), f"{told}: ours {ours}, theirs {expected}"
    else:
        assert not same(ours, expected, max(case.tolerance, 1e-6)), f"{told}: both are {ours}; it no longer differs"
        assert same(ours, case.instead, max(case.tolerance, 1e-6)), f"{told}: ours {ours}, printed {case.instead}"
