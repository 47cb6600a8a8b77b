"""A palette whose values lie closer together near zero, by the mu-law of telephony.

Value k of ``n`` on a side is ``127 * ((1 + mu)**(k / n) - 1) / mu``, rounded; an even number of
entries leaves one more above zero than below.  Without `mu`, that of 0.1, 1, 2, 4, ... 256 is
taken which has the least squared error.

Source: centroids in a mu-law constrained space, arXiv 2210.09188.
"""

from __future__ import annotations

import numpy as np

from azsim.compression.quantizers import _palette
from azsim.compression.quantizers._base import Quantized
from azsim.compression.quantizers._palette import LIMIT, Moments, palette_error
from azsim.compression.spec import ResolvedRule

PARAMETERS = (*_palette.PARAMETERS, "mu")
BITS = (2, 8)
IS_PALETTE = True

_CANDIDATES = (0.1, *(float(1 << power) for power in range(9)))


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    candidates = _CANDIDATES if rule.mu is None else (rule.mu,)

    def choose(moments: Moments, entries: int) -> np.ndarray:
        palettes = [spaced_palette(entries, mu) for mu in candidates]
        return min(palettes, key=lambda palette: palette_error(moments, palette))

    return _palette.quantize(matrix, rule, choose)


def spaced_palette(entries: int, mu: float) -> np.ndarray:
    """Values of the law, ascending, each once."""
    sides = []
    for count in ((entries - 1) // 2, entries // 2):
        share = np.arange(1, count + 1) / max(count, 1)
        sides.append(np.rint(LIMIT * np.expm1(share * np.log1p(mu)) / mu).astype(np.int64))
    return np.unique(np.concatenate((-sides[0], [0], sides[1])))
