"""First fit: each buffer at the lowest address that is free for its whole life."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from azsim.jit import kernel

__all__ = ["FirstFit"]


class FirstFit:
    """Buffers that look for places in one memory.

    Parameters
    ----------
    sizes : sequence of int
        Bytes of each buffer.
    first, last : sequence of int
        When it is used at first and at last; those that meet never share a byte.
    """

    def __init__(self, sizes: Sequence[int], first: Sequence[int], last: Sequence[int]) -> None:
        self.sizes = np.array(sizes, np.int64)
        self.first, self.last = np.array(first, np.int64), np.array(last, np.int64)
        self._starts, self._beside = _neighbours(self.first, self.last)

    def place(self, order: np.ndarray) -> tuple[np.ndarray, int]:
        """Place buffers, given by number, one after another; gives addresses and the peak."""
        lows = _placed(order, self.sizes, self._starts, self._beside)
        return lows, int((lows + self.sizes).max(initial=0))


def _neighbours(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Buffers that live beside each one: ``beside[starts[n] : starts[n + 1]]``."""
    by_first = np.argsort(first, kind="stable")
    counts = np.zeros(first.size + 1, np.int64)
    nothing = np.zeros(0, np.int32)
    _meetings(by_first, first, last, counts[1:], nothing, nothing.astype(np.int64))
    starts = np.cumsum(counts)
    beside = np.empty(starts[-1], np.int32)
    _meetings(by_first, first, last, counts[1:], beside, starts[:-1].copy())
    return starts, beside


@kernel
def _meetings(
    by_first: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    counts: np.ndarray,
    beside: np.ndarray,
    at: np.ndarray,
) -> None:
    """Count the neighbours of each buffer; with `at`, where its own begin, write them down."""
    for place in range(by_first.size):
        one = by_first[place]
        for later in range(place + 1, by_first.size):
            other = by_first[later]
            if first[other] > last[one]:
                break
            if at.size:
                beside[at[one]] = other
                beside[at[other]] = one
                at[one] += 1
                at[other] += 1
            else:
                counts[one] += 1
                counts[other] += 1


@kernel
def _placed(
    order: np.ndarray, sizes: np.ndarray, starts: np.ndarray, beside: np.ndarray
) -> np.ndarray:
    """Lowest free address of each buffer, placed in an order."""
    lows = np.full(sizes.size, -1, np.int64)
    taken = np.empty((sizes.size, 2), np.int64)
    for one in order:
        count = 0
        for place in range(starts[one], starts[one + 1]):
            other = beside[place]
            if lows[other] >= 0:
                taken[count, 0] = lows[other]
                taken[count, 1] = lows[other] + sizes[other]
                count += 1
        low = 0
        for number in np.argsort(taken[:count, 0]):
            if taken[number, 0] >= low + sizes[one]:
                break
            low = max(low, taken[number, 1])
        lows[one] = low
    return lows
