"""The names of data sets that a network was pretrained on, in one spelling."""

from __future__ import annotations

import re

SCRATCH = "none"
# The usual ImageNet, by the names it goes by; larger ones (21k, 22k) are others.
_IMAGENET = ("imagenet", "imagenet1k", "ilsvrc", "ilsvrc12", "ilsvrc2012")


def data_set_names(value: object) -> tuple[str, ...]:
    """What somebody declares as one name, as several, or as `none`.

    Returns:
        The names, each once and sorted; () for `none`: trained from scratch.

    Raises:
        ValueError: it is neither a name nor a list of names.
    """
    if isinstance(value, str) and plain_name(value) == SCRATCH:
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and plain_name(n) for n in names):
        shown = "it" if value is None else repr(value)
        raise ValueError(f"{shown} must be the name of a data set, a list of names, or none")
    if any(plain_name(name) == SCRATCH for name in names):
        raise ValueError(f"{value!r} names data sets and says none")
    return tuple(sorted({"ImageNet" if plain_name(n) in _IMAGENET else n.strip() for n in names}))


def plain_name(name: str) -> str:
    """A name as it is compared: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
