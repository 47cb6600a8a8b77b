"""Tables of lane_tans for tokens whose sums of context codes were counted: classes, frequencies.

Classes are runs of the 63 sums, found by dynamic programming over the entropy of their tokens and
an estimate of the stored tables; then real tables are made in every size and the best is kept.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_shapes import fit_few, fit_shape, shape_bits, shape_frequencies
from azsim.codecs._tans_tables import MAX_SYMBOLS, entropy_part, normalize, table_bits
from azsim.jit import kernel

__all__ = ["MAX_CLASSES", "SUMS", "choose_tables", "partition"]

SUMS = 63
MAX_CLASSES = 8
_LOGS = (7, 8, 9, 10)
_STATES = 2048
_STATE_BITS = 0.02  # what a state is worth, as it takes time to build
_SHAPE_TOKENS = 1 << 16  # with more, a list of frequencies is cheap enough


@kernel
def _table_estimate(total, present, log, share):
    """Bits that a stored table and its coarse frequencies cost, about half a unit each."""
    bits = (4.0 + 4.5 * present) * share
    if total > 0:
        bits += total * present / (1 << log) * 0.06
    return bits


@kernel
def _segment_costs(histogram, first, size, log, share):
    """Bits of the sums from i to j under a table of their own: (size, size)."""
    symbols = histogram.shape[1]
    cost = np.empty((size, size))
    counts = np.empty(symbols, np.int64)
    for i in range(size):
        counts[:] = 0
        total = np.int64(0)
        present = 0
        parts = 0.0
        for j in range(i, size):
            for t in range(symbols):
                more = histogram[first + j, t]
                if more > 0:
                    before = counts[t]
                    present += 1 if before == 0 else 0
                    counts[t] = before + more
                    total += more
                    parts += entropy_part(before + more) - entropy_part(before)
            cost[i, j] = entropy_part(total) - parts + _table_estimate(total, present, log, share)
    return cost


@kernel
def partition(histogram, log, most, share):
    """Best classes for 1 to `most` tables: ends[k, j] is where class j ends; and their bits.

    `histogram` (63, S) counts symbols by sum; `share` is the part of a stored table that counts.
    """
    first, last = SUMS, -1
    for s in range(SUMS):
        for t in range(histogram.shape[1]):
            if histogram[s, t] > 0:
                first = min(first, s)
                last = s
                break
    ends = np.full((most + 1, most), SUMS, np.int64)
    total_bits = np.full(most + 1, np.inf)
    if last < 0:
        total_bits[1] = 0.0
        return ends, total_bits
    size = last - first + 1
    cost = _segment_costs(histogram, first, size, log, share)
    best = np.full((most + 1, size), np.inf)
    cut = np.zeros((most + 1, size), np.int64)
    best[1] = cost[0]
    for k in range(2, most + 1):
        for j in range(k - 1, size):
            for i in range(k - 1, j + 1):
                bits = best[k - 1, i - 1] + cost[i, j]
                if bits < best[k, j]:
                    best[k, j] = bits
                    cut[k, j] = i
    for k in range(1, most + 1):
        total_bits[k] = best[k, size - 1]
        if np.isinf(total_bits[k]):
            continue
        j = size - 1
        for part in range(k, 1, -1):
            ends[k, part - 2] = first + cut[part, j]
            j = cut[part, j] - 1
        ends[k, k - 1] = SUMS
    return ends, total_bits


@kernel
def _share_tables(bits, most, numbers):
    """Numbers of classes of the kinds, from their bits (kinds, 9) for each number, by gain."""
    kinds = bits.shape[0]
    numbers[:] = 1
    while numbers.sum() < most:
        best, best_gain, best_step = -1, 0.0, 1
        for kind in range(kinds):
            number = numbers[kind]
            reach = min(number + most - numbers.sum(), MAX_CLASSES)
            later = 1
            for k in range(1, reach + 1):
                if bits[kind, k] < bits[kind, later]:
                    later = k
            if later > number:
                gain = (bits[kind, number] - bits[kind, later]) / (later - number)
                if gain > best_gain:
                    best, best_gain = kind, gain
                    best_step = number + 1 if np.isfinite(bits[kind, number + 1]) else later
        if best < 0:
            return
        numbers[best] = best_step


@kernel
def _coded_bits(counts, log, frequencies):
    bits = 0.0
    for t in range(counts.shape[0]):
        if counts[t] > 0:
            bits += counts[t] * (log - np.log2(frequencies[t]))
    return bits


@kernel
def _real_tables(histogram, ends, log, shape, frequencies, numbers, levels):
    """Fill the tables of a kind; gives the bits under them, the stored tables counted.

    `shape` is place, spread and whether there is a zero, -1 for no shapes.
    """
    symbols = histogram.shape[1]
    place, spread, has_zero = shape
    before = np.zeros(symbols, np.int64)
    curve, trial = np.zeros(symbols, np.int64), np.zeros(symbols, np.int64)
    counts = np.zeros(symbols)
    bits = 0.0
    start = 0
    for k in range(ends.shape[0]):
        counts[:] = 0.0
        for s in range(start, ends[k]):
            for t in range(symbols):
                counts[t] += histogram[s, t]
        start = ends[k]
        normalize(counts, log, frequencies[k])
        found = (
            _coded_bits(counts, log, frequencies[k]) + table_bits(frequencies[k], before, log)[0]
        )
        numbers[k] = 0
        if has_zero >= 0:
            found += 1
            if counts.sum() < _SHAPE_TOKENS:
                for way in range(2):
                    if way == 0:
                        number = fit_shape(counts, place, spread, has_zero, curve)
                    else:
                        number = fit_few(counts, spread, curve)
                    if number == 0:
                        continue
                    shape_frequencies(curve, number, spread, log, trial)
                    other = _coded_bits(counts, log, trial) + 1
                    other += shape_bits(curve, number, place, has_zero)
                    if other < found:
                        found = other
                        numbers[k] = number
                        frequencies[k] = trial
                        levels[k] = curve
        before[:] = frequencies[k]
        bits += found
    return bits


@kernel
def choose_tables(histograms, sizes, shapes, has_zero):
    """Share the states among kinds, in the best size of a table.

    Parameters
    ----------
    histograms : ndarray of shape (kinds, 63, 64), int64
        Symbols, in the order in which they are stored, by sum of codes.
    sizes, has_zero : ndarray of shape (kinds,), int64
        Symbols; 1 where symbol 0 is the zero, -1 where a table has no shape.
    shapes : ndarray of shape (kinds, 2, 64), int64
        Place and spread of symbols.

    Returns
    -------
    bits : float
        Code lengths (without raw bits), stored tables, and what their states are worth.
    log : int
    classes : ndarray of shape (kinds,), int64
    ends : ndarray of shape (kinds, 8), int64
    frequencies : ndarray of shape (kinds, 8, 64), int64
    numbers : ndarray of shape (kinds, 8), int64
    levels : ndarray of shape (kinds, 8, 64), int64
    """
    kinds = sizes.shape[0]
    best_bits, best_log = np.inf, 0
    ends = np.zeros((kinds, MAX_CLASSES + 1, MAX_CLASSES), np.int64)
    bits = np.zeros((kinds, MAX_CLASSES + 1))
    classes = np.zeros((2, kinds), np.int64)
    chosen = np.zeros((2, kinds, MAX_CLASSES), np.int64)
    frequencies = np.zeros((2, kinds, MAX_CLASSES, MAX_SYMBOLS), np.int64)
    numbers = np.zeros((2, kinds, MAX_CLASSES), np.int64)
    levels = np.zeros((2, kinds, MAX_CLASSES, MAX_SYMBOLS), np.int64)
    for log in _LOGS:
        for kind in range(kinds):
            ends[kind], bits[kind] = partition(
                histograms[kind, :, : sizes[kind]], log, MAX_CLASSES, 1.0
            )
        _share_tables(bits, _STATES >> log, classes[1])
        total = 0.0
        for kind in range(kinds):
            number, size = classes[1, kind], sizes[kind]
            chosen[1, kind, :number] = ends[kind, number, :number]
            total += _real_tables(
                histograms[kind, :, :size],
                chosen[1, kind, :number],
                log,
                (shapes[kind, 0], shapes[kind, 1], has_zero[kind]),
                frequencies[1, kind, :number, :size],
                numbers[1, kind],
                levels[1, kind, :, :size],
            )
        total += _STATE_BITS * (1 << log) * classes[1].sum()
        if total >= best_bits and log > _LOGS[1]:
            break
        if total < best_bits:
            best_bits, best_log = total, log
            classes[0] = classes[1]
            chosen[0] = chosen[1]
            frequencies[0] = frequencies[1]
            numbers[0] = numbers[1]
            levels[0] = levels[1]
    return best_bits, best_log, classes[0], chosen[0], frequencies[0], numbers[0], levels[0]
