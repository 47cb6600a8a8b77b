"""Tables of lane_tans: frequencies, where the states of a symbol lie, and how both are stored.

A table has ``L = 2**log`` states (log 7 to 10).  A symbol with frequency f owns f of them; its
k-th state, in ascending order, stands for ``f + k``.  The states are dealt out one by one, each to
the symbol whose next key ``(2k + 1) / 2f`` is the least (the lowest symbol on a tie), which
spreads each symbol as evenly as integers allow.

Stored, a table is: 1 bit whether a frequency is predicted by that of the same symbol in the table
before (else by the symbol before it in this table); 3 bits k; for each symbol until the
frequencies add up to L: the difference to the prediction, zigzag, as a Rice code with k low bits.
Without a table before, the first two frequencies are not predicted, and have k + 3 low bits.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = [
    "MAX_SYMBOLS",
    "build_decoder",
    "build_encoder",
    "entropy_part",
    "normalize",
    "read_bits",
    "read_rice",
    "read_table",
    "rice_bits",
    "table_bits",
    "write_bits",
    "write_rice",
    "write_table",
]

MAX_SYMBOLS = 64
_MAX_UNARY = 1100  # a zigzag difference of frequencies is at most 2 * 1024
_RICE_LIMIT = 7
_PLAIN, _PLAIN_MORE = 2, 3
_SMALL_COUNTS = 4096
_ENTROPY_PARTS = np.arange(_SMALL_COUNTS) * np.log2(np.maximum(np.arange(_SMALL_COUNTS), 1))


@kernel
def read_bits(data, position, width):
    """Unsigned field of 0 to 48 bits, or -1 where it runs past the end of `data`."""
    if position + width > 8 * data.shape[0]:
        return np.int64(-1)
    value = np.int64(0)
    got = 0
    while got < width:
        shift = position & 7
        value |= (np.int64(data[position >> 3]) >> shift) << got
        got += 8 - shift
        position += 8 - shift
    return value & ((np.int64(1) << width) - 1)


@kernel
def write_bits(data, position, width, value):
    """Write 0 to 48 bits where zeros are; gives the position after them."""
    value = np.int64(value) & ((np.int64(1) << width) - 1)
    end = position + width
    while position < end:
        shift = position & 7
        data[position >> 3] |= np.uint8((value << shift) & 255)
        value >>= 8 - shift
        position += 8 - shift
    return end


@kernel
def write_rice(data, position, low_bits, value):
    """Rice code of a value from 0: a one for each ``2**low_bits``, a zero, the low bits."""
    for _ in range(value >> low_bits):
        position = write_bits(data, position, 1, 1)
    position = write_bits(data, position, 1, 0)
    return write_bits(data, position, low_bits, value & ((1 << low_bits) - 1))


@kernel
def read_rice(data, position, low_bits):
    """Value of a Rice code and the position after it; -1 where there is none."""
    high = 0
    while True:
        bit = read_bits(data, position, 1)
        position += 1
        if bit < 0 or high > _MAX_UNARY:
            return np.int64(-1), position
        if bit == 0:
            break
        high += 1
    low = read_bits(data, position, low_bits)
    if low < 0:
        return np.int64(-1), position
    return np.int64(high) << low_bits | low, position + low_bits


@kernel
def rice_bits(value, low_bits):
    """Length of a Rice code."""
    return (value >> low_bits) + 1 + low_bits


@kernel
def entropy_part(count):
    """``n log2 n`` of a count from 0."""
    if count < _SMALL_COUNTS:
        return _ENTROPY_PARTS[np.uint64(count)]
    return count * np.log2(count)


@kernel
def normalize(histogram, log, frequencies):
    """Frequencies that add up to ``2**log`` with the shortest code for (S,) counts.

    Every symbol that occurs gets at least one state; without any count symbol 0 gets all.
    """
    size = 1 << log
    symbols = histogram.shape[0]
    total = 0.0
    for s in range(symbols):
        total += histogram[s]
    if total == 0:
        frequencies[:] = 0
        frequencies[0] = size
        return
    given = 0
    for s in range(symbols):
        frequencies[s] = 0
        if histogram[s] > 0:
            frequencies[s] = max(1, int(histogram[s] * size / total))
        given += frequencies[s]
    gains = np.empty(symbols)
    for s in range(symbols):
        gains[s] = _gain(histogram[s], frequencies[s], given < size)
    while given != size:
        best = 0
        for s in range(symbols):
            if gains[s] > gains[best]:
                best = s
        step = 1 if given < size else -1
        frequencies[best] += step
        given += step
        gains[best] = _gain(histogram[best], frequencies[best], step > 0)


@kernel
def _gain(count, frequency, is_more):
    """Bits that a state more, or less, saves for a symbol."""
    if is_more and frequency > 0:
        return count * np.log2((frequency + 1) / frequency)
    if not is_more and frequency > 1:
        return -count * np.log2(frequency / (frequency - 1))
    return -np.inf


@kernel
def _deal(frequencies, log, owner):
    """Owner of each state: all keys, sorted by buckets of one state's width."""
    size = 1 << log
    symbols = frequencies.shape[0]
    first = np.zeros(size + 1, np.int64)
    for s in range(symbols):
        step = size / (2.0 * max(frequencies[s], 1))
        for k in range(frequencies[s]):
            # What is added keeps equal keys of two symbols in one bucket.
            first[np.uint64((2 * k + 1) * step + 1e-6) + np.uint64(1)] += 1
    for bucket in range(size):
        first[bucket + 1] += first[bucket]
    end = first[:-1].copy()
    rank = np.empty(size, np.int64)
    for s in range(symbols):
        f = frequencies[s]
        step = size / (2.0 * max(f, 1))
        for k in range(f):
            bucket = np.uint64((2 * k + 1) * step + 1e-6)
            at = end[bucket]
            end[bucket] = at + 1
            # (2k + 1) / 2f of s against that of the one before, without division
            while (
                at > first[bucket]
                and (2 * k + 1) * frequencies[owner[at - 1]] < (2 * rank[at - 1] + 1) * f
            ):
                owner[at] = owner[at - 1]
                rank[at] = rank[at - 1]
                at -= 1
            owner[at] = s
            rank[at] = k


@kernel
def build_decoder(frequencies, log, symbol, num_bits, base):
    """Fill the (L,) entries of a decoder table."""
    size = 1 << log
    _deal(frequencies, log, symbol)
    taken = frequencies.copy()
    most = np.zeros(frequencies.shape[0], np.int64)
    for s in range(frequencies.shape[0]):
        while frequencies[s] << most[s] < size:
            most[s] += 1
            if frequencies[s] == 0:
                break
    for state in range(size):
        s = symbol[state]
        value = taken[s]
        taken[s] = value + 1
        bits = most[s]
        # The value is at most twice the frequency.
        if value << bits >= 2 * size:
            bits -= 1
        num_bits[state] = bits
        base[state] = (value << bits) - size


@kernel
def build_encoder(frequencies, log, start, bits_most, least, states):
    """Fill an encoder table.

    `states` (L,) holds the states of symbol s from ``start[s]`` on, in ascending order;
    `bits_most` (S,) the most bits that a step into s gives, `least` (S,) the state (from L)
    from which it gives so many.
    """
    size = 1 << log
    symbols = frequencies.shape[0]
    owner = np.empty(size, np.int64)
    _deal(frequencies, log, owner)
    at = 0
    for s in range(symbols):
        start[s] = at
        at += frequencies[s]
        bits = 0
        if frequencies[s] > 0:
            while frequencies[s] << (bits + 1) <= 2 * size - 1:
                bits += 1
        bits_most[s] = bits
        least[s] = frequencies[s] << bits
    dealt = start.copy()
    for state in range(size):
        states[dealt[owner[state]]] = state
        dealt[owner[state]] += 1


@kernel
def _low_bits(k, by_table, s):
    return k + _PLAIN_MORE if s < _PLAIN and by_table == 0 else k


@kernel
def _difference(frequencies, before, by_table, s):
    """Zigzag difference of frequency s to its prediction, or the frequency itself."""
    if by_table:
        difference = frequencies[s] - before[s]
    elif s < _PLAIN:
        return frequencies[s]
    else:
        difference = frequencies[s] - frequencies[s - 1]
    return 2 * difference if difference >= 0 else -2 * difference - 1


@kernel
def table_bits(frequencies, before, log):
    """Bits of the shortest stored form, its k, and whether it is predicted by `before`."""
    size = 1 << log
    best, best_k, best_by_table = np.int64(1 << 40), 0, 0
    for by_table in range(2):
        for k in range(_RICE_LIMIT + 1):
            bits = np.int64(4)
            given = 0
            for s in range(frequencies.shape[0]):
                if given == size:
                    break
                given += frequencies[s]
                value = _difference(frequencies, before, by_table, s)
                bits += rice_bits(value, _low_bits(k, by_table, s))
            if bits < best:
                best, best_k, best_by_table = bits, k, by_table
    return best, best_k, best_by_table


@kernel
def write_table(data, position, frequencies, before, log):
    """Store a table; gives the position after it."""
    _, k, by_table = table_bits(frequencies, before, log)
    position = write_bits(data, position, 1, by_table)
    position = write_bits(data, position, 3, k)
    given = 0
    for s in range(frequencies.shape[0]):
        if given == 1 << log:
            break
        given += frequencies[s]
        value = _difference(frequencies, before, by_table, s)
        position = write_rice(data, position, _low_bits(k, by_table, s), value)
    return position


@kernel
def read_table(data, position, before, log, frequencies):
    """Load a table; gives the position after it, or -1 where it is none."""
    size = 1 << log
    by_table = read_bits(data, position, 1)
    k = read_bits(data, position + 1, 3)
    if by_table < 0 or k < 0:
        return np.int64(-1)
    position += 4
    given = np.int64(0)
    frequencies[:] = 0
    for s in range(frequencies.shape[0]):
        if given == size:
            break
        zigzag, position = read_rice(data, position, _low_bits(k, by_table, s))
        if zigzag < 0:
            return np.int64(-1)
        frequency = zigzag >> 1 if zigzag & 1 == 0 else -((zigzag + 1) >> 1)
        if by_table == 1:
            frequency += before[s]
        elif s < _PLAIN:
            frequency = zigzag
        else:
            frequency += frequencies[s - 1]
        if frequency < 0 or frequency > size - given:
            return np.int64(-1)
        frequencies[s] = frequency
        given += frequency
    return position if given == size else np.int64(-1)
