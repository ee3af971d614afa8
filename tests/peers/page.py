"""docs/peers.md: the cases as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from tests.peers.case import Case, Figures, Peer, flat

HEAD = """# The peers' own tests

What other packages' tests say of metrics and networks that are here too, case by case: what the peer's test expects,
what this product gives, and why where they differ. The cases are facts from the peers' tests, no code of theirs;
`tests/peers` holds them, runs each, and checks every verdict on this page. Where a peer is installed it is asked as
well, to see that what its test states is still true of it. `python -m tests.peers` writes this page.

- **agrees**: the same figures, under the fields of the protocol that are named.
- **differs**: other figures, for the reason given; the tests check that they still differ, and what ours are.
- **not here**: the product has nothing of the kind.
"""

ASKED, DEFINED = "what the installed peer gives", "its test's own formula"
# Figures that are written out; more are counted.
SHOWN = 6


def page(peers: Sequence[Peer]) -> str:
    """The whole page."""
    rows = []
    for peer in peers:
        count = Counter(case.verdict for case in peer.cases)
        rows.append(f"| {peer.title} | {count['agrees']} | {count['differs']} | {count['not here']} |")
    total = Counter(case.verdict for peer in peers for case in peer.cases)
    rows.append(f"| **all** | {total['agrees']} | {total['differs']} | {total['not here']} |")
    parts = [HEAD, "| peer | agrees | differs | not here |\n|---|---:|---:|---:|\n" + "\n".join(rows) + "\n"]
    return "\n".join(parts + [section(peer) for peer in peers])


def section(peer: Peer) -> str:
    """One peer's table."""
    lines = [f"## {peer.title}", "", peer.about, ""]
    lines += ["| its test | case | expects | ours | fields | verdict |", "|---|---|---|---|---|---|"]
    return "\n".join([*lines, *(row(case) for case in peer.cases)]) + "\n"


def row(case: Case) -> str:
    """One case."""
    expects = figures(case.expects) if not callable(case.expects) else ASKED if case.needs else DEFINED
    if case.ours is None:
        expects, ours = ("" if case.expects is None else expects), ""
    elif case.verdict == "differs":
        ours = figures(case.instead)
    else:
        ours = "the same, to the bit" if case.tolerance == 0 else "the same"
        ours += f" within {case.tolerance:.0e}".replace("e-0", "e-") if case.tolerance > 1e-8 else ""
    verdict = f"{case.verdict}: {case.why}" if case.why else case.verdict
    cells = (case.where, case.what, expects, ours, case.mode, verdict)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def figures(value: Figures) -> str:
    """Figures in words."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    found = flat(value)
    if len(found) > SHOWN:
        return f"{len(found)} figures"
    return ", ".join(number(float(one)) for one in found)


def number(value: float) -> str:
    """One figure with as many digits as tell it apart."""
    if np.isnan(value):
        return "undefined"
    if np.isinf(value):
        return "infinite"
    return f"{value:,.0f}" if value == round(value) else f"{value:.4f}".rstrip("0")
