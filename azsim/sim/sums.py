"""Sums and clean times of large runs, each in one pass."""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["sum_by", "times_without"]


@kernel("int64[::1](int64[::1], int64[::1], int64)")
def sum_by(group, values, count):
    """Sum values by their group, 0 to count - 1; those of group -1 are left out.

    Parameters
    ----------
    group, values : (n,) int64
    count : int

    Returns
    -------
    (count,) int64
    """
    sums = np.zeros(count, np.int64)
    for i in range(len(group)):
        if group[i] >= 0:
            sums[group[i]] += values[i]
    return sums


@kernel("int64[::1](int64[::1], int64[::1], int64[::1])")
def times_without(times, idle_from, idle_to):
    """Times that do not count stretches; one inside a stretch counts up to its beginning.

    Parameters
    ----------
    times : (n,) int64
        Quick where neighbours are near to each other.
    idle_from, idle_to : (m,) int64
        In order.

    Returns
    -------
    (n,) int64
    """
    stretches = len(idle_from)
    taken = np.zeros(stretches + 1, np.int64)
    for number in range(stretches):
        taken[number + 1] = taken[number] + idle_to[number] - idle_from[number]
    out = np.empty(len(times), np.int64)
    over = 0  # stretches that are over
    for i in range(len(times)):
        at = times[i]
        while over < stretches and idle_to[over] <= at:
            over += 1
        while over > 0 and idle_to[over - 1] > at:
            over -= 1
        if over < stretches and idle_from[over] <= at:
            at = idle_from[over]
        out[i] = at - taken[over]
    return out
