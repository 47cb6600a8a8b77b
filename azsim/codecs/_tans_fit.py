"""Contexts of lane_tans: which table codes which token, fitted by alternating minimisation.

Tokens of one kind form a matrix (rows, columns) of symbols, 255 where there is none.  The table
of a token is ``classes[row_code + column_code]`` with codes from 0 to 31 and classes that do not
fall along the 63 sums.  Minimised are the real bits: ideal code lengths under the tables, plus the
Rice codes of the row and column codes, plus the stored tables.

A large matrix is fitted on a sample of its rows; then all columns, and all rows, get the code that
is best for them under the tables of the sample.  Nothing is fitted where means of rows, or of
columns, differ no more than chance has it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_partition import MAX_CLASSES, SUMS, partition
from azsim.codecs._tans_tables import rice_bits
from azsim.jit import kernel

__all__ = [
    "ABSENT",
    "ALL_SAME",
    "LEVELS",
    "MAX_CLASSES",
    "MOST_SAME",
    "SUMS",
    "Contexts",
    "fit_contexts",
    "rice_choice",
    "zigzag",
]

ABSENT = 255
LEVELS = 32
ALL_SAME = 7
MOST_SAME = 1 << 16
_STEPS_PER_OCTAVE = 4.0
_FIT_LOG = 8
_ROUNDS = 6
_FEW_ROUNDS = 3
_FEW_TOKENS = 1 << 14
_SAMPLE = 1 << 17  # tokens
_LIST_BITS = 8.0  # centre and k of stored codes
_CHANCE = 3.0  # standard deviations
_RICE_REACH = 3


class Contexts(NamedTuple):
    """Row and column codes of one kind of tokens.

    Attributes
    ----------
    rows, columns : ndarray, uint8
        Codes; all 0 where they are not stored.
    has_rows, has_columns : bool
    histogram : ndarray of shape (63, S), int64
        Symbols by sum of codes.
    side_bits : float
        Length of the stored codes.
    """

    rows: np.ndarray
    columns: np.ndarray
    has_rows: bool
    has_columns: bool
    histogram: np.ndarray
    side_bits: float


@kernel
def rice_choice(counts):
    """Bits, centre near the median, and k, for which Rice codes of zigzag distances are short.

    With `ALL_SAME` for k there is one value, at most `MOST_SAME` times, and no bit for each.
    """
    best, best_centre, best_k = np.int64(1 << 60), 0, 0
    lowest = highest = -1
    total = np.int64(0)
    for value in range(counts.shape[0]):
        if counts[value] > 0:
            highest = value
            total += counts[value]
            if lowest < 0:
                lowest = value
    if highest < 0:
        return np.int64(0), 0, 0
    if lowest == highest and total <= MOST_SAME:
        return np.int64(0), lowest, ALL_SAME
    median = lowest
    below = np.int64(counts[lowest])
    while 2 * below < total:
        median += 1
        below += counts[median]
    for centre in range(max(lowest, median - _RICE_REACH), min(highest, median + _RICE_REACH) + 1):
        for k in range(6):
            bits = np.int64(0)
            for value in range(lowest, highest + 1):
                bits += counts[value] * rice_bits(zigzag(value - centre), k)
            if bits < best:
                best, best_centre, best_k = bits, centre, k
    return best, best_centre, best_k


@kernel
def zigzag(value):
    """0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ..."""
    return 2 * value if value >= 0 else -2 * value - 1


@kernel
def _gather(tokens, first, stride):
    """Tokens of every so manieth row: where rows start, columns and symbols."""
    rows = max(0, (tokens.shape[0] - first + stride - 1) // stride)
    columns = tokens.shape[1]
    start = np.zeros(rows + 1, np.int64)
    place = np.empty(rows * columns + 1, np.int32)
    symbol = np.empty(rows * columns + 1, np.uint8)
    at = 0
    for i in range(rows):
        r = first + i * stride
        for c in range(columns):
            token = tokens[r, c]
            place[np.uint64(at)] = c
            symbol[np.uint64(at)] = token
            at += 1 if token != ABSENT else 0
        start[i + 1] = at
    return start, place[:at], symbol[:at]


@kernel
def _differences(listed, weight, columns):
    """Squares by which the means of rows, and of columns, differ, over those of a token.

    By chance alone they are about the number of rows, and of columns.
    """
    start, place, symbol = listed
    rows = start.shape[0] - 1
    totals, numbers = np.zeros(columns), np.zeros(columns)
    row_sum = np.zeros(rows)
    total, squares = 0.0, 0.0
    for r in range(rows):
        own = 0.0
        for i in range(start[r], start[r + 1]):
            w = weight[symbol[i]]
            own += w
            squares += w * w
            totals[place[i]] += w
            numbers[place[i]] += 1.0
        row_sum[r] = own
        total += own
    count = max(symbol.shape[0], 1)
    mean = total / count
    variance = max(squares / count - mean * mean, 1e-12)
    by_rows = by_columns = 0.0
    for r in range(rows):
        number = start[r + 1] - start[r]
        if number > 0:
            by_rows += (row_sum[r] - number * mean) ** 2 / number
    for c in range(columns):
        if numbers[c] > 0:
            by_columns += (totals[c] - numbers[c] * mean) ** 2 / numbers[c]
    return by_rows / variance, by_columns / variance


@kernel
def _scales(listed, weight, row_scale, column_scale, rounds):
    """Scales whose product fits the weights of the symbols, by turns."""
    start, place, symbol = listed
    columns = column_scale.shape[0]
    top = np.empty(columns)
    bottom = np.empty(columns)
    inverse = np.empty(columns)
    for _ in range(rounds):
        top[:] = 1e-3
        bottom[:] = 1e-3
        for c in range(columns):
            inverse[c] = 1.0 / column_scale[c]
        for r in range(row_scale.shape[0]):
            total = 0.05
            for i in range(start[r], start[r + 1]):
                total += weight[symbol[i]] * inverse[place[i]]
            row_scale[r] = total / (start[r + 1] - start[r] + 0.05)
            own = 1.0 / row_scale[r]
            for i in range(start[r], start[r + 1]):
                top[place[i]] += weight[symbol[i]] * own
                bottom[place[i]] += 1.0
        for c in range(columns):
            column_scale[c] = (top[c] + 0.02) / (bottom[c] + 0.02)


@kernel
def _histogram(listed, row_codes, column_codes, symbols):
    start, place, symbol = listed
    found = np.zeros((SUMS, symbols), np.int64)
    for r in range(row_codes.shape[0]):
        a = np.int64(row_codes[r])
        for i in range(start[r], start[r + 1]):
            total = a + column_codes[np.uint64(place[i])]
            found[np.uint64(total), np.uint64(symbol[i])] += 1
    return found


@kernel
def _count(tokens, row_codes, column_codes, symbols):
    """Histogram of all tokens by sum of codes."""
    found = np.zeros((SUMS, symbols + 1), np.int64)
    for r in range(tokens.shape[0]):
        a = np.int64(row_codes[r])
        for c in range(tokens.shape[1]):
            token = min(np.int64(tokens[r, c]), symbols)  # the last one counts those that are none
            found[np.uint64(a + column_codes[np.uint64(c)]), np.uint64(token)] += 1
    return found[:, :symbols].copy()


@kernel
def _class_costs(histogram, ends, number, raw_bits):
    """Class of each sum, and cost[symbol, class] in bits."""
    symbols = histogram.shape[1]
    classes = np.zeros(SUMS, np.int64)
    cost = np.zeros((symbols, MAX_CLASSES), np.float32)
    start = 0
    counts = np.empty(symbols)
    for k in range(number):
        counts[:] = 0.0
        for s in range(start, ends[k]):
            classes[s] = k
            for t in range(symbols):
                counts[t] += histogram[s, t]
        start = ends[k]
        total = counts.sum() + 0.02 * symbols
        for t in range(symbols):
            share = max((counts[t] + 0.02) / total, 0.25 / (1 << _FIT_LOG))
            cost[t, k] = raw_bits[t] - np.log2(share)
    return classes, cost


@kernel
def _choose_rows(listed, column_codes, classes, cost, rate, row_codes):
    """Best code of each row for the present tables and column codes."""
    start, place, symbol = listed
    bits = np.empty((LEVELS, MAX_CLASSES), np.float32)
    lowest = column_codes.min()
    highest = column_codes.max()
    for r in range(row_codes.shape[0]):
        bits[lowest : highest + 1] = 0.0
        for i in range(start[r], start[r + 1]):
            b = np.uint64(column_codes[np.uint64(place[i])])
            s = np.uint64(symbol[i])
            for k in range(MAX_CLASSES):
                bits[b, k] += cost[s, k]
        least = np.inf
        for a in range(rate.shape[0]):
            total = rate[a]
            for b in range(lowest, highest + 1):
                total += bits[b, classes[a + b]]
            if total < least:
                least = total
                row_codes[r] = a


@kernel
def _choose_columns(listed, row_codes, classes, cost, rate, column_codes):
    """Best code of each column for the present tables and row codes."""
    start, place, symbol = listed
    columns = column_codes.shape[0]
    lowest = np.int64(row_codes.min())
    highest = np.int64(row_codes.max())
    bits = np.zeros((columns, highest - lowest + 1, MAX_CLASSES), np.float32)
    for r in range(row_codes.shape[0]):
        a = np.uint64(row_codes[r] - lowest)
        for i in range(start[r], start[r + 1]):
            c = np.uint64(place[i])
            s = np.uint64(symbol[i])
            for k in range(MAX_CLASSES):
                bits[c, a, k] += cost[s, k]
    for c in range(columns):
        least = np.inf
        for b in range(rate.shape[0]):
            total = rate[b]
            for a in range(lowest, highest + 1):
                total += bits[c, a - lowest, classes[a + b]]
            if total < least:
                least = total
                column_codes[c] = b


@kernel
def _rates(codes, rate):
    """Fill the bits of each code when stored; gives those of all."""
    counts = np.zeros(LEVELS, np.int64)
    for i in range(codes.shape[0]):
        counts[codes[i]] += 1
    bits, centre, k = rice_choice(counts)
    for value in range(LEVELS):
        rate[value] = rice_bits(zigzag(value - centre), 0 if k == ALL_SAME else k)
    return bits + _LIST_BITS


@kernel
def _log_codes(scale, centre):
    """Codes of scales: steps of a quarter octave around the median."""
    steps = np.empty(scale.shape[0])
    for i in range(scale.shape[0]):
        steps[i] = np.rint(_STEPS_PER_OCTAVE * np.log2(max(scale[i], 1e-9)))
    middle = np.median(steps)
    codes = np.empty(scale.shape[0], np.uint8)
    for i in range(scale.shape[0]):
        codes[i] = min(max(steps[i] - middle + centre, 0), LEVELS - 1)
    return codes


@kernel
def _judged(listed, row_codes, column_codes, symbols, share):
    """Bits of a choice of codes, its histogram, and its classes."""
    histogram = _histogram(listed, row_codes, column_codes, symbols)
    ends, bits = partition(histogram, _FIT_LOG, MAX_CLASSES, share)
    number = np.argmin(bits[1:]) + 1
    return bits[number], histogram, ends[number], number


@kernel
def _alternate(listed, raw_bits, weight, stride, by_rows, by_columns, row_codes, column_codes):
    """Fit the codes of a sample by turns; those that are not fitted stay 0."""
    symbols = raw_bits.shape[0]
    rows, columns = row_codes.shape[0], column_codes.shape[0]
    row_scale, column_scale = np.ones(rows), np.ones(columns)
    few = listed[2].shape[0] <= _FEW_TOKENS
    _scales(listed, weight, row_scale, column_scale, 1 if few else 3)
    rates = np.zeros((2, LEVELS))
    if by_rows:
        row_codes[:] = _log_codes(row_scale, 16)
        _rates(row_codes, rates[0])
    if by_columns:
        column_codes[:] = _log_codes(column_scale, 15)
        _rates(column_codes, rates[1])
    for turn in range(_FEW_ROUNDS if few else _ROUNDS):
        of_columns = turn % 2 == 0
        if (of_columns and not by_columns) or (not of_columns and not by_rows):
            continue
        _, histogram, ends, number = _judged(listed, row_codes, column_codes, symbols, 1.0 / stride)
        classes, cost = _class_costs(histogram, ends, number, raw_bits)
        if of_columns:
            rate = rates[1] / stride
            _choose_columns(listed, row_codes, classes, cost, rate, column_codes)
            _rates(column_codes, rates[1])
        else:
            _choose_rows(listed, column_codes, classes, cost, rates[0], row_codes)
            _rates(row_codes, rates[0])


@kernel
def _best_use(listed, symbols, stride, row_codes, column_codes, side_rows, side_columns):
    """Whether row codes and column codes pay, with the classes of the best choice.

    A sample has all columns and one of `stride` rows.
    """
    no_rows, no_columns = np.zeros_like(row_codes), np.zeros_like(column_codes)
    least, histogram, ends, number = _judged(listed, no_rows, no_columns, symbols, 1.0 / stride)
    use = 0
    for other in (3, 1, 2):
        a = row_codes if other & 1 else no_rows
        b = column_codes if other & 2 else no_columns
        if (other & 1 and side_rows < 0) or (other & 2 and side_columns < 0):
            continue
        bits, counted, found, classes = _judged(listed, a, b, symbols, 1.0 / stride)
        bits += side_rows / stride * (other & 1) + side_columns / stride * (other >> 1)
        if bits < least:
            least, use = bits, other
            histogram, ends, number = counted, found, classes
    return use, histogram, ends, number


@kernel
def _fit(tokens, raw_bits, weight):
    rows, columns = tokens.shape
    symbols = raw_bits.shape[0]
    row_codes, column_codes = np.zeros(rows, np.uint8), np.zeros(columns, np.uint8)
    stride = max(1, -(-(rows * columns) // _SAMPLE))
    listed = _gather(tokens, stride // 2, stride)
    sampled = np.zeros(listed[0].shape[0] - 1, np.uint8)
    by_rows, by_columns = False, False
    if rows > 1 and columns > 1:
        more = _differences(listed, np.log2(1.0 + weight), columns)
        size = sampled.shape[0]
        by_rows = more[0] > max(size + _CHANCE * np.sqrt(2.0 * size), 1.5 * size)
        by_columns = more[1] > columns + _CHANCE * np.sqrt(2.0 * columns)
        by_columns &= (more[1] - columns) * stride > 0.5 * columns
    use, side = 0, 0.0
    if by_rows or by_columns:
        _alternate(listed, raw_bits, weight, stride, by_rows, by_columns, sampled, column_codes)
        rate = np.zeros((2, LEVELS))
        side_rows = _rates(sampled, rate[0]) * stride if by_rows else -1.0
        side_columns = _rates(column_codes, rate[1]) if by_columns else -1.0
        use, histogram, ends, number = _best_use(
            listed, symbols, stride, sampled, column_codes, side_rows, side_columns
        )
        if stride == 1:
            row_codes[:] = sampled
        elif use:
            classes, cost = _class_costs(histogram, ends, number, raw_bits)
            listed = _gather(tokens, 0, 1)
            if use & 2 == 0:
                column_codes[:] = 0
            if use & 1:
                _choose_rows(listed, column_codes, classes, cost, rate[0], row_codes)
                side_rows = _rates(row_codes, rate[0])
            if use & 2:
                _choose_columns(listed, row_codes, classes, cost, rate[1], column_codes)
                side_columns = _rates(column_codes, rate[1])
            # Whether codes pay is judged on other rows than they were fitted on.
            use, _, _, _ = _best_use(
                _gather(tokens, 0, stride),
                symbols,
                stride,
                row_codes[::stride].copy(),
                column_codes,
                side_rows if use & 1 else -1.0,
                side_columns if use & 2 else -1.0,
            )
        side += side_rows if use & 1 else 0.0
        side += side_columns if use & 2 else 0.0
    if use & 1 == 0:
        row_codes[:] = 0
    if use & 2 == 0:
        column_codes[:] = 0
    histogram = _count(tokens, row_codes, column_codes, symbols)
    return row_codes, column_codes, use & 1 == 1, use & 2 == 2, histogram, side


def fit_contexts(tokens: np.ndarray, raw_bits: np.ndarray, weight: np.ndarray) -> Contexts:
    """Fit row and column codes, or leave out those that do not pay.

    Parameters
    ----------
    tokens : ndarray of shape (rows, columns), uint8
    raw_bits : ndarray of shape (S,), int64
        Bits beside the table's, by symbol.
    weight : ndarray of shape (S,), float64
        Size that a symbol stands for; where the fit starts from.
    """
    return Contexts(*_fit(tokens, raw_bits, weight))
