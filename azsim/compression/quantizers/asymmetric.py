"""Equal steps over the range from the smallest to the largest weight, zero among them.

``2**bits`` values ``q - z`` for q from 0 to ``2**bits - 1`` stand for equal steps; the *zero
point* z is one for the tensor, as the palette of these values is, and each tensor, row or group
has its own step, the least with which no weight is clipped.  Of all zero points that with the
least sum of squared steps is taken, which is where the error of fine steps is least.

Values are int8 and run at their own width: 4-bit indices whose values reach from -4 to 11 run as
5-bit codes.  At 8 bits the values would need 9, so 7 is the most.
"""

from __future__ import annotations

import numpy as np

from azsim.compression.quantizers._base import (
    Quantized,
    least_bits,
    round_to,
    segment_bounds,
    usable,
)
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("bits", "scale", "group_size")
BITS = (2, 7)
IS_PALETTE = True


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    last = (1 << rule.weight_bits) - 1
    segments = segment_bounds(matrix.shape[1], rule)
    starts = np.array(segments[:-1])
    highest = np.maximum(np.maximum.reduceat(matrix, starts, axis=1), 0).T
    lowest = np.maximum(-np.minimum.reduceat(matrix, starts, axis=1), 0).T
    if rule.weight_scale == "per_tensor":
        highest, lowest = np.full_like(highest, highest.max()), np.full_like(lowest, lowest.max())
    zero_point, best = 0, np.inf
    for candidate in range(last + 1):
        with np.errstate(over="ignore"):
            total = float((_steps(highest, lowest, candidate, last).astype(np.float64) ** 2).sum())
        if total < best:
            zero_point, best = candidate, total
    scales = usable(_steps(highest, lowest, zero_point, last))
    codes = round_to(matrix, scales, segments, -zero_point, last - zero_point)
    bits = least_bits(-zero_point, last - zero_point)
    return Quantized(codes, scales, segments, bits, rule.weight_scale, rule.weight_bits)


def _steps(highest: np.ndarray, lowest: np.ndarray, zero_point: int, last: int) -> np.ndarray:
    """Least step of each unit; infinite where a side that is needed has no values."""
    above, below = np.float32(last - zero_point), np.float32(zero_point)
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(highest > 0, highest / above, np.float32(0))
        down = np.where(lowest > 0, lowest / below, np.float32(0))
    return np.ascontiguousarray(np.maximum(up, down))
