"""What is known by a name: the modules of one of our packages, and what other packages announce by entry points."""

from __future__ import annotations

import importlib
import pkgutil
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from harness.errors import PluginError, UnknownName
from harness.utils.text import plain_line

Item = TypeVar("Item")


class Registry(Generic[Item]):
    """Named things of one kind. To add one, write a module in the package that registers it; no list is edited.

    Another package adds one by an entry point of the group, whose name is the thing's name. Its code is not imported
    before that name is asked for, or all there are. One that cannot be loaded is left out with a warning, and only who
    asks for its name is refused.

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
        self._announced: dict[str, EntryPoint] = {}
        self._broken: dict[str, str] = {}
        self._loaded = False
        self._loading = threading.RLock()

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
        self._load(name)
        if name in self._items:
            return self._items[name]
        if name in self._broken:
            raise PluginError(f"the {self.kind} {name!r} cannot be loaded: {self._broken[name]}")
        raise UnknownName.of(self.kind, name, self.announced_names(), self.listing)

    def forget(self, name: str) -> None:
        """Make a name unknown again, e.g. at the end of a test that registered it."""
        self._items.pop(name, None)
        self._origins.pop(name, None)

    def origin(self, name: str) -> str:
        """`built in`, or the package that brings it, with its version."""
        self._load(name)
        return self._origins[name]

    def names(self) -> list[str]:
        """Every name, those of our package first."""
        self._load_all()
        return list(self._items)

    def announced_names(self) -> list[str]:
        """Every name; whether what other packages announce can be loaded is not found out."""
        self._load()
        return [*self._items, *self._announced]

    def items(self) -> Iterator[tuple[str, Item]]:
        """Every name with its thing."""
        self._load_all()
        yield from list(self._items.items())

    def own_items(self) -> Iterator[tuple[str, Item]]:
        """Every name with its thing, without those of other packages that nobody has asked for."""
        self._load()
        yield from list(self._items.items())

    def __contains__(self, name: object) -> bool:
        self._load(name)
        return name in self._items

    def _load(self, name: object = None) -> None:
        """What our package has, and what other packages announce; of theirs, one is imported."""
        with self._loading:
            if not self._loaded:
                self._loaded = True
                package = importlib.import_module(self.package)
                for module in pkgutil.iter_modules(package.__path__, f"{self.package}."):
                    importlib.import_module(module.name)
                for point in entry_points(group=self.group):
                    self._announce(point)
            if name in self._announced:
                self._add(self._announced.pop(str(name)))

    def _load_all(self) -> None:
        self._load()
        for name in list(self._announced):
            self._load(name)

    def _announce(self, point: EntryPoint) -> None:
        """What another package announces."""
        if point.name in self._items or point.name in self._announced:
            what = f"{_origin(point)}: its {self.kind} {plain_line(point.name)!r}"
            warnings.warn(f"{what} is left out: the name is taken", stacklevel=2)
            return
        self._announced[point.name] = point

    def _add(self, point: EntryPoint) -> None:
        """Import what another package announces."""
        try:
            item: Item = point.load()
            if self._check is not None:
                self._check(point.name, item)
        except (Exception, SystemExit) as error:  # noqa: BLE001 (another author's; the others are still there)
            told = plain_line(f"{_origin(point)}: {type(error).__name__}: {error}")
            self._broken[point.name] = told
            warnings.warn(f"{told}; its {self.kind} {plain_line(point.name)!r} is left out", stacklevel=2)
            return
        self._items[point.name] = item
        self._origins[point.name] = _origin(point)


def _origin(point: EntryPoint) -> str:
    return plain_line(f"plugin {point.dist.name} {point.dist.version}" if point.dist else "plugin")
