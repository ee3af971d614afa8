"""Messages as JSON: the only language in which the process of a task speaks to its driver.

What is not one of the messages, with every field of its type, is refused. Texts are cleaned where they are read.
"""

from __future__ import annotations

import base64
import json
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from harness.tasks.messages import CheckDone, EpochDone, Message, SharedResult, Stage
from harness.tasks.result import Result
from harness.utils.text import plain_line, plain_text, plain_values

# Bytes of the longest message: the statistics of very many images, and a gallery.
LONGEST = 512 * 1024**2
# Characters of a stage, shown in one line.
STAGE = 200

_KINDS: dict[str, type[Message]] = {
    "stage": Stage,
    "epoch": EpochDone,
    "shared result": SharedResult,
    "check": CheckDone,
    "result": Result,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
# The one key of an object that stands for bytes.
_BYTES = "base64"


class BadMessage(ValueError):
    """What came is none of the messages; says why."""


def encode(message: Message) -> bytes:
    """A message as JSON; figures keep every bit."""
    record = {"kind": _NAMES[type(message)], **_plain(message)}
    return json.dumps(record).encode()


def decode(data: bytes) -> Message:
    """The message that some JSON is, its texts cleaned.

    Raises:
        BadMessage: it is none.
    """
    try:
        record = json.loads(data, object_hook=_with_bytes)
    except (ValueError, RecursionError) as error:
        raise BadMessage(f"no JSON: {plain_line(str(error), 100)}") from error
    kind = _KINDS.get(record.pop("kind", "")) if isinstance(record, dict) else None
    if kind is None:
        raise BadMessage("of no known kind")
    return cleaned(read_as(kind, record))


def read_as(kind: Any, record: Any) -> Any:
    """A record as a dataclass, every field of the type it declares.

    Raises:
        BadMessage: it is none.
    """
    try:
        return _adapter(kind).validate_python(record)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise BadMessage(f"{kind.__name__}: {plain_line(where, 100)}: {first['msg']}") from error


def cleaned(message: Message) -> Message:
    """The message with every text fit to be kept and shown."""
    if isinstance(message, Stage):
        return Stage(plain_line(message.text, STAGE))
    if isinstance(message, EpochDone):
        return replace(message, figures={plain_line(name, 64): v for name, v in list(message.figures.items())[:1000]})
    if isinstance(message, CheckDone):
        return CheckDone(
            plain_line(message.name, 40), message.state, plain_line(message.said), plain_line(message.todo)
        )
    if isinstance(message, SharedResult):
        return SharedResult(_clean_result(message.result))
    return _clean_result(message)


def _clean_result(result: Result) -> Result:
    return replace(
        result,
        reason=plain_line(result.reason),
        error=plain_line(result.error, 100),
        traceback=plain_text(result.traceback),
        started=plain_line(result.started, 40),
        finished=plain_line(result.finished, 40),
        progress=plain_values(result.progress),
        provenance=plain_values(result.provenance),
        cost=plain_values(result.cost),
    )


def _plain(value: Any) -> Any:
    """Dataclasses as dictionaries, bytes as base64; the rest is JSON already."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return value


def _with_bytes(record: dict[str, Any]) -> Any:
    if record.keys() == {_BYTES} and isinstance(record[_BYTES], str):
        return base64.b64decode(record[_BYTES], validate=True)
    return record


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
