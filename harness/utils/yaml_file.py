"""YAML with line numbers, so that an error can name file, line and field.

A file from elsewhere may be made to take for ever: how deep it is, and how long with its aliases written out, is
limited, and known before anything is built of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import SuiteError
from harness.utils.reading import CannotRead, read_text
from harness.utils.text import plain_line, printable

M = TypeVar("M", bound=BaseModel)

# Bytes of a file, levels of lists and mappings in one another, and values with aliases written out.
LONGEST, DEEPEST, MOST_VALUES = 4 * 1024**2, 40, 500_000
# Mistakes of one file that are told, and characters of what was given that are shown.
MOST_MISTAKES, SHOWN = 20, 200
# What a value may be: what JSON has, too.
_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}

# libyaml where PyYAML was built with it: ten times as fast on a long suite.
_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """Safe YAML in which 1e-3 is a number, as everyone who writes a learning rate expects."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)[eE][-+]?[0-9]+$"),
    list("-+.0123456789"),
)


class YamlFile:
    """A YAML file: its data, and the line on which each part of it stands."""

    def __init__(self, path: Path, data: Any, root: yaml.Node | None) -> None:
        self.path = path
        self.data = data
        self._root = root

    @classmethod
    def read(cls, path: Path) -> YamlFile:
        """Parse a file.

        Raises:
            SuiteError: it cannot be read or is not YAML, is too long or too deep, has values that are none of JSON's,
                or a key is given twice; names file and line.
        """
        try:
            text = read_text(path, LONGEST)
        except CannotRead as error:
            raise SuiteError(f"{path}: {error}") from error
        try:
            root, data = _parsed(text)
        except _Refused as error:
            raise SuiteError(f"{path}{f':{error.line}' if error.line else ''}: {error}") from error
        return cls(path, data, root)

    def line(self, location: Sequence[int | str]) -> int:
        """The line (from 1) of the deepest part of `location` that exists."""
        node, line = self._root, 1
        for step in location:
            child = _child(node, step)
            if child is None:
                continue  # a union's tag, or a field that is missing: stay at its parent
            node, line = child
        return line


def parse_value(text: str) -> Any:
    """A value as YAML reads it: `1e-3`, `[0, 1]`, `true`, `name`.

    Raises:
        SuiteError: it is not YAML, or as for a file.
    """
    try:
        return _parsed(text)[1]
    except _Refused as error:
        raise SuiteError(f"{plain_line(repr(text), SHOWN)} is not a value: {error}") from error


def validate(model: type[M], data: Any, file: YamlFile | None, what: str) -> M:
    """Validate data, naming file, line and field of every mistake.

    Raises:
        SuiteError: with one line for each mistake.
    """
    return validate_at(model, data, lambda field: what if file is None else f"{file.path}:{file.line(field)}")


def validate_at(model: type[M], data: Any, place: Callable[[Sequence[int | str]], str]) -> M:
    """Validate data that come from several places, naming place and field of every mistake.

    Args:
        model: the record.
        data: its fields.
        place: says where a field, given by the steps that lead to it, stands.

    Raises:
        SuiteError: with one line for each mistake.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines, mistakes = [], error.errors(include_url=False)
        for item in mistakes[:MOST_MISTAKES]:
            field = plain_line(".".join(str(step) for step in item["loc"]), SHOWN) or "(top level)"
            lines.append(f"{place(item['loc'])}: {field}: {_plain(item)}")
        if len(mistakes) > MOST_MISTAKES:
            lines.append(f"… and {len(mistakes) - MOST_MISTAKES} more")
        raise SuiteError("\n".join(lines)) from error


def _plain(item: Any) -> str:
    """A pydantic message in plain words, with what was given."""
    given = item.get("input")
    shown = "" if isinstance(given, dict | list) else f" (given: {plain_line(repr(given), SHOWN)})"
    if item["type"] == "extra_forbidden":
        return "there is no such field"
    if item["type"] == "missing":
        return "this field is required"
    message = item["msg"].removeprefix("Value error, ")
    return f"{message[0].lower()}{message[1:]}{shown}"


def _child(node: yaml.Node | None, step: int | str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(step):
                return value, key.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child = node.value[step]
        return child, child.start_mark.line + 1
    return None


class _Refused(ValueError):
    """Why a text is not taken, and on which line; 0 where nobody knows."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(plain_line(why))
        self.line = line

    @classmethod
    def at(cls, place: yaml.Node | yaml.Event, why: str) -> _Refused:
        """With the line of a part of the text."""
        return cls(why, place.start_mark.line + 1 if place.start_mark else 0)


def _parsed(text: str) -> tuple[yaml.Node | None, Any]:
    """The tree of a text, and what it says.

    Raises:
        _Refused: it cannot be had, whatever the reason.
    """
    try:
        _refuse_events(text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                return None, None
            _refuse_nodes(root)
            return root, loader.construct_document(root)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _Refused(f"not valid YAML: {error.problem}", line) from error
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, _Refused):
            raise
        raise _Refused(f"not valid YAML: {error}") from error


def _refuse_events(text: str) -> None:
    """Refuse a text that is too deep or too long for whatever goes through it, before anything does."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _Refused.at(event, f"nested more than {DEEPEST} levels deep")
        if count > MOST_VALUES:
            raise _Refused.at(event, f"more than {MOST_VALUES:,} values")


def _refuse_nodes(root: yaml.Node) -> None:
    """Refuse repeated keys, control characters, values that JSON has not, and aliases to a circle or to too much."""
    known: dict[int, int] = {}  # each node once, however many aliases it has: how many values it comes to
    inside: set[int] = set()

    def values(node: yaml.Node, depth: int) -> int:
        if id(node) in known:
            return known[id(node)]
        if id(node) in inside:
            raise _Refused.at(node, "an alias stands inside of what it stands for")
        if node.tag not in _TAGS:
            raise _Refused.at(node, f"a value that is no text, number, list or mapping ({_told(node)}); quote it")
        if isinstance(node, yaml.ScalarNode) and printable(node.value, ("Cc", "Cs")) != node.value:
            raise _Refused.at(node, "a text with control characters")
        if depth > DEEPEST:  # by aliases
            raise _Refused.at(node, f"nested more than {DEEPEST} levels deep")
        inside.add(id(node))
        count = 1
        for child in _children(node):
            count += values(child, depth + 1)
            if count > MOST_VALUES:
                raise _Refused.at(node, f"with its aliases written out, it has more than {MOST_VALUES:,} values")
        inside.remove(id(node))
        known[id(node)] = count
        return count

    values(root, 1)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return list(node.value)
    if not isinstance(node, yaml.MappingNode):
        return []
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Refused.at(key, "a list or a mapping cannot be the name of a field")
        if key.value in seen:
            raise _Refused.at(key, f"{key.value}: this field is given twice")
        seen.add(key.value)
    return [part for pair in node.value for part in pair]


def _told(node: yaml.Node) -> str:
    kind = str(node.tag).rpartition(":")[2] or str(node.tag)
    return f"{kind} {node.value}" if isinstance(node, yaml.ScalarNode) else kind
