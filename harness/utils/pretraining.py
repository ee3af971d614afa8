"""The names of data sets that a network was pretrained on, in one spelling."""

from __future__ import annotations

import re

from harness.errors import BenchError

SCRATCH = "none"
# The usual ImageNet, by the names it goes by; larger ones (21k, 22k) are others.
_IMAGENET = ("imagenet", "imagenet1k", "ilsvrc", "ilsvrc12", "ilsvrc2012")
# What stands between the names of several data sets, or of several parts of one: `VOC 2012 train + val`.
_JOINS = re.compile(r"[+&/]|\b(?:and|then)\b", re.IGNORECASE)


def data_set_names(value: object) -> tuple[str, ...]:
    """What somebody declares as one name, as several, or as `none`.

    Returns:
        The names, each once and sorted; () for `none`: trained from scratch. Commas part the names of one text.

    Raises:
        ValueError: it is neither a name nor a list of names.
    """
    if isinstance(value, str) and plain_name(value) == SCRATCH:
        return ()
    names = re.split("[,;]", value) if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(n, str) and plain_name(n) for n in names):
        shown = "it" if value is None else repr(value)
        raise ValueError(f"{shown} must be the name of a data set, a list of names, or none")
    if any(plain_name(name) == SCRATCH for name in names):
        raise ValueError(f"{value!r} names data sets and says none")
    return tuple(sorted({"ImageNet" if plain_name(n) in _IMAGENET else n.strip() for n in names}))


def declared(value: object, where: str) -> tuple[str, ...] | None:
    """What an option says, where it says anything.

    Args:
        value: as in `data_set_names`; None where the option is not given.
        where: the option, for the message.

    Raises:
        BenchError: it is neither a name nor a list of names.
    """
    if value is None:
        return None
    try:
        return data_set_names(value)
    except ValueError as error:
        raise BenchError(f"{where}: {error}", "For example ImageNet-1k; several names are parted by commas.") from error


def plain_name(name: str) -> str:
    """A name as it is compared: lower case, letters and digits only."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def named_in(text: str) -> frozenset[str]:
    """Every data set that a declared name may mean, as names are compared.

    `VOC 2012 train and val` means its two parts together, `ImageNet + SBD` two data sets: both readings count, as a
    network that saw the scored images must not go unmarked because of the spelling.
    """
    parts = (text, _JOINS.sub(" ", text), *_JOINS.split(text))
    return frozenset(plain_name(part) for part in parts) - {""}
