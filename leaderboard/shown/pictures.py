"""Pictures of scored images: where they come from, and the data of the image viewer."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sqlalchemy import select

from harness.datasets import open_dataset
from harness.datasets.base import Dataset
from harness.errors import BenchError
from harness.results import Store
from harness.results.schema import GalleryPrediction
from leaderboard.queries.load import Data, ScoredRun, load_gallery
from leaderboard.queries.sound import raw, reading

Labels = NDArray[np.uint8]
VOID = 255
# A stored picture of more pixels is not opened.
_MOST_PIXELS = 50_000_000
# A photograph is brought to this side: enough for a screen, with label maps at their full size.
_PHOTO_SIDE = 2048
_AT_ONCE = 500

# Colours that differ in lightness as well as in hue, for any kind of colour vision: Okabe and Ito, then Tol's muted and
# bright schemes (Tol, Colour Schemes, 2021). The first is for a background.
CLEAR = (
    (0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0),
    (204, 121, 167), (136, 34, 85), (68, 170, 153), (221, 204, 119), (51, 34, 136), (153, 153, 51), (136, 204, 238),
    (204, 102, 119), (17, 119, 51), (170, 68, 153), (187, 187, 187), (102, 17, 0), (238, 136, 102), (170, 255, 195),
    (119, 119, 119), (255, 204, 204), (34, 85, 85),
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """Where the pictures of a run come from."""

    run: ScoredRun
    files: Path | None
    """The folder of the run's files; None where they are not on this machine."""
    folder: Path | None
    """Its label maps at full size; None where they are not at hand."""


@dataclass(frozen=True)
class Picture:
    """One image with what runs predicted for it."""

    image_id: str
    photo: bytes | None
    """JPEG."""
    truth: Labels | None
    maps: dict[int, Labels]
    """Run -> label map; runs without one are left out."""
    from_artifacts: bool
    """Whether the label maps are those that were scored, at full size."""
    from_data: bool
    """Whether photograph and truth come from a copy of the data set."""


def source_of(store: Store, run: ScoredRun) -> Source:
    """Where a run's label maps are: in the artifacts of this machine, or only as small copies in the database."""
    if not re.fullmatch("[0-9a-f]{64}", run.fingerprint):
        return Source(run, None, None)  # a fingerprint that is none must not lead out of the artifacts
    files = store.artifacts.run(run.fingerprint)
    folder = files.local / "predictions" / "test"
    try:
        if files.remote or not files.local.is_dir():
            return Source(run, None, None)
        return Source(run, files.local, folder if folder.is_dir() else None)
    except OSError:
        return Source(run, None, None)


def pictured_ids(store: Store, runs: Sequence[int]) -> frozenset[str]:
    """The images of which the database keeps a small copy of any of these runs' label maps."""
    found: set[str] = set()
    ids = sorted(set(runs))
    with reading(store) as session:
        for start in range(0, len(ids), _AT_ONCE):
            query = select(raw(GalleryPrediction.image_id)).where(
                GalleryPrediction.run_id.in_(ids[start : start + _AT_ONCE])
            )
            found |= {str(name) for name in session.scalars(query.distinct())}
    return frozenset(found)


def map_file(folder: Path, image_id: str) -> Path | None:
    """The file of an image's label map; None where there is none, or an id leads out of the folder."""
    path = folder / f"{image_id}.png"
    try:
        inside = path.resolve().is_relative_to(folder.resolve())
        return path if inside and path.is_file() and not path.is_symlink() else None
    except (OSError, ValueError):
        return None


def labels_of(data: bytes | Path) -> Labels | None:
    """The labels (H, W) of a PNG of classes; None where it is none, or too large."""
    try:
        with Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=("PNG",)) as image:
            if image.width * image.height > _MOST_PIXELS or image.mode not in ("P", "L"):
                return None
            return np.asarray(image, dtype=np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def photo_of(data: bytes) -> bytes | None:
    """A stored photograph as it is; None where it is no JPEG or PNG, or too large."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            return data if image.width * image.height <= _MOST_PIXELS else None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def own_copy(data: Data, folder: Path | None, params: Mapping[str, Any]) -> Dataset | None:
    """The reader's own copy of a data set; None where there is none."""
    if folder is None:
        return None
    try:
        return open_dataset(data.name, data.variant, folder, obtain=False, params=params)
    except BenchError:
        return None


def picture(store: Store, data: Data, image_id: str, sources: Sequence[Source], own: Dataset | None) -> Picture:
    """One image as well as it can be shown.

    The label maps that were scored where they are at hand for every run, else the small copies of the database;
    photograph and truth from the reader's own copy of the data where it has the image, else the small copies too.
    """
    files = {s.run.run_id: s.folder and map_file(s.folder, image_id) for s in sources}
    maps = {run: read for run, path in files.items() if path and (read := labels_of(path)) is not None}
    full = bool(maps) and len(maps) == len(sources)
    kept = next(iter(load_gallery(store, data.test_manifest, list(files), [image_id])), None)
    if not full:
        stored = {} if kept is None else kept.predictions
        small = {run: read for run, png in stored.items() if (read := labels_of(png)) is not None}
        # Never two sizes beside one another: a difference between models would be one of copying.
        maps, full = (maps, True) if len(maps) > len(small) else (small, False)
    photo, truth, of_data = _of_data(own, image_id) if own is not None else (None, None, False)
    if not of_data and kept is not None:
        photo, truth = photo_of(kept.image), labels_of(kept.target)
    return Picture(image_id, photo, truth, maps, full, of_data)


def _of_data(own: Dataset, image_id: str) -> tuple[bytes | None, Labels | None, bool]:
    try:
        if image_id not in own.ids("test"):
            return None, None, False
        sample = own.read(image_id)
    except (BenchError, OSError):
        return None, None, False
    mask = sample.mask if sample.valid is None else np.where(sample.valid, sample.mask, VOID).astype(np.uint8)
    image = Image.fromarray(sample.image)
    image.thumbnail((_PHOTO_SIDE, _PHOTO_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return buffer.getvalue(), mask, True


def viewer_data(
    shown: Picture,
    data: Data,
    panels: Sequence[tuple[int, str, str]],
    background: int | None,
    options: Mapping[str, Any],
    steps: Mapping[str, Any] | None,
    reset: int = 0,
) -> dict[str, Any]:
    """The data of the image viewer.

    Args:
        shown: the image.
        data: its classes and colours.
        panels: run, title and what stands under it, in their order.
        background: the class that errors are told apart by; None where no class is the background.
        options: `mode`, `opacity`, `outline`, `palette`, `only`.
        steps: the images before and after, and a text; None where there are none.
        reset: raised when the options come from the address.
    """
    maps = [shown.maps[run] for run, _, _ in panels if run in shown.maps]
    sizes = [m.shape for m in [*maps, *([shown.truth] if shown.truth is not None else [])]]
    height, width = max(sizes, default=(1, 1), key=lambda size: size[0] * size[1])
    full = f"{shown.from_artifacts}{shown.from_data}"
    return {
        "version": f"{shown.image_id}/{','.join(str(run) for run, _, _ in panels)}/{full}",
        "image": shown.image_id,
        "width": int(width),
        "height": int(height),
        "photo": _text(shown.photo) if shown.photo else None,
        "photoType": "image/png" if shown.photo and shown.photo[:4] == b"\x89PNG" else "image/jpeg",
        "truth": None if shown.truth is None else grey_png(shown.truth),
        "panels": [
            {"id": str(run), "title": title, "sub": sub, "png": grey_png(shown.maps[run])}
            for run, title, sub in panels
            if run in shown.maps
        ],
        "classes": list(data.classes),
        "void": VOID,
        "background": background,
        "palettes": {"own": colours(data), "clear": clear_colours(len(data.classes))},
        "paletteNames": [["own", "of the data set"], ["clear", "easy to tell apart"]],
        "options": dict(options),
        "steps": None if steps is None else dict(steps),
        "small": len(panels) > 5,
        "reset": reset,
    }  # fmt: skip


def colours(data: Data) -> list[list[int]]:
    """The colours of a data set as whole numbers, whatever the database says."""
    return [[max(0, min(255, int(part))) for part in colour[:3]] for colour in data.palette]


def clear_colours(classes: int) -> list[list[int]]:
    """As many colours as there are classes; they repeat after 24."""
    return [list(CLEAR[i] if i < len(CLEAR) else CLEAR[1 + (i - 1) % (len(CLEAR) - 1)]) for i in range(classes)]


def grey_png(labels: Labels) -> str:
    """Labels as a PNG whose grey is the class, as text."""
    buffer = io.BytesIO()
    Image.fromarray(labels, mode="L").save(buffer, "PNG", compress_level=4)
    return _text(buffer.getvalue())


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def said_where(shown: Picture) -> str:
    """Where a picture comes from, in words."""
    if not shown.maps:
        return (
            "No label map of this image is kept here. `bench leaderboard --data-dir DIR` beside the artifacts of the "
            "runs shows every image."
        )
    maps = "Label maps at full size, as they were scored." if shown.from_artifacts else (
        "Label maps: small copies from the database; those that were scored are not at hand."
    )  # fmt: skip
    if shown.from_data:
        return f"{maps} Photograph and truth: from your copy of the data set."
    if shown.truth is not None or shown.photo is not None:
        return f"{maps} Photograph and truth: small copies from the database."
    return f"{maps} Photograph and truth belong to the data set and are not in this file: name a copy with --data-dir."
