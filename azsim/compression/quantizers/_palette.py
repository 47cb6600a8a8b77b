"""Palettes of int8 values: what the weights look like, and the nearest value of each.

Weights are put in units of their scale, so that the largest magnitude of a tensor, row or group
is `peak`.  Between two whole numbers the nearer one changes halfway, which is a multiple of one
half: so the sums over the *half-open bins* ``[i/2, (i+1)/2)`` tell the exact squared error of any
palette of whole numbers, and one table from bin to value quantizes.  Weights halfway between two
values go to the higher one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from azsim.compression.quantizers._base import (
    Quantized,
    chunks,
    largest_magnitudes,
    least_bits,
    segment_bounds,
    shared,
    usable,
)
from azsim.compression.spec import ResolvedRule

__all__ = ["LIMIT", "PARAMETERS", "Moments", "entries_of", "nearest", "palette_error", "quantize"]

PARAMETERS = ("bits", "scale", "group_size", "palette")
LIMIT = 127
_ZERO_BIN = 2 * LIMIT
_BINS = 2 * _ZERO_BIN + 1


@dataclass(frozen=True)
class Moments:
    """Sums over the weights x of each bin, each weighted with its squared scale.

    Attributes
    ----------
    mass, first, second : ndarray of shape (509,), float64
        Sums of 1, x and x * x; bin i holds ``(i - 254) / 2 <= x < (i - 253) / 2``.
    """

    mass: np.ndarray
    first: np.ndarray
    second: np.ndarray


def entries_of(rule: ResolvedRule) -> int:
    """Entries that the palette may have, zero among them; 255 at most."""
    return min(rule.palette or 1 << rule.weight_bits, 2 * LIMIT + 1)


def nearest(palette: np.ndarray) -> np.ndarray:
    """Nearest value for each bin, (509,) int8; of two equally near ones the higher."""
    values = np.sort(palette.astype(np.int64))
    middles = values[:-1] + values[1:] + _ZERO_BIN
    return values[np.searchsorted(middles, np.arange(_BINS), side="right")].astype(np.int8)


def palette_error(moments: Moments, palette: np.ndarray) -> float:
    """Squared error of a palette, up to the factor that `Moments` leaves out."""
    value = nearest(palette).astype(np.float64)
    terms = moments.second - 2 * value * moments.first + value * value * moments.mass
    return float(terms.sum())


def quantize(
    matrix: np.ndarray,
    rule: ResolvedRule,
    choose: Callable[[Moments, int], np.ndarray],
    peak: int = LIMIT,
) -> Quantized:
    """Quantize with the palette that `choose` makes of the moments.

    Parameters
    ----------
    matrix : ndarray of shape (N, K), float32
    rule : ResolvedRule
    choose : callable
        ``choose(moments, entries)`` gives whole numbers within ±127, zero among them, at most
        `entries`, each once.
    peak : int
        Value that the largest magnitude stands at, at most 127.
    """
    segments = segment_bounds(matrix.shape[1], rule)
    scales = usable(shared(largest_magnitudes(matrix, segments), rule) / np.float32(peak))
    table = nearest(choose(_moments(matrix, scales, segments), entries_of(rule)))
    codes = np.empty(matrix.shape, np.int8)
    for _, rows, columns, _, bins in _binned(matrix, scales, segments):
        codes[rows, columns] = table[bins]
    bits = least_bits(int(table[0]), int(table[-1]))
    return Quantized(codes, scales, segments, bits, rule.weight_scale, rule.weight_bits)


def _binned(
    matrix: np.ndarray, scales: np.ndarray, segments: tuple[int, ...]
) -> Iterator[tuple[int, slice, slice, np.ndarray, np.ndarray]]:
    """Yield for each part of a matrix: segment, rows, columns, weights over scale, their bins."""
    for segment, rows, columns in chunks(matrix, segments):
        x = np.clip(matrix[rows, columns] / scales[segment, rows, None], -LIMIT, LIMIT)
        yield segment, rows, columns, x, np.floor(2 * x).astype(np.int64) + _ZERO_BIN


def _moments(matrix: np.ndarray, scales: np.ndarray, segments: tuple[int, ...]) -> Moments:
    mass, first, second = np.zeros(_BINS), np.zeros(_BINS), np.zeros(_BINS)
    wide = scales.astype(np.float64)
    importance = (wide / wide.max()) ** 2
    for segment, rows, _, x, bins in _binned(matrix, scales, segments):
        places = bins.reshape(-1)
        weight = np.broadcast_to(importance[segment, rows, None], x.shape)
        product = weight * x
        mass += np.bincount(places, weight.reshape(-1), _BINS)
        first += np.bincount(places, product.reshape(-1), _BINS)
        second += np.bincount(places, (product * x).reshape(-1), _BINS)
    return Moments(mass, first, second)
