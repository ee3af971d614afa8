"""benchmarks/training.py compares loops that do the same: one that does not is found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from benchmarks import training


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Runs the program on one small network; returns its exit code."""
    threads = torch.get_num_threads()

    def run(*words: str) -> int:
        monkeypatch.setattr(sys, "argv", ["training.py", "--quick", "--networks", "EMANet", "--threads", "1", *words])
        return training.main()

    yield run
    torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.long
def test_every_loop_trains_the_same(quick: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert quick("--epochs", "2") == 0
    told = capsys.readouterr().out
    assert "ours, fp32" in told
    assert "torchvision" in told


@pytest.mark.long
@pytest.mark.slow
def test_a_loop_that_drops_a_batch_is_found(
    quick: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = training.Given.batches

    def without_the_last(given: Any) -> Iterator[Any]:
        for epoch, batches in whole(given):
            yield epoch, batches[:-1]

    monkeypatch.setattr(training.Given, "batches", without_the_last)  # ours takes its batches from the loader itself
    assert quick("--no-peers") == 1
    assert "EMANet: ours, fp32: mean losses" in capsys.readouterr().out
