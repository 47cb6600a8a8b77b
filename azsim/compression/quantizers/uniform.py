"""Equal steps, symmetric about zero, up to the largest magnitude.

``code = clip(round_half_even(w / scale), -limit, limit)`` with ``limit = 2**(bits-1) - 1`` and
``scale = max |w| / limit`` of the tensor, row or group; 1 where that is 0.
"""

from __future__ import annotations

import numpy as np

from azsim.arith import code_limit
from azsim.compression.quantizers._base import (
    Quantized,
    largest_magnitudes,
    round_to,
    segment_bounds,
    shared,
    usable,
)
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("bits", "scale", "group_size")
BITS = (2, 8)
IS_PALETTE = False


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    limit = code_limit(rule.weight_bits)
    segments = segment_bounds(matrix.shape[1], rule)
    scales = usable(shared(largest_magnitudes(matrix, segments), rule) / np.float32(limit))
    codes = round_to(matrix, scales, segments, -limit, limit)
    return Quantized(codes, scales, segments, rule.weight_bits, rule.weight_scale)
