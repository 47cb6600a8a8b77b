"""The palette of int8 values with the least squared error, zero among them.

Deep Compression clusters weights with k-means.  In one dimension, with centroids that are whole
numbers, the optimum is found outright: between two neighbours of the palette the error is known
from sums, so the best palette is a shortest path over the numbers from -127 to 127 that visits 0,
with as many stops as the palette has entries.  Scales are `uniform`'s at 8 bits.

Source: Han, Mao and Dally, Deep Compression (ICLR 2016), for the idea of shared values.
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


def quantize(matrix: np.ndarray, rule: ResolvedRule) -> Quantized:
    """Quantize one matrix; see the package for the contract."""
    return _palette.quantize(matrix, rule, best_palette)


def best_palette(moments: Moments, entries: int) -> np.ndarray:
    """Palette of least error with at most `entries` values, ascending."""
    middle = 2 * LIMIT
    right = _Side(moments.mass[middle:], moments.first[middle:], moments.second[middle:], entries)
    # Mirrored: the bin below zero comes first; the one from 127 on has no counterpart.
    left = _Side(
        np.append(moments.mass[middle - 1 :: -1], 0),
        -np.append(moments.first[middle - 1 :: -1], 0),
        np.append(moments.second[middle - 1 :: -1], 0),
        entries,
    )
    stops = min(entries - 1, 2 * LIMIT)
    shares = range(max(0, stops - LIMIT), min(stops, LIMIT) + 1)
    below = min(shares, key=lambda count: left.errors[count] + right.errors[stops - count])
    values = [-v for v in left.values(below)] + [0] + right.values(stops - below)
    return np.array(sorted(values))


class _Side:
    """Best values on one side of zero, for each number of them.

    Attributes
    ----------
    errors : ndarray of float64
        By number of values.
    """

    def __init__(
        self, mass: np.ndarray, first: np.ndarray, second: np.ndarray, entries: int
    ) -> None:
        sums = [np.concatenate(([0.0], np.cumsum(part))) for part in (mass, first, second)]

        def error(value: np.ndarray, start: np.ndarray, stop: np.ndarray) -> np.ndarray:
            zeroth, first, second = (part[stop] - part[start] for part in sums)
            return second - 2 * value * first + value * value * zeroth

        nodes = np.arange(LIMIT + 1)
        low, high = nodes[:, None], nodes[None, :]
        half = low + high  # the middle between two values, in bins
        step = error(low, 2 * low, half) + error(high, half, 2 * high)
        step[low >= high] = np.inf
        tail = error(nodes, 2 * nodes, np.full_like(nodes, len(mass)))
        reach = np.full(LIMIT + 1, np.inf)
        reach[0] = 0.0
        self._ends = [0]
        self._from: list[np.ndarray] = [nodes]
        totals = [float(tail[0])]
        for _ in range(min(entries - 1, LIMIT)):
            paths = reach[:, None] + step
            self._from.append(paths.argmin(axis=0))
            reach = paths.min(axis=0)
            self._ends.append(int((reach + tail).argmin()))
            totals.append(float((reach + tail).min()))
        self.errors = np.array(totals)

    def values(self, count: int) -> list[int]:
        """Return the best `count` values, from far to near."""
        found, node = [], self._ends[count]
        for number in range(count, 0, -1):
            found.append(node)
            node = int(self._from[number][node])
        return found
