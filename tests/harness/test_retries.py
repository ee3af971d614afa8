"""What is tried again: running out of memory, in smaller parts. Never a network's own fault."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import TINY, run_bench

# Holds 200 MB for every image of a part while it trains.
HUNGRY = """NAME = "hungry"
STRIDE = 1
import time
import torch
from torch import nn


class Net(nn.Conv2d):
    def forward(self, x):
        if self.training:
            held = torch.ones(len(x), 50_000_000)
            time.sleep(1.2)
        return super().forward(x)


def build(num_classes):
    return Net(3, num_classes, 1)
"""


@pytest.mark.slow
@pytest.mark.long
def test_out_of_memory_is_tried_again_in_smaller_parts_and_the_row_says_so(home: Path) -> None:
    (home / "hungry.py").write_text(HUNGRY)
    words = ("run", "--suite", TINY, "--plugin", "hungry.py", "--models", "hungry", "--seeds", "0", "--local")
    limits = ("iterations=1", "recipe.batch_size=8", "resources={cpus: 1, memory_gb: 1.6, oom_retries: 3}")
    done = run_bench(*words, *(word for limit in limits for word in ("--set", limit)), cwd=home, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    connection = sqlite3.connect(home / "results.db")
    row = connection.execute("select state, attempt, history, progress from runs").fetchone()
    connection.close()
    (earlier,) = json.loads(row[2])
    assert row[:2] == ("ok", 2)
    assert earlier["state"] == "oom"
    assert "over the memory limit of 1.6 GB" in earlier["reason"]
    assert json.loads(row[3])["accumulate"] == 2


@pytest.mark.slow
@pytest.mark.long
def test_a_networks_own_fault_is_not_tried_again(home: Path) -> None:
    (home / "bad.py").write_text('NAME = "bad"\ndef build(num_classes):\n    raise ValueError("no")\n')
    words = ("run", "--suite", TINY, "--plugin", "bad.py", "--models", "bad", "--seeds", "0", "--local")
    run_bench(*words, "--set", "resources.oom_retries=3", cwd=home, check=False)
    connection = sqlite3.connect(home / "results.db")
    assert connection.execute("select state, attempt, history from runs").fetchall() == [("failed", 1, "[]")]
    connection.close()
