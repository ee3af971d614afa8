"""What a suite of the project says of its own board."""

from __future__ import annotations

from functools import cache

from harness.config.load import suite_files
from harness.utils.yaml_file import YamlFile


@cache
def suite_note(name: str) -> str:
    """The note of one of the project's suites; empty where it has none, and for suites of others."""
    path = suite_files().get(name)
    data = None if path is None else YamlFile.read(path).data
    return str(data.get("note", "")) if isinstance(data, dict) else ""
