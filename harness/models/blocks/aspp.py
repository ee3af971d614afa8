"""Atrous spatial pyramid pooling (Chen et al., Rethinking Atrous Convolution, 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from .resnet import conv_bn_relu


class ASPP(nn.Module):
    """A 1×1 convolution, one atrous 3×3 for each rate and image pooling, side by side, then joined.

    Args:
        inside: channels of the features.
        channels: of each branch and of the result.
        rates: the dilations.
        dropout: on the result.
        join: the kernel of the convolution that joins them.
    """

    def __init__(
        self, inside: int, channels: int, rates: Sequence[int], dropout: float = 0.1, join: Literal[1, 3] = 1
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [conv_bn_relu(inside, channels, kernel=1)]
            + [conv_bn_relu(inside, channels, dilation=rate) for rate in rates]
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv_bn_relu(inside, channels, kernel=1))
        self.join = conv_bn_relu(channels * (len(rates) + 2), channels, kernel=join)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, channels, h, w)."""
        pooled = self.pool(x).expand(-1, -1, *x.shape[-2:])
        return self.dropout(self.join(torch.cat([*(b(x) for b in self.branches), pooled], dim=1)))  # type: ignore[no-any-return]
