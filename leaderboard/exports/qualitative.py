"""Photograph, truth and what each network predicted, side by side: from the gallery, or at full size."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.datasets import Dataset
from harness.datasets.base import read_labels
from harness.datasets.palette import VOID_COLOR
from harness.errors import ArtifactsError, BenchError, DataError
from harness.results import Store
from harness.scoring.keep import PREDICTIONS
from leaderboard.boards.board import Board, Row
from leaderboard.exports.drawing import Texts, new_figure
from leaderboard.queries.load import Data, ScoredRun, load_gallery
from leaderboard.tables.table import mark

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

Labels = NDArray[np.uint8]
# Images and models where none are named.
IMAGES, MODELS = 4, 4
# A picture of a gallery is far smaller; a database may be a stranger's.
_SIDE = 4096


@dataclass(frozen=True)
class Picture:
    """A row of the figure."""

    image_id: str
    photo: NDArray[np.uint8]
    """(H, W, 3)"""
    truth: Labels
    """(H, W)"""
    predictions: tuple[Labels | None, ...]
    """(H, W) each, in the order of the models; None where a model's label map is not kept."""


def chosen_rows(board: Board, models: Sequence[str]) -> list[Row]:
    """The rows to show: those named, else the first that are ranked.

    Raises:
        BenchError: a name is not on the board.
    """
    if not models:
        return [row for row in board.rows if row.cell.scored][:MODELS]
    found = []
    for name in models:
        row = next((row for row in board.rows if row.model == name and row.cell.scored), None)
        if row is None:
            known = ", ".join(dict.fromkeys(row.model for row in board.rows if row.cell.scored))
            raise BenchError(f"the board {board.title} has no scored row {name!r}", f"It has: {known}.")
        found.append(row)
    return found


def shown_run(row: Row) -> ScoredRun:
    """The run that stands for a row in pictures: of its cell the lowest seed that ended well."""
    return min(row.cell.scored, key=lambda run: (run.seed, run.run_id))


def gallery_pictures(store: Store, board: Board, rows: Sequence[Row], images: Sequence[str]) -> list[Picture]:
    """The small copies that the database keeps.

    Raises:
        BenchError: it keeps none of these images, or, as a published file, no photographs.
    """
    runs = [shown_run(row).run_id for row in rows]
    kept = [one for one in load_gallery(store, board.data.test_manifest, runs) if one.image]
    names = [one.image_id for one in kept]
    if not kept:
        raise BenchError(
            f"{store.name} has no photographs of {board.data.title}",
            "Where the data set and the label maps are, --full-size --data-dir DIR shows them.",
        )
    for name in images:
        if name not in names:
            raise BenchError(f"the gallery has no image {name!r}", f"It has: {', '.join(names)}. Others: --full-size.")
    wanted = list(images) or _spread(names)
    found = []
    for one in sorted((k for k in kept if k.image_id in wanted), key=lambda k: wanted.index(k.image_id)):
        maps = tuple(_labels(one.predictions[run]) if run in one.predictions else None for run in runs)
        found.append(Picture(one.image_id, _photo(one.image), _labels(one.target), maps))
    return found


def full_pictures(store: Store, rows: Sequence[Row], dataset: Dataset, images: Sequence[str]) -> list[Picture]:
    """The data set's own images, and the label maps that the runs keep.

    Raises:
        BenchError: an image is none of the test split's, or no label map of it is kept.
    """
    ids = dataset.ids("test")
    for name in images:
        if name not in ids:
            raise BenchError(f"{dataset.info.title} has no test image {name!r}")
    wanted = list(images) or _spread(ids)
    found = []
    for name in wanted:
        sample = dataset.read(name)
        maps = tuple(_kept(store, shown_run(row), name) for row in rows)
        if not any(one is not None for one in maps):
            raise BenchError(
                f"no label map of {name} is kept", "Without --full-size the gallery's small copies are shown."
            )
        found.append(Picture(name, sample.image, sample.mask, maps))
    return found


def _kept(store: Store, run: ScoredRun, image_id: str) -> Labels | None:
    try:
        path = store.artifacts.run(run.fingerprint).fetch(f"{PREDICTIONS}/test/{image_id}.png")
        return read_labels(path)
    except (DataError, ArtifactsError):
        return None


def _spread(names: Sequence[str]) -> list[str]:
    """Some names, evenly spaced."""
    step = max(1.0, len(names) / IMAGES)
    return [names[int(i * step)] for i in range(min(IMAGES, len(names)))]


def _photo(data: bytes) -> NDArray[np.uint8]:
    return np.asarray(_opened(data, "JPEG").convert("RGB"))


def _labels(data: bytes) -> Labels:
    image = _opened(data, "PNG")
    if image.mode not in ("P", "L", "1"):
        raise BenchError(f"the gallery holds a label map that is a picture of mode {image.mode}")
    return np.asarray(image, dtype=np.uint8)


def _opened(data: bytes, format: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=(format,))
        if max(image.size) > _SIDE:
            raise BenchError(f"the gallery holds a picture of {image.width} × {image.height} pixels")
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BenchError(f"the gallery holds a picture that cannot be decoded: {error}") from error
    return image


def qualitative_figure(
    pictures: Sequence[Picture], rows: Sequence[Row], data: Data, texts: Texts, width: float
) -> Figure:
    """A row for each image: photograph, truth, and each model's label map in the data set's colours, with their names.

    Args:
        pictures: the images.
        rows: the models, as the predictions are ordered.
        data: classes and colours.
        texts: makes names fit.
        width: in centimetres.
    """
    columns = 2 + len(rows)
    side = width / columns
    heights = [side * p.truth.shape[0] / p.truth.shape[1] for p in pictures]
    present = sorted(
        {int(v) for p in pictures for m in (p.truth, *p.predictions) if m is not None for v in np.unique(m)}
    )
    classes = [v for v in present if v < len(data.classes)]
    across = max(1, int(width / 2.8))
    legend = -(-(len(classes) + 1) // across)
    figure = new_figure(width, sum(heights) + 0.6 + 0.45 * legend + 0.08 * len(pictures))
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0)  # type: ignore[union-attr, call-arg]
    plots = figure.subplots(len(pictures), columns, squeeze=False, height_ratios=heights)
    heads = ["image", "truth", *(texts(row.model + mark(row), 30) for row in rows)]
    for line, picture in zip(plots, pictures, strict=True):
        shown = (picture.photo, *(in_colour(m, data) for m in (picture.truth, *picture.predictions)))
        for axes, pixels in zip(line, shown, strict=True):
            if pixels is None:
                axes.text(0.5, 0.5, "not kept", ha="center", va="center", transform=axes.transAxes)
            else:
                axes.imshow(pixels, interpolation="nearest", aspect="equal")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
    for axes, head in zip(plots[0], heads, strict=True):
        axes.set_title(head, pad=3)
    handles = [_patch(data.palette[v], texts(data.classes[v], 30)) for v in classes]
    handles += [_patch(VOID_COLOR, "void")] if any(v >= len(data.classes) for v in present) else []
    figure.legend(handles=handles, loc="outside lower center", ncols=min(across, len(handles)), handlelength=1.0)
    return figure


def _patch(colour: tuple[int, int, int], label: str) -> Patch:
    from matplotlib.patches import Patch as Filled

    rgb = tuple(value / 255 for value in colour)
    return Filled(facecolor=rgb, edgecolor="#888888", linewidth=0.4, label=label)  # type: ignore[arg-type]


def in_colour(labels: Labels | None, data: Data) -> NDArray[np.uint8] | None:
    """A label map in the data set's colours; what is no class has the colour of void.

    Args:
        labels: (H, W).
        data: has the colours.

    Returns:
        (H, W, 3)
    """
    if labels is None:
        return None
    table = np.tile(np.array(VOID_COLOR, dtype=np.uint8), (256, 1))
    table[: len(data.palette)] = np.array(data.palette, dtype=np.uint8)
    found: NDArray[np.uint8] = table[labels]
    return found
