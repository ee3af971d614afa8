"""Scores of random label maps, bit for bit what they were when they were stored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.metrics import Protocol, StatisticsTable, fold
from tests.leaderboard.made import CLASSES, images

STORED: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "golden" / "scores.json").read_text())


@pytest.mark.parametrize("name", STORED)
def test_every_score_keeps_its_bits(name: str) -> None:
    stored, binary = STORED[name], name == "binary"
    protocol = Protocol(boundary_means_over="target", **stored["protocol"])
    table = StatisticsTable.of(images(3, 12, protocol, binary))
    found = fold(table, 2 if binary else len(CLASSES), protocol, 1 if binary else None).to_dict()
    found = json.loads(json.dumps(found))  # floats come back as they were
    for key, value in stored["scores"].items():
        assert _known(found[key], value) == value, key


def _known(found: Any, stored: Any) -> Any:
    """What is found under the names that were stored: later there may be more."""
    return {k: _known(found[k], v) for k, v in stored.items()} if isinstance(stored, dict) else found
