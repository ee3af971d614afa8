"""What is wrong with the files of one sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from harness.datasets.base import Dataset, Sample, open_header
from harness.datasets.checkup.findings import Finding
from harness.errors import DataError

# The share of pixels beyond which a single grey value is no photograph.
FLAT_SHARE = 0.999
THUMB_SIDE = 32


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
        return Seen((Finding(error.kind, error.message),))
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


def _of_the_image(path: Path, sample: Sample) -> Iterable[Finding]:
    with open_header(path) as image:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
        format, mode, frames = image.format or "", image.mode, getattr(image, "n_frames", 1)
    if orientation != 1:
        yield Finding(
            "turned by EXIF",
            f"{path}: its EXIF data turn it (orientation {orientation}), viewers follow that, readers of masks do not",
        )
    if frames > 1:
        yield Finding("several frames", f"{path}: holds {frames} frames; only the first is read", "warning")
    if mode in ("RGBA", "LA", "PA"):
        yield Finding("transparent", f"{path}: has an alpha channel, which is dropped", "warning")
    known = {".jpg": ("JPEG", "MPO"), ".jpeg": ("JPEG", "MPO"), ".png": ("PNG",), ".bmp": ("BMP",), ".gif": ("GIF",)}
    if format not in known.get(path.suffix.lower(), (format,)):
        yield Finding("wrong ending", f"{path}: is a {format} file", "warning")
    if mode.startswith("I;16") or mode in ("I", "F"):
        yield Finding("deep image", f"{path}: has more than 8 bits a channel; the lower bits are cut off")
    commonest = np.bincount(sample.image.mean(axis=2).astype(np.uint8).ravel()).max()
    if commonest > FLAT_SHARE * sample.mask.size:
        # A flat image whose mask shows nothing either may be as it should: an empty slice of a scan.
        marked = len(np.unique(sample.mask)) > 1
        yield Finding("blank image", f"{path}: is one flat color", "error" if marked else "warning")


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


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The image (H, W, 3) in grey at 32×32, of mean 0 and deviation 1."""
    small = Image.fromarray(image).convert("L").resize((THUMB_SIDE, THUMB_SIDE), Image.Resampling.BOX)
    return normal(np.asarray(small, dtype=np.float32))


def normal(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey values of mean 0 and deviation 1."""
    scaled: NDArray[np.float32] = (grey - grey.mean()) / max(1e-3, float(grey.std()))
    return scaled
