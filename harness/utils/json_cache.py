"""What was found out once and would take time to find out again, kept as JSON in the machine's cache folder."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from harness.utils.caches import caches_home
from harness.utils.files import write_text


class JsonCache:
    """Values by their keys, kept in a file between commands.

    A file that cannot be read or written costs nothing but the time to find the values out again. Where two commands
    save at once, what one of them added may be lost, and is found out again too.

    Args:
        name: the file's place in the cache folder, such as `manifests/voc2012-0123456789abcdef.json`.
    """

    def __init__(self, name: str) -> None:
        self.path = caches_home() / name
        self._known = self._read()
        self._added: dict[str, Any] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._known

    def get(self, key: str) -> Any:
        """The value of a key, None where there is none."""
        return self._known.get(key)

    def put(self, key: str, value: Any) -> None:
        """Remember a value that JSON can hold, in the file from `save` on."""
        self._known[key] = self._added[key] = value

    def save(self) -> None:
        """Write the file, where anything was added, together with what another command has added meanwhile."""
        if not self._added:
            return
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, json.dumps(self._read() | self._added))
            self._added = {}

    def _read(self) -> dict[str, Any]:
        with contextlib.suppress(OSError, ValueError):
            found = json.loads(self.path.read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
        return {}
