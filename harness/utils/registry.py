"""What is known by a name: the modules of one of our packages, and what other packages announce by entry points."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from harness.errors import PluginError, UnknownName

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Named things of one kind. To add one, write a module in the package that registers it; no list is edited.

    Another package adds one by an entry point of the group, whose name is the thing's name. An entry point that cannot
    be loaded is left out with a warning, and only who asks for its name is refused.

    Args:
        kind: what a thing is called in messages, such as `loss`.
        package: the package whose modules register things when they are imported.
        group: the entry points' group, such as `segbench.losses`.
        listing: the command or page that lists what there is.
        check: given the name and the thing that another package announces; raises where it is not of this kind.
    """

    def __init__(
        self, kind: str, package: str, group: str, listing: str, check: Callable[[str, Item], None] | None = None
    ) -> None:
        self.kind, self.package, self.group, self.listing = kind, package, group, listing
        self._check = check
        self._items: dict[str, Item] = {}
        self._origins: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[Item], Item]:
        """Make a thing known by a name; used as a decorator.

        Raises:
            PluginError: the name is taken by another thing.
        """

        def add(item: Item) -> Item:
            known = self._items.get(name)
            if known is not None and known is not item:
                raise PluginError(f"the {self.kind} {name!r} is registered twice", "Choose another name.")
            self._items[name] = item
            self._origins.setdefault(name, "built in")
            return item

        return add

    def get(self, name: str) -> Item:
        """The thing of a name.

        Raises:
            UnknownName: there is none; suggests the nearest.
            PluginError: another package announces one, and it cannot be loaded.
        """
        self._load()
        if name in self._items:
            return self._items[name]
        if name in self._broken:
            raise PluginError(f"the {self.kind} {name!r} cannot be loaded: {self._broken[name]}")
        raise UnknownName.of(self.kind, name, self._items, self.listing)

    def forget(self, name: str) -> None:
        """Make a name unknown again, e.g. at the end of a test that registered it."""
        self._items.pop(name, None)
        self._origins.pop(name, None)

    def origin(self, name: str) -> str:
        """`built in`, or the package that brings it, with its version."""
        self._load()
        return self._origins[name]

    def names(self) -> list[str]:
        """Every name, those of our package first."""
        self._load()
        return list(self._items)

    def items(self) -> Iterator[tuple[str, Item]]:
        """Every name with its thing."""
        self._load()
        yield from self._items.items()

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._items

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__, f"{self.package}."):
            importlib.import_module(module.name)
        for point in entry_points(group=self.group):
            self._add(point)

    def _add(self, point: EntryPoint) -> None:
        """What another package announces."""
        origin = f"plugin {point.dist.name} {point.dist.version}" if point.dist else "plugin"
        if point.name in self._items:
            warnings.warn(f"{origin}: its {self.kind} {point.name!r} is left out: the name is taken", stacklevel=2)
            return
        try:
            item: Item = point.load()
            if self._check is not None:
                self._check(point.name, item)
        except Exception as error:  # noqa: BLE001 (another author's module may raise anything; the others are still there)
            self._broken[point.name] = f"{origin}: {type(error).__name__}: {error}"
            warnings.warn(f"{self._broken[point.name]}; its {self.kind} {point.name!r} is left out", stacklevel=2)
            return
        self._items[point.name] = item
        self._origins[point.name] = origin
