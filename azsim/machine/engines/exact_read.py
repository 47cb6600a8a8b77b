"""The MAC array that decodes as it reads, cycle by cycle: what `mac.read_costs` is held to.

One turn of the loop is one clock cycle.  Each lane has a queue of broadcast columns, and a counter
of the entries that it still has to take for the column at the head.  Within a cycle every lane
takes one entry (or looks at a column in which it has none), and then the broadcaster hands over
the next non-zero activation if each lane has room; a place counts as free in the cycle in which
its column leaves.  What was handed over in cycle t can be worked on from cycle t + 1.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["READ_OFFSET", "read_cycles", "step_read"]

READ_OFFSET = 3
"""Cycles from a job's first request to its last write, beyond those of its rows; as for the outer
dataflow of dense tiles, whose accumulators these are."""


@kernel
def step_read(entries, entry_cycles, held, queue, left, queue_depth):
    """Let the lanes work for one cycle.

    Parameters
    ----------
    entries : ndarray of shape (lanes, K), int64
        Entries of each lane and column of the block, padding included.
    entry_cycles : int
        Cycles that one entry takes: 1, or 2 with activations of 16 bits and one multiplier.
    held : ndarray of shape (lanes,), int64
        Changed: columns in the queue.
    queue : ndarray of shape (lanes, queue_depth), int64
        Changed: the columns, the one at work first.
    left : ndarray of shape (lanes,), int64
        Changed: cycles that the column at work still takes; 0 if it has not been begun.
    queue_depth : int

    Returns
    -------
    all_room, all_idle : bool
    """
    all_room = True
    all_idle = True
    for lane in range(len(held)):
        if held[lane] > 0:
            if left[lane] == 0:
                left[lane] = max(1, entries[lane, queue[lane, 0]] * entry_cycles)
            left[lane] -= 1
            if left[lane] == 0:
                held[lane] -= 1
                for place in range(held[lane]):
                    queue[lane, place] = queue[lane, place + 1]
        all_room &= held[lane] < queue_depth
        all_idle &= held[lane] == 0
    return all_room, all_idle


@kernel
def read_cycles(entries, active, entry_cycles, queue_depth, stall):
    """Cycles of a product from the first request to the last write.

    Parameters
    ----------
    entries, entry_cycles, queue_depth
        See `step_read`.
    active : ndarray of shape (rows, K), uint8
        Activations that are broadcast; a row without any takes the broadcaster one cycle.
    stall : ndarray of shape (period,), uint8
        Cycles, again and again, in which activation SRAM gives nothing.
    """
    lanes, inner = entries.shape
    rows = active.shape[0]
    held = np.zeros(lanes, np.int64)
    queue = np.zeros((lanes, queue_depth), np.int64)
    left = np.zeros(lanes, np.int64)
    row = 0
    column = 0
    begins_row = True
    cycle = 0
    while True:
        all_room, all_idle = step_read(entries, entry_cycles, held, queue, left, queue_depth)
        if row == rows and all_idle:
            return cycle + READ_OFFSET
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
