"""Equal steps, symmetric about zero, clipped where the squared error is least.

As `uniform`, with ``scale = factor * max |w| / limit``: of 33 factors from 0.2 to 1.0 that of
least squared error is taken for each tensor, row or group, the smallest among equals.
"""

from __future__ import annotations

import numpy as np

from azsim.arith import code_limit
from azsim.compression.quantizers._base import (
    Quantized,
    chunks,
    largest_magnitudes,
    round_to,
    segment_bounds,
    shared,
    usable,
)
from azsim.compression.quantizers._loops import clipped_errors
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("bits", "scale", "group_size")
BITS = (2, 8)
IS_PALETTE = False

_FACTORS = np.linspace(0.2, 1.0, 33).astype(np.float32)


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    limit = code_limit(rule.weight_bits)
    segments = segment_bounds(matrix.shape[1], rule)
    largest = shared(largest_magnitudes(matrix, segments), rule)
    candidates = usable(_FACTORS[:, None, None] * largest / np.float32(limit))
    errors = _errors(matrix, candidates, segments, np.float32(limit))
    if rule.weight_scale == "per_tensor":
        scales = candidates[errors.sum(axis=(1, 2)).argmin()]
    else:
        scales = np.take_along_axis(candidates, errors.argmin(axis=0)[None], axis=0)[0]
    codes = round_to(matrix, scales, segments, -limit, limit)
    return Quantized(codes, scales, segments, rule.weight_bits, rule.weight_scale)


def _errors(
    matrix: np.ndarray, candidates: np.ndarray, segments: tuple[int, ...], limit: np.float32
) -> np.ndarray:
    """Squared error with each factor, (factors, segments, N) float64."""
    errors = np.empty(candidates.shape)
    for segment, rows, columns in chunks(matrix, segments):
        part = np.ascontiguousarray(matrix[rows, columns])
        scales = np.ascontiguousarray(candidates[:, segment, rows])
        found = np.empty(scales.shape)
        clipped_errors(part, scales, limit, found)
        errors[:, segment, rows] = found
    return errors
