"""Compiled kernels of the evaluator: the numbers of the NumPy and SciPy code beside them, many times faster.

Signatures are explicit and the machine code is cached on disk, so that compiling is paid once a machine; every kernel
releases the interpreter's lock. Label maps are contiguous uint8 in which `NOTHING` belongs to no class; scratch memory
comes from the caller, because fetching fresh pages would cost more than the work.
"""

from __future__ import annotations

import numba
import numpy as np
from numba import float64, int64, uint8, uint64, void

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
    for i in range(guess.size):
        out[i] = 255 if (true[i] == 255) | (guess[i] >= classes) else guess[i]


@_compiled(void(_U2, _U2))
def change_map(labels, changes):
    """Mark the pixels with a 4-neighbour of another class; NOTHING and the image's border make no change."""
    height, width = labels.shape
    changes[:] = 0
    for y in range(height):
        line, out = labels[y], changes[y]
        for x in range(width - 1):
            differs = (line[x] != line[x + 1]) & (line[x] != 255) & (line[x + 1] != 255)
            out[x] |= differs
        for x in range(1, width):
            differs = (line[x] != line[x - 1]) & (line[x] != 255) & (line[x - 1] != 255)
            out[x] |= differs
        if y + 1 < height:
            below, into = labels[y + 1], changes[y + 1]
            for x in range(width):
                differs = (line[x] != below[x]) & (line[x] != 255) & (below[x] != 255)
                out[x] |= differs
                into[x] |= differs


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


@_compiled(void(_U2, int64, _U2, _U2, _U2, _U1, _U1))
def mixed_windows(labels, distance, band, across, down, row, other):
    """Mark the pixels whose (2d+1)² window is not one label; beyond the image is another label.

    These are the pixels of the Boundary IoU bands of all classes at once. Changes between neighbours are spread
    by doubling: windows of 1, 2, 4, … are joined, first along rows, then along columns.

    Args:
        labels: (H, W).
        distance: d, at least 1.
        band: (H, W) result: 1 in the band, else 0.
        across: (H, W) scratch.
        down: (H, W) scratch.
        row: scratch of W + 2d.
        other: scratch of W + 2d.
    """
    height, width = labels.shape
    length = width + 2 * distance - 1
    for y in range(height):
        line = labels[y]
        for i in range(distance):
            row[i] = 1
            row[length - 1 - i] = 1
        for x in range(width - 1):
            row[distance + x] = line[x] != line[x + 1]
        span = 1
        a, b = row, other
        while 2 * span <= 2 * distance:
            for i in range(length - span):
                b[i] = a[i] | a[i + span]
            for i in range(length - span, length):
                b[i] = a[i]
            a, b = b, a
            span *= 2
        rest = 2 * distance - span
        target = across[y]
        for x in range(width):
            target[x] = a[x] | a[x + rest]
        if y + 1 < height:
            below, into = labels[y + 1], down[y]
            for x in range(width):
                into[x] = target[x] | (line[x] != below[x])
    span = 1
    while 2 * span <= 2 * distance:
        for y in range(height - 1 - span):
            near, far = down[y], down[y + span]
            for x in range(width):
                near[x] |= far[x]
        span *= 2
    rest = 2 * distance - span
    for y in range(height):
        result = band[y]
        if y < distance or y + distance >= height:
            result[:] = 1
        else:
            first, second, last = down[y - distance], down[y - distance + rest], across[y + distance]
            for x in range(width):
                result[x] = first[x] | second[x] | last[x]


@numba.njit(nogil=True, cache=True, inline="always")
def _count_band_pixel(guess, true, in_guess, in_true, counts):
    counts[guess, 0] += in_guess
    counts[true, 1] += in_true
    if guess == true:
        counts[guess, 2] += in_guess & in_true


@_compiled(void(_U1, _U1, _U1, _U1, _U8, _U8, _I2))
def count_bands(guess, true, guess_band, true_band, guess_words, true_words, counts):
    """Band pixels of each class: counts[c] = prediction's, target's, both at once. Flat maps."""
    for w in range(guess_words.size):
        if guess_words[w] | true_words[w] == 0:
            continue
        for i in range(8 * w, 8 * w + 8):
            _count_band_pixel(guess[i], true[i], guess_band[i], true_band[i], counts)
    for i in range(8 * guess_words.size, guess.size):
        _count_band_pixel(guess[i], true[i], guess_band[i], true_band[i], counts)


@_compiled(void(_U2, _U2))
def edge_map(labels, edges):
    """Mark the pixels with a 4-neighbour of another label; beyond the image is another label. Both (H, W)."""
    height, width = labels.shape
    for y in range(height):
        line, out = labels[y], edges[y]
        if y == 0 or y + 1 == height:
            out[:] = 1
            continue
        above, below = labels[y - 1], labels[y + 1]
        out[0] = 1
        out[width - 1] = 1
        for x in range(1, width - 1):
            out[x] = (line[x] != line[x - 1]) | (line[x] != line[x + 1]) | (line[x] != above[x]) | (line[x] != below[x])


@_compiled(int64(_U1, _U1, _U8, int64, _I2, _I1))
def edge_points(labels, edges, words, width, points, starts):
    """The edge pixels of every class, class by class, each in row order.

    Args:
        labels: flat map.
        edges: flat edge map.
        words: `edges` as words of eight.
        width: W.
        points: (n, 2) result: rows of y, x; n at least the number of edge pixels.
        starts: 257 numbers, result: class c has the points starts[c] to starts[c + 1].

    Returns:
        The number of edge pixels that belong to a class, or -1 - n if `points` is too short for n of them.
    """
    starts[:] = 0
    for w in range(words.size):
        if words[w]:
            for i in range(8 * w, 8 * w + 8):
                if edges[i] and labels[i] != 255:
                    starts[labels[i] + 1] += 1
    for i in range(8 * words.size, labels.size):
        if edges[i] and labels[i] != 255:
            starts[labels[i] + 1] += 1
    for c in range(256):
        starts[c + 1] += starts[c]
    total = starts[256]
    if total > points.shape[0]:
        return -1 - total
    cursor = starts[:256].copy()
    for w in range(words.size):
        if words[w]:
            for i in range(8 * w, 8 * w + 8):
                if edges[i] and labels[i] != 255:
                    k = cursor[labels[i]]
                    cursor[labels[i]] += 1
                    points[k, 0] = i // width
                    points[k, 1] = i % width
    for i in range(8 * words.size, labels.size):
        if edges[i] and labels[i] != 255:
            k = cursor[labels[i]]
            cursor[labels[i]] += 1
            points[k, 0] = i // width
            points[k, 1] = i % width
    return total


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


@_compiled(void(_U2, int64, _U2, _U1, _U1))
def dilate(mask, radius, result, row, other):
    """Mark every pixel within Chebyshev `radius` of a marked one; beyond the image nothing is marked.

    Args:
        mask: (H, W) of 0 and 1; used as scratch.
        radius: at least 1.
        result: (H, W).
        row: scratch of at least W + 2·radius.
        other: likewise.
    """
    height, width = mask.shape
    window = 2 * radius + 1
    length = width + 2 * radius
    for y in range(height):
        row[:radius] = 0
        row[radius + width : length] = 0
        for x in range(width):
            row[radius + x] = mask[y, x]
        span = 1
        a, b = row, other
        while 2 * span <= window:
            for i in range(length - span):
                b[i] = a[i] | a[i + span]
            for i in range(length - span, length):
                b[i] = a[i]
            a, b = b, a
            span *= 2
        rest = window - span
        line = mask[y]
        for x in range(width):
            line[x] = a[x] | a[x + rest]
    # Row y of the result joins rows y - radius to y + radius, cut at the image.
    for y in range(height):
        result[y] = mask[y]
    for step in range(1, radius + 1):
        for y in range(height - step):
            near, far = result[y], mask[y + step]
            for x in range(width):
                near[x] |= far[x]
        for y in range(step, height):
            near, far = result[y], mask[y - step]
            for x in range(width):
                near[x] |= far[x]
