"""Canonical, length-limited Huffman codes: lengths, codes, tables, and lengths as bits.

Code words of the same length are consecutive numbers in the order of the symbols, shorter ones
first; the first bit of a word comes first in the stream.  A table of the lengths as stored::

    for each symbol in order, against the length of the symbol before (0 ahead of the first):
      0              the same
      1 0 s          one more (s = 0) or one less (s = 1)
      1 1 llll       the length itself, 4 bits, where neither of these holds; 0 for a symbol that
                     does not occur

Lengths are those of Larmore and Hirschberg's package-merge (A Fast Algorithm for Optimal
Length-Limited Huffman Codes, 1990), which is optimal; of symbols that occur equally often the
one that comes first has the longer word.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._words import peek, put
from azsim.jit import kernel

__all__ = [
    "MAX_LENGTH",
    "code_words",
    "fill_lookup",
    "fill_steps",
    "limited_lengths",
    "put_lengths",
    "read_lengths",
]

MAX_LENGTH = 12
"""Longest code word in bits, and index bits of a lookup table."""


@kernel
def limited_lengths(counts):
    """Lengths of an optimal code for symbols that occur (n,) int64 times: (n,) int64."""
    lengths = np.zeros(counts.shape[0], np.int64)
    # Count and symbol in one number, so that the order is one of both.
    keys = np.sort(counts * counts.shape[0] + np.arange(counts.shape[0]))
    keys = keys[keys >= counts.shape[0]]
    symbols = keys.shape[0]
    if symbols <= 1:
        for key in keys:
            lengths[key % counts.shape[0]] = 1
        return lengths
    most = 2 * symbols - 2
    is_leaf = np.zeros((MAX_LENGTH, most), np.bool_)
    weights = np.zeros(most, np.int64)
    merged = np.zeros(most, np.int64)
    size = 0
    for level in range(MAX_LENGTH):
        leaf = pair = 0
        filled = 0
        while filled < most and (leaf < symbols or pair < size // 2):
            weight = keys[leaf] // counts.shape[0] if leaf < symbols else np.int64(-1)
            package = np.int64(-1)
            if pair < size // 2:
                package = weights[2 * pair] + weights[2 * pair + 1]
            if package < 0 or (weight >= 0 and weight <= package):
                merged[filled] = weight
                is_leaf[level, filled] = True
                leaf += 1
            else:
                merged[filled] = package
                pair += 1
            filled += 1
        size = filled
        weights[:size] = merged[:size]
    take = most
    for level in range(MAX_LENGTH - 1, -1, -1):
        leaves = 0
        for i in range(take):
            leaves += is_leaf[level, i]
        for i in range(leaves):
            lengths[keys[i] % counts.shape[0]] += 1
        take = 2 * (take - leaves)
    return lengths


@kernel
def code_words(lengths):
    """Code words as they go into the stream, first bit lowest: (n,) int64.

    Also tells whether the lengths leave room for all of them.
    """
    words = np.zeros(lengths.shape[0], np.int64)
    code = np.int64(0)
    for length in range(1, MAX_LENGTH + 1):
        code <<= 1
        for symbol in range(lengths.shape[0]):
            if lengths[symbol] == length:
                word = np.int64(0)
                for i in range(length):
                    word |= ((code >> i) & 1) << (length - 1 - i)
                words[symbol] = word
                code += 1
        if code > 1 << length:
            return words, False
    return words, True


@kernel
def fill_lookup(lengths):
    """Lookup table by the next `MAX_LENGTH` bits, and whether the lengths make a code.

    An entry has the symbol in bits 0 to 7 and the length of its word above; 0 where no word fits.
    """
    lookup = np.zeros(1 << MAX_LENGTH, np.uint16)
    words, fits = code_words(lengths)
    if fits:
        for symbol in range(lengths.shape[0]):
            length = lengths[symbol]
            if length > 0:
                for at in range(words[symbol], 1 << MAX_LENGTH, 1 << length):
                    lookup[at] = symbol | length << 8
    return lookup, fits


@kernel
def put_lengths(words, position, lengths, dry):
    """Write lengths as bits, or with `dry` only count; return the position after them."""
    before = 0
    for length in lengths:
        field, width = (3 | length << 2, 6)
        if length == before:
            field, width = (0, 1)
        elif length == before + 1:
            field, width = (1, 3)
        elif length == before - 1:
            field, width = (5, 3)
        if dry:
            position += width
        else:
            position = put(words, position, width, field)
        before = length
    return position


@kernel
def read_lengths(words, position, end, lengths):
    """Fill (n,) int64 from the bits that end at `end`; return the position after, or -1."""
    before = 0
    for symbol in range(lengths.shape[0]):
        if position + 6 > end + 64:
            return -1
        bits = np.int64(peek(words, position) & np.uint64(63))
        if bits & 1 == 0:
            length, width = (before, 1)
        elif bits & 2 == 0:
            length, width = (before + 1 - (bits >> 1 & 2), 3)
        else:
            length, width = (bits >> 2, 6)
            if abs(length - before) <= 1:
                return -1
        if length < 0 or length > MAX_LENGTH:
            return -1
        lengths[symbol] = length
        before = length
        position += width
    return position if position <= end else -1


@kernel
def fill_steps(words, starts, num_words, share, count, most, run_table, code_table, first, steps):
    """Fill steps of all lanes of sound segments: bits in row 0, codes in row 1.

    `most` is the run that no code follows, or -1 without runs; lane i has segments i, i + lanes...
    """
    mask = np.uint64((1 << MAX_LENGTH) - 1)
    lanes = first.shape[0] - 1
    step = 0
    for lane in range(lanes):
        for segment in range(lane, starts.shape[0], lanes):
            position = starts[segment]
            left = min((segment + 1) * share, count) - segment * share
            is_run = most >= 0
            for _ in range(num_words[segment]):
                bits = peek(words, position) & mask
                entry = np.int64(run_table[bits]) if is_run else np.int64(code_table[bits])
                codes = entry & 255 if is_run else 1
                left -= codes
                is_run = most >= 0 and (not is_run or codes == most or left == 0)
                steps[0, step] = entry >> 8
                steps[1, step] = codes
                position += entry >> 8
                step += 1
        first[lane + 1] = step
