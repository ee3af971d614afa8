"""Pictures that are in a data set twice, pixel for pixel or almost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from harness.datasets.checkup.findings import SHOWN, Finding
from harness.datasets.checkup.sample import Seen, normal

# Perceptual hashes (64 bits) that differ in so few bits may show the same scene; their thumbnails then decide.
NEAR_BITS = 10
# Mean absolute difference of two thumbnails, after equal brightness and contrast, below which they are one picture.
NEAR_DIFFERENCE = 0.2


def repeated(seen: dict[str, Seen], wanted: dict[str, list[str]]) -> list[Finding]:
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
            found.append(Finding("same image in two splits", f"the same picture has several ids: {names}{end}"))
        else:
            found.append(Finding("same image twice", f"the same picture has several ids: {names}{end}", "warning"))
    pairs: dict[str, list[str]] = defaultdict(list)
    for image_id, one in seen.items():
        if one.counts is not None and np.count_nonzero(one.counts) > 1:
            pairs[one.mask_digest].append(image_id)
    for ids in pairs.values():
        if len({seen[i].image_digest for i in ids}) > 1:
            names = ", ".join(f"{i} ({place[i]})" for i in ids[:SHOWN])
            found.append(Finding("same mask twice", f"several pictures have the same mask: {names}", "warning"))
    return found


def nearly_repeated(seen: dict[str, Seen], wanted: dict[str, list[str]]) -> list[Finding]:
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


def perceptual_hash(thumb: NDArray[np.float32]) -> int:
    """64 bits: which of the lowest 8×8 frequencies (the mean left out) lie above their median (pHash, Zauner 2010)."""
    low = dctn(thumb, norm="ortho")[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int("".join("1" if bit else "0" for bit in bits), 2)


def _places(wanted: dict[str, list[str]]) -> dict[str, str]:
    """Image -> the first split it is in."""
    place: dict[str, str] = {}
    for split, ids in wanted.items():
        for image_id in ids:
            place.setdefault(image_id, split)
    return place
