"""The facts in which all rows of one ranking agree, as columns, filters and headings.

One data set, one protocol and the same scored images do not make scores comparable: with ImageNet's weights, ten times
the training images or a search for its hyperparameters a network scores higher and is no better. Boards rank within.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from harness.datasets.registry import DATASETS
from harness.results.facts import ScoresFrom, search_budget
from harness.utils.pretraining import named_in, plain_name
from leaderboard.queries.load import ScoredRun

_ORDER: tuple[ScoresFrom, ...] = ("training", "checkpoint", "label maps")


@dataclass(frozen=True)
class Wall:
    """The facts of a run that keep it apart from others."""

    saw_test: bool
    """Whether the declared pretraining includes the scored images."""
    scores_from: ScoresFrom
    pretrained_on: tuple[str, ...] | None
    """() from scratch, None where nobody declared it."""
    search: tuple[int, float | None] | None
    """Trials and hours of the search for its hyperparameters; None where they were given."""
    variant: str | None
    """The data variant, which says what images train; None for weights and label maps from elsewhere."""

    @property
    def order(self) -> tuple[object, ...]:
        """Where its group stands on a board: what was trained here from scratch, with given hyperparameters, first."""
        names = self.pretrained_on
        return (
            self.saw_test,
            _ORDER.index(self.scores_from),
            self.variant or "",
            names is None,
            names or (),
            self.search is not None,
            self.search[0] if self.search else 0,
            (self.search[1] or 0.0) if self.search else 0.0,
        )


@dataclass(frozen=True)
class Fact:
    """One of the facts: what it is called, and how it reads in a column and in a heading."""

    name: str
    """In exports."""
    column: str
    text: Callable[[Wall], str]
    """Empty where nothing can be known."""
    phrase: Callable[[Wall], str]
    """Empty where other phrases of the heading say enough."""


def wall_of(run: ScoredRun) -> Wall:
    """The facts of a run."""
    seen = frozenset[str]().union(*map(named_in, run.pretrained_on or ()))
    return Wall(
        saw_test=bool(seen & _names_of_scored(run.data.name, run.data.title)),
        scores_from=run.scores_from,
        pretrained_on=run.pretrained_on,
        search=search_budget(run.search),
        variant=run.data.variant if run.scores_from == "training" else None,
    )


@cache
def _names_of_scored(name: str, title: str) -> frozenset[str]:
    """The names, as they are compared, of what holds a data set's scored images."""
    also = DATASETS.get(name).info.scored_in if name in DATASETS else ()
    return frozenset(plain_name(one) for one in (name, title, *also))


def _pretraining(wall: Wall) -> str:
    if wall.pretrained_on is None:
        return "undeclared"
    return " and ".join(wall.pretrained_on) or "from scratch"


def _pretraining_phrase(wall: Wall) -> str:
    if wall.saw_test:
        return ""  # the first phrase says it
    if wall.pretrained_on is None:
        return "pretraining not declared" if wall.scores_from == "training" else ""
    return f"pretrained on {_pretraining(wall)}" if wall.pretrained_on else "trained from scratch"


def _search(wall: Wall) -> str:
    if wall.scores_from != "training":
        return ""
    if wall.search is None:
        return "given"
    trials, hours = wall.search
    return f"{trials} trials" if hours is None else f"up to {trials} trials in {hours:g} hours"


def _search_phrase(wall: Wall) -> str:
    if wall.scores_from != "training":
        return ""
    return "hyperparameters as given" if wall.search is None else f"tuned, {_search(wall)} each"


_SOURCES: dict[ScoresFrom, str] = {
    "training": "",
    "checkpoint": "checkpoints scored, not trained here",
    "label maps": "label maps from outside",
}

FACTS = (
    Fact(
        "saw_test",
        "saw test",
        lambda w: "yes" if w.saw_test else "no",
        lambda w: f"pretrained on the scored images ({_pretraining(w)})" if w.saw_test else "",
    ),
    Fact(
        "scores_from",
        "scores from",
        lambda w: w.scores_from,
        lambda w: _SOURCES[w.scores_from],
    ),
    Fact("pretrained_on", "pretrained on", _pretraining, _pretraining_phrase),
    Fact("search", "tuned", _search, _search_phrase),
    Fact(
        "variant",
        "train images",
        lambda w: w.variant or "",
        lambda w: f"train images: {w.variant}" if w.variant else "",
    ),
)


def differing(walls: Iterable[Wall]) -> tuple[Fact, ...]:
    """The facts in which some of these differ; what is not known differs from nothing."""
    every = set(walls)
    return tuple(fact for fact in FACTS if len({fact.text(wall) for wall in every} - {""}) > 1)


def heading(wall: Wall, facts: Iterable[Fact]) -> str:
    """A group of rows in plain words: `trained from scratch, hyperparameters as given`; empty without facts."""
    facts = tuple(facts)
    said = [phrase for fact in facts if (phrase := fact.phrase(wall))]
    return " · ".join(said) or ("trained here" if facts else "")
