"""Tokens of lane_tans: what a code matrix becomes before it is coded, and the choice of the form.

Rows are cut into groups of 16 columns, the last one may be shorter, and groups into quads of 4.
In stream order a group is

* with flags: a flag token, 1 if the group has a non-zero code; if 0 that is all;
* with masks: for each quad a mask token (bit i: code i is not zero), then a value token for each
  non-zero code;
* without masks: a value token for each code.

At 2 bits a mask token carries the signs as raw bits (the first code's lowest) and there are no
value tokens.

A value token codes ``v = |code| - skip[row]``, where no non-zero code of the row is smaller than
``skip[row] + 1`` (pruning with one threshold for all rows leaves each row a dead zone of its own
width).  Without masks bucket 0 is the zero, and bucket ``1 + bucket(v - 1)`` the rest.  Values
below ``2**direct`` have buckets of their own, above there are ``2**mantissa`` to an octave, with
the low bits raw.  With `signed` buckets the symbol is ``2 * bucket + sign`` (the zero, if there
is one, is symbol 0 and the others start at 1); otherwise the sign is a raw bit, below the others.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_tables import MAX_SYMBOLS
from azsim.jit import kernel

__all__ = [
    "FLAG",
    "GROUP",
    "MASK",
    "QUAD",
    "SCHEMES",
    "VALUE",
    "Form",
    "Symbols",
    "value_symbols",
    "value_tables",
]

FLAG, MASK, VALUE = 0, 1, 2
GROUP, QUAD = 16, 4
SCHEMES = ((4, 2), (3, 2), (2, 2), (4, 3), (3, 3), (5, 3), (2, 1), (3, 1))


class Form(NamedTuple):
    """What the tokens are.

    Attributes
    ----------
    flags, masks : bool
        Whether there are flag and mask tokens.
    signed : bool
        Whether the sign belongs to the symbol of a value.
    scheme : int
        Index into `SCHEMES`: (direct, mantissa).
    has_skip : bool
        Whether rows have a dead zone.
    """

    flags: bool
    masks: bool
    signed: bool
    scheme: int
    has_skip: bool

    def kinds(self, bits: int) -> tuple[int, ...]:
        """Kinds of tokens that there are, in the order in which they are stored."""
        found = [FLAG] if self.flags else []
        if self.masks:
            found.append(MASK)
        if not (self.masks and bits == 2):
            found.append(VALUE)
        return tuple(found)


class Symbols(NamedTuple):
    """Symbols of the value tokens.

    Attributes
    ----------
    of_value : ndarray of shape (129,), int64
        Symbol of a positive code by ``v``; entry 0 is the zero's.
    least : ndarray of shape (S,), int64
        The least ``v`` of a symbol, 0 for the zero.
    raw_bits : ndarray of shape (S,), int64
        Raw bits, the sign's included.
    has_sign, negative : ndarray of shape (S,), int64
        1 where the sign is a raw bit; 1 where the symbol says minus.
    """

    of_value: np.ndarray
    least: np.ndarray
    raw_bits: np.ndarray
    has_sign: np.ndarray
    negative: np.ndarray


def _bucket(value: int, direct: int, mantissa: int) -> tuple[int, int, int]:
    """Bucket of a value from 0, its least value and its low bits."""
    if value < 1 << direct:
        return value, value, 0
    low = value.bit_length() - 1 - mantissa
    octave = value.bit_length() - 1 - direct
    index = (1 << direct) + (octave << mantissa) + ((value >> low) - (1 << mantissa))
    return index, value >> low << low, low


def value_symbols(bits: int, form: Form) -> Symbols | None:
    """Symbols of a form at so many bits per code; None where there would be too many."""
    return _value_symbols(bits, form.masks, form.signed, form.scheme)


@functools.cache
def _value_symbols(bits: int, masks: bool, is_signed: bool, scheme: int) -> Symbols | None:
    direct, mantissa = SCHEMES[scheme]
    limit = (1 << (bits - 1)) - 1
    of_value = np.zeros(129, np.int64)
    entries = [] if masks else [(0, 0, 0, 0)]
    first = len(entries)
    signs = 2 if is_signed else 1
    for value in range(1, limit + 1):
        index, least, low = _bucket(value - 1, direct, mantissa)
        symbol = first + index * signs
        if symbol == len(entries):
            has_sign = 0 if is_signed else 1
            entries += [(least + 1, low + has_sign, has_sign, sign) for sign in range(signs)]
        of_value[value] = symbol
    if len(entries) > MAX_SYMBOLS:
        return None
    table = np.array(entries, np.int64).reshape(-1, 4)
    return Symbols(of_value, *(np.ascontiguousarray(table[:, i]) for i in range(4)))


class ValueTables(NamedTuple):
    """Symbols of the value tokens in every scheme, for kernels.

    Attributes
    ----------
    sizes : ndarray of shape (8,), int64
        Number of symbols, 0 where they are too many.
    fields : ndarray of shape (8, 6, 64), int64
        Of each symbol: least, raw bits, has sign, negative (see `Symbols`), place and spread:
        twice the mean of the values that it stands for, and log2 of their number.
    of_value : ndarray of shape (8, 129), int64
    """

    sizes: np.ndarray
    fields: np.ndarray
    of_value: np.ndarray


@functools.cache
def value_tables(bits: int, masks: bool, is_signed: bool) -> ValueTables:
    """Tables of a form at so many bits per code, by scheme."""
    sizes = np.zeros(len(SCHEMES), np.int64)
    fields = np.zeros((len(SCHEMES), 6, MAX_SYMBOLS), np.int64)
    of_value = np.zeros((len(SCHEMES), 129), np.int64)
    for scheme in range(len(SCHEMES)):
        symbols = _value_symbols(bits, masks, is_signed, scheme)
        if symbols is not None:
            size = sizes[scheme] = symbols.least.size
            spread = symbols.raw_bits - symbols.has_sign
            place = 2 * symbols.least + (1 << spread) - 1
            fields[scheme, :, :size] = np.stack([*symbols[1:], place, spread])
            of_value[scheme] = symbols.of_value
    return ValueTables(sizes, fields, of_value)


@kernel
def tokenize(  # noqa: C901
    codes, columns, flags, masks, inline, signed, skip, of_value, tokens
):
    """Fill the token matrices: flag (R, ceil(C/16)), mask (R, ceil(C/4)), value (R, C)."""
    flag_tokens, mask_tokens, value_tokens = tokens
    count = codes.shape[0]
    rows = skip.shape[0]
    for r in range(rows):
        width = min(columns, count - r * columns)
        for start in range(0, columns, GROUP):
            stop = min(start + GROUP, width)
            if start >= width:
                continue
            if flags:
                some = 0
                for c in range(start, stop):
                    if codes[r * columns + c] != 0:
                        some = 1
                        break
                flag_tokens[r, start >> 4] = some
                if some == 0:
                    continue
            if masks:
                for quad in range(start, stop, QUAD):
                    mask = 0
                    for c in range(quad, min(quad + QUAD, stop)):
                        if codes[r * columns + c] != 0:
                            mask |= 1 << (c - quad)
                    mask_tokens[r, quad >> 2] = mask
                if inline:
                    continue
            for c in range(start, stop):
                code = np.int64(codes[r * columns + c])
                if code == 0:
                    if not masks:
                        value_tokens[r, c] = 0
                    continue
                symbol = of_value[abs(code) - skip[r]]
                if signed and code < 0:
                    symbol += 1
                value_tokens[r, c] = symbol


@kernel
def dead_zones(codes, columns, rows):
    """For each row the least non-zero magnitude less one, -1 where all codes are zero."""
    found = np.full(rows, -1, np.int64)
    for r in range(rows):
        least = 1000
        for i in range(r * columns, min((r + 1) * columns, codes.shape[0])):
            size = abs(np.int64(codes[np.uint64(i)]))
            least = min(least, size if size > 0 else 1000)
        if least < 1000:
            found[r] = least - 1
    return found


@kernel
def survey(codes, columns, skip, plain, skipped, mask_counts, mask_some, flag_counts):
    """Histograms for the choice of a form.

    `plain` and `skipped` (2, 129): magnitudes by sign without and with dead zones; `mask_counts`
    (16,) of all quads, `mask_some` (16,) of quads in groups that are not zero; `flag_counts` (2,).
    """
    count = codes.shape[0]
    zeros_in_some = 0
    first = np.zeros(4, np.int64)
    for r in range(skip.shape[0]):
        width = min(columns, count - r * columns)
        for start in range(0, width, GROUP):
            stop = min(start + GROUP, width)
            zeros = 0
            first[:] = 0
            for c in range(start, stop):
                code = np.int64(codes[np.uint64(r * columns + c)])
                if code == 0:
                    zeros += 1
                else:
                    sign = 1 if code < 0 else 0
                    plain[np.uint64(sign), np.uint64(abs(code))] += 1
                    skipped[np.uint64(sign), np.uint64(abs(code) - skip[r])] += 1
                    first[np.uint64((c - start) >> 2)] |= 1 << ((c - start) & 3)
            some = 1 if zeros < stop - start else 0
            flag_counts[some] += 1
            for quad in range((stop - start + 3) >> 2):
                mask_counts[first[quad]] += 1
                if some:
                    mask_some[first[quad]] += 1
            if some:
                zeros_in_some += zeros
    return zeros_in_some
