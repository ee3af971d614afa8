"""Whether a copy of a data set is sound: everything that `bench check-data` looks for, each finding in a line."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import combinations
from os import cpu_count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from scipy.fft import dctn

from harness.datasets.base import SPLITS, Dataset, Manifest, Sample
from harness.errors import DataError

Tick = Callable[[int, int], None]

# Perceptual hashes (64 bits) that differ in so few bits may show the same scene; their thumbnails then decide.
NEAR_BITS = 10
THUMB_SIDE = 32
# Mean absolute difference of two thumbnails, after equal brightness and contrast, below which they are one picture.
NEAR_DIFFERENCE = 0.2
# The share of pixels beyond which a single grey value is no photograph.
FLAT_SHARE = 0.999
# Findings of a kind that are named one by one.
SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, or strange."""

    kind: str
    """A fixed short name, such as `missing`."""
    message: str
    """One line: where, and what."""
    severity: str = "error"
    """`error`: a run on this copy stops before training. `warning`: look at it."""


@dataclass(frozen=True)
class Seen:
    """What one sample was found to hold."""

    findings: tuple[Finding, ...] = ()
    files: tuple[tuple[str, int, str], ...] = ()
    image_digest: str = ""
    """SHA-256 of the decoded image, whatever file it came from."""
    mask_digest: str = ""
    thumb: NDArray[np.float32] | None = None
    """The image in grey at 32×32."""
    counts: NDArray[np.int64] | None = None
    """Pixels of each label, 255 included, inside the valid region."""
    size: tuple[int, int] = (0, 0)


@dataclass
class Checkup:
    """What was found, and the facts of a copy."""

    dataset: Dataset
    findings: list[Finding] = field(default_factory=list)
    manifest: Manifest | None = None
    """None where files are missing or broken."""
    images: dict[str, int] = field(default_factory=dict)
    """Images of each split."""
    pixels: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Split -> pixels of each label (256)."""
    holding: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    """Split -> images that hold each label (256)."""
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(height, width) -> images."""

    @property
    def errors(self) -> list[Finding]:
        """The findings that stop a run."""
        return [finding for finding in self.findings if finding.severity == "error"]


def check_lists(dataset: Dataset) -> list[Finding]:
    """What is wrong with the splits themselves; no image is opened."""
    found = []
    for split in SPLITS:
        ids = dataset.ids(split)
        for image_id, count in Counter(ids).items():
            if count > 1:
                found.append(Finding("listed twice", f"{split}: {image_id} stands {count} times in the list"))
    for one, other in combinations(SPLITS, 2):
        both = set(dataset.ids(one)) & set(dataset.ids(other))
        if not both or (one, other) == ("val", "test"):
            continue  # a variant may choose on the scored images; its rows say so
        shown = ", ".join(sorted(both)[:SHOWN]) + (", …" if len(both) > SHOWN else "")
        found.append(Finding("in two splits", f"{len(both)} image(s) are in {one} and in {other}: {shown}"))
    if not dataset.ids("train"):
        found.append(Finding("empty split", "train has no image"))
    if not dataset.ids("test"):
        found.append(Finding("empty split", "test has no image"))
    groups = {split: {dataset.group(i) for i in dataset.ids(split)} for split in SPLITS}
    for one, other in (("train", "val"), ("train", "test")):
        shared = groups[one] & groups[other] - set(dataset.ids(one)) - set(dataset.ids(other))
        if shared:
            text = ", ".join(sorted(shared)[:SHOWN]) + (", …" if len(shared) > SHOWN else "")
            message = f"{len(shared)} sequence(s) or group(s) have images in {one} and in {other}: {text}"
            found.append(Finding("shared group", message, "warning"))
    return found


def check(dataset: Dataset, tick: Tick = lambda done, total: None) -> Checkup:
    """Open every file of a copy and compare what is in them.

    Args:
        dataset: the copy.
        tick: told how many samples are done, of how many.
    """
    result = Checkup(dataset, check_lists(dataset))
    wanted = {split: list(dict.fromkeys(dataset.ids(split))) for split in SPLITS}
    unique = list(dict.fromkeys(i for ids in wanted.values() for i in ids))
    result.images = {split: len(ids) for split, ids in wanted.items()}
    seen: dict[str, Seen] = {}
    with ThreadPoolExecutor(max_workers=min(8, cpu_count() or 1)) as pool:
        for done, (image_id, one) in enumerate(zip(unique, pool.map(lambda i: look(dataset, i), unique), strict=True)):
            seen[image_id] = one
            result.findings += one.findings
            result.sizes[one.size] += one.counts is not None
            tick(done + 1, len(unique))
    result.findings += _strays(dataset, unique)
    result.findings += _repeated(seen, wanted)
    result.findings += _near(seen, wanted)
    for split, ids in wanted.items():
        counts = [c for i in ids if (c := seen[i].counts) is not None]
        result.pixels[split] = np.sum(counts, axis=0, dtype=np.int64) if counts else np.zeros(256, dtype=np.int64)
        result.holding[split] = (
            np.sum([c > 0 for c in counts], axis=0, dtype=np.int64) if counts else np.zeros(256, dtype=np.int64)
        )
    result.findings += _balance(result)
    if not any(not one.files for one in seen.values()):
        result.manifest = Manifest({s: {i: list(seen[i].files) for i in ids} for s, ids in wanted.items()})
    return result


def look(dataset: Dataset, image_id: str) -> Seen:
    """Open the files of one sample and describe them; what is wrong is a finding, never raised."""
    files = dataset.files(image_id)
    entries, problems = [], []
    for path in files:
        if not path.is_file():
            problems.append(Finding("missing", f"{path}: this file is missing"))
        elif path.stat().st_size == 0:
            problems.append(Finding("empty file", f"{path}: this file is empty"))
        else:
            entries.append((dataset.file_name(path), path.stat().st_size, sha256(path.read_bytes()).hexdigest()))
    if problems:
        return Seen(tuple(problems))
    try:
        sample = dataset.read(image_id)
    except DataError as error:
        return Seen((Finding(_kind(error.message), error.message),))
    found = [*_of_the_image(files.image, sample), *_of_the_mask(dataset, files.mask, sample)]
    inside = sample.mask if sample.valid is None else sample.mask[sample.valid]
    return Seen(
        tuple(found),
        tuple(entries),
        sha256(repr(sample.image.shape).encode() + sample.image.tobytes()).hexdigest(),
        sha256(repr(sample.mask.shape).encode() + sample.mask.tobytes()).hexdigest(),
        thumbnail(sample.image),
        np.bincount(inside.ravel(), minlength=256).astype(np.int64),
        (sample.mask.shape[0], sample.mask.shape[1]),
    )


def _kind(message: str) -> str:
    """The short name of what a reader refused."""
    for words, kind in (
        ("cannot be decoded", "broken"),
        ("must be a palette or grey", "mask in colour"),
        ("the mask is", "sizes differ"),
        ("valid region does not", "sizes differ"),
        ("do not exist", "unknown label"),
        ("not in the table", "unknown label"),
    ):
        if words in message:
            return kind
    return "unreadable"


def _of_the_image(path: Path, sample: Sample) -> Iterable[Finding]:
    with Image.open(path) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        format, mode, frames = image.format or "", image.mode, getattr(image, "n_frames", 1)
    if orientation != 1:
        yield Finding(
            "turned by EXIF",
            f"{path}: its EXIF data turn it (orientation {orientation}), which viewers do and readers of masks do not",
        )
    if frames > 1:
        yield Finding("several frames", f"{path}: holds {frames} frames; only the first is read", "warning")
    if mode in ("RGBA", "LA", "PA"):
        yield Finding("transparent", f"{path}: has an alpha channel, which is dropped", "warning")
    known = {".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".png": ("PNG",), ".bmp": ("BMP",), ".gif": ("GIF",)}
    if format not in known.get(path.suffix.lower(), (format,)):
        yield Finding("wrong ending", f"{path}: is a {format} file", "warning")
    if mode.startswith("I;16") or mode in ("I", "F"):
        yield Finding("deep image", f"{path}: has more than 8 bits a channel, which are cut off")
    commonest = np.bincount(sample.image.mean(axis=2).astype(np.uint8).ravel()).max()
    if commonest > FLAT_SHARE * sample.mask.size:
        # A flat image whose mask shows nothing either may be as it should: an empty slice of a scan.
        marked = len(np.unique(sample.mask)) > 1
        yield Finding("blank image", f"{path}: is one flat colour", "error" if marked else "warning")


def _of_the_mask(dataset: Dataset, path: Path, sample: Sample) -> Iterable[Finding]:
    info = dataset.info
    valid = np.ones(sample.mask.shape, dtype=bool) if sample.valid is None else sample.valid
    if not valid.any():
        yield Finding("nothing valid", f"{path}: its valid region is empty")
        return
    labels = sample.mask[valid & (sample.mask != info.ignore_index)]
    if not len(labels):
        yield Finding("all void", f"{path}: every pixel is void")
    elif info.background is not None and len(info.classes) > 1 and (labels == info.background).all():
        yield Finding("empty mask", f"{path}: nothing but {info.classes[info.background]}", "warning")


def _strays(dataset: Dataset, ids: Sequence[str]) -> list[Finding]:
    """Files beside those of the samples that no list names."""
    folders: dict[tuple[Path, str], set[Path]] = defaultdict(set)
    for image_id in ids:
        for path in dataset.files(image_id):
            folders[path.parent, path.suffix].add(path)
    found = []
    for (folder, ending), known in folders.items():
        if not folder.is_dir():
            continue
        extra = sorted(p for p in folder.iterdir() if p.suffix == ending and p not in known)
        if extra:
            text = ", ".join(p.name for p in extra[:3]) + (", …" if len(extra) > 3 else "")
            message = f"{folder}: {len(extra)} file(s) belong to no listed sample: {text}"
            found.append(Finding("unlisted files", message, "warning"))
    return found


def _repeated(seen: dict[str, Seen], wanted: dict[str, list[str]]) -> list[Finding]:
    """The same picture twice, pixel for pixel."""
    found = []
    place = _places(wanted)
    same: dict[str, list[str]] = defaultdict(list)
    for image_id, one in seen.items():
        if one.image_digest:
            same[one.image_digest].append(image_id)
    for ids in same.values():
        if len(ids) < 2:
            continue
        across = len({place[i] for i in ids}) > 1
        truths = len({seen[i].mask_digest for i in ids}) > 1
        names = ", ".join(f"{i} ({place[i]})" for i in ids[:SHOWN])
        end = "; their masks differ" if truths else ""
        if across:
            found.append(Finding("same image in two splits", f"one picture under several ids: {names}{end}"))
        else:
            found.append(Finding("same image twice", f"one picture under several ids: {names}{end}", "warning"))
    pairs: dict[str, list[str]] = defaultdict(list)
    for image_id, one in seen.items():
        if one.counts is not None and np.count_nonzero(one.counts) > 1:
            pairs[one.mask_digest].append(image_id)
    for ids in pairs.values():
        if len({seen[i].image_digest for i in ids}) > 1:
            names = ", ".join(f"{i} ({place[i]})" for i in ids[:SHOWN])
            found.append(Finding("same mask twice", f"one mask for several pictures: {names}", "warning"))
    return found


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The image (H, W, 3) in grey at 32×32, of mean 0 and deviation 1."""
    small = Image.fromarray(image).convert("L").resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX)
    return normal(np.asarray(small, dtype=np.float32))


def normal(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey values of mean 0 and deviation 1."""
    scaled: NDArray[np.float32] = (grey - grey.mean()) / max(1e-3, float(grey.std()))
    return scaled


def perceptual_hash(thumb: NDArray[np.float32]) -> int:
    """64 bits: which of the lowest 8×8 frequencies (the mean left out) lie above their median (pHash, Zauner 2010)."""
    low = dctn(thumb, norm="ortho")[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _near(seen: dict[str, Seen], wanted: dict[str, list[str]]) -> list[Finding]:
    """Almost the same picture in train and in what is scored: saved anew, resized, brightened, mirrored.

    What all pictures of a set have in common (a retina's disk) is taken off before they are compared.
    """
    place = _places(wanted)
    thumbs = {image_id: one.thumb for image_id, one in seen.items() if one.thumb is not None}
    if not thumbs:
        return []
    common = np.mean(list(thumbs.values()), axis=0)
    plain = {image_id: normal(thumb - common) for image_id, thumb in thumbs.items()}
    mirrored = {image_id: normal(thumb[:, ::-1] - common) for image_id, thumb in thumbs.items()}
    parts: dict[str, list[str]] = defaultdict(list)
    for image_id in thumbs:
        parts[place[image_id]].append(image_id)
    found = []
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        theirs = {image_id: plain[image_id] for image_id in parts[other]}
        pairs = []
        for how, shown in (("", plain), (", mirrored", mirrored)):
            ours = {image_id: shown[image_id] for image_id in parts[one]}
            pairs += [(a, b, how) for a, b in near_pairs(ours, theirs)]
        # The very same picture is told of elsewhere.
        pairs = [(a, b, how) for a, b, how in pairs if seen[a].image_digest != seen[b].image_digest]
        for a, b, how in pairs[:SHOWN]:
            found.append(
                Finding("near-duplicate", f"almost the same picture{how}: {a} ({one}) and {b} ({other})", "warning")
            )
        if len(pairs) > SHOWN:
            text = f"{len(pairs) - SHOWN} more pairs of almost the same picture in {one} and {other}"
            found.append(Finding("near-duplicate", text, "warning"))
    return found


def near_pairs(
    ours: Mapping[str, NDArray[np.float32]], theirs: Mapping[str, NDArray[np.float32]]
) -> list[tuple[str, str]]:
    """Pairs of almost equal thumbnails: few bits of their hashes differ, and little of their pixels.

    Args:
        ours: image -> thumbnail (32, 32), normal.
        theirs: image -> thumbnail.
    """
    if not ours or not theirs:
        return []
    own, other = list(ours), list(theirs)
    hashes = np.array([perceptual_hash(ours[i]) for i in own], dtype=np.uint64)
    others = np.array([perceptual_hash(theirs[i]) for i in other], dtype=np.uint64)
    found = []
    for first in range(0, len(own), 1024):
        close = np.bitwise_count(hashes[first : first + 1024, None] ^ others[None]) <= NEAR_BITS
        for row, column in zip(*np.nonzero(close), strict=True):
            a, b = own[first + row], other[column]
            if float(np.abs(ours[a] - theirs[b]).mean()) < NEAR_DIFFERENCE:
                found.append((a, b))
    return found


def _balance(result: Checkup) -> list[Finding]:
    """Classes that cannot be learned or cannot be scored."""
    found = []
    for label, name in enumerate(result.dataset.info.classes):
        held = {split: int(result.holding[split][label]) for split in SPLITS}
        if not any(held.values()):
            found.append(Finding("absent class", f"{name}: in no image of any split", "warning"))
        elif held["test"] and not held["train"]:
            found.append(
                Finding("untrained class", f"{name}: in {held['test']} test image(s), in no training image", "warning")
            )
    return found


def _places(wanted: dict[str, list[str]]) -> dict[str, str]:
    """Image -> the first split it is in."""
    place: dict[str, str] = {}
    for split, ids in wanted.items():
        for image_id in ids:
            place.setdefault(image_id, split)
    return place
