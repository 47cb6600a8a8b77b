"""Forms of tokens for lane_tans, ranked by histograms, before any context is fitted."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np

from azsim.codecs._tans_fit import rice_choice
from azsim.codecs._tans_tokens import SCHEMES, Form, dead_zones, survey, value_symbols

__all__ = ["rank_forms", "worth"]

_TABLE_BITS = 4.5  # of a stored frequency, about
_TABLES = 4
_TOKEN_SHARE = 0.02  # of all bits, what a token for each code may cost
# Of all bits, what flags and dead zones must save, as contexts find much of that too.
_FLAG_SHARE = 0.05
_ZONE_SHARE = 0.01


class _Survey(NamedTuple):
    plain: np.ndarray  # (2, 129), magnitudes by sign
    skipped: np.ndarray  # the same, less the dead zones
    masks: np.ndarray  # (16,)
    masks_some: np.ndarray  # those of groups that are not zero
    flags: np.ndarray  # (2,)
    zeros_some: int  # zeros in groups that are not zero
    num_codes: int


def rank_forms(codes: np.ndarray, bits: int, columns: int) -> tuple[list[Form], np.ndarray]:
    """Forms, those of the fewest estimated bits first, and the dead zones of the rows.

    Half a token a code less is worth a percent of the bits.

    Returns
    -------
    forms : list of Form
    zones : ndarray of shape (R,), uint8
    """
    rows = codes.size // columns
    zones = dead_zones(codes, columns, rows)
    zones[zones < 0] = int(np.median(zones[zones >= 0]))
    skip = zones.astype(np.uint8)
    counted = _Survey(
        np.zeros((2, 129), np.int64),
        np.zeros((2, 129), np.int64),
        np.zeros(16, np.int64),
        np.zeros(16, np.int64),
        np.zeros(2, np.int64),
        0,
        codes.size,
    )
    zeros_some = survey(codes, columns, skip, *counted[:5])
    counted = counted._replace(zeros_some=zeros_some)
    skip_bits = float(rice_choice(np.bincount(skip, minlength=128))[0]) + 10
    found = []
    for form in _forms(bits, bool(skip.any())):
        costs = _cost(form, bits, counted)
        if costs is not None:
            total = costs[0] + skip_bits * form.has_skip
            share = _FLAG_SHARE * form.flags + _ZONE_SHARE * form.has_skip
            found.append((worth(total, costs[1], codes.size) * (1 + share), form))
    found.sort()
    return [form for _, form in found], skip


def worth(bits: float, tokens: int, count: int) -> float:
    """Bits with what the tokens' cycles are worth."""
    return bits * (1 + _TOKEN_SHARE * tokens / count)


def _forms(bits: int, has_zones: bool) -> Iterator[Form]:
    for flags, masks, signed, has_skip in product((False, True), repeat=4):
        inline = masks and bits == 2
        if (has_skip and (not has_zones or inline)) or (signed and inline):
            continue
        for scheme in range(len(SCHEMES) if bits > 5 else 1):
            yield Form(flags, masks, signed, scheme, has_skip)


def _cost(form: Form, bits: int, counted: _Survey) -> tuple[float, int] | None:
    """Estimated bits without dead zones, and tokens."""
    ones = int(counted.plain.sum())
    total, tokens = 0.0, 0
    if form.flags:
        total += _table_cost(counted.flags, 1)
        tokens += int(counted.flags.sum())
    if form.masks:
        quads = counted.masks_some if form.flags else counted.masks
        total += _table_cost(quads, _TABLES / 2)
        tokens += int(quads.sum())
        if bits == 2:
            return total + ones, tokens
    values = _value_bits(counted.skipped if form.has_skip else counted.plain, bits, form)
    if values is None:
        return None
    raw, histogram = values
    if not form.masks:
        histogram[0] = counted.zeros_some if form.flags else counted.num_codes - ones
    return total + raw + _table_cost(histogram, _TABLES), tokens + int(histogram.sum())


def _value_bits(counts: np.ndarray, bits: int, form: Form) -> tuple[float, np.ndarray] | None:
    """Raw bits, and counts of the symbols (without zeros)."""
    symbols = value_symbols(bits, form)
    if symbols is None:
        return None
    histogram = np.zeros(symbols.least.size, np.int64)
    for sign in range(2):
        shift = sign if form.signed else 0
        some = np.flatnonzero(counts[sign])
        np.add.at(histogram, symbols.of_value[some] + shift, counts[sign, some])
    return float((histogram * symbols.raw_bits).sum()), histogram


def _table_cost(histogram: np.ndarray, tables: float) -> float:
    """Entropy, and what so many tables take."""
    some = histogram[histogram > 0].astype(np.float64)
    if not some.size:
        return 0.0
    return float(some.sum() * np.log2(some.sum()) - (some * np.log2(some)).sum()) + (
        _TABLE_BITS * some.size * min(tables, 1 + some.sum() / 2000)
    )
