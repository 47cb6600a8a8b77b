"""Quantization of one matrix by its rule, and the proof that int32 holds its products."""

from __future__ import annotations

import itertools

import numpy as np

from azsim.arith import code_limit
from azsim.compression.quantizers import quantizer
from azsim.compression.quantizers._base import Quantized
from azsim.compression.spec import ResolvedRule

__all__ = ["Quantized", "quantize", "split_segments"]

_ACCUMULATOR_MAX = (1 << 31) - 1
_SPLIT_COLUMNS = 64


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize a weight matrix with the quantizer that its rule names.

    Parameters
    ----------
    matrix : ndarray of shape (N, K), float32
        Finite, N and K at least 1.
    rule : ResolvedRule
    """
    return quantizer(rule.quantizer).quantize(matrix, rule)


def split_segments(
    codes: np.ndarray, scales: np.ndarray, segments: tuple[int, ...], activation_bits: int
) -> tuple[np.ndarray, tuple[int, ...]]:
    """Split segments until an int32 accumulator is proven to hold the sum of each.

    The proof takes the actual codes: of every row, the sum of ``|code|`` over a segment times the
    largest activation code is at most ``2**31 - 1``.  A segment that fails is cut, for all rows
    together, at the largest column number divisible by 64 up to which the proof holds, and so on.

    Parameters
    ----------
    codes : ndarray of shape (N, K), int8
    scales : ndarray of shape (segments, N), float32
    segments : tuple of int
        Bounds ``0 = b0 < b1 < ... = K``.
    activation_bits : int
        8 or 16.

    Returns
    -------
    scales : ndarray of shape (new segments, N), float32
        Those of the segment that was cut are repeated.
    segments : tuple of int
    """
    budget = _ACCUMULATOR_MAX // code_limit(activation_bits)
    bounds, origins = [0], []
    for origin, (start, stop) in enumerate(itertools.pairwise(segments)):
        cuts = _cuts(codes, start, stop, budget)
        bounds += [*cuts, stop]
        origins += [origin] * (len(cuts) + 1)
    return np.ascontiguousarray(scales[origins]), tuple(bounds)


def _cuts(codes: np.ndarray, start: int, stop: int, budget: int) -> list[int]:
    """Columns at which one segment has to be cut so that no row's sum exceeds the budget."""
    if (stop - start) * 127 <= budget:
        return []
    first = start // _SPLIT_COLUMNS * _SPLIT_COLUMNS + _SPLIT_COLUMNS
    starts = [start, *range(first, stop, _SPLIT_COLUMNS)]
    sums = np.add.reduceat(
        np.abs(codes[:, start:stop]), np.array(starts) - start, axis=1, dtype=np.int64
    )
    # totals[:, i] is the sum before starts[i]; the last column is the sum of all.
    totals = np.zeros((len(codes), len(starts) + 1), np.int64)
    np.cumsum(sums, axis=1, out=totals[:, 1:])
    cuts: list[int] = []
    begin = 0
    while (totals[:, -1] - totals[:, begin]).max() > budget:
        worst = (totals[:, begin + 1 :] - totals[:, begin, None]).max(axis=0)
        begin += int(np.searchsorted(worst, budget, side="right"))
        cuts.append(starts[begin])
    return cuts
