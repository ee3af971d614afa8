"""The data sets there are, by name: each module of this package registers its own; other packages add theirs."""

from __future__ import annotations

from harness.datasets.base import Dataset
from harness.errors import PluginError
from harness.utils.registry import Registry


def _check(name: str, item: object) -> None:
    """Refuse what another package announces and is no data set of that name.

    Raises:
        PluginError: says what it is instead.
    """
    if not (isinstance(item, type) and issubclass(item, Dataset)):
        raise PluginError(f"{item!r} is no subclass of harness.datasets.Dataset")
    if item.info.name != name:
        raise PluginError(f"its info.name is {item.info.name!r}: it must be the entry point's name, {name!r}")


DATASETS: Registry[type[Dataset]] = Registry(
    "data set", "harness.datasets", "segbench.datasets", "bench datasets", check=_check
)


def register(cls: type[Dataset]) -> type[Dataset]:
    """Make a data set of this package known by its name; a decorator of its class."""
    return DATASETS.register(cls.info.name)(cls)
