"""Losses are read one step late where a device computes them beside the processor; nothing is lost by it."""

from __future__ import annotations

import pytest
import torch

from harness.errors import Diverged
from harness.training.pending_losses import PendingLosses


def test_on_a_cpu_each_loss_is_read_at_once() -> None:
    losses = PendingLosses(torch.device("cpu"))
    assert [losses.add(1, n, torch.tensor(float(n))) for n in (1, 2, 3)] == [1.0, 2.0, 3.0]
    assert losses.settle() == 0.0


def test_elsewhere_each_is_read_a_step_later_and_the_last_at_the_end() -> None:
    losses = PendingLosses(torch.device("cuda"))
    assert [losses.add(1, n, torch.tensor(float(n))) for n in (1, 2, 3)] == [0.0, 1.0, 2.0]
    assert losses.settle() == 3.0
    assert losses.settle() == 0.0


def test_the_step_that_diverged_is_named_also_when_it_is_read_late() -> None:
    losses = PendingLosses(torch.device("cuda"))
    losses.add(2, 7, torch.tensor(float("nan")))
    with pytest.raises(Diverged, match="the loss became nan at epoch 2, iteration 7"):
        losses.add(2, 8, torch.tensor(1.0))
    losses = PendingLosses(torch.device("cuda"))
    losses.add(3, 9, torch.tensor(float("inf")))
    with pytest.raises(Diverged, match="inf at epoch 3, iteration 9"):
        losses.settle()
