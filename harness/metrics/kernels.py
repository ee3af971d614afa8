"""Compiled kernels of the evaluator: the numbers of the NumPy and SciPy code beside them, many times faster.

Signatures are explicit and the machine code is cached on disk, so that compiling is paid once a machine; every kernel
releases the interpreter's lock. Label maps are contiguous uint8 in which `NOTHING` belongs to no class; scratch memory
comes from the caller, because fetching fresh pages would cost more than the work.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float32, float64, int32, int64, uint8, uint16, uint64, void

# A pixel that belongs to no class. Classes are 0..K-1 with K at most this.
NOTHING = 255

_U1 = uint8[::1]
_U2 = uint8[:, ::1]
_U8 = uint64[::1]
_I1 = int64[::1]
_I2 = int64[:, ::1]
_F1 = float64[::1]
_I3 = int64[:, :, ::1]
_F3 = float64[:, :, ::1]
_F = float32[::1]
_F2 = float32[:, ::1]
_I4 = int32[::1]


def _compiled(signature: object) -> object:
    return numba.njit(signature, nogil=True, cache=True, boundscheck=False, error_model="numpy")


# Runs of equal pixels are counted, not pixels. A block's changes are marked as bytes of 0 and 1 (a loop that the
# compiler vectorises) and then found eight at a time, through the words of the same memory.


@numba.njit(nogil=True, cache=True, inline="always")
def _mark(one, other, first, size, changes):  # type: ignore[no-untyped-def]
    """Set `changes[i]` where pixel first + i of one of two maps differs from the one before it; 0 beyond `size`."""
    skip = 1 if first == 0 else 0
    changes[0] = 0
    changes[size : (size + 7) // 8 * 8] = 0
    here, before = one[first + skip : first + size], one[first + skip - 1 : first + size - 1]
    there, behind = other[first + skip : first + size], other[first + skip - 1 : first + size - 1]
    out = changes[skip:size]
    for i in range(here.size):
        out[i] = (here[i] != before[i]) | (there[i] != behind[i])


@numba.njit(nogil=True, cache=True, inline="always")
def _mark_more(one, other, first, size, changes):  # type: ignore[no-untyped-def]
    """As `_mark`, on top of what is marked already."""
    skip = 1 if first == 0 else 0
    here, before = one[first + skip : first + size], one[first + skip - 1 : first + size - 1]
    there, behind = other[first + skip : first + size], other[first + skip - 1 : first + size - 1]
    out = changes[skip:size]
    for i in range(here.size):
        out[i] = out[i] | (here[i] != before[i]) | (there[i] != behind[i])


@numba.njit(nogil=True, cache=True, inline="always")
def _lowest_byte(word):  # type: ignore[no-untyped-def]
    """The index of the lowest byte that is set, in a word of bytes of 0 and 1 that is not 0."""
    low = word & (~word + uint64(1))
    # 256^k times this constant has k as its highest byte.
    return int64((low * uint64(0x0001020304050607)) >> uint64(56))


@numba.njit(nogil=True, cache=True, inline="always")
def _list_changes(words, size, first, places):  # type: ignore[no-untyped-def]
    """Write the pixels that are marked in a block into `places`, ascending; returns their number."""
    found = 0
    for w in range((size + 7) // 8):
        word = words[w]
        while word:
            places[found] = first + 8 * w + _lowest_byte(word)
            found += 1
            word &= word - uint64(1)
    return found


@numba.njit(nogil=True, cache=True, inline="always")
def _add(counts, true, guess, run):  # type: ignore[no-untyped-def]
    classes = counts.shape[1] - 1
    row = true if true < classes else (classes + 1 if true == 255 else classes)
    counts[row, min(guess, classes)] += run


@_compiled(void(_U1, _U1, _U1, _U8, _I1, _I2))
def count_pairs(guess, true, changes, words, places, counts):
    """Count (true, guess) pairs of two flat maps.

    Args:
        guess: predicted labels.
        true: true labels; NOTHING is not scored.
        changes: scratch; its length, a multiple of eight, is the block's.
        words: `changes` as words of eight.
        places: scratch, as long as `changes`.
        counts: (K + 2, K + 1), added to. Column K: predictions outside 0..K-1. Row K: true labels that do not exist;
            row K + 1: NOTHING.
    """
    n, start = guess.size, 0
    for first in range(0, n, changes.size):
        size = min(changes.size, n - first)
        _mark(guess, true, first, size, changes)
        for k in range(_list_changes(words, size, first, places)):
            _add(counts, int64(true[start]), int64(guess[start]), places[k] - start)
            start = places[k]
    if n:
        _add(counts, int64(true[start]), int64(guess[start]), n - start)


@_compiled(void(_U1, _U1, int64, _U1))
def mask_guess(guess, true, classes, out):
    """The prediction without what belongs to no class: NOTHING where the truth is NOTHING or the label is none."""
    limit = uint8(classes)
    for i in range(guess.size):
        out[i] = uint8(255) if uint8(true[i] == uint8(255)) | uint8(guess[i] >= limit) else guess[i]


@numba.njit(nogil=True, cache=True, inline="always")
def _differs(one, other):  # type: ignore[no-untyped-def]
    return uint8(one != other) & uint8(one != uint8(255)) & uint8(other != uint8(255))


@_compiled(void(_U2, _U2))
def change_map(labels, changes):  # type: ignore[no-untyped-def]
    """Mark the pixels with a 4-neighbour of another class; NOTHING and the image's border make no change."""
    height, width = labels.shape
    for y in range(height):
        here, out = labels[y], changes[y]
        # Beyond the image stands the row itself, which differs nowhere.
        above, below = labels[max(y - 1, 0)], labels[min(y + 1, height - 1)]
        for x in range(width):
            out[x] = _differs(here[x], above[x]) | _differs(here[x], below[x])
        if width > 1:
            near, far, left, right = here[: width - 1], here[1:width], out[: width - 1], out[1:width]
            for x in range(width - 1):
                left[x] = left[x] | _differs(near[x], far[x])
            for x in range(width - 1):
                right[x] = right[x] | _differs(near[x], far[x])


@_compiled(void(_U1, _U1, _U1, int64))
def mark_reach(mask, true, reach, number):
    """Write `number` where the mask is set, the pixel is scored, and no smaller number stands yet. Flat maps."""
    value = uint8(number)
    for i in range(mask.size):
        reach[i] = value if (mask[i] != 0) & (reach[i] == 0) & (true[i] != 255) else reach[i]


@_compiled(void(_U2, _U2, _I2))
def fill_nothing(source, filled, offsets):
    """Give each NOTHING pixel of `filled` the nearest label of `source`, as far as the offsets reach.

    Args:
        source: (H, W) labels; NOTHING is what may be filled or is to be left alone.
        filled: (H, W) starts as a copy of `source`, with 254 where a pixel must not be filled.
        offsets: (n, 3) rows of dy, dx, d², ascending by d².
    """
    height, width = source.shape
    for y in range(height):
        for x in range(width):
            if filled[y, x] != 255:
                continue
            found = 256
            reach = int64(-1)
            for k in range(offsets.shape[0]):
                if reach >= 0 and offsets[k, 2] > reach:
                    break
                v, u = y + offsets[k, 0], x + offsets[k, 1]
                if v < 0 or u < 0 or v >= height or u >= width or source[v, u] == 255:
                    continue
                reach = offsets[k, 2]
                found = min(found, int64(source[v, u]))
            if found < 256:
                filled[y, x] = uint8(found)


@numba.njit(nogil=True, cache=True, inline="always")
def _join_along(row, other, length, window):  # type: ignore[no-untyped-def]
    """Join each run of `window` neighbours in place, by doubling: 1, 2, 4, …

    Element x of the joined window is then `row[x] | row[x + rest]`, with the returned rest. Indices are unsigned and
    the two lines keep their parts: a loop whose index could be negative, or whose arrays swap, is not vectorised.
    """
    span = uint64(1)
    while span * uint64(2) <= uint64(window):
        count = uint64(length) - span
        for i in range(count):
            other[i] = row[i] | row[i + span]
        for i in range(count):
            row[i] = other[i]
        span = span * uint64(2)
    return uint64(window) - span


def _mixed_windows(labels, distance, band, row, other, age):  # type: ignore[no-untyped-def]
    """Mark the pixels whose (2d+1)² window is not one label; beyond the image is another label.

    These are the pixels of the Boundary IoU bands of all classes at once. One pass over the rows: changes within a row
    are spread along it by doubling; each column knows how many rows ago it last saw a change.

    Args:
        labels: (H, W).
        distance: d, at least 1.
        band: (H, W) result: 1 in the band, else 0.
        row: scratch of W + 2d.
        other: scratch of W + 2d.
        age: scratch of W, of a type that holds 2d.
    """
    height, width = labels.shape
    window = 2 * distance
    length = width + window - 1
    age[:] = window
    old = age[0]
    age[:] = 0
    for y in range(height):
        line = labels[y]
        row[:distance] = 1
        row[length - distance : length] = 1
        near, far, inner = line[: width - 1], line[1:width], row[distance : distance + width - 1]
        for x in range(width - 1):
            inner[x] = near[x] != far[x]
        rest = _join_along(row, other, length, window)
        left, right = row[:width], row[rest : rest + width]
        centre = y - distance  # the row whose window ends here
        if centre >= distance:
            result = band[centre]
            for x in range(width):
                result[x] = left[x] | right[x] | (age[x] < old)
        if y < distance or y + distance >= height:
            band[y][:] = 1
        if y + 1 < height:
            below = labels[y + 1]
            for x in range(width):
                # No minimum and no wider numbers: the loop stays in bytes.
                same = (left[x] | right[x] | (line[x] != below[x])) == 0
                age[x] = (age[x] + (age[x] < old)) * same


mixed_windows = numba.njit(
    [void(_U2, int64, _U2, _U1, _U1, _U1), void(_U2, int64, _U2, _U1, _U1, uint16[::1])],
    nogil=True, cache=True, boundscheck=False, error_model="numpy",
)(_mixed_windows)  # fmt: skip


@numba.njit(nogil=True, cache=True, inline="always")
def _add_band(counts, guess, true, in_guess, in_true, run):  # type: ignore[no-untyped-def]
    counts[guess, 0] += run * in_guess
    counts[true, 1] += run * in_true
    if guess == true:
        counts[guess, 2] += run * (in_guess & in_true)


@_compiled(void(_U1, _U1, _U1, _U1, _U1, _U8, _I1, _I2))
def count_bands(guess, true, guess_band, true_band, changes, words, places, counts):
    """Band pixels of each class: counts[c] = prediction's, target's, both at once. Flat maps; scratch as above."""
    n, start = guess.size, 0
    for first in range(0, n, changes.size):
        size = min(changes.size, n - first)
        _mark(guess, true, first, size, changes)
        _mark_more(guess_band, true_band, first, size, changes)
        for k in range(_list_changes(words, size, first, places)):
            _add_band(counts, guess[start], true[start], guess_band[start], true_band[start], places[k] - start)
            start = places[k]
    if n:
        _add_band(counts, guess[start], true[start], guess_band[start], true_band[start], n - start)


@numba.njit(nogil=True, cache=True, inline="always")
def _edges_of_row(labels, y, row):  # type: ignore[no-untyped-def]
    """Mark the pixels of a row with a 4-neighbour of another label and a class of their own, as 0 and 1."""
    height, width = labels.shape
    here = labels[y]
    if y == 0 or y == height - 1:
        for x in range(width):
            row[x] = here[x] != uint8(255)
        return
    row[0] = here[0] != 255
    row[width - 1] = here[width - 1] != 255
    if width < 3:
        return
    left, middle, right = here[: width - 2], here[1 : width - 1], here[2:width]
    above, below, inner = labels[y - 1, 1 : width - 1], labels[y + 1, 1 : width - 1], row[1 : width - 1]
    for x in range(width - 2):
        c = middle[x]
        inner[x] = ((c != left[x]) | (c != right[x]) | (c != above[x]) | (c != below[x])) & (c != uint8(255))


@_compiled(int64(_U2, _U1, _U8, _I1, _I1, _I1))
def edge_points(labels, row, words, places, points, starts):  # type: ignore[no-untyped-def]
    """The edge pixels of every class, class by class, each in row order; beyond the image is another label.

    Args:
        labels: (H, W).
        row: scratch of W, rounded up to a multiple of eight.
        words: `row` as words of eight.
        places: scratch.
        points: result, as long as `places`: y·2²⁴ + x of each.
        starts: 257 numbers, result: class c has the points starts[c] to starts[c + 1].

    Returns:
        The number of edge pixels that belong to a class, or -1 where `places` might be too short.
    """
    found = 0
    row[:] = 0
    starts[:] = 0
    for y in range(labels.shape[0]):
        _edges_of_row(labels, y, row)
        if found + row.size > places.size:
            return -1
        for w in range(words.size):
            word = words[w]
            while word:
                x = 8 * w + _lowest_byte(word)
                word &= word - uint64(1)
                label = int64(labels[y, x])
                starts[label + 1] += 1
                places[found] = (((y << 24) | x) << 8) | label
                found += 1
    for c in range(256):
        starts[c + 1] += starts[c]
    cursor = starts[:256].copy()
    for p in range(found):
        label = places[p] & 255
        k = cursor[label]
        cursor[label] = k + 1
        points[k] = places[p] >> 8
    return found


@_compiled(void(_I1, _I1, int64, _I1, _I2, _I1))
def nearest_squares(queries, targets, width, squares, columns, order):
    """For each query point the squared distance to the nearest target point; both in row order, none empty.

    Rows are swept once. Each column knows its nearest target at or above the row and its nearest below; a query
    looks at the columns beside it, outwards, until a column is farther away than the best it has found. The cost of a
    query grows with its distance.

    Args:
        queries: n points, y·2²⁴ + x.
        targets: m points, likewise.
        width: W.
        squares: at least n numbers, result.
        columns: (4, at least 3·W + 2) scratch.
        order: scratch of at least m.
    """
    far = int64(1) << 30
    mask = (int64(1) << 24) - 1
    n, m = queries.size, targets.size
    # Above and below stand between columns without targets, so that a walk needs no look at the image's border.
    above, below, head, end = columns[0], columns[1], columns[2], columns[3]
    end[:width] = 0
    for k in range(m):
        end[targets[k] & mask] += 1
    total = 0
    for x in range(width):
        head[x] = total
        total += end[x]
        end[x] = head[x]
    for k in range(m):  # the rows of each column's targets, ascending
        x = targets[k] & mask
        order[end[x]] = targets[k] >> 24
        end[x] += 1
    for x in range(3 * width + 2):
        above[x] = -far
        below[x] = far
    for x in range(width):
        if head[x] < end[x]:
            below[x + width] = order[head[x]]
    t = 0
    for q in range(n):
        y, x = queries[q] >> 24, (queries[q] & mask) + width
        while t < m and targets[t] >> 24 <= y:
            u = targets[t] & mask
            above[u + width] = targets[t] >> 24
            head[u] += 1
            below[u + width] = order[head[u]] if head[u] < end[u] else far
            t += 1
        dy = min(y - above[x], below[x] - y)
        best = dy * dy
        k = int64(1)
        while k * k < best and k < width:  # two steps at a time: the second never does harm
            one = min(min(y - above[x - k], below[x - k] - y), min(y - above[x + k], below[x + k] - y))
            left, right = x - k - 1, x + k + 1
            two = min(min(y - above[left], below[left] - y), min(y - above[right], below[right] - y))
            best = min(best, min(one * one + k * k, two * two + (k + 1) * (k + 1)))
            k += 2
        squares[q] = best


@_compiled(void(_I1, int64, float64, float64, float64, _I1, _I1, _F1))
def fold_squares(squares, count, quantile, near, nearer, bins, times, result):
    """Largest distance, its quantile, the sum, and how many lie within two limits.

    Equal distances are gathered first: most are small, so that counting them needs no sorting. The sum runs over the
    distinct distances, ascending, each times its number; the quantile interpolates linearly, as numpy.percentile does,
    to the bit.

    Args:
        squares: at least `count` squared distances; overwritten.
        count: n, at least 1.
        quantile: in 0..1.
        near: the first limit.
        nearer: the second limit.
        bins: zeros; left so.
        times: scratch of at least n.
        result: largest, quantile, sum, within the first, within the second.
    """
    large = 0
    top = int64(-1)
    for i in range(count):
        s = squares[i]
        if s < bins.size:
            bins[s] += 1
            top = max(top, s)
        else:
            squares[large] = s
            large += 1
    rest = squares[:large].copy()
    rest.sort()
    distinct = 0
    for s in range(top + 1):
        if bins[s]:
            squares[distinct], times[distinct] = s, bins[s]
            bins[s] = 0
            distinct += 1
    for i in range(large):
        if i > 0 and rest[i] == rest[i - 1]:
            times[distinct - 1] += 1
        else:
            squares[distinct], times[distinct] = rest[i], 1
            distinct += 1

    place = quantile * (count - 1)
    first = int64(np.floor(place))
    part = place - first
    low, high, d, total = 0.0, 0.0, 0.0, 0.0
    seen, one, two = 0, 0, 0
    for k in range(distinct):
        d = np.sqrt(float64(squares[k]))
        total += times[k] * d
        if d <= near:
            one += times[k]
        if d <= nearer:
            two += times[k]
        if seen <= first:
            low = d
        if seen <= min(first + 1, count - 1):
            high = d
        seen += times[k]
    result[0], result[2], result[3], result[4] = d, total, one, two
    # numpy takes the end that is nearer as its base.
    result[1] = high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


@_compiled(void(_I1, _I1, _I1, _I1, int64, float64, float64, float64, _I1, _I2, _I1, _I1, _F3))
def class_distances(
    guess_points,
    guess_starts,
    true_points,
    true_starts,
    width,
    quantile,
    near,
    nearer,
    squares,
    columns,
    order,
    bins,
    results,
):
    """Distances both ways for each class that both maps hold.

    Args:
        guess_points: edge pixels of the prediction, class by class.
        guess_starts: where each class begins.
        true_points: edge pixels of the target.
        true_starts: where each class begins.
        width: W.
        quantile: see `fold_squares`.
        near: see `fold_squares`.
        nearer: see `fold_squares`.
        squares: scratch, as long as there are points.
        columns: scratch, (4, 3·W + 2).
        order: scratch, as long as there are points.
        bins: see `fold_squares`.
        results: (K, 2, 5): prediction to target, target to prediction; each as `fold_squares` gives it.
    """
    for c in range(results.shape[0]):
        guess = guess_points[guess_starts[c] : guess_starts[c + 1]]
        true = true_points[true_starts[c] : true_starts[c + 1]]
        if guess.shape[0] == 0 or true.shape[0] == 0:
            continue
        nearest_squares(guess, true, width, squares, columns, order)
        fold_squares(squares, guess.shape[0], quantile, near, nearer, bins, order, results[c, 0])
        nearest_squares(true, guess, width, squares, columns, order)
        fold_squares(squares, true.shape[0], quantile, near, nearer, bins, order, results[c, 1])


@_compiled(void(_U1, _U1, _U1, _U8, _I3))
def count_reach(guess, true, reach, words, counts):
    """Count (true, guess) pairs by the smallest trimap band a pixel is in. Flat maps.

    Args:
        guess: predicted labels.
        true: true labels.
        reach: number of the band from 1; 0: in none.
        words: `reach` as words of eight.
        counts: (bands + 1, K, K + 1), added to; row 0 stays empty, column K takes labels outside 0..K-1.
    """
    classes = counts.shape[1]
    for w in range(words.size):
        if words[w]:
            for i in range(8 * w, 8 * w + 8):
                if reach[i]:
                    counts[reach[i], true[i], min(int64(guess[i]), classes)] += 1
    for i in range(8 * words.size, guess.size):
        if reach[i]:
            counts[reach[i], true[i], min(int64(guess[i]), classes)] += 1


@_compiled(void(_U2, int64, _U2, _U1, _U1, _U1))
def dilate(mask, radius, result, row, other, age):  # type: ignore[no-untyped-def]
    """Mark every pixel within Chebyshev `radius` of a marked one; beyond the image nothing is marked.

    Args:
        mask: (H, W) of 0 and 1.
        radius: 1 to 126.
        result: (H, W).
        row: scratch of W + 2·radius.
        other: likewise.
        age: scratch of W.
    """
    height, width = mask.shape
    window = 2 * radius + 1
    length = width + 2 * radius
    old = uint8(window)
    age[:] = old
    for y in range(height + radius):
        if y < height:
            row[:radius] = 0
            row[radius + width : length] = 0
            row[radius : radius + width] = mask[y]
            rest = _join_along(row, other, length, window)
            left, right = row[:width], row[rest : rest + width]
            for x in range(width):
                age[x] = (age[x] + (age[x] < old)) * ((left[x] | right[x]) == 0)
        else:
            for x in range(width):
                age[x] = age[x] + (age[x] < old)
        if y >= radius:
            out = result[y - radius]
            for x in range(width):
                out[x] = age[x] < old


@_compiled(void(_F2, _U1, _F, _I4))
def largest_channel(logits, labels, best, channel):  # type: ignore[no-untyped-def]
    """The channel with the largest logit of each pixel; of equal ones the first.

    A block of pixels at a time, so that what is compared stays in the first cache: a reduction over the channels' axis
    would walk through memory in strides.

    Args:
        logits: (K, n); K at most 256.
        labels: (n,) result.
        best: scratch; its length is the block's.
        channel: scratch, as long.
    """
    count = logits.shape[1]
    for first in range(0, count, best.size):
        size = min(best.size, count - first)
        top, place, out, start = best[:size], channel[:size], labels[first : first + size], logits[0]
        start = start[first : first + size]
        for i in range(top.size):
            top[i] = start[i]
            place[i] = 0
        for k in range(1, logits.shape[0]):
            line = logits[k]
            line, number = line[first : first + size], int32(k)
            for i in range(top.size):
                new, old = line[i], top[i]
                place[i] = number if new > old else place[i]
                top[i] = new if new > old else old
        for i in range(top.size):
            out[i] = place[i]
