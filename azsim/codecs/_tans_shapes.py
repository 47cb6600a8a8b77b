"""Stored tables of lane_tans whose frequencies follow a curve: a few bits instead of a list.

A symbol has a *level*: the probability of one value that it stands for is ``2**(-level / 8)``, up
to a factor for all.  Levels of neighbours lie near a line over what the symbols stand for, and
exactly on it for Laplace weights, noise, and masks of independent zeros.  Stored are

* the number of symbols less one, in the bits that all of them take to be counted; if it is not 1,
  a bit that is 0;
* gamma codes of order 3: the level of the first symbol but one, less that of the first; then, if
  symbol 0 is the zero of codes, the level of symbol 2, less that of symbol 1;
* if there are more symbols, how many of them have a residual, in the bits that their number takes;
* gamma codes of order 0: residuals, each the level less that on the line through the last symbol
  and the one two symbols ahead of it (or, if that stands for as much, the next before that does
  not).

Where only few symbols occur, as after clipping, the number is that of those that do, the bit is 1,
and for each one there is a gamma code of order 0, by how many more than one its index is over the
one before, and, but for the first, one of order 3, its level less that of the one before.

All residuals are zigzag.  Frequencies come from levels by integers alone, so that every host gets
the same: a table of ``2**(-i / 8)`` with 30 bits, the shares of L states, rounded, at least 1, and
what is then missing or too much is taken by the symbol with the most states, one at a time.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_tables import read_bits, write_bits
from azsim.jit import kernel

__all__ = [
    "fit_few",
    "fit_shape",
    "read_shape_table",
    "shape_bits",
    "shape_frequencies",
    "write_shape_table",
]

_STEPS = 3  # log2 of the levels in a bit
_MOST = 40 << _STEPS  # level, above or below that of symbol 0
_POWERS = np.rint(2.0 ** (30 - np.arange(8) / 8)).astype(np.int64)
_FREE_ORDER = 3
_FREE_WIDTH = 24
_DISTORTION = 0.5 * (np.log(2) / 8) ** 2 / np.log(2)  # bits a token, for a level that is off by 1
_UNSEEN = 0.3  # count in place of none
_REACH = 2
_NONE = np.int64(1 << 20)  # level of a symbol that does not occur
_FEW = 8  # at most that are listed one by one


@kernel
def _width(number):
    """Bits of a number."""
    bits = 0
    while number >> bits:
        bits += 1
    return bits


@kernel
def _gamma_bits(value, order):
    """Length of a gamma code of a value from 0."""
    return 2 * _width((value >> order) + 1) - 1 + order


@kernel
def _write_gamma(data, position, value, order):
    bits = _width((value >> order) + 1) - 1
    position = write_bits(data, position, bits, 0)
    position = write_bits(data, position, 1, 1)
    position = write_bits(data, position, bits, (value >> order) + 1)
    return write_bits(data, position, order, value)


@kernel
def _read_gamma(data, position, order):
    """Value of a gamma code and the position after it; -1 where there is none."""
    bits = 0
    while True:
        one = read_bits(data, position, 1)
        position += 1
        if one < 0 or bits > _FREE_WIDTH:
            return np.int64(-1), position
        if one == 1:
            break
        bits += 1
    high = read_bits(data, position, bits)
    low = read_bits(data, position + bits, order)
    if high < 0 or low < 0:
        return np.int64(-1), position
    return ((high | np.int64(1) << bits) - 1) << order | low, position + bits + order


@kernel
def _signed(zigzag):
    return zigzag >> 1 if zigzag & 1 == 0 else -((zigzag + 1) >> 1)


@kernel
def _zigzag(value):
    return 2 * value if value >= 0 else -2 * value - 1


@kernel
def _predicted(levels, place, has_zero, s):
    """Level of symbol s on the line."""
    last = s - 1
    before = max(s - 1 - _REACH, has_zero)
    while before > has_zero and place[before] == place[last]:
        before -= 1
    run = place[last] - place[before]
    if run == 0 or place[s] == place[last]:
        return levels[last]
    rise = (levels[last] - levels[before]) * (place[s] - place[last])
    return levels[last] + (2 * rise + run) // (2 * run)


@kernel
def shape_frequencies(levels, number, spread, log, frequencies):
    """Frequencies of `number` symbols with levels; `spread` is log2 of the values of a symbol."""
    size = np.int64(1) << log
    least = levels[:number].min()
    total = np.int64(0)
    frequencies[:] = 0
    for s in range(number):
        if levels[s] != _NONE:
            down = levels[s] - least
            share = (_POWERS[down & 7] << spread[s]) >> min(down >> _STEPS, 62)
            frequencies[s] = share
            total += share
    given = np.int64(0)
    most = 0
    for s in range(number):
        if levels[s] == _NONE:
            continue
        frequencies[s] = max(1, (frequencies[s] * size + (total >> 1)) // total)
        given += frequencies[s]
        if frequencies[s] > frequencies[most]:
            most = s
    while given != size:
        step = 1 if given < size else -1
        frequencies[most] += step
        given += step
        for s in range(number):
            if frequencies[s] > frequencies[most]:
                most = s


@kernel
def fit_shape(counts, place, spread, has_zero, levels):
    """Fill the levels of (S,) counts, near enough and cheap to store; gives the symbols they have,
    or 0 where levels would be out of range.

    Symbol by symbol the residual is taken that is best for itself, in bits stored and in bits by
    which the tokens grow, to second order.
    """
    number = 1
    for s in range(counts.shape[0]):
        if counts[s] > 0:
            number = s + 1
    base = np.log2(max(counts[0], _UNSEEN)) - spread[0]
    levels[:] = 0
    for s in range(1, number):
        count = max(counts[s], _UNSEEN)
        target = 8 * (base - np.log2(count) + spread[s])
        is_free = s <= 1 + has_zero
        order = _FREE_ORDER if is_free else 0
        start = _predicted(levels, place, has_zero, s)
        if is_free:
            start = levels[s - 1]
        ideal = int(np.rint(target - start))
        best = np.inf
        kept = 0
        for residual in range(min(0, ideal), max(0, ideal) + 1):
            off = start + residual - target
            bits = _gamma_bits(_zigzag(residual), order) + count * _DISTORTION * off * off
            if bits < best and abs(start + residual) <= _MOST:
                best = bits
                kept = residual
        levels[s] = start + kept
        if abs(levels[s]) > _MOST:
            return 0
    return number


@kernel
def fit_few(counts, spread, levels):
    """Fill the levels of (S,) counts of which few are not 0; gives the symbols up to the last.

    0 where there are too many, or a level is out of range.
    """
    number = 0
    some = 0
    before = -1
    base = 0.0
    levels[:] = _NONE
    for s in range(counts.shape[0]):
        if counts[s] > 0:
            some += 1
            number = s + 1
            if before < 0:
                base = np.log2(counts[s]) - spread[s]
            levels[s] = int(np.rint(8 * (base - np.log2(counts[s]) + spread[s])))
            before = s
            if abs(levels[s]) > _MOST:
                return 0
    return number if 2 <= some <= _FEW else 0


@kernel
def _is_few(levels, number):
    """Whether symbols are listed one by one: some below the last have no level."""
    missing = 0
    for s in range(number):
        missing += 1 if levels[s] == _NONE else 0
    return missing > 0


@kernel
def _few_bits(levels, number):
    bits = _width(levels.shape[0] - 1) + 1
    before = -1
    for s in range(number):
        if levels[s] != _NONE:
            bits += _gamma_bits(s - before - 1, 0)
            if before >= 0:
                bits += _gamma_bits(_zigzag(levels[s] - levels[before]), _FREE_ORDER)
            before = s
    return bits


@kernel
def _write_few(data, position, levels, number):
    some = 0
    for s in range(number):
        some += 1 if levels[s] != _NONE else 0
    position = write_bits(data, position, _width(levels.shape[0] - 1), some - 1)
    position = write_bits(data, position, 1, 1)
    before = -1
    for s in range(number):
        if levels[s] != _NONE:
            position = _write_gamma(data, position, s - before - 1, 0)
            if before >= 0:
                value = _zigzag(levels[s] - levels[before])
                position = _write_gamma(data, position, value, _FREE_ORDER)
            before = s
    return position


@kernel
def _read_few(data, position, some, levels):
    """Fill levels; gives the position and the symbols up to the last one, 0 where it is none."""
    before = -1
    levels[:] = _NONE
    for _ in range(some):
        step, position = _read_gamma(data, position, 0)
        place = before + 1 + step
        if step < 0 or place >= levels.shape[0]:
            return position, 0
        level = np.int64(0)
        if before >= 0:
            value, position = _read_gamma(data, position, _FREE_ORDER)
            level = levels[before] + _signed(value)
            if value < 0 or abs(level) > _MOST:
                return position, 0
        levels[place] = level
        before = place
    return position, before + 1


@kernel
def _residuals(levels, number, place, has_zero, found):
    """Fill zigzag residuals; gives the number of those up to the last that is not 0."""
    some = 0
    for s in range(2 + has_zero, number):
        found[s] = _zigzag(levels[s] - _predicted(levels, place, has_zero, s))
        if found[s] > 0:
            some = s - 1 - has_zero
    return some


@kernel
def shape_bits(levels, number, place, has_zero):
    """Bits of the stored form."""
    if _is_few(levels, number):
        return _few_bits(levels, number)
    bits = _width(levels.shape[0] - 1) + (1 if number > 1 else 0)
    for s in range(1, min(number, 2 + has_zero)):
        bits += _gamma_bits(_zigzag(levels[s] - levels[s - 1]), _FREE_ORDER)
    found = np.empty(number, np.int64)
    some = _residuals(levels, number, place, has_zero, found)
    more = max(number - 2 - has_zero, 0)
    bits += _width(more)
    for s in range(2 + has_zero, 2 + has_zero + some):
        bits += _gamma_bits(found[s], 0)
    return bits


@kernel
def write_shape_table(data, position, levels, number, place, has_zero):
    """Store levels; gives the position after them."""
    if _is_few(levels, number):
        return _write_few(data, position, levels, number)
    position = write_bits(data, position, _width(levels.shape[0] - 1), number - 1)
    position = write_bits(data, position, 1 if number > 1 else 0, 0)
    for s in range(1, min(number, 2 + has_zero)):
        value = _zigzag(levels[s] - levels[s - 1])
        position = _write_gamma(data, position, value, _FREE_ORDER)
    found = np.empty(number, np.int64)
    some = _residuals(levels, number, place, has_zero, found)
    more = max(number - 2 - has_zero, 0)
    position = write_bits(data, position, _width(more), some)
    for s in range(2 + has_zero, 2 + has_zero + some):
        position = _write_gamma(data, position, found[s], 0)
    return position


@kernel
def read_shape_table(data, position, place, spread, has_zero, log, frequencies):
    """Load a table from levels; gives the position after it, or -1 where it is none."""
    symbols = frequencies.shape[0]
    levels = np.zeros(symbols, np.int64)
    width = _width(symbols - 1)
    number = read_bits(data, position, width) + 1
    position += width
    if number < 1 or number > symbols:
        return np.int64(-1)
    if number > 1:
        is_few = read_bits(data, position, 1)
        position += 1
        if is_few == 1:
            position, number = _read_few(data, position, number, levels)
            if number == 0:
                return np.int64(-1)
            shape_frequencies(levels, number, spread, log, frequencies)
            return position
    free = min(number, 2 + has_zero)
    for s in range(1, free):
        value, position = _read_gamma(data, position, _FREE_ORDER)
        if value < 0:
            return np.int64(-1)
        levels[s] = levels[s - 1] + _signed(value)
        if abs(levels[s]) > _MOST:
            return np.int64(-1)
    width = _width(number - free)
    some = read_bits(data, position, width)
    position += width
    if some < 0 or some > number - free:
        return np.int64(-1)
    for s in range(free, number):
        levels[s] = _predicted(levels, place, has_zero, s)
        if s < free + some:
            value, position = _read_gamma(data, position, 0)
            if value < 0:
                return np.int64(-1)
            levels[s] += _signed(value)
        if abs(levels[s]) > _MOST:
            return np.int64(-1)
    shape_frequencies(levels, number, spread, log, frequencies)
    return position
