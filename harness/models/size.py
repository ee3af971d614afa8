"""How large a network is and what one image costs it: without weights, memory or data."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable
from typing import Any

import torch
from platformdirs import user_cache_path
from torch.utils.flop_counter import FlopCounterMode

from harness.models.registry import ModelEntry

# What `bench models` reports by default.
CLASSES = 21
SIDE = 512


def measure(entry: ModelEntry, num_classes: int = CLASSES, side: int = SIDE, **params: Any) -> tuple[int, int]:
    """Parameters of a network, and floating-point operations of its prediction for one square image.

    A multiplication and an addition count as two operations. The network is built on PyTorch's meta device, where
    tensors have shapes and no values.

    Args:
        entry: the network.
        num_classes: channels of its logits.
        side: pixels along a side of the image.
        params: of its builder.

    Raises:
        Exception: whatever its builder or forward raises.
    """
    with torch.device("meta"), torch.inference_mode():
        model = entry.load()(num_classes, **params).eval()
        counter = FlopCounterMode(display=False)
        with counter:
            model(torch.empty(1, 3, side, side))
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops()


def measure_all(entries: Iterable[ModelEntry]) -> dict[str, tuple[int, int] | None]:
    """Parameters and operations of every network at the usual size; None for one that cannot be built.

    What was measured is remembered in the user's cache by the network's source, so that a second list costs nothing.
    """
    path = user_cache_path("segbench") / "models.json"
    known: dict[str, list[int] | None] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(path.read_text())
    found, fresh = {}, False
    for entry in entries:
        key = f"{entry.name} {entry.source_hash} {torch.__version__}"
        if key not in known:
            fresh = True
            try:
                known[key] = list(measure(entry))
            except Exception:  # noqa: BLE001 (another author's builder may raise anything; the list goes on)
                known[key] = None
        value = known[key]
        found[entry.name] = None if value is None else (value[0], value[1])
    if fresh:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known))
    return found
