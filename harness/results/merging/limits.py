"""How much of a stranger's database is read, and for how long."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from harness.errors import DatabaseError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Limits:
    """What a merge reads at most. Honest databases stay far below."""

    seconds: float = 3600.0
    """For reading and checking the other database, and for copying its label maps."""
    file_bytes: int = 100_000 * MEGABYTE
    """Of the database's file."""
    value_bytes: int = 128 * MEGABYTE
    """Of a row, and so of any single value."""
    answer_bytes: int = 512 * MEGABYTE
    """Of all rows of one table that belong to one run or evaluation."""
    statistics_bytes: int = 1_000 * MEGABYTE
    """Of an evaluation's statistics, unpacked."""
    cells: int = 50_000_000
    """Images times classes of an evaluation: what folding keeps in memory at once."""
    runs: int = 1_000_000
    rows: int = 500_000
    """Rows of one table that belong to one run or evaluation."""
    picture_bytes: int = 2 * MEGABYTE
    picture_side: int = 1024
    """Pixels of a picture of the gallery along its longer side."""
    label_map_files: int = 500_000
    """Of a split."""
    label_map_bytes: int = 512 * MEGABYTE
    """Of a file among the label maps."""
    split_bytes: int = 200_000 * MEGABYTE
    """Of a split's label maps together."""


@dataclass(frozen=True)
class Clock:
    """When the time of a merge is over."""

    seconds: float
    began: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether it is."""
        return time.monotonic() - self.began >= self.seconds

    def check(self, name: str) -> None:
        """Stop where it is over.

        Args:
            name: of the other database.

        Raises:
            DatabaseError: it is.
        """
        if self.is_over:
            raise DatabaseError(
                f"{name}: reading it took longer than {self.seconds:g} s; nothing was taken over",
                "Raise --minutes if the database is that large.",
            )
