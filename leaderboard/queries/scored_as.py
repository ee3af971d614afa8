"""What is scored of the images, where an earlier version did not note it: rows of one board must agree in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from harness.config.fingerprint import digest
from harness.datasets.folder import Definition, folder_class
from harness.datasets.registry import DATASETS
from harness.errors import BenchError
from harness.results import Store
from harness.results.schema import Run
from harness.results.scored_as import scored_as
from leaderboard.queries.records import Data
from leaderboard.queries.sound import parsed, part_of, raw

Key = TypeVar("Key")


def with_scored_as(copies: Mapping[Key, Data]) -> dict[Key, Data]:
    """The copies of data sets, each with what is scored of it.

    Where it was not noted, it is what the data set says today if it still has these classes; else what another copy
    of the same images and classes says; else the classes alone.
    """
    noted: dict[Any, set[str]] = defaultdict(set)
    for data in copies.values():
        if data.scored_as:
            noted[_place(data)].add(data.scored_as)
    return {key: data if data.scored_as else _completed(data, noted[_place(data)]) for key, data in copies.items()}


def _completed(data: Data, noted: set[str]) -> Data:
    today = _today(data.name, data.classes, data.foreground)
    alone = digest({"classes": list(data.classes), "foreground": data.foreground})
    return replace(data, scored_as=today or (next(iter(noted)) if len(noted) == 1 else alone))


def _place(data: Data) -> Any:
    return data.name, data.test_manifest, data.classes, data.foreground


@cache
def _today(name: str, classes: tuple[str, ...], foreground: int | None) -> str:
    """What a data set of this installation says; empty where there is none, or it has other classes by now."""
    try:
        info = DATASETS.get(name).info if name in DATASETS else None
    except BenchError:  # of a package that cannot be loaded
        return ""
    return scored_as(info) if info is not None and (info.classes, info.foreground) == (classes, foreground) else ""


@cache
def usual_fields(name: str) -> Mapping[str, Any]:
    """The fields of the protocol that follow from a data set; nothing where it is not known here."""
    try:
        return DATASETS.get(name).info.protocol if name in DATASETS else {}
    except BenchError:
        return {}


def data_of_folders(store: Store, session: Session, copies: Mapping[Any, Data]) -> dict[int, Data]:
    """For runs of earlier versions on folders, what their own definition says: the copy's row may be another's.

    Such versions had one row for the same files, whatever a definition made of their labels.

    Args:
        store: the database.
        session: a transaction that reads it.
        copies: the copies by their manifest, as they are stored.
    """
    unsaid = [key for key, data in copies.items() if not data.scored_as and data.name not in DATASETS]
    found: dict[int, Data] = {}
    for first in range(0, len(unsaid), 500):
        part = Run.manifest.in_(unsaid[first : first + 500])
        query = select(raw(Run.id), raw(Run.manifest), part_of(store, Run.config, "dataset")).where(part)
        for run, manifest, dataset in session.execute(query):
            try:
                definition = (parsed(dataset) or {}).get("params", {}).get("definition")
                info = folder_class(Definition.model_validate(definition)).info if definition else None
            except (ValidationError, ValueError, TypeError, AttributeError):  # damaged, or of another version's fields
                continue
            if info is not None:
                found[run] = replace(
                    copies[manifest],
                    name=info.name,
                    title=info.title,
                    classes=info.classes,
                    palette=info.palette,
                    foreground=info.foreground,
                    scored_as=scored_as(info),
                )
    return found
