"""DRAM that several channels share: its bursts one by one, and whose turn it is.

The rules are those of `azsim.machine.engines.clock`.  What goes with a channel is a column of one
array, what goes with DRAM another array; `Dram` does not change.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import inner_kernel

__all__ = ["CHANNELS", "Dram", "opened", "refreshed", "rounded", "serve_turns"]

CHANNELS, WEIGHT = 3, 0
# Rows of what goes with each channel: the transfer under way (-1: none), its bursts, the entry of
# its block, when it began, the bursts that were served, and when the last one was consumed.
TRANSFER, COUNT, ENTRY, START, SERVED, CONSUMED = range(6)
BLOCK_LATE, LEFT_LATE = 6, 7  # of the weight channel's block
PLACE, PIECE = 8, 9  # burst in DRAM that comes next, and its piece
_READY, _ROW, _REST_OF_ROW = 10, 11, 12  # of the next burst, while bursts are served
NUM_OF_CHANNEL = 13
# What goes with DRAM; the last entry is the first bank's open row, those of other banks follow.
BUS_FREE, TURN, NEXT_REFRESH, ROW_MISSES, REFRESH_WAITS, OPEN_ROWS = range(6)
# Columns of blocks and of pieces.
LEFT, END_SLACK, LEFT_SLACK, HOLD = range(4)
_FIRST, _UP_TO = range(2)
_NEVER = np.int64(2**62)


class Dram(NamedTuple):
    """DRAM as the clock sees it; times in ticks."""

    burst: int
    latency: int
    outstanding: int
    """Bursts of a channel that are requested and have not ended."""
    fifo: int
    """Bursts before the decoder."""
    row_bursts: int
    row_miss: int
    refresh_every: int
    """0: there is no refresh."""
    refresh: int
    banks: int
    ticks: int
    """Of a cycle."""


@inner_kernel
def rounded(at, ticks):
    """The whole cycle, in ticks, in which the core sees what happens at a tick."""
    return at if ticks == 1 else -(-at // ticks) * ticks


@inner_kernel
def refreshed(free, due, ready, dram, shared):
    """Make the refreshes that go before a burst that is ready.

    Returns
    -------
    int, int
        Ticks from which the bus is free, and at which the next refresh is due.
    """
    every, takes = dram.refresh_every, dram.refresh
    before = max(free, ready)
    if every == 0 or due > before:
        return free, due
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
    shared[REFRESH_WAITS] += max(free, ready) > before
    return free, due


@inner_kernel
def opened(row, dram, shared):
    """Open a row, if it is not open; ticks that this takes."""
    bank = OPEN_ROWS + row % dram.banks
    if shared[bank] == row:
        return 0
    shared[bank] = row
    shared[ROW_MISSES] += 1
    return dram.row_miss


@inner_kernel
def _look_ahead(e, ring_end, ring_consumed, dram, channels):
    """Find when a channel's next burst is ready."""
    mask = ring_end.shape[1] - 1
    b, requested = channels[SERVED, e], channels[START, e]
    if b >= dram.outstanding:
        requested = max(requested, ring_end[e, (b - dram.outstanding) & mask])
    if e == WEIGHT and b >= dram.fifo:
        requested = max(requested, ring_consumed[(b - dram.fifo) & mask])
    channels[_READY, e] = requested + dram.latency


@inner_kernel
def _enter_row(e, dram, channels):
    """Find the row of a channel's next burst, and the bursts to the row's end."""
    place = channels[PLACE, e]
    row = place // dram.row_bursts
    channels[_ROW, e] = row
    channels[_REST_OF_ROW, e] = (row + 1) * dram.row_bursts - place


@inner_kernel
def _begin_turns(ring_end, ring_consumed, dram, channels):
    """Look ahead for all channels; tells whether a transfer is under way."""
    under_way = False
    for e in range(CHANNELS):
        channels[_READY, e] = _NEVER
        if channels[TRANSFER, e] >= 0:
            under_way = True
            _look_ahead(e, ring_end, ring_consumed, dram, channels)
            _enter_row(e, dram, channels)
    return under_way


@inner_kernel
def _leave(blocks, seen, is_last, dram, channels):
    """Tick at which a block's burst has left the FIFO; for its last one, the block's end."""
    ticks = dram.ticks
    is_first = channels[SERVED, WEIGHT] == 0
    entry = channels[ENTRY, WEIGHT] + channels[SERVED, WEIGHT]
    block_late = seen - blocks[entry, END_SLACK] * ticks
    left_late = seen - blocks[entry, LEFT_SLACK] * ticks
    leaves = seen + blocks[entry, HOLD] * ticks
    if not is_first:
        block_late = max(block_late, channels[BLOCK_LATE, WEIGHT])
        before = channels[LEFT_LATE, WEIGHT]
        left_late = max(left_late, before)
        if not is_last:
            by_order = before + blocks[entry, LEFT] * ticks
            leaves = max(leaves, min(by_order, block_late + blocks[entry + 1, END_SLACK] * ticks))
    channels[BLOCK_LATE, WEIGHT] = block_late
    channels[LEFT_LATE, WEIGHT] = left_late
    if is_last:
        return max(seen, block_late + blocks[entry, LEFT] * ticks)
    return max(leaves, channels[CONSUMED, WEIGHT])


@inner_kernel
def _go_on(e, pieces, dram, channels):
    """Move a channel on to its next burst."""
    done = channels[SERVED, e] + 1
    channels[SERVED, e] = done
    channels[PLACE, e] += 1
    channels[_REST_OF_ROW, e] -= 1
    piece = channels[PIECE, e]
    if piece >= 0 and done == pieces[piece, _UP_TO]:
        channels[PIECE, e] = piece + 1
        channels[PLACE, e] = pieces[piece + 1, _FIRST]
        _enter_row(e, dram, channels)
    elif channels[_REST_OF_ROW, e] == 0:
        _enter_row(e, dram, channels)


@inner_kernel
def serve_turns(blocks, pieces, ring_end, ring_consumed, dram, channels, shared):
    """Serve bursts until a transfer has ended.

    Parameters
    ----------
    blocks, pieces
        See `azsim.machine.engines.clock.run_clock`.
    ring_end : (3, window) int64, written
        When the last bursts of each channel ended, by their number modulo the window, which is a
        power of two.
    ring_consumed : (window,) int64, written
        When the weights' last bursts left the FIFO.
    dram : Dram
    channels : (NUM_OF_CHANNEL, 3) int64, written
    shared : (OPEN_ROWS + banks,) int64, written

    Returns
    -------
    int
        The channel; its transfer's end is what `channels` holds as consumed.  -1 if no transfer is
        under way.
    """
    if not _begin_turns(ring_end, ring_consumed, dram, channels):
        return -1
    mask = ring_end.shape[1] - 1
    free, due, turn = shared[BUS_FREE], shared[NEXT_REFRESH], shared[TURN]
    while True:
        ready = min(channels[_READY, 0], min(channels[_READY, 1], channels[_READY, 2]))
        free, due = refreshed(free, due, ready, dram, shared)
        at = max(free, ready)
        e = turn
        while channels[_READY, e] > at:
            e = e + 1 if e + 1 < CHANNELS else 0
        turn = e + 1 if e + 1 < CHANNELS else 0
        free = at + opened(channels[_ROW, e], dram, shared) + dram.burst
        seen = rounded(free, dram.ticks)
        b = channels[SERVED, e]
        is_last = b + 1 == channels[COUNT, e]
        consumed = seen
        if e == WEIGHT:
            consumed = _leave(blocks, seen, is_last, dram, channels)
            ring_consumed[b & mask] = consumed
        channels[CONSUMED, e] = consumed
        ring_end[e, b & mask] = seen
        if is_last:
            break
        _go_on(e, pieces, dram, channels)
        _look_ahead(e, ring_end, ring_consumed, dram, channels)
    shared[BUS_FREE], shared[NEXT_REFRESH], shared[TURN] = free, due, turn
    return e
