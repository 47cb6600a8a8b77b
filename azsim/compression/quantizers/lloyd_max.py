"""A palette by Lloyd and Max: thresholds halfway, centroids at the mean between thresholds.

Starts from equal steps and repeats both until nothing changes; zero stays zero.  The result is
rounded to int8.  Where it is caught in a local optimum, `kmeans` finds the global one.

Source: Lloyd, Least squares quantization in PCM (1982); Max, Quantizing for minimum distortion
(1960); used for sub-8-bit weights of speech models in arXiv 2206.15408.
"""

from __future__ import annotations

import numpy as np

from azsim.compression.quantizers import _palette
from azsim.compression.quantizers._base import Quantized
from azsim.compression.quantizers._palette import LIMIT, Moments
from azsim.compression.spec import ResolvedRule

PARAMETERS = _palette.PARAMETERS
BITS = (2, 8)
IS_PALETTE = True

_MOST_ROUNDS = 500


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    return _palette.quantize(matrix, rule, converged_palette)


def converged_palette(moments: Moments, entries: int) -> np.ndarray:
    """Return the fixed point of the iteration, rounded, ascending."""
    below, above = (entries - 1) // 2, entries // 2
    values = np.concatenate(
        (-np.linspace(LIMIT, 0, below, endpoint=False), [0], np.linspace(0, LIMIT, above + 1)[1:])
    )
    filled = moments.mass > 0
    centers = np.divide(
        moments.first, moments.mass, out=np.zeros_like(moments.first), where=filled
    )[filled]
    mass, first = moments.mass[filled], moments.first[filled]
    for _ in range(_MOST_ROUNDS):
        owner = np.searchsorted((values[:-1] + values[1:]) / 2, centers, side="right")
        weight = np.bincount(owner, mass, len(values))
        total = np.bincount(owner, first, len(values))
        moved = np.divide(total, weight, out=values.copy(), where=weight > 0)
        moved[below] = 0.0
        if np.array_equal(moved, values):
            break
        values = moved
    return np.unique(np.rint(values).astype(np.int64))
