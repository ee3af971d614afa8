"""Whether a stored row is sound. A database may come from anywhere: what is wrong in a row is told, and raises nothing.

Columns are read as the driver gives them, without SQLAlchemy's conversions, which raise and lose all other rows.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import Case, ColumnElement, case, func, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.types import NullType

from harness.results import Store
from leaderboard.queries.records import Ceiling, Data

# How many characters of a reason are shown: a stored text may be of any length.
_LONGEST = 300


@contextmanager
def reading(store: Store) -> Iterator[Session]:
    """A transaction that reads; bytes that are no UTF-8 become replacement characters instead of an error."""
    with store.session() as session:
        if not is_sqlite(store):
            yield session
            return
        connection: Any = session.connection().connection.dbapi_connection
        connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            yield session
        finally:
            connection.text_factory = str


def is_sqlite(store: Store) -> bool:
    """Whether it is a file; PostgreSQL keeps the types of its columns itself."""
    return store.path is not None


def raw(column: InstrumentedAttribute[Any] | ColumnElement[Any]) -> ColumnElement[Any]:
    """A column as the driver gives it: JSON is text in SQLite, and a value on PostgreSQL."""
    return type_coerce(column, NullType()).label(str(getattr(column, "key", "") or ""))


def inside(store: Store, column: InstrumentedAttribute[Any], *path: str) -> ColumnElement[Any]:
    """A text inside a column of JSON; NULL where there is none, or no JSON."""
    found = column[path].as_string()
    return _if_valid(store, column, found)


def part_of(store: Store, column: InstrumentedAttribute[Any], name: str) -> ColumnElement[Any]:
    """A value inside a column of JSON, to be read by `parsed`; NULL where there is none, or no JSON."""
    return type_coerce(_if_valid(store, column, column[name]), NullType())


def _if_valid(store: Store, column: InstrumentedAttribute[Any], found: ColumnElement[Any]) -> Case[Any] | Any:
    return case((func.json_valid(column) == 1, found)) if is_sqlite(store) else found


def parsed(value: Any) -> Any:
    """A value of a column of JSON, as `raw` reads it.

    Raises:
        ValueError: it is no JSON, or has a number that is none.
    """
    if not isinstance(value, (str, bytes)):
        return value
    try:
        return _JSON_READER.decode(value if isinstance(value, str) else value.decode())
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith("has ") else f"is not JSON: {error}") from None


def _no_number(name: str) -> float:
    raise ValueError(f"has a number that is none: {name}")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"has a number that is none: {text[:20]}")
    return value


def _time(text: str) -> str:
    datetime.fromisoformat(text)
    return text


# Made once: `json.loads` would make one for each of very many values.
_JSON_READER = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)

Time = Annotated[str, AfterValidator(_time)]
Seconds = Annotated[float, Field(allow_inf_nan=False)]
Record = dict[str, Any]


class _Strict(BaseModel):
    """Fields are what they say, and nothing is converted; others may be there."""

    model_config = ConfigDict(strict=True, extra="ignore", protected_namespaces=())


class _Selection(_Strict):
    rule: str
    split: str
    metric: str


class _Spec(_Strict):
    trials: int = 0
    hours: Seconds | None = None


class _Search(_Strict):
    trials: int
    stopped: int
    gpu_hours: Seconds
    cpu_hours: Seconds
    hours: Seconds
    spec: _Spec = _Spec()


class _Provenance(_Strict):
    pretrained_on: list[str] = []
    hardware: Record = {}
    code: Record = {}


class _Run(_Strict):
    """The columns of a run that the boards show."""

    id: int
    fingerprint: str
    cell: str
    manifest: str
    model: str
    model_name: str
    model_params: Record
    model_origin: str
    parameters: int | None
    recipe: str
    grid: Record
    seed: int
    selection: _Selection
    selected_on_test: bool
    state: Literal["pending", "running", "ok", "failed", "oom", "timeout", "interrupted"]
    reason: str
    error: str
    traceback: str
    attempt: int
    search: _Search | None
    started: Time | None
    finished: Time | None
    times: dict[str, Seconds]
    progress: Record
    provenance: _Provenance
    cost: Record
    merge_id: int | None


RUN_COLUMNS = tuple(_Run.model_fields)
_JSON = ("model_params", "grid", "selection", "search", "times", "progress", "provenance", "cost")
# What stands where a column is not sound.
_INSTEAD: dict[str, Any] = {
    "selection": {"rule": "none", "split": "none", "metric": "miou"},
    "selected_on_test": False,
    "state": "failed",
    "seed": 0,
    "attempt": 0,
    **dict.fromkeys(("parameters", "search", "started", "finished", "merge_id"), None),
    **{name: {} for name in ("model_params", "grid", "times", "progress", "provenance", "cost")},
}


def sound_run(row: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    """The columns of a run, and what is wrong with them; those that are not sound are replaced.

    Args:
        row: `RUN_COLUMNS`, as `raw` reads them.
    """
    values, wrong = dict(row), []
    for name in _JSON:
        try:
            values[name] = parsed(values[name])
        except ValueError as error:
            wrong.append(f"{name} {error}")
            values[name] = _INSTEAD[name]
    if values["selected_on_test"] in (0, 1):  # SQLite has no truth values
        values["selected_on_test"] = bool(values["selected_on_test"])
    wrong += _replace(_Run, values, _INSTEAD)
    return values, shortened("; ".join(wrong))


def _replace(model: type[BaseModel], values: dict[str, Any], instead: Mapping[str, Any]) -> list[str]:
    """Put something harmless in the place of what is not as the model says; returns what was wrong."""
    try:
        model.model_validate(values)
        return []
    except ValidationError as error:
        wrong = []
        for one in error.errors(include_input=False, include_url=False):
            name = str(one["loc"][0])
            wrong.append(f"{'.'.join(map(str, one['loc']))}: {one['msg'][0].lower()}{one['msg'][1:]}")
            values[name] = instead.get(name, "?")
        return wrong


class _Data(_Strict):
    """The columns of a copy of a data set."""

    manifest: str
    name: str
    title: str
    variant: str
    test_manifest: str
    classes: Annotated[list[str], Field(min_length=1)]
    palette: list[Annotated[list[Annotated[int, Field(ge=0, le=255)]], Field(min_length=3, max_length=3)]]
    foreground: int | None
    counts: dict[str, Annotated[int, Field(ge=0)]]
    scored_as: str


DATA_COLUMNS = tuple(_Data.model_fields)
_DATA_INSTEAD: dict[str, Any] = {"classes": [], "palette": [], "foreground": None, "counts": {}, "scored_as": ""}


def sound_data(row: Mapping[str, Any]) -> tuple[Data, str]:
    """The copy of a data set, and what is wrong with its row."""
    values, wrong = dict(row), []
    for name in ("classes", "palette", "counts"):
        try:
            values[name] = parsed(values[name])
        except ValueError as error:
            wrong.append(f"{name} {error}")
            values[name] = None
    wrong += _replace(_Data, values, _DATA_INSTEAD)
    classes, foreground = values["classes"], values["foreground"]
    if foreground is not None and not 0 <= foreground < len(classes):
        wrong.append(f"foreground: there is no class {foreground}")
        foreground = None
    if len(values["palette"]) < len(classes):
        wrong.append("palette: has fewer colours than there are classes")
    data = Data(
        name=values["name"],
        title=values["title"],
        variant=values["variant"],
        classes=tuple(classes),
        palette=tuple((c[0], c[1], c[2]) for c in values["palette"]),
        foreground=foreground,
        test_manifest=values["test_manifest"],
        counts=values["counts"],
        scored_as=values["scored_as"],
    )
    return data, shortened(f"its data set: {'; '.join(wrong)}") if wrong else ""


def missing_data(manifest: Any) -> tuple[Data, str]:
    """What stands for a copy of a data set whose row is gone."""
    data = Data("?", "unknown data set", "?", (), (), None, "", {})
    return data, shortened(f"its data set {manifest} is not in the database")


class _Ceiling(_Strict):
    input: str
    scores: dict[str, Annotated[float, Field(ge=0, le=1)] | None]


def sound_ceiling(value: Any) -> tuple[Ceiling | None, str]:
    """The ceiling of an evaluation, None where it has none; and what is wrong with it."""
    try:
        found = parsed(value)
        return (Ceiling(**_Ceiling.model_validate(found).model_dump()) if found else None), ""
    except ValueError as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        return None, f"ceiling: {told}"


def sound_figure(value: Any) -> bool:
    """Whether a stored figure is one: None where undefined, else a finite number."""
    return value is None or (isinstance(value, (int, float)) and math.isfinite(value))


def truth(value: Any) -> bool | None:
    """A truth value out of JSON, as the drivers give it; None for anything else."""
    return {"1": True, "0": False, True: True, False: False}.get(value) if isinstance(value, (str, int)) else None


def word(value: Any) -> str:
    """A text as it is, and anything else in its place as it would be written."""
    return value if isinstance(value, str) else repr(value)


def shortened(text: str) -> str:
    """A text as it can be shown in a line."""
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
