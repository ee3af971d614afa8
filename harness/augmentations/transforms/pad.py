"""Padding to the proportions of a size."""

from __future__ import annotations

from typing import Any

from harness.utils.images import letterbox_margins
from harness.utils.normalization import Color
from harness.utils.vision import import_torchvision

import_torchvision()

from torchvision import tv_tensors  # noqa: E402 (only importable after the line above)
from torchvision.transforms import v2  # noqa: E402

VOID = 255


class PadToProportions(v2.Transform):
    """Pad with a color and void, evenly on both sides, to the proportions of a size."""

    def __init__(self, size: tuple[int, int], fill: Color) -> None:
        super().__init__()
        self.size, self.fill = size, fill

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """The margins."""
        return {"padding": letterbox_margins(flat_inputs[0].shape[-2:], self.size)}

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Pad."""
        fill = VOID if isinstance(inpt, tv_tensors.Mask) else list(self.fill)
        return self._call_kernel(v2.functional.pad, inpt, params["padding"], fill=fill)
