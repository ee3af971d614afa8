"""Statistics of large boards, made beside the page: seconds for hundreds of rows, once for each version of the data."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Made = TypeVar("Made")


@dataclass
class Background(Generic[Made]):
    """Things that are made once, by their key."""

    most: int
    """So many are kept: the latest that were asked for."""
    _made: OrderedDict[str, Made | Exception] = field(default_factory=OrderedDict)
    _begun: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, key: str, make: Callable[[], Made], wait: bool) -> Made | None:
        """What `make` returns, once; None while it is being made by a thread.

        Args:
            key: what it is of.
            make: makes it.
            wait: make it here and now.

        Raises:
            Exception: what `make` raised.
        """
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                found = self._made[key]
                if isinstance(found, Exception):
                    raise found
                return found
            begin = wait or key not in self._begun
            self._begun.add(key)
        if not begin:
            return None
        if wait:
            self._make(key, make)
            return self.get(key, make, wait)
        threading.Thread(target=self._make, args=(key, make), daemon=True, name="statistics").start()
        return None

    def _make(self, key: str, make: Callable[[], Made]) -> None:
        try:
            made: Made | Exception = make()
        except Exception as error:  # noqa: BLE001 (told to whoever asks: a thread has nobody to tell)
            made = error
        with self._lock:
            self._made[key] = made
            self._begun.discard(key)
            while len(self._made) > self.most:
                self._made.popitem(last=False)
