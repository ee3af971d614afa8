"""How large a network is and what one image costs it: without weights, memory or data."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from harness.errors import PluginError
from harness.models.registry import ModelEntry
from harness.utils.json_cache import JsonCache

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
    """Parameters and operations of every network at the usual size; None for one that is not built here.

    Code of other packages never runs in a process that only lists: their networks are built by their jobs alone. What
    was measured is remembered in the user's cache by the network's source, so that a second list costs nothing.
    """
    known = JsonCache("models.json")
    found: dict[str, tuple[int, int] | None] = {}
    for entry in entries:
        if entry.origin.startswith("plugin"):
            found[entry.name] = None
            continue
        try:
            key = f"{entry.name} {entry.source_hash} {torch.__version__}"
        except PluginError:  # a package that it needs is not installed
            found[entry.name] = None
            continue
        if key not in known:
            try:
                known.put(key, list(measure(entry)))
            except Exception:  # noqa: BLE001 (a library's builder may raise anything; the list goes on)
                known.put(key, None)
        value = known.get(key)
        found[entry.name] = None if value is None else (value[0], value[1])
    known.save()
    return found
