"""What a search has cost, as it is shown with the row of its winner."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def search_cost(found: Mapping[str, Any]) -> str:
    """Trials and hours: `20 trials (13 stopped early), 3.20 hours: 3.20 GPU hours, 12.80 processor hours`."""
    trials = f"{found['trials']} trials ({found['stopped']} stopped early)"
    hours = f"{found['hours']:.2f} hours: {found['gpu_hours']:.2f} GPU hours, {found['cpu_hours']:.2f} processor hours"
    return f"{trials}, {hours}"


def searched_facts(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What an export says of a search; None where the hyperparameters were given."""
    if found is None:
        return None
    names = ("trials", "stopped", "hours", "gpu_hours", "cpu_hours", "values", "score")
    return {name: found[name] for name in names if name in found}
