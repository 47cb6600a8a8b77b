"""Slices of the Ethos-U weight format as bits: writing and reading them.

A slice::

    3 bits      ZDIV: divisor exponent of zero runs (0 to 3); 6 without zero runs; 7 ends the stream
    15 bits     SLICELEN: weights less one
    3 bits      WDIV: divisor exponent of weights (0 to 5), or 7: uncompressed
    1 bit       WTRUNC: quotients are 0 to 2, the last one without its end
    1 bit       NEWPAL: a palette follows
      5 bits      DIROFS: value of the first index after the palette
      5 bits      PALSIZE: entries less one; 0 for none
      3 bits      PALBITS: bits of an entry less two
      entries     values: magnitude times two, plus one for negative ones
    chunks      until all weights, and all zero runs, are there

A slice has a zero run after each weight, and one ahead of the first where it has a new palette.
A chunk::

    12 bits     unary digits of weights: whether one more of the quotient follows (not in
                uncompressed slices, where a chunk is 12 weights, or 8 of more than 5 bits)
    12 or 8     unary digits of zero runs: 8 if ZDIV is 3
    0 to 12     second digits of weights, one for each first digit that is 1
    remainders  of the weights that ended in the chunk before
    remainders  of the zero runs that ended in the chunk before

A quotient is coded two at a time: digits 0 for none, 1 0 for one, 1 1 for two and more to come.
A chunk leaves the weights out when 8 or more of them are ahead of the zero runs, and the zero
runs when they are ahead of the weights.  Digits after the last symbol are 0.
"""

from __future__ import annotations

import numpy as np

from azsim.codecs._rice_expand import pieces_to_codes
from azsim.codecs._rice_plan import MAX_SLICE, NO_DIVISOR, UNCOMPRESSED
from azsim.codecs._words import peek, put
from azsim.jit import kernel

__all__ = [
    "BAD_COUNT",
    "BAD_DIGITS",
    "BAD_HEADER",
    "BAD_VALUE",
    "OK",
    "TRUNCATED",
    "read_stream",
    "slice_bits",
    "write_head",
    "write_slice",
]

OK, TRUNCATED, BAD_HEADER, BAD_VALUE, BAD_COUNT, BAD_DIGITS = range(6)

_DIGITS = 12
_END = 7
_AHEAD = 8
_MAX_INDEX = 511


@kernel
def write_head(words, position, zdiv, num, wdiv, trunc, palette, palette_bits, direct, new):
    """Write a slice header; return the position after it."""
    position = put(words, position, 3, zdiv)
    position = put(words, position, 15, num - 1)
    position = put(words, position, 3, wdiv)
    position = put(words, position, 1, trunc)
    position = put(words, position, 1, 1 if new else 0)
    if new:
        position = put(words, position, 5, direct)
        position = put(words, position, 5, max(0, palette.shape[0] - 1))
        position = put(words, position, 3, palette_bits - 2)
        for entry in palette:
            position = put(words, position, palette_bits, entry)
    return position


@kernel
def _weight_digits(weights, taken, left, div, trunc, fixed, most):
    """Digits of one chunk: first and second ones, their number, weights that end, carry.

    `left` is what remains of the quotient of weight `taken`, or -1 ahead of it.
    """
    first = second = 0
    seconds = 0
    ended = 0
    at = 0
    while at < most:
        if taken + ended >= weights.shape[0]:
            break
        if left < 0:
            left = 0 if fixed else weights[taken + ended] >> div
        if left > 0:
            first |= 1 << at
            if left > 1:
                second |= 1 << seconds
            seconds += 1
        at += 1
        left -= 3 if trunc else 2
        if left < 0:
            left = -1
            ended += 1
    return first, second, seconds, ended, left


@kernel
def _run_digits(runs, taken, left, div, most):
    """Digits of one chunk, runs that end, and the carry as in `_weight_digits`."""
    digits = 0
    ended = 0
    at = 0
    while at < most:
        if taken + ended >= runs.shape[0]:
            break
        if left < 0:
            left = runs[taken + ended] >> div
        ones = min(left, most - at)
        digits |= ((1 << ones) - 1) << at
        at += ones
        left -= ones
        if at < most:
            at += 1
            left = -1
            ended += 1
    return digits, ended, left


@kernel
def slice_bits(weights, runs, wdiv, trunc, fixed_bits, zdiv):
    """Bits that the chunks of a slice take at most."""
    fixed = wdiv == UNCOMPRESSED
    bits = 3 * _DIGITS
    for weight in weights:
        if fixed:
            bits += fixed_bits
        else:
            quotient = weight >> wdiv
            bits += wdiv + (min(quotient + 1, 2) if trunc else quotient + 1)
    if zdiv != NO_DIVISOR:
        for run in runs:
            bits += (run >> zdiv) + 1 + zdiv
    return bits


@kernel
def write_slice(words, position, weights, runs, wdiv, trunc, fixed_bits, zdiv):
    """Write the chunks of a slice; return the position after them."""
    fixed = wdiv == UNCOMPRESSED
    zero_runs = zdiv != NO_DIVISOR
    div = fixed_bits if fixed else wdiv
    most = 8 if fixed and div > 5 else _DIGITS
    z_most = _DIGITS if zdiv < 3 else 8
    w = z = w_before = z_before = 0
    w_left = z_left = -1
    while True:
        w_on = w < weights.shape[0] and (not zero_runs or w - z < _AHEAD)
        z_on = zero_runs and z < runs.shape[0] and w >= z
        if not (w_on or z_on or w_before < w or z_before < z):
            return position
        w_end, z_end = w, z
        second = seconds = 0
        if w_on:
            first, second, seconds, ended, w_left = _weight_digits(
                weights, w, w_left, div, trunc, fixed, most
            )
            if not fixed:
                position = put(words, position, _DIGITS, first)
            w += ended
        if z_on:
            digits, ended, z_left = _run_digits(runs, z, z_left, zdiv, z_most)
            position = put(words, position, z_most, digits)
            z += ended
        if w_on and not fixed:
            position = put(words, position, seconds, second)
        for i in range(w_before, w_end):
            position = put(words, position, div, weights[i])
        for i in range(z_before, z_end):
            position = put(words, position, zdiv, runs[i])
        w_before, z_before = w_end, z_end


@kernel
def read_stream(words, end, limit, codes, events):
    """Decode a stream that is `end` bits long into exactly `codes`.

    `events` (2, chunks + slices), or (2, 0), gets bits and codes of each header and chunk.
    Returns a status, the position after the end mark, chunks and slices.
    """
    palette = np.zeros(32, np.int64)
    entries = direct = 0
    palette_bits = 2
    had_runs = -1
    weights = np.zeros(MAX_SLICE + _DIGITS, np.int64)
    runs = np.zeros(MAX_SLICE + 1 + _DIGITS, np.int64)
    position = 0
    chunks = slices = 0
    done = 0
    while True:
        start = position
        if position + 3 > end:
            return TRUNCATED, position, chunks, slices
        head = np.int64(peek(words, position) & np.uint64((1 << 36) - 1))
        zdiv = head & 7
        position += 3
        if zdiv == _END:
            break
        num = (head >> 3 & 0x7FFF) + 1
        wdiv = head >> 18 & 7
        trunc = head >> 21 & 1
        new = head >> 22 & 1
        position += 20
        zero_runs = zdiv != NO_DIVISOR
        if zdiv in (4, 5) or wdiv == NO_DIVISOR or (not new and had_runs != zero_runs):
            return BAD_HEADER, position, chunks, slices
        had_runs = 1 if zero_runs else 0
        if new:
            direct = head >> 23 & 31
            entries = head >> 28 & 31
            entries += entries > 0
            palette_bits = (head >> 33 & 7) + 2
            position += 13
            if position + entries * palette_bits > end:
                return TRUNCATED, position, chunks, slices
            for i in range(entries):
                mask = np.uint64((1 << palette_bits) - 1)
                palette[i] = np.int64(peek(words, position) & mask)
                position += palette_bits
        fixed = wdiv == UNCOMPRESSED
        div = wdiv
        if fixed:
            div = palette_bits
            if entries > 0:
                div = 0
                while 1 << div < entries:
                    div += 1
        num_runs = num + new if zero_runs else 0
        if events.shape[1] > 0:
            events[0, chunks + slices] = position - start
            events[1, chunks + slices] = 0
        of_slice = events[:, chunks + slices + 1 :]
        shape = num, num_runs, new, div, trunc, fixed, zdiv
        status, position, more = _read_chunks(words, position, end, *shape, weights, runs, of_slice)
        if events.shape[1] > 0:
            pieces_to_codes(of_slice[1, :more], runs, num_runs, new)
        chunks += more
        slices += 1
        if status != OK:
            return status, position, chunks, slices
        status, done = _place(
            weights, num, runs, num_runs, new, palette, entries, direct, limit, codes, done
        )
        if status != OK:
            return status, position, chunks, slices
    return (OK if done == codes.shape[0] else BAD_COUNT), position, chunks, slices


@kernel
def _read_chunks(
    words, position, end, num, num_runs, new, div, trunc, fixed, zdiv, weights, runs, events
):
    """Fill weights and runs of one slice; return a status, the position and the chunks.

    `events`, if there is room, gets bits of chunks, and how many weights are done with their runs
    (runs with their weights, where a run comes first).
    """
    most = 8 if fixed and div > 5 else _DIGITS
    z_most = _DIGITS if zdiv < 3 else 8
    w = z = w_before = z_before = 0
    w_carry = z_carry = 0
    chunks = 0
    while True:
        w_on = w < num and (num_runs == 0 or w - z < _AHEAD)
        z_on = z < num_runs and w >= z
        if not (w_on or z_on or w_before < w or z_before < z):
            return OK, position, chunks
        if position > end:
            return TRUNCATED, position, chunks
        chunks += w_on or z_on
        start = position
        w_end, z_end = w, z
        bits = peek(words, position)  # up to 36 bits of digits
        first = np.int64(bits & np.uint64((1 << _DIGITS) - 1))
        if w_on and not fixed:
            bits >>= np.uint64(_DIGITS)
            position += _DIGITS
        clean = True
        if z_on:
            z, z_carry, clean = _read_run_digits(np.int64(bits), z, z_carry, z_most, num_runs, runs)
            bits >>= np.uint64(z_most)
            position += z_most
        if w_on and fixed:
            stop = min(w + most, num)
            weights[w:stop] = 0
            w = stop
        elif w_on and clean:
            second = np.int64(bits & np.uint64((1 << _DIGITS) - 1))
            w, w_carry, seconds, clean = _read_weight_digits(
                first, second, w, w_carry, trunc, num, weights
            )
            position += seconds
        if not clean:
            return BAD_DIGITS, position, chunks
        if position + (w_end - w_before) * div + (z_end - z_before) * zdiv > end:
            return TRUNCATED, position, chunks
        position = _read_remainders(words, position, div, w_before, w_end, weights)
        position = _read_remainders(words, position, zdiv, z_before, z_end, runs)
        w_before, z_before = w_end, z_end
        if events.shape[1] > 0:
            if w_on or z_on:
                events[0, chunks - 1] = 0
                events[1, chunks - 1] = min(w + new, z) if num_runs > 0 else w
            events[0, chunks - 1] += position - start


@kernel
def _read_run_digits(digits, z, carry, most, num_runs, runs):
    """Fill quotients from run z on; return the next run, the carry, and whether the rest is 0."""
    for _ in range(most):
        one = digits & 1
        digits >>= 1
        runs[z] = carry
        z += 1 - one
        carry = (carry + 1) * one
    if z < num_runs:
        return z, carry, True
    return num_runs, carry, _is_clean(runs, num_runs, z, carry)


@kernel
def _read_weight_digits(first, second, w, carry, trunc, num, weights):
    """Fill quotients from weight w on.

    Returns the next weight, the carry, how many second digits there are, and whether the rest is 0.
    """
    seconds = 0
    for _ in range(_DIGITS):
        one = first & 1
        two = one & second
        first >>= 1
        second >>= one
        seconds += one
        carry += one + two
        ended = (1 - two) | trunc
        weights[w] = carry
        w += ended
        carry *= 1 - ended
    if w < num:
        return w, carry, seconds, True
    return num, carry, seconds, _is_clean(weights, num, w, carry)


@kernel
def _is_clean(values, start, stop, carry):
    """Tell whether the digits after the last value are 0: each ends a value of 0."""
    clean = carry == 0
    for i in range(start, stop):
        clean &= values[i] == 0
    return clean


@kernel
def _read_remainders(words, position, width, start, stop, values):
    """Append remainders to quotients; return the position after them."""
    mask = np.uint64((1 << width) - 1)
    for i in range(start, stop):
        values[i] = values[i] << width | np.int64(peek(words, position) & mask)
        position += width
    return position


@kernel
def _place(weights, num, runs, num_runs, new, palette, entries, direct, limit, codes, done):
    """Put the weights of a slice and their zeros into `codes`, which are zeros ahead."""
    count = codes.shape[0]
    if num_runs and new:
        if runs[0] > count - done:
            return BAD_COUNT, done
        done += runs[0]
    for i in range(num):
        index = weights[i]
        if index > _MAX_INDEX:
            return BAD_VALUE, done
        value = palette[index] if index < entries else index - entries + direct
        code = -(value >> 1) if value & 1 else value >> 1
        if code > limit or code < -limit:
            return BAD_VALUE, done
        if done >= count:
            return BAD_COUNT, done
        codes[done] = code
        done += 1
        if num_runs:
            run = runs[i + new]
            if run > count - done:
                return BAD_COUNT, done
            done += run
    return OK, done
