"""Any folder of images and masks, described by a small `dataset.yaml` in it."""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from harness.datasets.base import (
    SPLITS,
    Dataset,
    DatasetInfo,
    SampleFiles,
    open_image,
    read_list,
)
from harness.datasets.palette import voc_palette
from harness.errors import DataError, SuiteError
from harness.utils.bounded_regex import BadExpression, check_expression, first_groups
from harness.utils.text import plain_line, plain_text
from harness.utils.yaml_file import YamlFile, validate

FILE = "dataset.yaml"
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".gif", ".bmp")
VOID = 255

EXAMPLE = """\
A minimal dataset.yaml:
  name: kidney
  classes: [background, kidney]
  labels: {0: 0, 255: 1}         # value in the mask -> class; leave it out where masks hold 0, 1, 2, …
  splits: {train: 0.7, val: 0.15, test: 0.15}"""
INSIDE = "Images, masks and lists are files in the data set's own folder: put them there, or dataset.yaml above them."

SAY_VOID = (
    f"Say in {FILE} what the values mean: labels: {{0: 0, {VOID}: 1}} where {VOID} is a class, "
    f"labels: {{0: 0, {VOID}: void}} where it is void indeed."
)

Level = Annotated[int, Field(ge=0, le=255)]
Color = tuple[Level, Level, Level]


class Definition(BaseModel):
    """What a folder's `dataset.yaml` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    title: str = ""
    classes: tuple[str, ...] = Field(min_length=1, max_length=255)
    palette: tuple[Color, ...] | None = None
    """RGB of each class; None: PASCAL VOC's colors."""
    images: str = "images"
    masks: str = "masks"
    image_suffix: str = ""
    """What follows an id in an image's name, before the ending: `_rgb`."""
    mask_suffix: str = ""
    """What follows an id in a mask's name, before the ending: `_mask`."""
    encoding: Literal["labels", "colors"] = "labels"
    """`labels`: palette indices or grey values; with a table in `labels`, the greys of a palette that has nothing else
    (a GIF's). `colors`: RGB, looked up in `colors`, or in the palette."""
    labels: dict[Level, int | Literal["void"]] | None = None
    """Value in a mask -> class or void; None: values are classes, and 255 is void."""
    colors: dict[str, int | Literal["void"]] | None = None
    """`R,G,B` -> class or void; None: the palette. Black is void if it is none of them."""
    threshold: int | None = Field(None, ge=1, le=255)
    """Binary sets with grey edges: values from here on are class 1, the others class 0."""
    splits: dict[str, str | float] = {"train": 0.7, "val": 0.15, "test": 0.15}
    """A text file with one id a line for each split, or the share of each; `test` alone where nothing trains on it."""
    seed: int = 0
    """Of a split by shares."""
    group: str | None = None
    """A regular expression whose first group names the patient or sequence of an id; shares keep those together."""
    background: int | None = 0
    foreground: int | None = None
    license: str = ""
    citation: str = ""
    homepage: str = ""

    @field_validator("classes", "images", "masks", "image_suffix", "mask_suffix", "splits")
    @classmethod
    def _plain_lines(cls, value: Any) -> Any:
        for text in value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]:
            if isinstance(text, str) and plain_line(text) != text.strip():
                raise ValueError("one short line without control characters is needed")
        return value

    @field_validator("title", "license", "citation", "homepage")
    @classmethod
    def _plain_text(cls, value: str) -> str:
        if plain_text(value) != value:
            raise ValueError("a text without control characters is needed")
        return value

    @field_validator("group")
    @classmethod
    def _searchable(cls, value: str | None) -> str | None:
        if value is not None:
            check_expression(value)
        return value

    @model_validator(mode="after")
    def _fits(self) -> Definition:
        count = len(self.classes)
        for field in ("background", "foreground"):
            label = getattr(self, field)
            if label is not None and not 0 <= label < count:
                raise ValueError(f"{field}: there is no class {label}")
        if self.palette is not None and len(self.palette) != count:
            raise ValueError(f"palette: {len(self.palette)} colors for {count} classes")
        for label in [*(self.labels or {}).values(), *(self.colors or {}).values()]:
            if label != "void" and not 0 <= label < count:
                raise ValueError(f"labels and colors: there is no class {label}")
        if self.foreground is not None and count != 2:
            raise ValueError("foreground: only for two classes")
        if self.threshold is not None and count != 2:
            raise ValueError("threshold: only for two classes")
        kinds = {type(value) for value in self.splits.values()}
        if not self.splits.keys() & {"train", "test"} or self.splits.keys() - set(SPLITS) or len(kinds) != 1:
            raise ValueError("splits: train, val and test, or test alone; either all are files, or all are shares")
        shares = [value for value in self.splits.values() if isinstance(value, float)]
        if not all(0 <= share <= 1 for share in shares) or sum(shares) > 1 + 1e-9:  # also of what is no number
            raise ValueError("splits: shares are positive and add up to at most 1")
        for color in self.colors or ():
            _parse_color(color)
        return self

    def label_table(self) -> str:
        """What the values in the masks mean, as canonical JSON: the same for definitions that read them alike."""
        table: dict[str, Any]
        if self.encoding == "colors":
            palette = self.palette or voc_palette(len(self.classes))
            named = self.colors or {",".join(map(str, c)): n for n, c in enumerate(palette)}
            table = {"colors": {",".join(map(str, _parse_color(color))): label for color, label in named.items()}}
        elif self.threshold is not None:
            table = {"threshold": self.threshold}
        else:
            plain = {**{label: label for label in range(len(self.classes))}, VOID: "void"}
            table = {"values": {str(value): label for value, label in (self.labels or plain).items()}}
        return json.dumps(table, sort_keys=True, separators=(",", ":"))


def _parse_color(text: str) -> Color:
    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) <= 255 for part in parts):
        raise ValueError(f"colors: {text!r} is not R,G,B")
    return int(parts[0]), int(parts[1]), int(parts[2])


def read_definition(root: Path) -> Definition:
    """Read a folder's `dataset.yaml`.

    Raises:
        DataError: it is missing, or has a mistake; names line and field.
    """
    path = root / FILE
    if not path.is_file():
        raise DataError(f"{path}: this file is missing; it must say what the labels mean", EXAMPLE)
    try:
        file = YamlFile.read(path)
        if file.data is not None and not isinstance(file.data, dict):
            raise SuiteError(f"{path}:1: a data set's definition is a mapping of fields")
        data = file.data or {}
        # A binary set's foreground is its second class, unless the file says otherwise.
        if isinstance(data.get("classes"), list) and len(data["classes"]) == 2:
            data.setdefault("foreground", 1)
        definition = validate(Definition, {"name": root.resolve().name} | data, file, str(path))
    except SuiteError as error:
        raise DataError(error.message, EXAMPLE) from error
    named: list[tuple[tuple[str, ...], str]] = [(("images",), definition.images), (("masks",), definition.masks)]
    named += [(("splits", split), name) for split, name in definition.splits.items() if isinstance(name, str)]
    for place, name in named:
        if problem := _leaves(root, name):
            raise DataError(f"{path}:{file.line(place)}: {'.'.join(place)}: {name!r} {problem}", INSIDE)
    return definition


def _leaves(root: Path, name: str) -> str:
    """Why a path is not one below a folder, whatever links it has; empty where it is."""
    if Path(name).is_absolute() or ".." in Path(name).parts:
        return "is no plain path below the data set's folder"
    try:
        found = (root / name).resolve()
        home = root.resolve()
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle; a name with a NUL
        return f"cannot be followed ({error})"
    return "" if found.is_relative_to(home) else f"leads out of the data set's folder, to {found}"


class FolderDataset(Dataset):
    """A folder with images, masks and a definition; `folder_class` makes one for each definition."""

    definition: ClassVar[Definition]
    folders = (".",)
    marker = FILE

    def read_splits(self) -> dict[str, list[str]]:
        """Pair images with masks, then take the lists, or cut by shares."""
        d = self.definition
        self._images = self._named(d.images, d.image_suffix)
        self._masks = self._named(d.masks, d.mask_suffix)
        lonely = sorted(self._images.keys() ^ self._masks.keys())
        if any(isinstance(value, str) for value in d.splits.values()):
            return {split: self._read_list(str(d.splits[split])) if split in d.splits else [] for split in SPLITS}
        if lonely:
            kind, other = ("image", "mask") if lonely[0] in self._images else ("mask", "image")
            path = (self._images | self._masks)[lonely[0]]
            more = f"; {len(lonely) - 1} more are alone" if len(lonely) > 1 else ""
            raise DataError(f"{path}: this {kind} has no {other}{more}", "Set image_suffix and mask_suffix, or lists.")
        return self._cut(sorted(self._images))

    def _named(self, folder: str, suffix: str) -> dict[str, Path]:
        """Id -> file, of every image file in a folder."""
        self._refuse_outside(folder)
        place = self.root / folder
        if not place.is_dir():
            raise DataError(f"{place}: there is no such folder", EXAMPLE)
        found: dict[str, Path] = {}
        for path in sorted(place.rglob("*")):
            if path.suffix.lower() not in IMAGE_ENDINGS or path.name.startswith("."):
                continue
            name = path.relative_to(place).with_suffix("").as_posix()
            if not name.endswith(suffix):
                continue
            self._refuse_other_files(path)
            name = name.removesuffix(suffix)
            if name in found:
                raise DataError(f"{path}: {found[name].name} has the same id {name!r}")
            found[name] = path
        if not found:
            raise DataError(f"{place}: there is no image in it whose name ends with {suffix or 'a known ending'!r}")
        return found

    def _refuse_outside(self, name: str) -> None:
        if problem := _leaves(self.root, name):
            raise DataError(f"{self.root / name}: {problem}", INSIDE)

    def _refuse_other_files(self, path: Path) -> None:
        """Refuse what is no regular file, or is one of another folder: a pipe would be waited for, for ever."""
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                self._refuse_outside(path.relative_to(self.root).as_posix())
                mode = path.stat().st_mode
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
        if not stat.S_ISREG(mode):
            raise DataError(f"{path}: this is no regular file", INSIDE)

    def _read_list(self, name: str) -> list[str]:
        self._refuse_outside(name)
        path = self.root / name
        lines = read_list(path)
        ids = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        known = [str(Path(i).with_suffix("")) if i not in self._images and Path(i).suffix else i for i in ids]
        unknown = [i for i in known if i not in self._images]
        if unknown:
            place = self.root / self.definition.images
            raise DataError(f"{path}: {plain_line(unknown[0], 100)!r} is no image in {place}")
        return known

    def _cut(self, ids: list[str]) -> dict[str, list[str]]:
        """Deal groups out to the splits in an order that depends on seed and names alone."""
        groups: dict[str, list[str]] = {}
        for image_id in ids:
            groups.setdefault(self.group(image_id), []).append(image_id)

        def place(group: str) -> bytes:
            # What is no Unicode is refused afterwards, with every other id that cannot be.
            return hashlib.sha256(f"{self.definition.seed}/{group}".encode(errors="surrogateescape")).digest()

        order = sorted(groups, key=place)
        shares = [float(self.definition.splits.get(split, 0.0)) for split in SPLITS]
        ends = [round(sum(shares[: n + 1]) * len(order)) for n in range(len(SPLITS))]
        splits, first = {}, 0
        for split, end in zip(SPLITS, ends, strict=True):
            splits[split] = sorted(i for group in order[first:end] for i in groups[group])
            first = end
        return splits

    def files(self, image_id: str) -> SampleFiles:
        """Image and mask; a missing mask is named as it would be called."""
        mask = self._masks.get(image_id)
        folder = self.root / self.definition.masks
        return SampleFiles(self._images[image_id], mask or folder / f"{image_id}{self.definition.mask_suffix}.png")

    def truth(self, image_id: str) -> tuple[NDArray[np.uint8], NDArray[np.bool_] | None]:
        """The mask alone, through the definition's table.

        Raises:
            DataError: it holds a value or color that the table lacks.
        """
        path = self.files(image_id).mask
        d = self.definition
        image = open_image(path)
        if d.encoding == "colors":
            return self._from_colors(np.asarray(image.convert("RGB")), path), None
        if d.threshold is not None:
            return (np.asarray(image.convert("L")) >= d.threshold).astype(np.uint8), None
        if image.mode not in ("P", "L", "1"):
            raise DataError(
                f"{path}: a mask must be a palette or grey image, this one has mode {image.mode}",
                "For masks in color, set encoding: colors in dataset.yaml.",
                "mask in color",
            )
        if d.labels is None:
            return np.asarray(image, dtype=np.uint8), None
        values = np.asarray(image.convert("L") if has_grey_palette(image) else image, dtype=np.uint8)
        table = np.full(256, -1, dtype=np.int16)
        for value, label in d.labels.items():
            table[value] = VOID if label == "void" else label
        return self._known(table[values], values, path), None

    def _from_colors(self, pixels: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        d = self.definition
        named = {_parse_color(text): label for text, label in (d.colors or {}).items()}
        chosen: Mapping[Color, int | str] = named or {c: n for n, c in enumerate(self.info.palette)}
        packed = pixels.astype(np.int32) @ np.array([65536, 256, 1], dtype=np.int32)
        known = {
            r * 65536 + g * 256 + b: VOID if label == "void" else int(label) for (r, g, b), label in chosen.items()
        }
        known.setdefault(0, VOID)
        colors, places = np.unique(packed, return_inverse=True)
        table = np.array([known.get(int(c), -1) for c in colors], dtype=np.int16)
        return self._known(table[places.reshape(packed.shape)], packed, path)

    def _known(self, labels: NDArray[np.int16], values: NDArray[Any], path: Path) -> NDArray[np.uint8]:
        unknown = np.unique(values[labels < 0])
        if len(unknown):
            if self.definition.encoding == "colors":
                shown = "; ".join(f"{c >> 16},{c >> 8 & 255},{c & 255}" for c in map(int, unknown[:5]))
            else:
                shown = ", ".join(map(str, unknown[:5]))
            what = "color" if self.definition.encoding == "colors" else "value"
            raise DataError(f"{path}: {what}(s) {shown} are not in the table of {FILE}", kind="unknown label")
        return labels.astype(np.uint8)

    @property
    def void_is_assumed(self) -> bool:
        """Whether 255 is void only because the definition says nothing of what values mean."""
        d = self.definition
        return d.encoding == "labels" and d.labels is None and d.threshold is None

    def reading(self) -> str:
        """The definition."""
        return json.dumps(self.definition.model_dump(mode="json"), ensure_ascii=False, separators=(",", ":"))

    def group(self, image_id: str) -> str:
        """What the definition's expression finds in the id; the id itself where there is none."""
        return self._groups.get(image_id, image_id)

    @cached_property
    def _groups(self) -> dict[str, str]:
        """Id -> group, of the images in whose ids the expression is found."""
        pattern, ids = self.definition.group, sorted(self._images)
        if pattern is None:
            return {}
        try:
            groups = first_groups(pattern, ids)
        except BadExpression as error:
            raise DataError(f"{self.root / FILE}: group: {pattern!r}: {error}") from error
        return {image_id: group for image_id, group in zip(ids, groups, strict=True) if group is not None}


def has_grey_palette(image: Image.Image) -> bool:
    """Whether an image has a palette, and its pixels use nothing but greys of it."""
    palette = image.getpalette("RGB") if image.mode == "P" else None
    if not palette:
        return False
    colors = np.asarray(palette, dtype=np.uint8).reshape(-1, 3)
    used = colors[np.unique(np.asarray(image))]
    return bool((used == used[:, :1]).all())


def folder_class(definition: Definition) -> type[FolderDataset]:
    """The reader for one definition."""
    d = definition
    cut = d.splits
    lists = any(isinstance(value, str) for value in cut.values())
    told = "lists of its own" if lists else ", ".join(f"{split} {share:g}" for split, share in cut.items())
    info = DatasetInfo(
        name=d.name,
        title=d.title or d.name,
        classes=d.classes,
        palette=d.palette or voc_palette(len(d.classes)),
        variants={"lists" if lists else "shares": told},
        background=d.background,
        foreground=d.foreground,
        labels=d.label_table(),
        homepage=d.homepage,
        license=d.license,
        citation=d.citation,
    )
    return type("FolderDataset", (FolderDataset,), {"info": info, "definition": d})
