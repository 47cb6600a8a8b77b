"""Powers of two and zero: a multiplier becomes a shifter.

The largest magnitude of the tensor, row or group stands at 64, and values are 64, 32, 16 and so
on, as many on each side as the bits tell apart: 1 at 2 bits, 3 at 3 bits, 7 (down to 1) at 4.
"""

from __future__ import annotations

import numpy as np

from azsim.compression.quantizers import _palette
from azsim.compression.quantizers._base import Quantized
from azsim.compression.quantizers._palette import Moments
from azsim.compression.spec import ResolvedRule

PARAMETERS = ("bits", "scale", "group_size")
BITS = (2, 4)
IS_PALETTE = True

_PEAK = 64


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""

    def choose(moments: Moments, entries: int) -> np.ndarray:
        magnitudes = _PEAK >> np.arange((entries - 1) // 2)
        return np.concatenate((-magnitudes, [0], magnitudes[::-1]))

    return _palette.quantize(matrix, rule, choose, _PEAK)
