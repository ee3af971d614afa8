"""Reading the scores of runs: which splits were scored under which protocol, and the figures that are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from harness.results import Store
from harness.results.schema import OVERALL, Evaluation, Score
from leaderboard.queries.records import Ceiling, Data, ScoredRun
from leaderboard.queries.sound import part_of, raw, shortened, sound_ceiling, sound_figure, truth, word

Thing = TypeVar("Thing")

# How many numbers a query may name: databases limit it.
_AT_ONCE = 500


def parts(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    """Portions that one query may name."""
    for first in range(0, len(things), _AT_ONCE):
        yield things[first : first + _AT_ONCE]


@dataclass
class Split:
    """What is stored of a scored split."""

    split: str
    loss: float | None
    n_images: int
    values: dict[str, float | None]
    problem: str
    ceiling: Ceiling | None = None


def splits_of(
    store: Store,
    session: Session,
    hashes: set[str],
    rows: Mapping[int, tuple[ScoredRun, str]],
    metrics: Sequence[str] | None,
) -> dict[tuple[int, str], list[Split]]:
    """What is stored of the scored splits of runs, by run and protocol.

    Args:
        store: the database.
        session: a transaction that reads it.
        hashes: of the protocols.
        rows: the runs by their number.
        metrics: read only these scores, the headline and, of other splits than test, what selects; None: all.
    """
    found: dict[tuple[int, str], list[Split]] = defaultdict(list)
    by_id: dict[int, tuple[Split, Data]] = {}
    names = ("id", "run_id", "protocol_hash", "split", "loss", "n_images", "ceiling")
    columns = (*(raw(getattr(Evaluation, name)) for name in names), part_of(store, Evaluation.protocol, "smoke"))
    for part in parts(list(rows)):
        query = select(*columns).where(Evaluation.run_id.in_(part)).order_by(Evaluation.id)
        if len(hashes) == 1:
            query = query.where(Evaluation.protocol_hash == next(iter(hashes)))
        for number, run, protocol, *facts in session.execute(query):
            split = _split(*facts)
            found[run, word(protocol)].append(split)
            by_id[number] = split, rows[run][0].data
    for asked, numbers in _asked(by_id, rows.values(), metrics):
        for part in parts(numbers):
            _read_scores(session, asked, {number: by_id[number] for number in part})
    return found


def _split(name: Any, loss: Any, images: Any, stored_ceiling: Any, smoke: Any) -> Split:
    wrong = []
    ceiling, problem = sound_ceiling(stored_ceiling)
    if not isinstance(name, str):
        wrong.append("split is no text")
    if not sound_figure(loss):
        wrong.append(f"loss is {loss!r}")
    if not isinstance(images, int) or images < 0:
        wrong.append(f"n_images is {images!r}")
    if truth(smoke) is None:
        wrong.append("protocol cannot be read")
    if problem:
        wrong.append(problem)
    if wrong:
        return Split(word(name), None, 0, {}, f"evaluation: {'; '.join(wrong)}")
    return Split(name, loss, images, {"loss": loss}, "", ceiling)


class _Asked(NamedTuple):
    """Which scores are read."""

    names: frozenset[str]
    """As they are called on the board: `miou`, `iou[horse]`."""

    def stored(self, data: Iterable[Data]) -> tuple[set[str], set[int]]:
        """The names and indices under which they may be stored."""
        metrics, indices = set(), {OVERALL}
        for name in self.names:
            metrics.add(name.partition("[")[0])
            label = name.partition("[")[2].removesuffix("]")
            indices |= {one.classes.index(label) for one in data if label and label in one.classes}
        return metrics, indices


def _asked(
    by_id: Mapping[int, tuple[Split, Data]], runs: Iterable[tuple[ScoredRun, str]], metrics: Sequence[str] | None
) -> list[tuple[_Asked | None, list[int]]]:
    """What is read of which evaluations; None: every score."""
    if metrics is None:
        return [(None, list(by_id))]
    headlines = {data.headline for _, data in by_id.values()}
    selecting = {run.selection["metric"] for run, _ in runs}
    shown, others = _Asked(frozenset({*metrics, *headlines})), _Asked(frozenset(selecting))
    test = [number for number, (split, _) in by_id.items() if split.split == "test"]
    return [(shown, test), (others, [number for number, (split, _) in by_id.items() if split.split != "test"])]


def _read_scores(session: Session, asked: _Asked | None, wanted: Mapping[int, tuple[Split, Data]]) -> None:
    """Fill the values of evaluations; a figure that is none, or of no class, is told of."""
    condition: ColumnElement[bool] = Score.evaluation_id.in_(wanted)
    if asked is not None:
        metrics, indices = asked.stored({data.test_manifest: data for _, data in wanted.values()}.values())
        condition = condition & Score.metric.in_(metrics) & Score.class_index.in_(indices)
    columns = (Score.evaluation_id, Score.metric, Score.class_index, Score.value)
    names: dict[tuple[int, Any, Any], str | None] = {}
    for number, metric, index, value in session.execute(select(*map(raw, columns)).where(condition)):
        split, data = wanted[number]
        place = (id(data), metric, index)
        name = names[place] if place in names else names.setdefault(place, _name(metric, index, data))
        if name is None or not sound_figure(value):
            split.problem = split.problem or shortened(f"{split.split}: {metric} of class {index} is {value!r}")
        elif asked is None or name in asked.names:
            split.values[name] = value


def _name(metric: Any, index: Any, data: Data) -> str | None:
    """What a stored score is called; None for one that cannot be."""
    if not isinstance(metric, str) or not isinstance(index, int):
        return None
    if index == OVERALL:
        return metric
    return f"{metric}[{data.classes[index]}]" if 0 <= index < len(data.classes) else None
