"""Sums and clean times of large runs, each in one pass."""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["idle_times", "sums_by_layer", "sums_by_part", "times_without"]


@kernel("int64[:, ::1](int64[::1], int64, int64[::1], int64[::1], int64[::1], int64[::1])")
def sums_by_part(part, count, bursts, start, end, work):
    """Bursts, cycles from start to end, and work of each part, 0 to count - 1.

    Parameters
    ----------
    part, bursts, start, end, work : (n,) int64
    count : int

    Returns
    -------
    (3, count) int64
    """
    sums = np.zeros((3, count), np.int64)
    for i in range(len(part)):
        sums[0, part[i]] += bursts[i]
        sums[1, part[i]] += end[i] - start[i]
        sums[2, part[i]] += work[i]
    return sums


@kernel("int64[:, ::1](int64[::1], int64, int64[::1], int64[::1], int64[::1])")
def sums_by_layer(layer, count, end, macs, executed):
    """Cycles, products, and products carried out, of each layer, 0 to count - 1.

    Cycles run from the retirement of the instruction before, which is the latest end so far.

    Parameters
    ----------
    layer, end, macs, executed : (n,) int64
    count : int

    Returns
    -------
    (3, count) int64
    """
    sums = np.zeros((3, count), np.int64)
    retired = np.int64(0)
    for i in range(len(layer)):
        if end[i] > retired:
            sums[0, layer[i]] += end[i] - retired
            retired = end[i]
        sums[1, layer[i]] += macs[i]
        sums[2, layer[i]] += executed[i]
    return sums


@kernel("UniTuple(int64[::1], 2)(int64[::1], int64[::1], int64[::1])")
def idle_times(start, end, arrival):
    """Stretches that end with the arrival of a frame and in which no engine was busy.

    Parameters
    ----------
    start, end : (n,) int64
        Quick where starts of neighbours are near to each other.
    arrival : (n,) int64
        0 for what waits for no frame.

    Returns
    -------
    begins, ends : (m,) int64
    """
    paced = np.flatnonzero((arrival > 0) & (start == arrival))
    paced = paced[np.argsort(start[paced], kind="mergesort")]  # at the same start in order
    busy_until = np.zeros(len(paced) + 1, np.int64)
    after = 0  # how many of these come before an instruction, or are it
    for i in range(len(start)):
        while after > 0 and (start[paced[after - 1]], paced[after - 1]) > (start[i], i):
            after -= 1
        while after < len(paced) and (start[paced[after]], paced[after]) <= (start[i], i):
            after += 1
        busy_until[after] = max(busy_until[after], end[i])
    begins, ends = np.empty(len(paced), np.int64), np.empty(len(paced), np.int64)
    found, latest = 0, np.int64(0)
    for number in range(len(paced)):
        latest = max(latest, busy_until[number])
        if latest < start[paced[number]]:
            begins[found], ends[found] = latest, start[paced[number]]
            found += 1
    return begins[:found].copy(), ends[:found].copy()


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
