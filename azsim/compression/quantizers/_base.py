"""What quantizers share: scales of tensors, rows and groups, rounding, and sums of error."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from azsim.compression.quantizers._loops import code_errors
from azsim.compression.spec import ResolvedRule

__all__ = [
    "Quantized",
    "chunks",
    "largest_magnitudes",
    "least_bits",
    "round_to",
    "segment_bounds",
    "shared",
    "squared_errors",
    "usable",
]

_CHUNK_ELEMENTS = 1 << 17


@dataclass(frozen=True)
class Quantized:
    """Codes and scales of one matrix.

    Attributes
    ----------
    codes : ndarray of shape (N, K), int8
        Within ``±(2**(bits-1)-1)``; a real zero is 0.
    scales : ndarray of shape (segments, N), float32
        A weight is about ``code * scale``.
    segments : tuple of int
        Bounds of the stretches of K that have a scale of their own.
    bits : int
        Width that the chip runs the codes at.
    scale_kind : str
        ``per_tensor``, ``per_channel`` or ``per_group``.
    palette_bits : int or None
        Width of an index, where the codes are the values of a palette.
    """

    codes: np.ndarray
    scales: np.ndarray
    segments: tuple[int, ...]
    bits: int
    scale_kind: str
    palette_bits: int | None = None


def segment_bounds(columns: int, rule: ResolvedRule) -> tuple[int, ...]:
    """Bounds of the stretches of K that have a scale of their own: ``0 = b0 < ... = K``."""
    if rule.weight_scale != "per_group" or rule.group_size is None:
        return 0, columns
    return (*range(0, columns, rule.group_size), columns)


def chunks(matrix: np.ndarray, segments: tuple[int, ...]) -> Iterator[tuple[int, slice, slice]]:
    """Cut a matrix into parts of one segment and so few rows that they stay in a cache.

    Yields
    ------
    segment : int
    rows, columns : slice
    """
    for segment, (start, stop) in enumerate(itertools.pairwise(segments)):
        step = max(1, _CHUNK_ELEMENTS // (stop - start))
        for row in range(0, len(matrix), step):
            yield segment, slice(row, row + step), slice(start, stop)


def largest_magnitudes(matrix: np.ndarray, segments: tuple[int, ...]) -> np.ndarray:
    """Largest ``|w|`` of each row in each segment, (segments, N) float32."""
    starts = np.array(segments[:-1])
    highest = np.maximum.reduceat(matrix, starts, axis=1)
    lowest = np.minimum.reduceat(matrix, starts, axis=1)
    return np.ascontiguousarray(np.maximum(highest, -lowest).T)


def shared(values: np.ndarray, rule: ResolvedRule) -> np.ndarray:
    """Give every unit the largest value, where a tensor shares one scale."""
    return np.full_like(values, values.max()) if rule.weight_scale == "per_tensor" else values


def usable(scales: np.ndarray) -> np.ndarray:
    """Scales with 1 in place of 0."""
    return np.where(scales == 0, np.float32(1), scales)


def round_to(
    matrix: np.ndarray, scales: np.ndarray, segments: tuple[int, ...], low: int, high: int
) -> np.ndarray:
    """Codes (N, K) int8: ``clip(round_half_even(w / scale), low, high)`` in float32."""
    codes = np.empty(matrix.shape, np.int8)
    for segment, rows, columns in chunks(matrix, segments):
        quotient = matrix[rows, columns] / scales[segment, rows, None]
        np.rint(quotient, out=quotient)
        np.clip(quotient, np.float32(low), np.float32(high), out=quotient)
        codes[rows, columns] = quotient
    return codes


def squared_errors(
    matrix: np.ndarray, codes: np.ndarray, scales: np.ndarray, segments: tuple[int, ...]
) -> np.ndarray:
    """Squared error of each row in each segment, (segments, N) float64."""
    errors = np.zeros(scales.shape)
    for segment, rows, columns in chunks(matrix, segments):
        part = np.ascontiguousarray(matrix[rows, columns])
        mine = np.ascontiguousarray(codes[rows, columns])
        code_errors(part, mine, np.ascontiguousarray(scales[segment, rows]), errors[segment, rows])
    return errors


def least_bits(lowest: int, highest: int) -> int:
    """Least width, at least 2, whose symmetric range holds the codes."""
    return max(2, max(-lowest, highest, 1).bit_length() + 1)
