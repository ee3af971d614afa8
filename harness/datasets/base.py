"""What a data set is: its facts, its splits, its samples and its manifest."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.datasets.palette import palette_image
from harness.errors import BenchError, DataError
from harness.utils.environment import setting
from harness.utils.reading import CannotRead, read_text
from harness.utils.text import plain_line, plain_text

SPLITS = ("train", "val", "test")
# Bytes of an image's id: its file has an ending, too.
LONGEST_ID = 200
# Millions of pixels that an image may have; SEGBENCH_MEGAPIXELS sets another limit.
MEGAPIXELS = 150.0

# What Pillow warns of is an error here.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

# Told, in a line, of anything that takes time.
Say = Callable[[str], None]
# Told how far that is: (what, done, of how many).
Tick = Callable[[str, int, int], None]
# The same where it is known what is counted: (done, of how many).
CountTick = Callable[[int, int], None]


@dataclass(frozen=True)
class DatasetInfo:
    """The facts of a data set that do not depend on a copy of it."""

    name: str
    title: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """RGB of each class."""
    variants: Mapping[str, str]
    """Data variant -> one line about it; the first is the default."""
    background: int | None = 0
    """The class left out of the means of boundary scores; None: every class counts."""
    foreground: int | None = None
    """Binary sets: the class that counts."""
    ignore_index: int = 255
    labels: str = ""
    """What the values in the masks mean, as canonical JSON, where a definition says it and not a class of the code."""
    trimap: str = "labels"
    """`void` where void marks the borders of objects, else `labels`."""
    categories: tuple[int, ...] | None = None
    """The category of each class, from 0, where the data set groups its classes."""
    homepage: str = ""
    license: str = ""
    citation: str = ""
    scored_in: tuple[str, ...] = ()
    """Names of collections, besides this data set's own, that hold the scored images: a network whose declared
    pretraining names one of them has seen what it is scored on."""

    @property
    def default_variant(self) -> str:
        """The variant a suite gets that names none."""
        return next(iter(self.variants))

    @property
    def protocol(self) -> dict[str, Any]:
        """The protocol's fields that follow from the data set."""
        return {"background": self.background, "trimap": self.trimap, "categories": self.categories}

    @property
    def headline(self) -> str:
        """The metric its board is ranked by: `iou[foreground]` for binary sets, else `miou`."""
        return "miou" if self.foreground is None else f"iou[{self.classes[self.foreground]}]"


@dataclass(frozen=True)
class SampleFiles:
    """The files one sample is read from."""

    image: Path
    mask: Path
    valid: Path | None = None

    def __iter__(self) -> Iterator[Path]:
        yield from (self.image, self.mask, *([self.valid] if self.valid else []))


@dataclass(frozen=True)
class Sample:
    """One decoded sample."""

    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    mask: NDArray[np.uint8]
    """(H, W) labels; the ignore label is void."""
    valid: NDArray[np.bool_] | None = None
    """(H, W) the region that counts, or None for all of it."""


@dataclass(frozen=True)
class Manifest:
    """File names, sizes and SHA-256 of every file of a variant, split by split."""

    splits: dict[str, dict[str, list[tuple[str, int, str]]]] = field(default_factory=dict)
    """split -> image id -> (name relative to the root, bytes, SHA-256) of each of its files."""

    # Computed once: every job of a suite asks.
    @cached_property
    def hash(self) -> str:
        """SHA-256 over all splits."""
        return self._digest(self.splits)

    def split_hash(self, split: str) -> str:
        """SHA-256 over one split: two copies with the same one are scored on the same images."""
        return self._digest(self.splits[split])

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over the samples of all splits, whatever split they are in: what a cache of them is called by."""
        return self._digest({i: files for split in self.splits.values() for i, files in split.items()})

    @staticmethod
    def _digest(value: Any) -> str:
        return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class Dataset(ABC):
    """A copy of a data set on disk, in its original layout.

    Args:
        root: the folder of the copy.
        variant: one of `info.variants`; None takes the default.

    Raises:
        DataError: there is no such variant, or the copy lacks what the variant needs.
    """

    info: ClassVar[DatasetInfo]
    folders: ClassVar[tuple[str, ...]]
    """Where a copy is looked for, relative to the data folder; the first is where a download goes."""
    marker: ClassVar[str]
    """A path inside a copy that tells it is one."""
    generated: ClassVar[bool] = False
    """Whether the project makes it itself; such a copy always stands in ./data."""

    def __init__(self, root: Path, variant: str | None = None) -> None:
        self.root = root
        self.variant = variant or self.info.default_variant
        if self.variant not in self.info.variants:
            raise DataError(
                f"{self.info.name} has no variant {self.variant!r}",
                f"It has: {', '.join(self.info.variants)}.",
            )
        self._splits = self.read_splits()
        for split, ids in self._splits.items():
            for image_id in ids:
                if problem := problem_of_id(image_id):
                    raise DataError(f"{self.root}: the image id {plain_line(image_id)!r} of {split} {problem}")

    @classmethod
    def find(cls, data_dir: Path) -> Path | None:
        """The folder of a copy under the data folder (or the data folder itself), or None."""
        for folder in (*cls.folders, "."):
            if (data_dir / folder / cls.marker).exists():
                return (data_dir / folder).resolve()
        return None

    @classmethod
    def obtain(cls, data_dir: Path, say: Say, tick: Tick | None = None) -> Path:
        """Download or make a copy. Nothing half-written stays in its place.

        Raises:
            DataError: it cannot be had from here; says what was looked for, where, and how to get it.
        """
        raise DataError(cls.not_found(data_dir), cls.how_to_get(data_dir))

    @classmethod
    def complete(cls, root: Path, variant: str | None, data_dir: Path, say: Say, tick: Tick | None = None) -> None:
        """Download what a variant needs besides a copy.

        Raises:
            DataError: it cannot be had from here.
        """
        return

    @classmethod
    def not_found(cls, data_dir: Path) -> str:
        """What was looked for, and where."""
        places = "\n".join(f"  {data_dir / folder / cls.marker}" for folder in cls.folders)
        return f"{cls.info.title} was not found. Looked for:\n{places}"

    @classmethod
    def how_to_get(cls, data_dir: Path) -> str:
        """What to do when no copy is there."""
        return (
            f"Get it from {cls.info.homepage} and put it at {data_dir / cls.folders[0]}, or name the folder that "
            f"holds it with --data-dir DIR or SEGBENCH_DATA=DIR.\n"
            f"Without any data set, this runs: bench run --suite demo"
        )

    @abstractmethod
    def read_splits(self) -> dict[str, list[str]]:
        """The ids of each of `SPLITS` in a fixed order; a split may be empty."""

    @abstractmethod
    def files(self, image_id: str) -> SampleFiles:
        """The files of one sample."""

    @abstractmethod
    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask (H, W) of one sample, and the region (H, W) that counts or None for all of it; without the image.

        Raises:
            DataError: a file is missing or corrupt; names it.
        """

    def read(self, image_id: str) -> Sample:
        """Decode one sample.

        Raises:
            DataError: a file is missing, corrupt or does not match; names it.
        """
        files = self.files(image_id)
        sample = Sample(read_rgb(files.image), *self.truth(image_id))
        check_sample(sample, files, self.info)
        return sample

    def file_name(self, path: Path) -> str:
        """What a file is called in the manifest, wherever the copy stands."""
        return path.relative_to(self.root).as_posix()

    def reading(self) -> str:
        """What else than the files decides the decoded samples; two equal ones read the same files alike."""
        return ""

    def server_file(self, image_id: str, labels: NDArray[np.uint8]) -> tuple[str, Image.Image]:
        """What the data set's test server wants for an image: the file's name, and the image to save there as PNG.

        Args:
            image_id: the image.
            labels: (H, W) predicted labels.
        """
        return f"{image_id}.png", palette_image(labels, self.info.palette)

    def group(self, image_id: str) -> str:
        """The sequence or city an image belongs to; its own id where there are none."""
        return image_id

    def ids(self, split: str, limit: int | None = None) -> list[str]:
        """The ids of a split, or the first `limit` of them."""
        return self._splits[split][:limit]

    @property
    def val_is_test(self) -> bool:
        """Whether the checkpoint is chosen on the very images that are scored."""
        return bool(set(self._splits["val"]) & set(self._splits["test"]))


def problem_of_id(image_id: str) -> str:
    """Why an image's id cannot be the name of a file below a folder, nor a line of a list; empty where it can."""
    if plain_text(image_id) != image_id or "\n" in image_id or "\t" in image_id:
        return "has characters that no line of a list can hold"
    if not image_id or len(image_id.encode()) > LONGEST_ID:
        return f"has no character, or more than {LONGEST_ID} bytes"
    if image_id.startswith("/") or "\\" in image_id or any(part in ("", ".", "..") for part in image_id.split("/")):
        return "is no plain path below a folder"
    return ""


def read_list(path: Path) -> list[str]:
    """The lines of a list of images.

    Raises:
        DataError: it is missing, or no text of a size that a list has.
    """
    if not os.path.lexists(path):
        raise DataError(f"{path}: this list is missing")
    try:
        return read_text(path).splitlines()
    except CannotRead as error:
        raise DataError(f"{path}: this list {error}") from error


def open_image(path: Path) -> Image.Image:
    """Open and decode an image.

    Raises:
        DataError: it is missing, is larger than allowed, or cannot be decoded; names it.
    """
    try:
        image = open_header(path)
        image.load()
    except (OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        raise DataError(f"{path}: cannot be decoded: {error}", kind="broken") from error
    return image


def open_header(path: Path) -> Image.Image:
    """Open an image without decoding it.

    Raises:
        DataError: it is missing, is larger than allowed, or its header cannot be read; names it.
    """
    most = pixel_limit()
    Image.MAX_IMAGE_PIXELS = most  # Pillow refuses from twice as many on, before it reserves memory for them
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DataError(f"{path}: is no regular file", kind="broken")
        image = Image.open(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: this file is missing", kind="missing") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path, most) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, TypeError, struct.error) as error:
        raise DataError(f"{path}: cannot be decoded: {error}", kind="broken") from error
    if image.width * image.height > most:
        image.close()
        raise _too_large(path, most)
    return image


def _too_large(path: Path, most: int) -> DataError:
    return DataError(
        f"{path}: the image has more than {most / 1e6:g} million pixels",
        "Where it is as it should be, set SEGBENCH_MEGAPIXELS to more.",
        "too large",
    )


def pixel_limit() -> int:
    """Pixels that an image may have.

    Raises:
        BenchError: SEGBENCH_MEGAPIXELS is no number above 0.
    """
    given = setting("SEGBENCH_MEGAPIXELS")
    try:
        pixels = int(float(given or MEGAPIXELS) * 1e6)
    except (ValueError, OverflowError):
        pixels = 0
    if pixels < 1:
        raise BenchError(f"SEGBENCH_MEGAPIXELS={given}: write millions of pixels, such as 400")
    return pixels


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """Decode an image to (H, W, 3) RGB; grey and palette images are converted."""
    return np.asarray(open_image(path).convert("RGB"))


def read_labels(path: Path) -> NDArray[np.uint8]:
    """Decode a label map to (H, W): palette indices or grey values, never colors.

    Raises:
        DataError: it is in color, or deeper than 8 bits.
    """
    image = open_image(path)
    if image.mode not in ("P", "L", "1"):
        raise DataError(
            f"{path}: a mask must be a palette or grey image, this one has mode {image.mode}", kind="mask in color"
        )
    return np.asarray(image, dtype=np.uint8)


def check_sample(sample: Sample, files: SampleFiles, info: DatasetInfo) -> None:
    """Refuse a mask that does not fit its image, or holds labels that do not exist.

    Raises:
        DataError: names the files, and what differs.
    """
    if sample.image.shape[:2] != sample.mask.shape:
        (h, w), (mh, mw) = sample.image.shape[:2], sample.mask.shape
        raise DataError(
            f"{files.mask}: the mask is {mw}×{mh}, its image {files.image.name} is {w}×{h}", kind="sizes differ"
        )
    if sample.valid is not None and sample.valid.shape != sample.mask.shape:
        raise DataError(f"{files.valid}: the valid region does not have the size of the mask", kind="sizes differ")
    present = np.flatnonzero(np.bincount(sample.mask.ravel(), minlength=256))
    unknown = [int(v) for v in present if v >= len(info.classes) and v != info.ignore_index]
    if unknown:
        raise DataError(
            f"{files.mask}: label(s) {', '.join(map(str, unknown[:5]))} do not exist; {info.name} has "
            f"0..{len(info.classes) - 1} and {info.ignore_index} for void",
            f"In a dataset.yaml, `labels` says what each value is, e.g. {{0: 0, {unknown[0]}: void}}.",
            kind="unknown label",
        )
