"""Statistics of images as columns that need few bytes: what follows from other columns is not kept.

Nothing is rounded. Every shortcut is tried on the values at hand, and what does not come back bit for bit is kept as it
is: statistics of any protocol, and tables in any order, are written and read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]
Columns = dict[str, NDArray[Any]]

# Columns of a class's boundary statistics that are mostly another column, or a little less.
_LIKE = {
    "bf_edge_prediction": "edge_prediction",
    "bf_edge_target": "edge_target",
    "bf_prediction": "nsd_prediction",
    "bf_target": "nsd_target",
}
# The lengths of the two boundaries, and what is NaN where one of the maps has none.
_EDGES = ("edge_prediction", "edge_target")
_DISTANCES = ("hd", "hd95", "sum_to_target", "sum_to_prediction")
# Below this every whole number is a floating-point number.
_EXACT = 2.0**53


# -- rows of whole numbers, led by an image ----------------------------------------------------------------------------


def put_rows(columns: Columns, name: str, rows: Integers, images: int) -> None:
    """Keep rows (image, …) column by column; of images in order only how many rows each has."""
    put_images(columns, name, rows[:, 0], images)
    columns |= {f"{name}.{i}": rows[:, i] for i in range(1, rows.shape[1])}


def take_rows(columns: Mapping[str, NDArray[Any]], name: str, width: int) -> Integers:
    """What `put_rows` kept."""
    others = [columns[f"{name}.{i}"] for i in range(1, width)]
    return np.column_stack([take_images(columns, name, len(others[0])), *others])


def put_images(columns: Columns, name: str, image: Integers, images: int) -> None:
    """Keep the image of each row."""
    in_order = not len(image) or bool((np.diff(image) >= 0).all() and image[0] >= 0 and image[-1] < images)
    if in_order:
        columns[f"{name}.rows"] = np.bincount(image, minlength=images)
    else:
        columns[f"{name}.image"] = image


def take_images(columns: Mapping[str, NDArray[Any]], name: str, rows: int) -> Integers:
    """What `put_images` kept of so many rows."""
    if f"{name}.image" in columns:
        return columns[f"{name}.image"]
    counts = columns[f"{name}.rows"]
    # A made-up count would fill the memory.
    if (counts < 0).any() or (counts > rows).any() or counts.sum() != rows:
        raise ValueError(f"{name}: other numbers of rows than there are rows")
    return np.repeat(np.arange(len(counts)), counts)


# -- confusion and trimap ----------------------------------------------------------------------------------------------


def put_confusion(columns: Columns, confusion: Integers, trimap: Integers, images: int) -> None:
    """Keep the cells (image, target, prediction, pixels) and those of the bands (image, radius, target, …).

    Every pixel of a band has its cell in the image's confusion matrix, so that the bands are kept as the pixels that
    each adds to the one before, cell by cell, and the confusion matrix as those outside of all bands.
    """
    put_images(columns, "confusion", confusion[:, 0], images)
    columns |= {"confusion.target": confusion[:, 1], "confusion.prediction": confusion[:, 2]}
    order = alike(confusion)
    bands = _as_bands(confusion, trimap)
    if bands is None:
        put_rows(columns, "trimap", trimap, images)
        columns["confusion.pixels"] = confusion[order, 3]
        return
    for radius, added in enumerate(np.diff(bands, axis=1, prepend=0).T):
        columns[f"trimap.added.{radius}"] = added[order]
    outside = confusion[:, 3] - (bands[:, -1] if bands.shape[1] else 0)
    columns["confusion.outside"] = outside[order]


def take_confusion(columns: Mapping[str, NDArray[Any]]) -> tuple[Integers, Integers]:
    """What `put_confusion` kept: confusion and trimap."""
    names = ("confusion.target", "confusion.prediction")
    cells = [columns[name] for name in names]
    lead = np.column_stack([take_images(columns, "confusion", len(cells[0])), *cells])
    back = np.argsort(alike(lead), kind="stable")
    if "confusion.pixels" in columns:
        return np.column_stack([lead, columns["confusion.pixels"][back]]), take_rows(columns, "trimap", 5)
    count = sum(1 for name in columns if name.startswith("trimap.added."))
    added = [columns[f"trimap.added.{radius}"][back] for radius in range(count)]
    bands = np.cumsum(added, axis=0).T if added else np.zeros((len(lead), 0), dtype=np.int64)
    pixels = columns["confusion.outside"][back] + (bands[:, -1] if count else 0)
    return np.column_stack([lead, pixels]), _from_bands(lead, bands)


def alike(cells: Integers) -> Integers:
    """An order of cells (image, target, prediction, …) in which those of like size stand together: hits, misses, …"""
    target, prediction = cells[:, 1], cells[:, 2]
    kind = np.where(target == prediction, np.minimum(target, 1), 2 + np.where(target == 0, 0, 1 + (prediction != 0)))
    return np.argsort(kind, kind="stable")


def _as_bands(confusion: Integers, trimap: Integers) -> Integers | None:
    """The pixels of each cell in each band, (cells, radii); None where the bands are not cells of the matrix."""
    radii = int(trimap[:, 1].max()) + 1 if len(trimap) else 0
    if len(trimap) and (trimap[:, 1].min() < 0 or radii > 64 or (confusion[:, :3] < 0).any()):
        return None
    side = int(max(confusion[:, 1:3].max(initial=0), trimap[:, 2:4].max(initial=0))) + 1
    keys = (confusion[:, 0] * side + confusion[:, 1]) * side + confusion[:, 2]
    wanted = (trimap[:, 0] * side + trimap[:, 2]) * side + trimap[:, 3]
    place = np.searchsorted(keys, wanted)
    if (
        (np.diff(keys) <= 0).any()
        or (place >= len(keys)).any()
        or (keys[np.minimum(place, len(keys) - 1)] != wanted).any()
    ):
        return None
    bands = np.zeros((len(confusion), radii), dtype=np.int64)
    bands[place, trimap[:, 1]] = trimap[:, 4]
    return bands if np.array_equal(_from_bands(confusion, bands), trimap) else None


def _from_bands(lead: Integers, bands: Integers) -> Integers:
    """Rows (image, radius, target, prediction, pixels) of the cells that are not empty, image by image."""
    cell, radius = np.nonzero(bands)
    order = np.lexsort((cell, radius, lead[cell, 0]))
    cell, radius = cell[order], radius[order]
    return np.column_stack([lead[cell, 0], radius, lead[cell, 1:3], bands[cell, radius]])


# -- boundary statistics -----------------------------------------------------------------------------------------------


def put_surfaces(
    columns: Columns, integers: Integers, floats: Mapping[str, Floats], confusion: Integers, images: int
) -> None:
    """Keep the boundary statistics of classes.

    Args:
        columns: takes them.
        integers: (s, 4): image, label, pixels in both bands and in either.
        floats: (s,) each: lengths and distances by name.
        confusion: (n, 4), which mostly says what classes there are.
        images: how many there are.
    """
    if not np.array_equal(integers[:, :2], _classes_of(confusion)):
        put_images(columns, "surface", integers[:, 0], images)
        columns["surface.label"] = integers[:, 1]
    first, order, without = _orders(integers[:, 1], floats)
    columns["surface.band.intersection"] = integers[order, 2]
    columns["surface.band.rest"] = (integers[:, 3] - integers[:, 2])[order]
    whole: dict[str, Integers] = {}
    for name, values in floats.items():
        by = first if name in _EDGES else order
        found = _whole(values)
        if found is None:
            put_floats(columns, f"surface.{name}", values[by], without[by] if name in _DISTANCES else None)
            continue
        whole[name] = found
        like = whole.get(_LIKE.get(name, ""))
        columns[f"surface.{name}"] = (found if like is None else found - like)[by]


def take_surfaces(
    columns: Mapping[str, NDArray[Any]], names: tuple[str, ...], confusion: Integers
) -> tuple[Integers, Floats]:
    """What `put_surfaces` kept.

    Args:
        columns: have them.
        names: of the lengths and distances, in their order.
        confusion: (n, 4)
    """
    lead = _classes_of(confusion)
    if "surface.label" in columns:
        label = columns["surface.label"]
        lead = np.column_stack([take_images(columns, "surface", len(label)), label])
    found: dict[str, Floats] = {}
    whole: dict[str, Integers] = {}
    back = np.argsort(np.argsort(lead[:, 1] != 0, kind="stable"), kind="stable")
    without = None
    for name in (*_EDGES, *(name for name in names if name not in _EDGES)):
        if len(found) == len(_EDGES):
            _, order, without = _orders(lead[:, 1], found)
            back, without = np.argsort(order, kind="stable"), without[order]
        stored = columns.get(f"surface.{name}")
        if stored is None:
            found[name] = take_floats(columns, f"surface.{name}", without if name in _DISTANCES else None)[back]
            continue
        like = whole.get(_LIKE.get(name, ""))
        whole[name] = stored[back] if like is None else stored[back] + like
        found[name] = whole[name].astype(np.float64)
    intersection = columns["surface.band.intersection"][back]
    integers = np.column_stack([lead, intersection, intersection + columns["surface.band.rest"][back]])
    return integers, np.column_stack([found[name] for name in names])


def _orders(label: Integers, floats: Mapping[str, Floats]) -> tuple[Integers, Integers, NDArray[np.bool_]]:
    """Orders in which what is alike stands together: for the lengths of boundaries, for the rest; and who has none."""
    without = (floats[_EDGES[0]] == 0) | (floats[_EDGES[1]] == 0)
    kind = np.where(without, 2, label != 0)
    return np.argsort(label != 0, kind="stable"), np.argsort(kind, kind="stable"), without


def _classes_of(confusion: Integers) -> Integers:
    """(image, label) of every class that target or prediction of an image holds, in order."""
    side = int(confusion[:, 1:3].max(initial=0)) + 1
    keys = np.unique(np.concatenate([confusion[:, 0] * side + confusion[:, i] for i in (1, 2)]))
    return np.column_stack([keys // side, keys % side])


# -- floating-point numbers --------------------------------------------------------------------------------------------


def put_floats(columns: Columns, name: str, values: Floats, undefined: NDArray[np.bool_] | None = None) -> None:
    """Keep numbers bit for bit: distances between pixels, which are roots of whole numbers, by their squares.

    Args:
        columns: takes them.
        name: theirs.
        values: (n,)
        undefined: (n,) where they are NaN, as far as another column says; None where none does.
    """
    nan = np.isnan(values)
    if (values[nan].view(np.int64) != np.array(np.nan).view(np.int64)).any():
        columns[f"{name}.bits"] = values
        return
    if undefined is None or not np.array_equal(nan, undefined):
        columns[f"{name}.undefined"] = nan.astype(np.int64)
    defined = values[~nan]
    with np.errstate(over="ignore", invalid="ignore"):
        squares = np.round(defined * defined)
        root = (squares < _EXACT) & (np.sqrt(squares) == defined) & ~np.signbit(defined)
    if not root.all():
        columns[f"{name}.root"] = root.astype(np.int64)
        columns[f"{name}.rest"] = defined[~root]
    columns[f"{name}.squares"] = squares[root].astype(np.int64)


def take_floats(columns: Mapping[str, NDArray[Any]], name: str, undefined: NDArray[np.bool_] | None = None) -> Floats:
    """What `put_floats` kept."""
    if f"{name}.bits" in columns:
        return columns[f"{name}.bits"]
    if f"{name}.undefined" in columns:
        undefined = columns[f"{name}.undefined"] != 0
    if undefined is None:
        raise ValueError(f"{name}: nothing says which are defined")
    defined = np.sqrt(columns[f"{name}.squares"].astype(np.float64))
    if f"{name}.root" in columns:
        root, roots = columns[f"{name}.root"] != 0, defined
        defined = np.empty(len(root))
        defined[root], defined[~root] = roots, columns[f"{name}.rest"]
    values = np.full(len(undefined), np.nan)
    values[~undefined] = defined
    return values


def _whole(values: Floats) -> Integers | None:
    """The same as whole numbers, where they are such."""
    if not (np.isfinite(values).all() and (abs(values) < _EXACT).all()):
        return None
    found = values.astype(np.int64)
    return found if np.array_equal(found.astype(np.float64).view(np.int64), values.view(np.int64)) else None
