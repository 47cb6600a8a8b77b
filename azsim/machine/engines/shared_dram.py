"""DRAM that several channels share: its bursts one by one, and whose turn it is.

The rules are those of `azsim.machine.engines.clock`.  What goes with a channel is a column of one
array, what goes with DRAM another array; `Dram` does not change.  While bursts are served, each
channel's next burst is a tuple, which the compiler keeps in registers.
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
NUM_OF_CHANNEL = 10
# What goes with DRAM; the last entry is the first bank's open row, those of other banks follow.
BUS_FREE, TURN, NEXT_REFRESH, ROW_MISSES, REFRESH_WAITS, OPEN_ROWS = range(6)
# Columns of blocks and of pieces.
LEFT, END_SLACK, LEFT_SLACK, HOLD = range(4)
_FIRST, _UP_TO = range(2)
_NEVER = 2**62


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


class _Next(NamedTuple):
    """A channel's next burst."""

    ready: int
    """Tick; never, where no transfer is under way."""
    number: int
    """Among the transfer's bursts."""
    bursts: int
    """Of the transfer."""
    row: int
    bank: np.uint64
    """Where the row's bank has its entry among what goes with DRAM."""
    rest_of_row: int
    """Bursts from this one to the row's end."""
    piece: int
    up_to: int
    """Bursts of the transfer up to the end of the piece, or of the transfer."""


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
    return _opened(row, _bank(row, dram), dram, shared)


@inner_kernel
def _opened(row, bank, dram, shared):
    if shared[bank] == row:
        return 0
    shared[bank] = row
    shared[ROW_MISSES] += 1
    return dram.row_miss


@inner_kernel
def _bank(row, dram):
    return np.uint64(OPEN_ROWS + row % dram.banks)


@inner_kernel
def _ready(e, number, ring_end, ring_consumed, dram):
    """Tick at which a channel's burst is ready; rings hold the transfer's start at first."""
    mask = np.uint64(ring_end.shape[1] - 1)
    requested = ring_end[e, np.uint64(number - dram.outstanding) & mask]
    if e == WEIGHT:
        requested = max(requested, ring_consumed[np.uint64(number - dram.fifo) & mask])
    return requested + dram.latency


@inner_kernel
def _next_of(e, pieces, ring_end, ring_consumed, dram, channels):
    """Find a channel's next burst."""
    if channels[TRANSFER, e] < 0:
        return _Next(_NEVER, 0, 0, 0, np.uint64(OPEN_ROWS), 0, -1, 0)
    number, count, place = channels[SERVED, e], channels[COUNT, e], channels[PLACE, e]
    if number == 0:
        ring_end[e] = channels[START, e]
        if e == WEIGHT:
            ring_consumed[:] = channels[START, e]
    row, piece = place // dram.row_bursts, channels[PIECE, e]
    return _Next(
        _ready(e, number, ring_end, ring_consumed, dram),
        number,
        count,
        row,
        _bank(row, dram),
        (row + 1) * dram.row_bursts - place,
        piece,
        pieces[piece, _UP_TO] if piece >= 0 else count,
    )


@inner_kernel
def _after(e, it, pieces, ring_end, ring_consumed, dram):
    """Find the burst after one that was served and is not the transfer's last."""
    number, row, bank, rest = it.number + 1, it.row, it.bank, it.rest_of_row - 1
    piece, up_to = it.piece, it.up_to
    if number == up_to:
        piece += 1
        place, up_to = pieces[piece, _FIRST], pieces[piece, _UP_TO]
        row = place // dram.row_bursts
        bank, rest = _bank(row, dram), (row + 1) * dram.row_bursts - place
    elif rest == 0:
        row += 1
        bank, rest = _bank(row, dram), dram.row_bursts
    ready = _ready(e, number, ring_end, ring_consumed, dram)
    return _Next(ready, number, it.bursts, row, bank, rest, piece, up_to)


@inner_kernel
def _leave(blocks, it, seen, dram, channels):
    """Tick at which a block's burst has left the FIFO; for its last one, the block's end."""
    ticks = dram.ticks
    entry = np.uint64(channels[ENTRY, WEIGHT] + it.number)
    block_late = seen - blocks[entry, END_SLACK] * ticks
    left_late = seen - blocks[entry, LEFT_SLACK] * ticks
    leaves = seen + blocks[entry, HOLD] * ticks
    is_last = it.number + 1 == it.bursts
    if it.number > 0:
        block_late = max(block_late, channels[BLOCK_LATE, WEIGHT])
        before = channels[LEFT_LATE, WEIGHT]
        left_late = max(left_late, before)
        if not is_last:
            by_order = before + blocks[entry, LEFT] * ticks
            following = blocks[entry + np.uint64(1), END_SLACK] * ticks
            leaves = max(leaves, min(by_order, block_late + following))
    channels[BLOCK_LATE, WEIGHT] = block_late
    channels[LEFT_LATE, WEIGHT] = left_late
    if is_last:
        return max(seen, block_late + blocks[entry, LEFT] * ticks)
    return max(leaves, channels[CONSUMED, WEIGHT])


@inner_kernel
def _whose_turn(turn, weight, load, store, at):
    """The first channel, from the one whose turn it is, that is ready; one of them is."""
    if turn == 0:
        return 0 if weight.ready <= at else 1 if load.ready <= at else 2
    if turn == 1:
        return 1 if load.ready <= at else 2 if store.ready <= at else 0
    return 2 if store.ready <= at else 0 if weight.ready <= at else 1


@inner_kernel
def _keep(e, it, dram, channels):
    """Keep a channel's next burst for another time."""
    channels[SERVED, e], channels[PIECE, e] = it.number, it.piece
    channels[PLACE, e] = (it.row + 1) * dram.row_bursts - it.rest_of_row


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
    weight = _next_of(0, pieces, ring_end, ring_consumed, dram, channels)
    load = _next_of(1, pieces, ring_end, ring_consumed, dram, channels)
    store = _next_of(2, pieces, ring_end, ring_consumed, dram, channels)
    if min(weight.ready, min(load.ready, store.ready)) == _NEVER:
        return -1
    mask = np.uint64(ring_end.shape[1] - 1)
    free, due, turn = shared[BUS_FREE], shared[NEXT_REFRESH], shared[TURN]
    while True:
        ready = min(weight.ready, min(load.ready, store.ready))
        at = max(free, ready)
        if due <= at and dram.refresh_every > 0:
            free, due = refreshed(free, due, ready, dram, shared)
            at = max(free, ready)
        e = _whose_turn(turn, weight, load, store, at)
        # Loads and stores are written out: where they share a kernel, their tuples leave the
        # registers, and the clock of a run with much traffic takes 1.7 times as long.
        if e == 0:
            turn = 1
            free = at + _opened(weight.row, weight.bank, dram, shared) + dram.burst
            seen = rounded(free, dram.ticks)
            consumed = _leave(blocks, weight, seen, dram, channels)
            channels[CONSUMED, 0] = consumed
            if weight.number + 1 == weight.bursts:
                break
            place = np.uint64(weight.number) & mask
            ring_end[0, place], ring_consumed[place] = seen, consumed
            weight = _after(0, weight, pieces, ring_end, ring_consumed, dram)
        elif e == 1:
            turn = 2
            free = at + _opened(load.row, load.bank, dram, shared) + dram.burst
            seen = rounded(free, dram.ticks)
            if load.number + 1 == load.bursts:
                channels[CONSUMED, 1] = seen
                break
            ring_end[1, np.uint64(load.number) & mask] = seen
            load = _after(1, load, pieces, ring_end, ring_consumed, dram)
        else:
            turn = 0
            free = at + _opened(store.row, store.bank, dram, shared) + dram.burst
            seen = rounded(free, dram.ticks)
            if store.number + 1 == store.bursts:
                channels[CONSUMED, 2] = seen
                break
            ring_end[2, np.uint64(store.number) & mask] = seen
            store = _after(2, store, pieces, ring_end, ring_consumed, dram)
    _keep(0, weight, dram, channels)
    _keep(1, load, dram, channels)
    _keep(2, store, dram, channels)
    shared[BUS_FREE], shared[NEXT_REFRESH], shared[TURN] = free, due, turn
    return e
