"""The compiled inner loop of the bootstrap: sums of few cells, for every resample at once."""

from __future__ import annotations

import numba
from numba import float64, int64, uint8, void


@numba.njit(
    void(uint8[:, ::1], int64[::1], int64[::1], float64[::1], float64[:, ::1]),
    nogil=True,
    cache=True,
    boundscheck=False,
)
def add_weighted(by_unit, unit, label, values, out):  # type: ignore[no-untyped-def]
    """out[label[c], b] += by_unit[unit[c], b] * values[c] for every cell c and resample b.

    Args:
        by_unit: (U, B) how often each unit was drawn in each resample.
        unit: (C,) the unit of each cell.
        label: (C,) its class; ascending, so that a class's sums stay in the processor's cache.
        values: (C,) what is summed.
        out: (K, B) is added to.
    """
    for c in range(unit.size):
        if values[c] != 0.0:
            counts, sums, value = by_unit[unit[c]], out[label[c]], values[c]
            for b in range(counts.size):
                sums[b] += value * counts[b]
