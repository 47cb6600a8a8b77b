"""The MAC array cycle by cycle: slow and obvious, what the closed forms of `mac` are held to.

One turn of the loop is one clock cycle.  Within a cycle every lane works on the window (or scan)
at the head of its queue, and then the broadcaster hands over the next one if each lane has room;
a place counts as free in the cycle in which its window leaves.  What was handed over in cycle t
can be worked on from cycle t + 1.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = [
    "INNER_OFFSET",
    "OUTER_OFFSET",
    "inner_cycles",
    "outer_cycles",
    "step_lanes",
    "step_outer",
]

INNER_OFFSET = 4
"""Cycles from an inner job's first request to its last write, beyond those of its rows: one to
hand over, three from the last operands to the written sum."""

OUTER_OFFSET = 3
"""The same for the outer dataflow, where a product's last step is its accumulator's write."""


@kernel
def step_lanes(products, scans, macs, halves, queue_depth, held, scan, at, left, fresh):
    """Let the lanes of either dataflow work for one cycle.

    Parameters
    ----------
    products : ndarray of shape (windows, lanes), int64
        Products that each lane has to issue for each window of all sums in order.
    scans : int
        Windows that one place of the queue stands for: 1, or the scans of an activation.
    macs, halves, queue_depth : int
        See `azsim.machine.engines.mac.Geometry`.
    held, scan, at, left, fresh : ndarray of shape (lanes,)
        Changed: places of the queue that are taken, windows done of the one at its head, number of
        the window at hand, half-products of it that are still to issue, whether it has not been
        begun.

    Returns
    -------
    all_room, all_idle : bool
    """
    all_room = True
    all_idle = True
    for lane in range(len(held)):
        if held[lane] > 0:
            if fresh[lane]:
                left[lane] = products[at[lane], lane] * halves
            left[lane] = max(0, left[lane] - macs)
            fresh[lane] = left[lane] == 0
            if left[lane] == 0:
                at[lane] += 1
                scan[lane] += 1
            if scan[lane] == scans:
                scan[lane] = 0
                held[lane] -= 1
        all_room &= held[lane] < queue_depth
        all_idle &= held[lane] == 0
    return all_room, all_idle


@kernel
def inner_cycles(products, windows, macs, halves, queue_depth, stall):
    """Cycles of the inner dataflow from the first request to the last write.

    Parameters
    ----------
    products, macs, halves, queue_depth
        See `step_lanes`; sums follow one another, pass after pass and row after row.
    windows : int
        Windows of one sum.
    stall : ndarray of shape (period,), uint8
        Cycles, again and again, in which no window comes from activation SRAM.
    """
    total, lanes = products.shape
    held = np.zeros(lanes, np.int64)
    scan = np.zeros(lanes, np.int64)
    at = np.zeros(lanes, np.int64)
    left = np.zeros(lanes, np.int64)
    fresh = np.ones(lanes, np.bool_)
    sent = 0
    cycle = 0
    while True:
        all_room, all_idle = step_lanes(
            products, 1, macs, halves, queue_depth, held, scan, at, left, fresh
        )
        if sent == total and all_idle:
            return cycle + INNER_OFFSET
        is_ready = sent < total and all_room and (all_idle or sent % windows != 0)
        if is_ready and stall[cycle % len(stall)] == 0:
            held += 1
            sent += 1
        cycle += 1


@kernel
def step_outer(products, macs, halves, queue, held, scan, left, fresh):
    """Let the lanes of the outer dataflow work for one cycle.

    Parameters
    ----------
    products : ndarray of shape (K, scans, lanes), int64
        Products that each lane has to issue for each scan of each column.
    macs, halves : int
    queue : ndarray of shape (lanes, queue_depth), int64
        Changed: columns that the lane still has to scan, the oldest first.
    held, scan, left, fresh : ndarray of shape (lanes,)
        Changed: columns in the queue, the next scan of the first of them, half-products of it that
        are still to issue, whether it has not been begun.

    Returns
    -------
    all_room, all_idle : bool
    """
    all_room = True
    all_idle = True
    for lane in range(len(held)):
        if held[lane] > 0:
            if fresh[lane]:
                left[lane] = products[queue[lane, 0], scan[lane], lane] * halves
            left[lane] = max(0, left[lane] - macs)
            fresh[lane] = left[lane] == 0
            if left[lane] == 0:
                scan[lane] += 1
            if scan[lane] == products.shape[1]:
                scan[lane] = 0
                held[lane] -= 1
                for place in range(held[lane]):
                    queue[lane, place] = queue[lane, place + 1]
        all_room &= held[lane] < queue.shape[1]
        all_idle &= held[lane] == 0
    return all_room, all_idle


@kernel
def outer_cycles(products, active, macs, halves, queue_depth, stall):
    """Cycles of the outer dataflow from the first request to the last write.

    Parameters
    ----------
    products
        See `step_outer`.
    active : ndarray of shape (rows, K), uint8
        Activations that are broadcast.
    macs, halves, queue_depth : int
        See `azsim.machine.engines.mac.Geometry`.
    stall : ndarray of shape (period,), uint8
        Cycles, again and again, in which activation SRAM gives nothing.
    """
    inner, _, lanes = products.shape
    rows = active.shape[0]
    queue = np.zeros((lanes, queue_depth), np.int64)  # columns that the lane still has to scan
    held = np.zeros(lanes, np.int64)
    scan = np.zeros(lanes, np.int64)
    left = np.zeros(lanes, np.int64)
    fresh = np.ones(lanes, np.bool_)
    row = 0
    column = 0
    begins_row = True
    cycle = 0
    while True:
        all_room, all_idle = step_outer(products, macs, halves, queue, held, scan, left, fresh)
        if row == rows and all_idle:
            return cycle + OUTER_OFFSET
        is_ready = all_idle if begins_row else all_room
        if row < rows and is_ready and stall[cycle % len(stall)] == 0:
            while column < inner and active[row, column] == 0:
                column += 1
            if column < inner:
                for lane in range(lanes):
                    queue[lane, held[lane]] = column
                    held[lane] += 1
                column += 1
            while column < inner and active[row, column] == 0:
                column += 1
            begins_row = column == inner
            if begins_row:
                row += 1
                column = 0
        cycle += 1
