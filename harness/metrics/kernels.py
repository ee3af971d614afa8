"""Compiled kernels of the evaluator: the numbers of the NumPy and SciPy code beside them, many times faster.

Signatures are explicit and the machine code is cached on disk, so that compiling is paid once a machine; every kernel
releases the interpreter's lock. Label maps are contiguous uint8 in which `NOTHING` belongs to no class; scratch memory
comes from the caller, because fetching fresh pages would cost more than the work.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float64, int64, uint8, uint16, uint64, void

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


def _compiled(signature: object) -> object:
    return numba.njit(signature, nogil=True, cache=True, boundscheck=False, error_model="numpy")


@numba.njit(nogil=True, cache=True, inline="always")
def _add(counts, true, guess, run):
    classes = counts.shape[1] - 1
    row = true if true < classes else (classes + 1 if true == 255 else classes)
    counts[row, min(guess, classes)] += run


@_compiled(void(_U1, _U1, _U8, _U8, _I2))
def count_pairs(guess, true, guess_words, true_words, counts):
    """Count (true, guess) pairs of two flat maps.

    Runs are counted, not pixels: eight pixels that continue the last pair cost one comparison each map.

    Args:
        guess: predicted labels.
        true: true labels; NOTHING is not scored.
        guess_words: `guess` as words of eight.
        true_words: `true` as words of eight.
        counts: (K + 2, K + 1), added to. Column K: predictions outside 0..K-1. Row K: true labels that do not exist;
            row K + 1: NOTHING.
    """
    n = guess.size
    if n == 0:
        return
    ones = uint64(0x0101010101010101)
    last_guess, last_true = guess[0], true[0]
    guess_word, true_word = uint64(last_guess) * ones, uint64(last_true) * ones
    run = 0
    for w in range(guess_words.size):
        if guess_words[w] == guess_word and true_words[w] == true_word:
            run += 8
            continue
        for i in range(8 * w, 8 * w + 8):
            if guess[i] != last_guess or true[i] != last_true:
                _add(counts, int64(last_true), int64(last_guess), run)
                last_guess, last_true, run = guess[i], true[i], 0
            run += 1
        guess_word, true_word = uint64(last_guess) * ones, uint64(last_true) * ones
    for i in range(8 * guess_words.size, n):
        if guess[i] != last_guess or true[i] != last_true:
            _add(counts, int64(last_true), int64(last_guess), run)
            last_guess, last_true, run = guess[i], true[i], 0
        run += 1
    _add(counts, int64(last_true), int64(last_guess), run)


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


@_compiled(void(_U1, _U1, _U1, _U1, _U8, _U8, _U8, _U8, _I2))
def count_bands(guess, true, guess_band, true_band, guess_words, true_words, guess_band_words, true_band_words, counts):
    """Band pixels of each class: counts[c] = prediction's, target's, both at once. Flat maps, and their words of eight.

    As in `count_pairs`, runs are counted; words outside both bands are passed over.
    """
    n = guess.size
    if n == 0:
        return
    ones = uint64(0x0101010101010101)
    run = 0
    g, t, a, b = guess[0], true[0], guess_band[0], true_band[0]
    gw, tw, aw, bw = uint64(g) * ones, uint64(t) * ones, uint64(a) * ones, uint64(b) * ones
    for w in range(guess_words.size + 1):
        last = w == guess_words.size
        if not last:
            if guess_band_words[w] | true_band_words[w] == 0:
                continue
            if guess_words[w] == gw and true_words[w] == tw and guess_band_words[w] == aw and true_band_words[w] == bw:
                run += 8
                continue
        for i in range(8 * w, n if last else 8 * w + 8):
            if guess[i] != g or true[i] != t or guess_band[i] != a or true_band[i] != b:
                counts[g, 0] += run * a
                counts[t, 1] += run * b
                if g == t:
                    counts[g, 2] += run * (a & b)
                g, t, a, b, run = guess[i], true[i], guess_band[i], true_band[i], 0
            run += 1
        gw, tw, aw, bw = uint64(g) * ones, uint64(t) * ones, uint64(a) * ones, uint64(b) * ones
    counts[g, 0] += run * a
    counts[t, 1] += run * b
    if g == t:
        counts[g, 2] += run * (a & b)


@_compiled(void(_U2, _U2))
def edge_map(labels, edges):  # type: ignore[no-untyped-def]
    """Mark the pixels with a 4-neighbour of another label; beyond the image is another label. Both (H, W)."""
    height, width = labels.shape
    edges[0][:] = 1
    edges[height - 1][:] = 1
    for y in range(1, height - 1):
        out = edges[y]
        out[0] = 1
        out[width - 1] = 1
        if width < 3:
            continue
        left, here, right = labels[y, : width - 2], labels[y, 1 : width - 1], labels[y, 2:width]
        above, below, inner = labels[y - 1, 1 : width - 1], labels[y + 1, 1 : width - 1], out[1 : width - 1]
        for x in range(width - 2):
            inner[x] = (here[x] != left[x]) | (here[x] != right[x]) | (here[x] != above[x]) | (here[x] != below[x])


@_compiled(int64(_U1, _U1, _U8, int64, _I1, _I2, _I1))
def edge_points(labels, edges, words, width, places, points, starts):  # type: ignore[no-untyped-def]
    """The edge pixels of every class, class by class, each in row order.

    Args:
        labels: flat map.
        edges: flat edge map.
        words: `edges` as words of eight.
        width: W.
        places: scratch; at least eight longer than the number of edge pixels.
        points: (n, 2) result: rows of y, x; n at least the number of edge pixels.
        starts: 257 numbers, result: class c has the points starts[c] to starts[c + 1].

    Returns:
        The number of edge pixels that belong to a class, or -1 where `places` is too short.
    """
    found = 0
    last = words.size
    for w in range(last + 1):
        if w < last and words[w] == 0:
            continue
        if found + 8 > places.size:
            return -1
        for i in range(8 * w, labels.size if w == last else 8 * w + 8):
            # Written in any case and kept only if it counts: a branch here would be guessed wrong too often.
            places[found] = i
            found += edges[i] & (labels[i] != 255)
    starts[:] = 0
    for k in range(found):
        starts[labels[places[k]] + 1] += 1
    for c in range(256):
        starts[c + 1] += starts[c]
    cursor = starts[:256].copy()
    y, row = 0, 0  # the row and its first pixel: cheaper than a division for each point
    for p in range(found):
        i = places[p]
        while i >= row + width:
            y += 1
            row += width
        k = cursor[labels[i]]
        cursor[labels[i]] = k + 1
        points[k, 0] = y
        points[k, 1] = i - row
    return found


@_compiled(void(_I2, _I2, int64, _I1, _I2, _I1))
def nearest_squares(queries, targets, width, squares, columns, order):
    """For each query point the squared distance to the nearest target point; both in row order, none empty.

    Rows are swept once. Each column knows its nearest target at or above the row and its nearest below; a query
    looks at the columns beside it, outwards, until a column is farther away than the best it has found. The cost of a
    query grows with its distance.

    Args:
        queries: (n, 2) rows of y, x.
        targets: (m, 2) rows of y, x.
        width: W.
        squares: at least n numbers, result.
        columns: (4, at least W) scratch.
        order: scratch of at least m.
    """
    far = int64(1) << 30
    above, below, head, end = columns[0], columns[1], columns[2], columns[3]
    end[:width] = 0
    for k in range(targets.shape[0]):
        end[targets[k, 1]] += 1
    total, low, high = 0, width, -1
    for x in range(width):
        if end[x]:
            low, high = min(low, x), x
        head[x] = total
        total += end[x]
        end[x] = head[x]
    for k in range(targets.shape[0]):  # the rows of each column's targets, ascending
        x = targets[k, 1]
        order[end[x]] = targets[k, 0]
        end[x] += 1
    for x in range(width):
        above[x] = -far
        below[x] = order[head[x]] if head[x] < end[x] else far
    t = 0
    for q in range(queries.shape[0]):
        y, x = queries[q, 0], queries[q, 1]
        while t < targets.shape[0] and targets[t, 0] <= y:
            u = targets[t, 1]
            above[u] = targets[t, 0]
            head[u] += 1
            below[u] = order[head[u]] if head[u] < end[u] else far
            t += 1
        dy = min(y - above[x], below[x] - y)
        best = dy * dy
        k = int64(1)
        while k * k < best:
            left, right = x - k, x + k
            if left < low and right > high:
                break
            if left >= low:
                dy = min(y - above[left], below[left] - y)
                best = min(best, dy * dy + k * k)
            if right <= high:
                dy = min(y - above[right], below[right] - y)
                best = min(best, dy * dy + k * k)
            k += 1
        squares[q] = best


@_compiled(float64(_F1, int64, int64))
def smallest(values, count, rank):
    """The element of a rank (from 0) among the first `count`; smaller ones end before it (Hoare's selection)."""
    low, high = 0, count - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if rank <= j:
            high = j
        elif rank >= i:
            low = i
        else:
            break
    return values[rank]


@_compiled(void(_I1, int64, float64, float64, float64, _F1, _F1))
def fold_squares(squares, count, quantile, near, nearer, distances, result):
    """Largest distance, its quantile, the sum, and how many lie within two limits.

    The quantile interpolates linearly, as numpy.percentile does, to the bit; the sum runs in the points' order.

    Args:
        squares: at least `count` squared distances.
        count: n, at least 1.
        quantile: in 0..1.
        near: the first limit.
        nearer: the second limit.
        distances: at least n numbers, scratch.
        result: largest, quantile, sum, within the first, within the second.
    """
    largest, total, one, two = 0.0, 0.0, 0, 0
    for i in range(count):
        d = np.sqrt(float64(squares[i]))
        distances[i] = d
        largest = max(largest, d)
        total += d
        one += d <= near
        two += d <= nearer
    result[0], result[2], result[3], result[4] = largest, total, one, two
    place = quantile * (count - 1)
    first = int64(np.floor(place))
    if first >= count - 1:
        result[1] = largest
        return
    t = place - first
    low = smallest(distances, count, first)
    high = distances[first + 1]
    for i in range(first + 2, count):
        high = min(high, distances[i])
    # numpy takes the end that is nearer as its base.
    result[1] = high - (high - low) * (1 - t) if t >= 0.5 else low + (high - low) * t


@_compiled(void(_I2, _I1, _I2, _I1, int64, float64, float64, float64, _I1, _I2, _I1, _F1, _F3))
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
    distances,
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
        columns: scratch, (4, W).
        order: scratch, as long as there are points.
        distances: scratch, as long as there are points.
        results: (K, 2, 5): prediction to target, target to prediction; each as `fold_squares` gives it.
    """
    for c in range(results.shape[0]):
        guess = guess_points[guess_starts[c] : guess_starts[c + 1]]
        true = true_points[true_starts[c] : true_starts[c + 1]]
        if guess.shape[0] == 0 or true.shape[0] == 0:
            continue
        nearest_squares(guess, true, width, squares, columns, order)
        fold_squares(squares, guess.shape[0], quantile, near, nearer, distances, results[c, 0])
        nearest_squares(true, guess, width, squares, columns, order)
        fold_squares(squares, true.shape[0], quantile, near, nearer, distances, results[c, 1])


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
