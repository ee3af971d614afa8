"""Study C, U-Net on DRIVE, as its report has it: dropout, an RGB mask, losses of batches."""

from __future__ import annotations

import torch

from harness.models import build


def test_its_dropout_drops_single_elements_and_not_whole_channels() -> None:
    model = build("unet_strided", 1, width=4)
    seen: list[torch.Tensor] = []
    drops = [layer for layer in model.modules() if isinstance(layer, torch.nn.modules.dropout._DropoutNd)]
    for layer in drops:
        layer.register_forward_hook(lambda module, inputs, output: seen.append((output == 0) & (inputs[0] != 0)))
    torch.manual_seed(0)
    model.train()(torch.randn(2, 3, 64, 64))
    assert len(seen) == 18
    # Of the finest maps every channel has elements that were dropped, and others that were not.
    share = seen[0].float().mean(dim=(2, 3))
    assert torch.all((share > 0.25) & (share < 0.35))
    share = seen[1].float().mean(dim=(2, 3))
    assert torch.all((share > 0.35) & (share < 0.45))
    seen.clear()
    model.eval()(torch.randn(1, 3, 64, 64))
    assert not any(bool(dropped.any()) for dropped in seen)
