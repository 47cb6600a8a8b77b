"""How an encoder of the Ethos-U weight format chooses palettes, zero runs and slices.

A *section* is a part of the weights with a palette of its own; a *slice* is a part of a section
with Golomb-Rice parameters of its own.  Cost is counted in bits from the format's own rules; the
search is dynamic programming over the parameters after each value, where a change costs about
what a slice header and the filling of the last chunk take.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from azsim.jit import kernel

__all__ = [
    "MAX_SLICE",
    "NO_DIVISOR",
    "UNCOMPRESSED",
    "W_SETTINGS",
    "Z_SETTINGS",
    "Section",
    "plan_section",
    "search",
    "section_starts",
    "split_values",
    "w_cost_table",
]

MAX_SLICE = 1 << 15
"""Values in a slice, at most."""

UNCOMPRESSED = 7
"""Divisor field of weights of fixed width."""

NO_DIVISOR = 6
"""Divisor field of zero runs where a slice has none."""

W_SETTINGS = (*((div, trunc) for trunc in (0, 1) for div in range(6)), (UNCOMPRESSED, 0))
"""Divisor and truncation of weights, one for each number of the search."""

Z_SETTINGS = (0, 1, 2, 3)
"""Divisors of zero runs."""

_PALETTE_ENTRIES = 32
_MAX_QUOTIENT = 31
_MAX_DIRECT = 31
_MIN_PALETTE_BITS = 2
_NUM_VALUES = 512
_SWITCH_BITS = 40
_FORBIDDEN = 1 << 20
_NEVER = 1 << 60
_OFTEN = 4


class Section(NamedTuple):
    """Palette of a section.

    Attributes
    ----------
    zero_runs : bool
        Whether zeros are coded as runs between the weights.
    palette : ndarray of shape (entries,), int64
        Sign-magnitude values (magnitude times two, plus one for negative ones).
    palette_bits : int
        Bits of an entry; without palette, of an uncompressed weight.
    direct : int
        Value of the first index after the palette.
    to_index : ndarray of shape (256,), int64
        Index of each code; the place is the code as an unsigned byte.
    fixed_bits : int
        Bits of an uncompressed index; -1 where there is no such form.
    """

    zero_runs: bool
    palette: np.ndarray
    palette_bits: int
    direct: int
    to_index: np.ndarray
    fixed_bits: int


def section_starts(codes: np.ndarray) -> np.ndarray:
    """Where sections of (count,) int8 codes begin, by Arm's rule: (sections,) int64.

    After each 32, 64, 128, 256 and 512 non-zeros the values of as many before are compared with
    the palette at hand: a section begins ahead of them if narrower indices save more than a new
    palette costs.  Another begins where a palette that has served for more than 512 non-zeros, or
    has 32 entries, would need wider indices.
    """
    starts = np.zeros(codes.size + 1, np.int64)
    return starts[: _find_sections(codes, np.flatnonzero(codes), starts)]


@kernel
def _index_bits(entries):
    bits = 0
    while 1 << bits < entries:
        bits += 1
    return bits


@kernel
def _saving(window, entries, old_bits, without_zero):
    """Bits that a new palette saves over `window` weights, in about the shares of Rice codes."""
    new_bits = _index_bits(entries - without_zero)
    return window * 15 * (old_bits - new_bits) // 16 - 8 * entries - 20


@kernel
def _find_sections(codes, nonzeros, starts):
    """Fill `starts`, and return how many there are."""
    seen = np.full(256, -1, np.int64)  # where each value was last
    num = 1
    start = zeros = entries = 0
    known = False
    at = -1  # number of the last non-zero
    for i in range(codes.shape[0]):
        value = np.uint8(codes[i])
        without_zero = 1 if zeros > (i - start) // 4 else 0
        if known and seen[value] < start:
            entries += 1
            full = entries - 1 - without_zero
            served = i - start - zeros
            if full & (full - 1) == 0 and (served > 512 or full >= _PALETTE_ENTRIES):
                starts[num] = i
                num += 1
                start, zeros, known = i, 0, False
        seen[value] = i
        if value == 0:
            zeros += 1
            continue
        at += 1
        for size in (32, 64, 128, 256, 512):
            window = 2 * size if known else size
            served = i - start - zeros
            if served == 0 or served % window:
                continue
            first = start
            if at >= window + 1:
                first = max(first, nonzeros[at - window - 1])
            fresh = 0
            for j in range(256):
                fresh += seen[j] >= first
            if known:
                old_bits = _index_bits(entries - without_zero)
            elif fresh - without_zero <= _PALETTE_ENTRIES:
                old_bits = 6
            else:
                continue
            if _saving(window, fresh, old_bits, without_zero) > 0:
                entries, known, start = fresh, True, first
                if starts[num - 1] != start:
                    starts[num] = start
                    num += 1
                zeros = 0
                for j in range(start, i + 1):
                    zeros += codes[j] == 0
    return num


def plan_section(codes: np.ndarray, *, by_bits: bool) -> Section:
    """Palette of (count,) int8 codes, and whether zeros are runs.

    By Arm's rules of thumb: runs where zero is more than four times as frequent as any other
    code, and a palette of the most frequent values where it covers more than half of the rest.
    With `by_bits` the cheapest of all four, by one setting for the whole section.
    """
    counts = np.bincount(codes.view(np.uint8), minlength=256)
    values = _sign_magnitude()
    plans = []
    for zero_runs in (False, True):
        others = counts.copy()
        others[0] = 0
        if by_bits:
            if zero_runs and not counts[0]:
                continue
        elif zero_runs != (counts[0] > _OFTEN * others.max()):
            continue
        bits = 0
        if zero_runs and by_bits:
            runs = np.diff(np.flatnonzero(codes), prepend=-1, append=codes.size) - 1
            bits += min(int(((runs >> div) + 1 + div).sum()) for div in Z_SETTINGS)
        used = others if zero_runs else counts
        if not used.any():
            used[0] = 1  # a section of zeros codes the first one as a weight
        covered = np.sort(used)[-_PALETTE_ENTRIES:].sum()
        for with_palette in (False, True):
            if not by_bits and with_palette != (2 * covered > used.sum()):
                continue
            plan = _palette(used, values, zero_runs, with_palette)
            if not by_bits:
                return plan
            costs = w_cost_table(plan.fixed_bits)[plan.to_index]
            total = bits + int((used @ costs).min())
            plans.append((total + plan.palette.size * plan.palette_bits, len(plans), plan))
    return min(plans, key=lambda entry: entry[:2])[2]


@functools.cache
def _sign_magnitude() -> np.ndarray:
    """Value of each code by its unsigned byte, (256,) int64."""
    codes = np.arange(256).astype(np.uint8).view(np.int8).astype(np.int64)
    return 2 * np.abs(codes) + (codes < 0)


def _palette(counts: np.ndarray, values: np.ndarray, zero_runs: bool, wanted: bool) -> Section:
    occurring = np.flatnonzero(counts)
    present = values[occurring]
    direct = min(int(present.min()), _MAX_DIRECT)
    order = occurring[np.lexsort((present, -counts[occurring]))]
    palette = values[order[:_PALETTE_ENTRIES]] if wanted else values[:0]
    if palette.size == 1:  # the format has no palette of one entry
        palette = np.concatenate([palette, palette])
    only = wanted and occurring.size <= _PALETTE_ENTRIES
    largest = int((palette if wanted else present).max())
    palette_bits = max(_MIN_PALETTE_BITS, largest.bit_length())
    to_index = np.maximum(values + palette.size - direct, 0)
    to_index[order[: palette.size]] = np.arange(min(palette.size, order.size))
    fixed_bits = -1
    if only:
        fixed_bits = (palette.size - 1).bit_length()
    elif not wanted:
        fixed_bits = palette_bits
    return Section(zero_runs, palette, palette_bits, direct, to_index, fixed_bits)


@functools.cache
def w_cost_table(fixed_bits: int) -> np.ndarray:
    """Bits of each index in each of `W_SETTINGS`: (512, settings) int64."""
    index = np.arange(_NUM_VALUES)
    columns = []
    for div, trunc in W_SETTINGS[:-1]:
        quotient = index >> div
        bits = (np.minimum(quotient + 1, 2) if trunc else quotient + 1) + div
        columns.append(np.where(quotient > (2 if trunc else _MAX_QUOTIENT), _FORBIDDEN, bits))
    fits = index < 1 << max(fixed_bits, 0)
    columns.append(np.where((fixed_bits >= 0) & fits, fixed_bits, _FORBIDDEN))
    return np.stack(columns, axis=1)


@kernel
def split_values(codes, to_index, zero_runs, weights, runs):
    """Fill indices of weights and the zeros around them; return the number of weights.

    There is a run ahead of each weight and one after the last.  If all codes are zeros and runs
    are wanted, the first zero is a weight.
    """
    num = 0
    run = 0
    any_code = not zero_runs
    for i in range(codes.shape[0]):
        if any_code:
            break
        any_code = codes[i] != 0
    for i in range(codes.shape[0]):
        if zero_runs and codes[i] == 0 and (any_code or i > 0):
            run += 1
            continue
        weights[num] = to_index[np.uint8(codes[i])]
        if zero_runs:
            runs[num] = run
            run = 0
        num += 1
    if zero_runs:
        runs[num] = run
    return num


@kernel
def search(values, costs, is_weight, free, settings, ends):
    """Cheapest sequence of settings for `values`; return the number of its parts and their bits.

    Parameters
    ----------
    values : ndarray of shape (n,), int32
    costs : ndarray of shape (512, k), int64
        Bits of a weight in each setting.
    is_weight : bool
        Whether `values` are weights; else they are runs, and setting j is divisor j of 0 to k - 1.
    free : ndarray of shape (m,), int64
        Ascending numbers of values ahead of which a change costs nothing.
    settings, ends : ndarray of shape (n,), int64
        Filled: setting of each part, and the number of the value after it.
    """
    n = values.shape[0]
    k = costs.shape[1]
    total = np.zeros(k, np.int64)
    changed = np.zeros(n, np.uint16)  # one bit for each setting that was changed to here
    source = np.zeros(n, np.uint8)
    next_free = 0
    # A slice has at least one weight, and the first run lies ahead of it.
    first = 1 if is_weight else 2
    best = 0
    for i in range(n):
        price = _SWITCH_BITS
        while next_free < free.shape[0] and free[next_free] < i:
            next_free += 1
        if next_free < free.shape[0] and free[next_free] == i:
            price = 0
        if i < first:
            price = _NEVER
        source[i] = best
        limit = total[best] + price
        value = np.int64(values[i])
        change = 0
        least = np.int64(_NEVER)
        for j in range(k):
            before = total[j]
            change |= (limit < before) << j
            after = min(limit, before)
            after += costs[value, j] if is_weight else (value >> j) + 1 + j
            total[j] = after
            best = j if after < least else best
            least = min(least, after)
        changed[i] = change
    setting = best
    bits = total[setting]
    parts = 0
    end = n
    for i in range(n - 1, -1, -1):
        if (changed[i] >> setting) & 1 or i == 0:
            settings[parts] = setting
            ends[parts] = end
            parts += 1
            end = i
            setting = source[i]
    settings[:parts] = settings[:parts][::-1].copy()
    ends[:parts] = ends[:parts][::-1].copy()
    return parts, bits
