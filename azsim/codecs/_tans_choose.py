"""Forms of tokens for lane_tans, ranked by histograms, before any context is fitted."""

from __future__ import annotations

import functools

import numpy as np

from azsim.codecs._tans_fit import rice_choice
from azsim.codecs._tans_parse import SCHEME_BITS
from azsim.codecs._tans_tables import MAX_SYMBOLS, entropy_part
from azsim.codecs._tans_tokens import (
    SCHEMES,
    Form,
    ValueTables,
    dead_zones,
    survey,
    value_tables,
)
from azsim.jit import kernel

__all__ = ["best_form", "rank_forms", "worth"]

_FREQUENCY_BITS = 4.5  # of a stored frequency, about
_SHAPE_BITS, _LEVEL_BITS = 14.0, 1.5  # of a stored shape, about
_MASK_BITS = 24.0  # what rare masks cost in small tables, and the kind
_TABLES = 4
_TOKENS_A_TABLE = 2000
_TOKEN_SHARE = 0.02  # of all bits, what a token for each code may cost
# Of all bits, what flags and dead zones must save, as contexts find much of that too.
_FLAG_SHARE = 0.05
_ZONE_SHARE = 0.01
_ZONE_BITS = 10  # centre and k of their codes
_NUM_SCHEMES = 8
_MAGNITUDES = 129


def rank_forms(codes: np.ndarray, bits: int, columns: int) -> tuple[list[Form], np.ndarray]:
    """Forms, those of the fewest estimated bits first, and the dead zones of the rows.

    Half a token a code less is worth a percent of the bits.

    Returns
    -------
    forms : list of Form
    zones : ndarray of shape (R,), uint8
    """
    zones, costs = _survey_forms(codes, columns, bits, *_all_tables(bits))
    order = np.argsort(costs, kind="stable")[: np.count_nonzero(np.isfinite(costs))]
    forms = _forms()
    return [forms[i] for i in order.tolist()], zones


def best_form(codes: np.ndarray, bits: int, columns: int) -> tuple[Form, np.ndarray]:
    """The first form of `rank_forms`, and the dead zones of the rows."""
    zones, costs = _survey_forms(codes, columns, bits, *_all_tables(bits))
    return _forms()[int(costs.argmin())], zones


@functools.cache
def _forms() -> tuple[Form, ...]:
    """Forms in the order of their costs."""
    return tuple(
        Form(bool(i >> 6), bool(i >> 5 & 1), bool(i >> 4 & 1), i & 7, bool(i >> 3 & 1))
        for i in range(16 * len(SCHEMES))
    )


@functools.cache
def _all_tables(bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sizes, raw bits and symbols by value: (signed, scheme, ...), of forms with masks."""
    tables: list[ValueTables] = [value_tables(bits, True, signed) for signed in (False, True)]
    plain = [value_tables(bits, False, signed).sizes for signed in (False, True)]
    # A form without masks has a symbol more, which may be one too many.
    sizes = np.stack([np.stack(plain), np.stack([each.sizes for each in tables])])
    raw_bits = np.stack([each.fields[:, 1] for each in tables])
    return sizes, raw_bits, np.stack([each.of_value for each in tables])


@kernel
def worth(bits, tokens, count):
    """Bits with what the tokens' cycles are worth."""
    return bits * (1 + _TOKEN_SHARE * tokens / count)


@kernel
def _tables_bits(present, tokens, tables, has_shape):
    """Stored tables of so many symbols, about: lists of frequencies, or shapes."""
    one = _FREQUENCY_BITS * present
    if has_shape:
        one = min(one, _SHAPE_BITS + _LEVEL_BITS * present)
    return one * min(tables, 1 + tokens / _TOKENS_A_TABLE)


@kernel
def _entropy(counts):
    """Bits of (S,) counts under their own table, those that are there, and their sum."""
    bits = 0.0
    present = 0
    total = np.int64(0)
    for s in range(counts.shape[0]):
        if counts[s] > 0:
            bits -= entropy_part(counts[s])
            present += 1
            total += counts[s]
    return bits + entropy_part(total), present, total


@kernel
def _survey_forms(codes, columns, bits, sizes, raw_bits, of_value):
    """Dead zones of the rows, and the cost of each form, inf where it is none."""
    rows = codes.shape[0] // columns
    zones = dead_zones(codes, columns, rows)
    some = zones[zones >= 0]
    middle = np.int64(np.median(some)) if some.shape[0] else np.int64(0)
    skip = np.empty(rows, np.uint8)
    has_zones = False
    counts = np.zeros(_MAGNITUDES, np.int64)
    for r in range(rows):
        skip[r] = zones[r] if zones[r] >= 0 else middle
        counts[skip[r]] += 1
        has_zones |= skip[r] > 0
    skip_bits = rice_choice(counts)[0] + _ZONE_BITS
    magnitudes = np.zeros((2, 2, _MAGNITUDES), np.int64)
    masks = np.zeros((2, 16), np.int64)
    flags = np.zeros(2, np.int64)
    zeros_some = survey(
        codes, columns, skip, magnitudes[0], magnitudes[1], masks[0], masks[1], flags
    )
    costs = np.full(16 * _NUM_SCHEMES, np.inf)
    quads = np.zeros((2, 3))
    for flagged in range(2):
        quads[flagged, 0], quads[flagged, 1], quads[flagged, 2] = _entropy(masks[flagged])
    for zoned in range(2 if has_zones else 1):
        for signed in range(2):
            for scheme in range(_NUM_SCHEMES if bits > SCHEME_BITS else 1):
                if sizes[1, signed, scheme] == 0:
                    continue
                values = _value_cost(
                    magnitudes[zoned], of_value[signed, scheme], raw_bits[signed, scheme], signed
                )
                for masked in range(2):
                    inline = masked == 1 and bits == 2
                    if sizes[masked, signed, scheme] == 0 or (inline and zoned + signed > 0):
                        continue
                    for flagged in range(2):
                        zeros = zeros_some if flagged else codes.shape[0] - values[3]
                        found, tokens = _form_cost(
                            flags[: 2 * flagged],
                            quads[flagged, : 3 * masked],
                            values,
                            signed,
                            inline,
                            zeros,
                        )
                        found = worth(found + skip_bits * zoned, tokens, codes.shape[0])
                        found *= 1 + _FLAG_SHARE * flagged + _ZONE_SHARE * zoned
                        index = ((flagged * 2 + masked) * 2 + signed) * 2 + zoned
                        costs[index * _NUM_SCHEMES + scheme] = found
    return skip, costs


@kernel
def _value_cost(magnitudes, of_value, raw_bits, signed):
    """Raw bits, sum of ``n log2 n``, symbols that occur, and values, zeros left out."""
    counts = np.zeros(MAX_SYMBOLS, np.int64)
    for sign in range(2):
        for value in range(1, _MAGNITUDES):
            if magnitudes[sign, value] > 0:
                counts[of_value[value] + sign * signed] += magnitudes[sign, value]
    raw, parts = 0.0, 0.0
    present = 0
    total = np.int64(0)
    for s in range(MAX_SYMBOLS):
        if counts[s] > 0:
            raw += counts[s] * raw_bits[s]
            parts += entropy_part(counts[s])
            present += 1
            total += counts[s]
    return raw, parts, present, total


@kernel
def _form_cost(flags, quads, values, signed, inline, zeros):
    """Bits and tokens; `flags` and `quads` are empty where there are none."""
    raw, parts, present, total = values
    bits = 0.0
    tokens = np.int64(0)
    if flags.shape[0] > 0:
        entropy, kinds, number = _entropy(flags)
        bits += entropy + _tables_bits(kinds, number, 1, False)
        tokens += number
    if quads.shape[0] > 0:
        bits += quads[0] + _MASK_BITS + _tables_bits(quads[1], quads[2], _TABLES / 2, True)
        tokens += np.int64(quads[2])
        if inline:
            return bits + total, tokens
    else:
        parts += entropy_part(zeros)
        present += 1 if zeros > 0 else 0
        total += zeros
    bits += raw + entropy_part(total) - parts + _tables_bits(present, total, _TABLES, signed == 0)
    return bits, tokens + total
