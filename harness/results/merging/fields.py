"""Values of a stranger's row: what a text, a number, a time or a value of JSON has to be."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from harness.datasets.base import problem_of_id
from harness.utils.text import plain_line, plain_text, plain_values

# Levels of lists and dictionaries in one another, and the largest number, of a JSON value.
DEPTH, LARGEST = 20, 2**63
# Characters of a JSON value's text, and of a network's source.
JSON_TEXT, SOURCE_TEXT = 4_000_000, 1_000_000


def one_line(value: str) -> str:
    """A text that is one line and not too long; an error where it is not."""
    if plain_line(value) != value:
        raise ValueError("has control characters, blanks at its ends, or is too long")
    return value


def _source(value: str) -> str:
    # Form feeds and carriage returns stand in honest source files.
    bare = value.replace("\r", "\n").replace("\f", "\n")
    if plain_text(bare, SOURCE_TEXT) != bare:
        raise ValueError("has control characters or is too long")
    return value


def _image_id(value: str) -> str:
    if problem := problem_of_id(value):
        raise ValueError(problem)
    return value


def _time(value: str) -> str:
    datetime.fromisoformat(value)
    return value


def json_value(value: Any) -> Any:
    """A column of JSON: text from SQLite, values from PostgreSQL."""
    if isinstance(value, str):
        if len(value) > JSON_TEXT:
            raise ValueError(f"has {len(value):,} characters; {JSON_TEXT:,} are allowed")
        try:
            value = json.loads(value, parse_constant=_no_number)
        except RecursionError:
            raise ValueError(f"is nested deeper than {DEPTH} levels") from None
    _check_json(value, 0)
    return value


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _check_json(value: Any, depth: int) -> None:
    if depth > DEPTH:
        raise ValueError(f"is nested deeper than {DEPTH} levels")
    if isinstance(value, dict):
        for key, one in value.items():
            one_line(key)
            _check_json(one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            _check_json(one, depth + 1)
    elif isinstance(value, int | float) and not (abs(value) < LARGEST and math.isfinite(value)):
        raise ValueError("has a number that is too large")


def plain_json(value: Any) -> Any:
    """A value of JSON whose texts have no control characters; an error where they have."""
    if plain_values(value) != value:
        raise ValueError("has texts with control characters")
    return value


def _boolean(value: Any) -> Any:
    return bool(value) if value in (0, 1) and isinstance(value, int) else value


def _cleaned(limit: int) -> BeforeValidator:
    """Free text, which is shown and decides nothing: cleaned and cut as a driver of ours does."""
    clean = plain_line if limit == 0 else plain_text
    return BeforeValidator(lambda value: clean(value) if isinstance(value, str) else value)


Hash = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Line = Annotated[str, AfterValidator(one_line)]
Name = Annotated[str, StringConstraints(min_length=1), AfterValidator(one_line)]
Told = Annotated[str, _cleaned(0)]
Text = Annotated[str, _cleaned(1)]
Source = Annotated[str, AfterValidator(_source)]
ImageId = Annotated[str, AfterValidator(_image_id)]
Time = Annotated[str, StringConstraints(max_length=40), AfterValidator(_time)]
Boolean = Annotated[bool, BeforeValidator(_boolean)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Whole = Annotated[int, Field(gt=-(2**63), lt=2**63)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Real = Annotated[float, Field()]
# Decides something: taken as it is or not at all.
Exact = Annotated[dict[str, Any], BeforeValidator(json_value), AfterValidator(plain_json)]
# Is shown: control characters are replaced.
Shown = Annotated[dict[str, Any], BeforeValidator(json_value), AfterValidator(plain_values)]
