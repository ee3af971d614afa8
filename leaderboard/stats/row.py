"""What the statistics say of one row."""

from __future__ import annotations

from dataclasses import dataclass

from leaderboard.boards.estimate import Interval


@dataclass(frozen=True)
class RowSignificance:
    """What the statistics say of one row of a board. Figures are in the metric's own unit."""

    name: str
    """The model, with its hyperparameters where the group has several rows of it."""
    cell: str
    """The fingerprint of its runs without the seed."""
    place: int | None
    """Its place in its group."""
    figure: float | None
    """The mean over the seeds that ended."""
    interval: Interval | None
    """Where the true figure lies, for this row alone, at `level`."""
    placed_by: float | None
    """What places it: the figure, or the worst seed that ended where seeds failed."""
    ended: int
    """Seeds that ended well and have the figure."""
    seeds: int
    """All seeds, those that failed or are not done included."""
    note: str
    """What to know of this row; empty if nothing."""
    gap: float | None = None
    """`placed_by` minus that of the best other row that is compared; above 0 is better unless the metric is a distance
    or a loss."""
    gap_interval: Interval | None = None
    """Where the true gap lies, for all rows of the group together; it ends at 0 where the question is settled."""
    may_be_best: bool | None = None
    """Whether it cannot be excluded that it is the best of its group; None where it is not compared."""
    like_leader: bool | None = None
    """Whether it cannot be told apart from the first of the compared rows; True of that row itself. A weaker statement
    than `may_be_best`: it holds for all pairs of rows together, as `places` does. None where it is not compared."""
    places: tuple[int, int] | None = None
    """The places it may have, from best to worst, for all rows of the group together; where seeds failed, from the
    place of the worst that ended. None where it is not compared."""
