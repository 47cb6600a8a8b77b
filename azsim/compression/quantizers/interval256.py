"""256 equal intervals over the range; the two beside zero become zero.

The range from ``-max |w|`` to ``max |w|`` of the tensor, row or group is cut into 256 intervals,
128 on each side.  A code is the number of whole intervals between zero and the weight, so weights
smaller than an interval fall to zero, and 255 codes are left::

    code = clip(truncate(w / (max |w| / 128)), -127, 127)

As every weight but zero is cut towards zero, what a code is multiplied by is not the interval but
the scale of least squared error, ``sum(w * code) / sum(code * code)``, a little larger.
"""

from __future__ import annotations

import numpy as np

from azsim.compression.quantizers._base import (
    Quantized,
    chunks,
    largest_magnitudes,
    segment_bounds,
    shared,
    usable,
)
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("bits", "scale", "group_size")
BITS = (8, 8)
IS_PALETTE = False

_INTERVALS = np.float32(128)
_LIMIT = np.float32(127)


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    segments = segment_bounds(matrix.shape[1], rule)
    widths = usable(shared(largest_magnitudes(matrix, segments), rule) / _INTERVALS)
    codes = np.empty(matrix.shape, np.int8)
    products, squares = np.zeros(widths.shape), np.zeros(widths.shape)
    for segment, rows, columns in chunks(matrix, segments):
        quotient = matrix[rows, columns] / widths[segment, rows, None]
        code = np.clip(np.trunc(quotient), -_LIMIT, _LIMIT)
        codes[rows, columns] = code
        products[segment, rows] = np.einsum("ij,ij->i", quotient, code, dtype=np.float64)
        squares[segment, rows] = np.einsum("ij,ij->i", code, code, dtype=np.float64)
    if rule.weight_scale == "per_tensor":
        products[:], squares[:] = products.sum(), squares.sum()
    gain = np.divide(products, squares, out=np.ones_like(products), where=squares > 0)
    scales = usable((widths * gain).astype(np.float32))
    return Quantized(codes, scales, segments, rule.weight_bits, rule.weight_scale)
