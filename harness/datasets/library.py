"""Names -> data sets, and where copies are looked for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.datasets.base import Dataset, Say, Tick
from harness.datasets.folder import FILE, Definition, FolderDataset, folder_class, read_definition
from harness.datasets.registry import DATASETS
from harness.errors import DataError
from harness.utils.caches import caches_home
from harness.utils.environment import setting

# The name under which a suite says: this folder.
FOLDER = "folder"


def dataset_names() -> list[str]:
    """The data sets there are, those of other packages last."""
    return sorted(DATASETS.names(), key=lambda name: (DATASETS.origin(name) != "built in", name))


def dataset_class(name: str, params: Mapping[str, Any] | None = None) -> type[Dataset]:
    """The reader of a data set.

    Args:
        name: a data set.
        params: of a user's own folder, as `resolved` gives them.

    Raises:
        UnknownName: there is none of that name.
        PluginError: another package announces it, and it cannot be loaded.
    """
    if params and "definition" in params:
        return folder_class(Definition.model_validate(params["definition"]))
    return DATASETS.get(name)


def dataset_origin(name: str) -> str:
    """Where a data set comes from: `built in`, or the package that brings it, with its version."""
    return DATASETS.origin(name)


def is_folder(name: str) -> bool:
    """Whether a data set's name is a user's own folder: `folder`, a path, or a folder here that has a definition."""
    if name == FOLDER or name in DATASETS:
        return name == FOLDER
    return "/" in name or os.sep in name or name.startswith(".") or (Path(name) / FILE).is_file()


def resolved(name: str, params: Mapping[str, Any], folder: Path) -> tuple[str, dict[str, Any]]:
    """A data set's name and parameters with nothing left open: a user's own folder is read for what its labels mean.

    Args:
        name: a data set, `folder`, or a path.
        params: `{path: DIR}` for `folder`.
        folder: the data folder; a relative path is looked for there, then in the current folder.

    Raises:
        DataError: there is no such folder, or its definition has a mistake.
    """
    if "definition" in params:
        return name, dict(params)
    if not is_folder(name):
        if params:
            raise DataError(f"the data set {name} takes no parameters; given: {', '.join(params)}")
        return name, {}
    given = params.get("path") if name == FOLDER else name
    if not isinstance(given, str) or params.keys() - {"path"}:
        raise DataError("a data set `folder` takes one parameter: {name: folder, params: {path: DIR}}")
    places = [folder / Path(given).expanduser(), Path(given).expanduser()]
    root = next((place for place in places if place.is_dir()), None)
    if root is None:
        raise DataError(f"the data set {given}: there is no such folder, neither here nor in {folder}")
    definition = read_definition(root)
    if definition.name in DATASETS:
        raise DataError(f"{root}: the name {definition.name} is taken; give another in dataset.yaml")
    return definition.name, {"definition": definition.model_dump(mode="json"), "path": str(root.resolve())}


def data_dir(given: str | Path | None = None) -> Path:
    """The folder copies are looked for in: `--data-dir`, else SEGBENCH_DATA, else ./data.

    Raises:
        DataError: a folder was named that does not exist.
    """
    named = given or setting("SEGBENCH_DATA")
    if not named:
        return Path("data").resolve()
    path = Path(named).expanduser().resolve()
    if not path.is_dir():
        source = "--data-dir" if given else "SEGBENCH_DATA"
        raise DataError(f"{source} {path}: there is no such folder")
    return path


def find_copy(name: str, folder: Path, params: Mapping[str, Any] | None = None) -> Path | None:
    """The folder of a copy, or None. What the project makes itself stands in ./data, never beside a user's own."""
    cls = dataset_class(name, params)
    if issubclass(cls, FolderDataset):
        return Path((params or {})["path"])
    return cls.find(Path("data").resolve() if cls.generated else folder)


def open_dataset(
    name: str,
    variant: str | None,
    folder: Path,
    say: Say | None = None,
    obtain: bool = True,
    params: Mapping[str, Any] | None = None,
    tick: Tick | None = None,
    aside: bool = False,
) -> Dataset:
    """Open a copy, after downloading or making it where that is possible.

    Args:
        name: a data set, or the path of a user's own folder.
        variant: a data variant; None takes the default.
        folder: the data folder.
        say: told, in a line, of anything that takes time.
        obtain: whether to download or make what is not there.
        params: of the data set.
        tick: told how far a download is.
        aside: what the project makes itself is made in the user's cache where there is no copy: for plans, which leave
            nothing in the current folder.

    Raises:
        DataError: no copy is there and none can be had.
    """
    name, params = resolved(name, params or {}, folder)
    cls = dataset_class(name, params)
    root = find_copy(name, folder, params)
    say = say or (lambda _: None)
    if cls.generated:
        folder = Path("data").resolve()
    if root is None:
        if aside and cls.generated:
            folder = caches_home() / "generated"
            return cls(cls.find(folder) or cls.obtain(folder, say, tick), variant)
        if not obtain:
            raise DataError(cls.not_found(folder), cls.how_to_get(folder))
        root = cls.obtain(folder, say, tick)
    if obtain:
        cls.complete(root, variant, folder, say, tick)
    return cls(root, variant)
