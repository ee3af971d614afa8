"""YAML with line numbers, so that an error can name file, line and field."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from harness.errors import SuiteError

M = TypeVar("M", bound=BaseModel)


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
            SuiteError: it cannot be read or is not YAML, or a key is given twice.
        """
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SuiteError(f"{path}: cannot be read: {error}") from error
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            _refuse_repeated_keys(root, path)
            data = None if root is None else loader.construct_document(root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = f"{path}:{mark.line + 1}" if mark else str(path)
            raise SuiteError(f"{where}: not valid YAML: {error.problem}") from error
        except yaml.YAMLError as error:
            raise SuiteError(f"{path}: not valid YAML: {error}") from error
        finally:
            loader.dispose()
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
        SuiteError: it is not YAML.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise SuiteError(f"{text!r} is not a value: {error}") from error


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
        lines = []
        for item in error.errors(include_url=False):
            field = ".".join(str(step) for step in item["loc"]) or "(top level)"
            lines.append(f"{place(item['loc'])}: {field}: {_plain(item)}")
        raise SuiteError("\n".join(lines)) from error


def _plain(item: Any) -> str:
    """A pydantic message in plain words, with what was given."""
    given = item.get("input")
    shown = "" if isinstance(given, dict | list) else f" (given: {given!r})"
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


def _refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise SuiteError(f"{path}:{key.start_mark.line + 1}: {key.value}: this field is given twice")
            seen.add(key.value)
            _refuse_repeated_keys(value, path)
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_repeated_keys(child, path)
