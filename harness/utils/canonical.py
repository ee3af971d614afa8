"""The form in which options enter a fingerprint: one that a new optional field does not change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python


@dataclass(frozen=True)
class LeftOutAt:
    """Marks a field that was added after a release: it is left out of fingerprints while it has this value.

    The value is what everybody had before there was the field, and stays so even if the default changes:
    `mirror: Annotated[bool, LeftOutAt(False)] = False`.
    """

    value: Any


def canonical(options: BaseModel) -> dict[str, Any]:
    """What of a record of options enters a fingerprint, as plain JSON values.

    All of its fields, but those that `LeftOutAt` leaves out; of records inside it alike.
    """
    return _canonical(options, options.model_dump(mode="json"))  # type: ignore[no-any-return]


def without_left_out(kind: type[BaseModel], fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record, given as plain JSON values, without those that `LeftOutAt` leaves out."""
    return {name: value for name, value in fields.items() if not _is_left_out(kind, name, value)}


def _canonical(value: Any, dumped: Any) -> Any:
    if isinstance(value, BaseModel):
        kept = without_left_out(type(value), dumped)
        return {name: _canonical(getattr(value, name), part) for name, part in kept.items()}
    if isinstance(value, list | tuple):
        return [_canonical(one, other) for one, other in zip(value, dumped, strict=True)]
    if isinstance(value, Mapping):
        return {key: _canonical(one, dumped[key]) for key, one in zip(dumped, value.values(), strict=True)}
    return dumped


def _is_left_out(kind: type[BaseModel], name: str, dumped: Any) -> bool:
    field = kind.model_fields.get(name)
    marks = [mark for mark in field.metadata if isinstance(mark, LeftOutAt)] if field else []
    return any(to_jsonable_python(mark.value) == dumped for mark in marks)
