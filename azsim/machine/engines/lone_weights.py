"""Weights that have DRAM to themselves: the clock's rules for one channel, without the choice.

While weights stream and neither activations nor stores do, nothing comes between the bursts of a
block.  These are nearly all bursts of a model that does not fit the chip, so that this loop sets
the time of a replay.  The rules are those of `azsim.machine.engines.clock`, with the state in
local variables; tests compare both with a machine that steps tick by tick.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["refreshed", "serve_weights"]

_LEFT, _END_SLACK, _LEFT_SLACK, _HOLD = range(4)
# Entries of the DRAM description.
_BURST, _LATENCY, _OUTSTANDING, _FIFO, _ROW_BURSTS, _ROW_MISS, _REFRESH_EVERY, _REFRESH = range(8)
_BANKS = 8
_LONG_AGO = np.int64(-(2**60))


@kernel
def refreshed(free, due, ready, every, takes):
    """Make the refreshes that go before a burst that is ready; `every` is not 0.

    Returns
    -------
    int, int, bool
        Ticks from which the bus is free, and at which the next refresh is due; whether the burst
        waits.
    """
    before = max(free, ready)
    if due > before:
        return free, due, False
    # First those that a burst has held up, one after another; each gains `every - takes`.
    late = free - due
    if late >= 0:
        number = late // (every - takes) + 1
        free += number * takes
        due += number * every
    # Then those of a pause, each over before the next is due.
    if due <= ready:
        due += (ready - due) // every * every
        free = due + takes
        due += every
    return free, due, max(free, ready) > before


@kernel
def serve_weights(
    blocks, entry, served, count, start, place, ticks, free, due, late, open_rows, ends, consumed,
    dram, counters,
):  # fmt: skip
    """Serve what is left of a block.

    Parameters
    ----------
    blocks : (entries, 4) int64
    entry : of the block's first burst
    served, count : bursts of the block that were served, and all of them
    start : tick at which the transfer began
    place : burst in DRAM that comes next
    ticks : per cycle
    free, due : ticks from which the bus is free, and at which a refresh is due
    late : int64 (3,)
        When the last burst left; how late the block's end and its leaving bursts are.
    open_rows : (banks,) int64, written
    ends, consumed : (window,) int64
        Of the last bursts, by their number modulo the window, which is a power of two; written.
    dram, counters : see `run_clock`

    Returns
    -------
    int, int, int
        Ticks at which the block has ended, the bus is free and a refresh is due.
    """
    burst, latency = dram[_BURST], dram[_LATENCY]
    outstanding, fifo = dram[_OUTSTANDING], dram[_FIFO]
    row_bursts, every, takes = dram[_ROW_BURSTS], dram[_REFRESH_EVERY], dram[_REFRESH]
    mask = len(ends) - 1
    left, block_late, left_late = late[0], late[1], late[2]
    if served == 0:
        block_late = left_late = _LONG_AGO
    row = place // row_bursts
    in_row = place - row * row_bursts
    looks = True  # at whether the row is open
    b = served
    while b < count:
        ready = start
        if b >= outstanding:
            ready = max(ready, ends[(b - outstanding) & mask])
        if b >= fifo:
            ready = max(ready, consumed[(b - fifo) & mask])
        ready += latency
        if every > 0 and due <= max(free, ready):
            free, due, waits = refreshed(free, due, ready, every, takes)
            counters[1] += waits
        at = max(free, ready)
        if looks:
            looks = False
            bank = row % dram[_BANKS]
            if open_rows[bank] != row:
                open_rows[bank] = row
                at += dram[_ROW_MISS]
                counters[0] += 1
        in_row += 1
        if in_row == row_bursts:
            row, in_row, looks = row + 1, 0, True
        free = at + burst
        seen = free if ticks == 1 else -(-free // ticks) * ticks
        at_entry = entry + b
        by_order = left_late + blocks[at_entry, _LEFT] * ticks
        block_late = max(block_late, seen - blocks[at_entry, _END_SLACK] * ticks)
        left_late = max(left_late, seen - blocks[at_entry, _LEFT_SLACK] * ticks)
        if b + 1 == count:
            left = max(seen, block_late + blocks[at_entry, _LEFT] * ticks)
        else:
            leaves = seen + blocks[at_entry, _HOLD] * ticks
            if b > 0:
                by_end = block_late + blocks[at_entry + 1, _END_SLACK] * ticks
                leaves = max(leaves, min(by_order, by_end))
            left = max(left, leaves)
        ends[b & mask] = seen
        consumed[b & mask] = left
        b += 1
    counters[2] += count - served
    return left, free, due
