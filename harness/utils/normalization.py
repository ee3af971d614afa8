"""How images are brought to numbers around 0: the names of the rules."""

from typing import Literal

Normalization = Literal["imagenet", "unit", "symmetric"]
"""`imagenet`: ImageNet's mean and deviation. `unit`: values in [0, 1]. `symmetric`: values in [-1, 1]."""
