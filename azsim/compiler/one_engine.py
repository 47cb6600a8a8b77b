"""One engine: the least time in which an engine that does one thing at a time can do some work.

Each piece of work has a head (when it can begin at the earliest), its own cycles, and a tail (what
comes at least between its end and the end of all).  Whatever part of the work one looks at, it
takes no less than its smallest head, the sum of its cycles, and its smallest tail.  The largest of
these over all parts is how long the schedule takes that always works at what has the longest tail
of all that may begin, and puts it aside when something with a longer one arrives (J. R. Jackson;
J. Carlier, "The one-machine sequencing problem", European Journal of Operational Research 11,
1982).
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["least_end"]


def least_end(heads: np.ndarray, work: np.ndarray, tails: np.ndarray) -> float:
    """Least cycle in which all work is done and all tails are over.

    Parameters
    ----------
    heads, work, tails : ndarray of float64, (pieces,)
        In cycles; in any order.

    Returns
    -------
    float
        0 without any work.
    """
    return float(_least_end(heads, work, tails, np.argsort(heads), np.argsort(-tails)))


@kernel
def _least_end(
    heads: np.ndarray,
    work: np.ndarray,
    tails: np.ndarray,
    by_head: np.ndarray,
    by_tail: np.ndarray,
) -> float:
    """Play the schedule; what may begin stands in a heap, by its place among the tails."""
    count = heads.size
    place = np.empty(count, np.int64)
    for at in range(count):
        place[by_tail[at]] = at
    left = work.copy()
    heap = np.empty(count, np.int64)
    size = 0
    now = end = 0.0
    at = 0
    while at < count or size:
        if not size and heads[by_head[at]] > now:
            now = heads[by_head[at]]
        while at < count and heads[by_head[at]] <= now:
            child = size
            size += 1
            new = place[by_head[at]]
            while child and heap[(child - 1) // 2] > new:
                heap[child] = heap[(child - 1) // 2]
                child = (child - 1) // 2
            heap[child] = new
            at += 1
        one = by_tail[heap[0]]
        until = now + left[one]
        if at < count and heads[by_head[at]] < until:
            left[one] = until - heads[by_head[at]]
            now = heads[by_head[at]]
            continue
        now = until
        end = max(end, now + tails[one])
        size -= 1
        last = heap[size]
        parent = 0
        while 2 * parent + 1 < size:
            child = 2 * parent + 1
            if child + 1 < size and heap[child + 1] < heap[child]:
                child += 1
            if heap[child] >= last:
                break
            heap[parent] = heap[child]
            parent = child
        heap[parent] = last
    return float(end)
