"""Contexts of lane_tans: which table codes which token, fitted by alternating minimisation.

Tokens of one kind form a matrix (rows, columns) of symbols, 255 where there is none.  The table
of a token is ``classes[row_code + column_code]`` with codes from 0 to 31 and classes that do not
fall along the 63 sums.  Minimised are the real bits: ideal code lengths under the tables, plus the
Rice codes of the row and column codes, plus the stored tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_tables import normalize, rice_bits, table_bits
from azsim.jit import kernel

__all__ = [
    "ABSENT",
    "LEVELS",
    "MAX_CLASSES",
    "SUMS",
    "Contexts",
    "fit_contexts",
    "rice_choice",
    "table_choice",
]

ABSENT = 255
LEVELS = 32
SUMS = 63
MAX_CLASSES = 8
_STEPS_PER_OCTAVE = 4.0
_FIT_LOG = 8
_ROUNDS = 6
_SAMPLE = 1 << 17  # tokens


class Contexts(NamedTuple):
    """Row and column codes of one kind of tokens.

    Attributes
    ----------
    rows, columns : ndarray, uint8
        Codes; all 0 where they are not stored.
    has_rows, has_columns : bool
    histogram : ndarray of shape (63, S), float64
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
    """Centre and k for which Rice codes of the zigzag distances are shortest, and their bits."""
    best, best_centre, best_k = np.int64(1 << 60), 0, 0
    lowest = highest = -1
    for value in range(counts.shape[0]):
        if counts[value] > 0:
            highest = value
            if lowest < 0:
                lowest = value
    for centre in range(max(lowest, 0), highest + 1):
        for k in range(6):
            bits = np.int64(0)
            for value in range(lowest, highest + 1):
                bits += counts[value] * rice_bits(zigzag(value - centre), k)
            if bits < best:
                best, best_centre, best_k = bits, centre, k
    if highest < 0:
        return np.int64(0), 0, 0
    return best, best_centre, best_k


@kernel
def zigzag(value):
    """0, -1, 1, -2, 2 ... as 0, 1, 2, 3, 4 ..."""
    return 2 * value if value >= 0 else -2 * value - 1


@kernel
def _scales(tokens, weight, row_scale, column_scale, rounds):
    """Scales whose product fits the weights of the symbols, by turns."""
    rows, columns = tokens.shape
    top = np.empty(columns)
    bottom = np.empty(columns)
    for _ in range(rounds):
        top[:] = 1e-3
        bottom[:] = 1e-3
        for r in range(rows):
            total = 0.0
            number = 0.0
            for c in range(columns):
                if tokens[r, c] != ABSENT:
                    total += weight[tokens[r, c]] / column_scale[c]
                    number += 1.0
            row_scale[r] = (total + 0.05) / (number + 0.05)
            inverse = 1.0 / row_scale[r]
            for c in range(columns):
                if tokens[r, c] != ABSENT:
                    top[c] += weight[tokens[r, c]] * inverse
                    bottom[c] += 1.0
        for c in range(columns):
            column_scale[c] = (top[c] + 0.02) / (bottom[c] + 0.02)


@kernel
def _histogram(tokens, row_codes, column_codes, symbols):
    found = np.zeros((SUMS, symbols), np.int64)
    for r in range(tokens.shape[0]):
        a = row_codes[r]
        for c in range(tokens.shape[1]):
            if tokens[r, c] != ABSENT:
                found[a + column_codes[c], tokens[r, c]] += 1
    return found


@kernel
def _segment_bits(counts, log, share):
    """Ideal bits of (S,) counts under their own table, and an estimate of the stored table."""
    total = 0.0
    bits = 0.0
    present = 0
    for s in range(counts.shape[0]):
        if counts[s] > 0:
            total += counts[s]
            bits -= counts[s] * np.log2(counts[s])
            present += 1
    if total > 0:
        bits += total * np.log2(total)
        # What frequencies of 2**-log cost: about half a unit each.
        bits += total * present / (1 << log) * 0.06
    return bits + (4.0 + 4.5 * present) * share


@kernel
def _partition(histogram, log, most, share):  # noqa: C901
    """Best classes for 1 to `most` tables: ends[k, j] is where class j ends; and their bits.

    `share` is the part of a stored table that counts.
    """
    symbols = histogram.shape[1]
    first, last = SUMS, -1
    for s in range(SUMS):
        for t in range(symbols):
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
    cost = np.empty((size, size))
    counts = np.empty(symbols)
    for i in range(size):
        counts[:] = 0.0
        for j in range(i, size):
            for t in range(symbols):
                counts[t] += histogram[first + j, t]
            cost[i, j] = _segment_bits(counts, log, share)
    best = np.full((most + 1, size), np.inf)
    cut = np.zeros((most + 1, size), np.int64)
    for j in range(size):
        best[1, j] = cost[0, j]
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
def _class_costs(histogram, ends, number, log, raw_bits):
    """Class of each sum, and cost[symbol, class] in bits."""
    symbols = histogram.shape[1]
    classes = np.zeros(SUMS, np.int64)
    cost = np.empty((symbols, MAX_CLASSES), np.float32)
    cost[:] = 0.0
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
            share = max((counts[t] + 0.02) / total, 0.25 / (1 << log))
            cost[t, k] = raw_bits[t] - np.log2(share)
    return classes, cost


@kernel
def _choose_rows(tokens, column_codes, classes, cost, number, rate, row_codes):
    """Best code of each row for the present tables and column codes."""
    bits = np.empty((LEVELS, MAX_CLASSES), np.float32)
    lowest = column_codes.min()
    highest = column_codes.max()
    for r in range(tokens.shape[0]):
        bits[lowest : highest + 1] = 0.0
        for c in range(tokens.shape[1]):
            token = tokens[r, c]
            if token != ABSENT:
                b = column_codes[c]
                for k in range(number):
                    bits[b, k] += cost[token, k]
        least = np.inf
        for a in range(rate.shape[0]):
            total = rate[a]
            for b in range(lowest, highest + 1):
                total += bits[b, classes[a + b]]
            if total < least:
                least = total
                row_codes[r] = a


@kernel
def _choose_columns(tokens, row_codes, classes, cost, number, rate, column_codes):
    """Best code of each column for the present tables and row codes."""
    columns = tokens.shape[1]
    bits = np.zeros((columns, LEVELS, MAX_CLASSES), np.float32)
    for r in range(tokens.shape[0]):
        a = row_codes[r]
        for c in range(columns):
            token = tokens[r, c]
            if token != ABSENT:
                for k in range(number):
                    bits[c, a, k] += cost[token, k]
    lowest = row_codes.min()
    highest = row_codes.max()
    for c in range(columns):
        least = np.inf
        for b in range(rate.shape[0]):
            total = rate[b]
            for a in range(lowest, highest + 1):
                total += bits[c, a, classes[a + b]]
            if total < least:
                least = total
                column_codes[c] = b


@kernel
def _rates(codes, rate):
    """Bits of each code when stored; gives those of all."""
    counts = np.zeros(LEVELS, np.int64)
    for i in range(codes.shape[0]):
        counts[codes[i]] += 1
    bits, centre, k = rice_choice(counts)
    for value in range(LEVELS):
        rate[value] = rice_bits(zigzag(value - centre), k)
    return bits


def _log_codes(scale: np.ndarray, centre: int) -> np.ndarray:
    steps = np.rint(_STEPS_PER_OCTAVE * np.log2(np.maximum(scale, 1e-9)))
    middle = np.median(steps)
    return np.clip(steps - middle + centre, 0, LEVELS - 1).astype(np.uint8)


def _best_number(total_bits: np.ndarray, most: int) -> int:
    return int(np.argmin(total_bits[1 : most + 1])) + 1


def fit_contexts(tokens: np.ndarray, raw_bits: np.ndarray, weight: np.ndarray) -> Contexts:
    """Fit row and column codes, or leave out those that do not pay.

    A large matrix is fitted on a sample of its rows; then all columns, and all rows, get the code
    that is best for them under the tables of the sample.

    Parameters
    ----------
    tokens : ndarray of shape (rows, columns), uint8
    raw_bits : ndarray of shape (S,), int64
        Bits beside the table's, by symbol.
    weight : ndarray of shape (S,), float64
        Size that a symbol stands for; where the fit starts from.
    """
    stride = -(-tokens.size // _SAMPLE)
    sample = np.ascontiguousarray(tokens[stride // 2 :: stride])
    fitted, classes, cost, number, rates = _fit_sample(sample, raw_bits, weight, stride)
    if stride == 1:
        return fitted
    none = np.zeros(max(tokens.shape), np.uint8)
    rows, columns = none[: tokens.shape[0]].copy(), fitted.columns
    side_rows = side_columns = 0.0
    if fitted.has_rows:
        _choose_rows(tokens, columns, classes, cost, number, rates[0], rows)
        side_rows = _rates(rows, rates[0]) + 8.0
    if fitted.has_columns:
        _choose_columns(tokens, rows, classes, cost, number, rates[1], columns)
        side_columns = _rates(columns, rates[1]) + 8.0
    # Whether codes pay is judged on other rows than they were fitted on.
    others = np.ascontiguousarray(tokens[::stride])
    least, chosen = np.inf, (False, False)
    for use in {(r, c) for r in (fitted.has_rows, False) for c in (fitted.has_columns, False)}:
        a = (rows if use[0] else none)[: rows.size : stride]
        b = (columns if use[1] else none)[: columns.size]
        histogram = _histogram(others, a, b, raw_bits.size)
        bits = _partition(histogram, _FIT_LOG, MAX_CLASSES, 1.0 / stride)[1].min() * stride
        bits += side_rows * use[0] + side_columns * use[1]
        if bits < least:
            least, chosen = bits, use
    a = rows if chosen[0] else none[: rows.size]
    b = columns if chosen[1] else none[: columns.size]
    side = side_rows * chosen[0] + side_columns * chosen[1]
    return Contexts(a, b, *chosen, _histogram(tokens, a, b, raw_bits.size), side)


def _fit_sample(
    tokens: np.ndarray, raw_bits: np.ndarray, weight: np.ndarray, stride: int
) -> tuple[Contexts, np.ndarray, np.ndarray, int, np.ndarray]:
    """Contexts of a matrix that stands for `stride` of its kind; classes, costs and rates."""
    symbols = raw_bits.size
    rows, columns = tokens.shape

    def judged(
        row_codes: np.ndarray, column_codes: np.ndarray, side: float
    ) -> tuple[float, np.ndarray, np.ndarray, int]:
        histogram = _histogram(tokens, row_codes, column_codes, symbols)
        ends, bits = _partition(histogram, _FIT_LOG, MAX_CLASSES, 1.0 / stride)
        number = _best_number(bits, MAX_CLASSES)
        return float(bits[number]) + side, histogram, ends[number], number

    def priced(histogram: np.ndarray, ends: np.ndarray, number: int):
        return (*_class_costs(histogram, ends, number, _FIT_LOG, raw_bits), number)

    none_rows, none_columns = np.zeros(rows, np.uint8), np.zeros(columns, np.uint8)
    rates = np.zeros((2, LEVELS))
    least, histogram, ends, number = judged(none_rows, none_columns, 0.0)
    best = Contexts(none_rows, none_columns, False, False, histogram, 0.0)
    price = priced(histogram, ends, number)
    if rows < 2 or columns < 2:
        return (best, *price, rates)
    row_scale, column_scale = np.ones(rows), np.ones(columns)
    _scales(tokens, weight, row_scale, column_scale, 3)
    row_codes, column_codes = _log_codes(row_scale, 16), _log_codes(column_scale, 15)
    side_rows, side_columns = _rates(row_codes, rates[0]), _rates(column_codes, rates[1])
    for turn in range(_ROUNDS):
        _, histogram, ends, number = judged(row_codes, column_codes, 0.0)
        classes, cost, _ = priced(histogram, ends, number)
        if turn % 2 == 0:
            rate = rates[1] / stride
            _choose_columns(tokens, row_codes, classes, cost, number, rate, column_codes)
            side_columns = _rates(column_codes, rates[1])
        else:
            _choose_rows(tokens, column_codes, classes, cost, number, rates[0], row_codes)
            side_rows = _rates(row_codes, rates[0])
    side_rows, side_columns = side_rows + 8.0, side_columns + 8.0
    for use_rows, use_columns in ((True, True), (True, False), (False, True)):
        a = row_codes if use_rows else none_rows
        b = column_codes if use_columns else none_columns
        side = side_rows * use_rows + side_columns * use_columns
        cheap = side_rows * use_rows + side_columns * use_columns / stride
        bits, histogram, ends, number = judged(a, b, cheap)
        if bits < least:
            least = bits
            best = Contexts(a, b, use_rows, use_columns, histogram, side)
            price = priced(histogram, ends, number)
    return (best, *price, rates)


def table_choice(
    contexts: list[Contexts], log: int, most: int
) -> tuple[float, list[np.ndarray], list[np.ndarray]]:
    """Share `most` tables of ``2**log`` states among kinds.

    Returns
    -------
    bits : float
        Code lengths (without raw bits) and stored tables.
    ends : list of ndarray of shape (K,), int64
        Of each kind, the sum at which each class ends.
    frequencies : list of ndarray of shape (K, S), int64
    """
    choices = [_partition(each.histogram, log, min(most, MAX_CLASSES), 1.0) for each in contexts]
    numbers = [1] * len(contexts)
    while sum(numbers) < most:
        gains = []
        for (_, bits), number in zip(choices, numbers, strict=True):
            reach = min(number + most - sum(numbers), MAX_CLASSES)
            later = _best_number(bits, reach)
            gain = (bits[number] - bits[later]) / (later - number) if later > number else 0.0
            gains.append((gain, later))
        best = int(np.argmax([gain for gain, _ in gains]))
        if gains[best][0] <= 0.0:
            break
        step = numbers[best] + 1
        numbers[best] = step if np.isfinite(choices[best][1][step]) else gains[best][1]
    total = 0.0
    all_ends, all_frequencies = [], []
    for each, (ends, _), number in zip(contexts, choices, numbers, strict=True):
        chosen = ends[number, :number].copy()
        bits, frequencies = _real_tables(each.histogram, chosen, log)
        total += bits
        all_ends.append(chosen)
        all_frequencies.append(frequencies)
    return total, all_ends, all_frequencies


@kernel
def _real_tables(histogram, ends, log):
    """Bits under quantized tables, the stored tables counted, and the frequencies."""
    symbols = histogram.shape[1]
    number = ends.shape[0]
    frequencies = np.zeros((number, symbols), np.int64)
    before = np.zeros(symbols, np.int64)
    counts = np.empty(symbols)
    bits = 0.0
    start = 0
    for k in range(number):
        counts[:] = 0.0
        for s in range(start, ends[k]):
            for t in range(symbols):
                counts[t] += histogram[s, t]
        start = ends[k]
        normalize(counts, log, frequencies[k])
        for t in range(symbols):
            if counts[t] > 0:
                bits += counts[t] * (log - np.log2(frequencies[k, t]))
        stored, _, _ = table_bits(frequencies[k], before, log)
        bits += stored
        before = frequencies[k]
    return bits, frequencies
