"""A case of a peer's own tests, and what this product gives for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

REFUSED = "refused"
"""What a case expects where input has to be refused with an error."""

Figures = Any
"""A number, None, nested lists of them, an array, or `REFUSED`."""

Verdict = Literal["agrees", "differs", "not here"]


@dataclass(frozen=True)
class Case:
    """One case.

    Attributes:
        where: file of the peer's repository, and the test there.
        what: the case in words.
        expects: the figures that the peer's test states, or a function that asks the installed peer, where its test
            compares random input with a reference.
        ours: gives this product's figures; None where it has nothing of the kind.
        mode: the fields of the protocol that are set for the comparison.
        peer: asks the installed peer for the stated figures, to see that they are still true of it.
        needs: the package that `peer`, or a function in `expects`, imports.
        tolerance: the largest difference that counts as equal.
        instead: what ours gives where it differs.
        why: the reason why it differs, or is not here.
    """

    where: str
    what: str
    expects: Figures | Callable[[], Figures] = None
    ours: Callable[[], Figures] | None = None
    mode: str = ""
    peer: Callable[[], Figures] | None = None
    needs: str = ""
    tolerance: float = 1e-9
    instead: Figures = None
    why: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the case shows; the tests check it."""
        if self.ours is None:
            return "not here"
        return "differs" if self.why else "agrees"

    @property
    def has_peer(self) -> bool:
        """Whether the package that the case asks is installed."""
        return not self.needs or importlib.util.find_spec(self.needs) is not None

    def expected(self) -> Figures:
        """The peer's figures."""
        return self.expects() if callable(self.expects) else self.expects


@dataclass(frozen=True)
class Peer:
    """A package whose tests were read.

    Attributes:
        title: its name.
        about: what was compared with what, and under which licence its tests are.
        cases: in the order of its files.
    """

    title: str
    about: str
    cases: tuple[Case, ...]


def flat(figures: Figures) -> np.ndarray:
    """Figures in one row, None as NaN."""
    if figures is None:
        return np.array([np.nan])
    if hasattr(figures, "detach"):
        figures = figures.detach().cpu().numpy()
    if isinstance(figures, np.ndarray):
        return figures.astype(np.float64).ravel()
    if isinstance(figures, Sequence) and not isinstance(figures, str):
        return np.concatenate([flat(part) for part in figures]) if len(figures) else np.zeros(0)
    return np.array([float(figures)])


def same(one: Figures, two: Figures, tolerance: float) -> bool:
    """Whether two sets of figures are equal; undefined equals undefined."""
    if isinstance(one, str) or isinstance(two, str):
        return isinstance(one, str) and isinstance(two, str) and one == two
    a, b = flat(one), flat(two)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=0, atol=tolerance, equal_nan=True))
