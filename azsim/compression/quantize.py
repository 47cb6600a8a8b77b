"""Symmetric quantization of weight matrices, and the proof that int32 holds their products."""

from __future__ import annotations

import itertools

import numpy as np

from azsim.arith import code_limit

__all__ = ["quantize", "segment_bounds", "split_segments"]

_ACCUMULATOR_MAX = (1 << 31) - 1
_SPLIT_COLUMNS = 64


def segment_bounds(columns: int, scale_kind: str, group_size: int | None) -> tuple[int, ...]:
    """Bounds of the stretches of K that have a scale of their own: ``0 = b0 < ... = K``."""
    if scale_kind != "per_group" or group_size is None:
        return 0, columns
    return (*range(0, columns, group_size), columns)


def quantize(
    matrix: np.ndarray, bits: int, scale_kind: str, group_size: int | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """Quantize a weight matrix symmetrically.

    Parameters
    ----------
    matrix : ndarray of shape (N, K), float32
        Finite, N and K at least 1.
    bits : int
        2 to 8.
    scale_kind : str
        ``per_tensor``, ``per_channel`` (a row) or ``per_group`` (`group_size` columns of a row;
        the last group may be narrower).
    group_size : int, optional
        With ``per_group`` only.

    Returns
    -------
    codes : ndarray of shape (N, K), int8
        ``clip(round_half_even(w / scale), -limit, limit)`` with ``limit = 2**(bits-1) - 1``.
    scales : ndarray of shape (segments, N), float32
        ``max |w| / limit``; 1 where that is 0.  One scale of a tensor is repeated for each row.
    segments : tuple of int
        Bounds ``0 = b0 < b1 < ... = K``.
    """
    limit = np.float32(code_limit(bits))
    rows, columns = matrix.shape
    bounds = segment_bounds(columns, scale_kind, group_size)
    codes = np.empty((rows, columns), np.int8)
    scales = np.empty((len(bounds) - 1, rows), np.float32)
    for segment, (start, stop) in enumerate(itertools.pairwise(bounds)):
        part = matrix[:, start:stop]
        largest = np.maximum(part.max(axis=1), -part.min(axis=1))
        if scale_kind == "per_tensor":
            largest[:] = largest.max()
        scale = largest / limit
        scales[segment] = np.where(scale == 0, np.float32(1), scale)
        quotient = part / scales[segment][:, None]
        np.rint(quotient, out=quotient)
        np.clip(quotient, -limit, limit, out=quotient)
        codes[:, start:stop] = quotient
    return codes, scales, bounds


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
