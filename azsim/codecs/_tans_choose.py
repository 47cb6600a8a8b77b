"""Choice of a form of tokens for lane_tans, from histograms, before any context is fitted."""

from __future__ import annotations

import numpy as np

from azsim.codecs._tans_fit import rice_choice
from azsim.codecs._tans_tokens import SCHEMES, Form, dead_zones, survey, value_symbols

__all__ = ["choose_form"]

_TABLE_BITS = 4.5  # of a stored frequency, about
_TABLES = 4
_WORTH = 1.01  # bits that fewer tokens may cost


def choose_form(codes: np.ndarray, bits: int, columns: int) -> tuple[Form, np.ndarray]:
    """Form of the fewest tokens among those within a percent of the fewest bits.

    Returns
    -------
    form : Form
    skip : ndarray of shape (R,), uint8
        Dead zones, all 0 if the form has none.
    """
    rows = codes.size // columns
    zones = dead_zones(codes, columns, rows)
    known = zones[zones >= 0]
    zones[zones < 0] = int(np.median(known))
    skip = zones.astype(np.uint8)
    plain, skipped = np.zeros((2, 129), np.int64), np.zeros((2, 129), np.int64)
    masks, masks_some = np.zeros(16, np.int64), np.zeros(16, np.int64)
    flag_counts = np.zeros(2, np.int64)
    zeros_some = survey(codes, columns, skip, plain, skipped, masks, masks_some, flag_counts)
    ones = int(plain.sum())
    skip_bits = float(rice_choice(np.bincount(skip, minlength=128))[0]) + 10
    found = []
    for has_skip in (False, True):
        counts = skipped if has_skip else plain
        base = skip_bits if has_skip else 0.0
        if has_skip and not skip.any():
            continue
        for has_masks in (False, True):
            for signed in (False, True):
                values = [
                    _value_bits(counts, bits, Form(False, has_masks, signed, scheme, has_skip))
                    for scheme in range(len(SCHEMES) if bits > 5 else 1)
                ]
                if has_masks and bits == 2:
                    values = [(float(ones), np.zeros(0))] if not signed else []
                for scheme, each in enumerate(values):
                    if each is None:
                        continue
                    raw, histogram = each
                    for flags in (False, True):
                        quads = masks_some if flags else masks
                        total = base + raw
                        tokens = int(flag_counts.sum()) if flags else 0
                        if flags:
                            total += _table_cost(flag_counts, 1)
                        if has_masks:
                            total += _table_cost(quads, _TABLES / 2)
                            tokens += int(quads.sum())
                            tokens += ones if histogram.size else 0
                        else:
                            histogram = histogram.copy()
                            histogram[0] = zeros_some if flags else codes.size - ones
                            tokens += int(histogram.sum())
                        total += _table_cost(histogram, _TABLES)
                        found.append(
                            (total, tokens, Form(flags, has_masks, signed, scheme, has_skip))
                        )
    least = min(total for total, _, _ in found)
    fitting = [each for each in found if each[0] <= least * _WORTH]
    fewest = min(tokens for _, tokens, _ in fitting)
    _, _, form = min(each for each in fitting if each[1] == fewest)
    return form, skip if form.has_skip else np.zeros(rows, np.uint8)


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
