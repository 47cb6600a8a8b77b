"""Weights that have DRAM to themselves: the clock's rules for one channel, row by row.

While weights stream and neither activations nor stores do, nothing comes between the bursts of a
block.  These are nearly all bursts of a model that does not fit the chip, so that this module sets
the time of a replay.  A block is gone through by stretches: its bursts in one row of DRAM.

Most stretches are the bus's alone.  Where neither the outstanding window nor the FIFO holds a
request back, burst `b` of a stretch ends at ``x[b] = x[0] + b * burst``, and all that is left to
know is how late that makes the block::

    block_late = max(block_late, x[0] + max over b of (b * burst - end_slack[b]))
    left_late  = max(left_late,  x[0] + max over b of (b * burst - left_slack[b]))

These maxima are the block's own and are found once.  A refresh puts off the bursts behind it: if
the burst that makes a maximum is among these, it still does; and if the maximum, put off as well,
were no later than what is known, the refresh does not matter.

A request is never held back by a burst that is *harmless*: one that has left the FIFO, plus
latency, no later than the bus could be free for the burst that waits for it, however fast the bus
is.  For burst `b` that is ::

    consumed[b] + latency <= x[b] + (fifo - 1) * burst

and what bounds `consumed[b]` from above is ``seen + hold[b]``, ``left_late + left[b]`` and the
burst before, which was harmless too.  Maxima over a stretch turn all of that into one comparison.

Other stretches go burst by burst.  Tests compare all of this with the plain rules, burst by burst,
and those with a machine that steps tick by tick.
"""

from __future__ import annotations

import numpy as np

from azsim.arith.prefetch import prefetch_line
from azsim.jit import inner_kernel
from azsim.machine.engines.shared_dram import (
    BLOCK_LATE,
    BUS_FREE,
    CONSUMED,
    COUNT,
    END_SLACK,
    ENTRY,
    HOLD,
    LEFT,
    LEFT_LATE,
    LEFT_SLACK,
    NEXT_REFRESH,
    PLACE,
    REFRESH_WAITS,
    SERVED,
    START,
    TURN,
    WEIGHT,
    opened,
    refreshed,
    rounded,
)

__all__ = ["NUM_FIGURES", "foresee_weights", "serve_weights"]

# Of a block's stretch: what makes the block's end and its leaving bursts late, how much later than
# the bus all that left before it may be, and the stretch's last bursts that make them as late.
_MAKES_END_LATE, _MAKES_LEFT_LATE, _BEHIND, _LAST_FOR_END, _LAST_FOR_LEFT = range(5)
NUM_FIGURES = 5
_LONG_AGO = np.int64(-(2**60))
_TOO_MUCH = np.int64(2**61)


@inner_kernel
def _figures(blocks, entry, count, in_row, dram, out):
    """Figures of all stretches of a block whose first burst is number `in_row` of its row."""
    burst, ticks = dram.burst, dram.ticks
    spare = (dram.fifo - 1) * burst - dram.latency - (ticks - 1)
    first, number = 0, entry
    while first < count:
        stop = min(count, first + dram.row_bursts - in_row)
        in_row = 0
        end_late = left_late = order = _LONG_AGO
        inner = _LONG_AGO  # how far a burst is behind the bus for bursts of this stretch before it
        at = last_for_end = last_for_left = 0
        for b in range(first, stop):
            left = blocks[entry + b, LEFT] * ticks
            if b + 1 < count:  # nothing waits for the last one
                order = max(order, left - at)
                inner = max(inner, max(left_late + left - at, blocks[entry + b, HOLD] * ticks))
            late = at - blocks[entry + b, END_SLACK] * ticks
            if late >= end_late:
                end_late, last_for_end = late, b - first
            late = at - blocks[entry + b, LEFT_SLACK] * ticks
            if late >= left_late:
                left_late, last_for_left = late, b - first
            at += burst
        out[number, _MAKES_END_LATE] = end_late
        out[number, _MAKES_LEFT_LATE] = left_late
        out[number, _LAST_FOR_END], out[number, _LAST_FOR_LEFT] = last_for_end, last_for_left
        out[number, _BEHIND] = order - spare if inner <= spare else _TOO_MUCH
        first, number = stop, number + 1


@inner_kernel
def _is_harmless(consumed, b, free, dram):
    """Whether no burst before `b` holds one from `b` on back."""
    mask = len(consumed) - 1
    for before in range(max(0, b - dram.fifo), b):
        ready = consumed[before & mask] + dram.latency
        if ready > free + (before + dram.fifo - b) * dram.burst:
            return False
    return True


@inner_kernel
def _forget(served, ends, consumed):
    """Let the rings tell of no burst but those that were served."""
    for before in range(served, len(consumed)):
        ends[WEIGHT, before] = _LONG_AGO
        consumed[before] = _LONG_AGO


@inner_kernel
def _requested(b, start, ends, consumed, dram):
    """Tick at which burst `b` is requested."""
    mask = len(consumed) - 1
    ended, left = ends[WEIGHT, (b - dram.outstanding) & mask], consumed[(b - dram.fifo) & mask]
    return max(start, max(ended, left))


@inner_kernel
def _with_refresh(figures, stretch, last, free, due, block_late, left_late, dram, shared):
    """Go through a stretch that a refresh interrupts; its first burst has ended at `free`.

    Parameters
    ----------
    last : int
        When the last burst would end without a refresh, which is due before that burst begins.

    Returns
    -------
    bool
        Whether the figures tell enough; nothing has changed if not.
    int, int, int, int
        As `_by_the_bus`.
    """
    before = max(0, -(-(due - free) // dram.burst))  # bursts that go before it, besides the first
    waits = shared[REFRESH_WAITS]
    busy_until = free + before * dram.burst
    resumes, next_due = refreshed(busy_until, due, busy_until, dram, shared)
    added = resumes - busy_until
    end_late, left = free + figures[stretch, _MAKES_END_LATE], figures[stretch, _MAKES_LEFT_LATE]
    left += free
    is_known = next_due > last + added - dram.burst
    if figures[stretch, _LAST_FOR_END] > before:
        end_late += added
    else:
        is_known &= end_late + added <= block_late
    if figures[stretch, _LAST_FOR_LEFT] > before:
        left += added
    else:
        is_known &= left + added <= left_late
    if not is_known:
        shared[REFRESH_WAITS] = waits
        return False, free, due, block_late, left_late
    return True, last + added, next_due, max(block_late, end_late), max(left_late, left)


@inner_kernel
def _by_the_bus(blocks, first, stop, free, due, block_late, left_late, dram, shared):
    """Go through entries from `first` on, which has ended when the bus is free; none is held back.

    Returns
    -------
    int, int, int, int
        Bus free, refresh due, how late the block's end and its leaving bursts are; in ticks.
    """
    ticks = dram.ticks
    for entry in range(first, stop):
        if entry > first:
            if due <= free and dram.refresh_every > 0:
                free, due = refreshed(free, due, free, dram, shared)
            free += dram.burst
        block_late = max(block_late, free - blocks[entry, END_SLACK] * ticks)
        left_late = max(left_late, free - blocks[entry, LEFT_SLACK] * ticks)
    return free, due, block_late, left_late


@inner_kernel
def _burst_by_burst(
    blocks, b, stop, free, due, left, block_late, left_late, ends, consumed, dram, channels, shared
):
    """Go through bursts from `b` on, which has ended when the bus is free, whatever holds them.

    Returns
    -------
    int, int, int, int, int
        As `_by_the_bus`, and when the last burst left.
    """
    ticks, fifo = dram.ticks, dram.fifo
    entry, last = channels[ENTRY, WEIGHT] + b, channels[ENTRY, WEIGHT] + channels[COUNT, WEIGHT] - 1
    # What leaves the FIFO has ended before, so that a window that is no shorter never holds back.
    window_counts = dram.outstanding < fifo
    # Ticks from the end of a burst to the next whole cycle, kept without a division; requests are
    # made in whole cycles.
    rest, burst_rest, ready_rest = -free % ticks, dram.burst % ticks, -dram.latency % ticks
    end_slack = blocks[entry, END_SLACK] * ticks
    mask = np.uint64(len(consumed) - 1)
    while True:
        seen = free + rest
        by_order = left_late + blocks[entry, LEFT] * ticks
        block_late = max(block_late, seen - end_slack)
        left_late = max(left_late, seen - blocks[entry, LEFT_SLACK] * ticks)
        end_slack = blocks[min(entry + 1, last), END_SLACK] * ticks
        leaves = max(seen + blocks[entry, HOLD] * ticks, min(by_order, block_late + end_slack))
        left = max(left, leaves)
        ends[WEIGHT, np.uint64(b) & mask] = seen
        consumed[np.uint64(b) & mask] = left
        b, entry = b + 1, entry + 1
        if b == stop:
            return free, due, block_late, left_late, left
        ready = consumed[np.uint64(b - fifo) & mask]
        if window_counts:
            ready = max(ready, ends[WEIGHT, np.uint64(b - dram.outstanding) & mask])
        ready += dram.latency
        if due <= max(free, ready) and dram.refresh_every > 0:
            free, due = refreshed(free, due, ready, dram, shared)
            free = max(free, ready)
            rest = -free % ticks
        elif ready > free:
            free, rest = ready, ready_rest
        free += dram.burst
        rest -= burst_rest
        rest += ticks if rest < 0 else 0


@inner_kernel
def foresee_weights(blocks, block, count, figures, laid_out):
    """Let the host fetch what `serve_weights` will want first of the next block."""
    prefetch_line(laid_out.ctypes.data + block * laid_out.itemsize, 1)
    prefetch_line(figures.ctypes.data + block * NUM_FIGURES * figures.itemsize, 1)
    last = (block + count - 1) * blocks.shape[1]
    prefetch_line(blocks.ctypes.data + last * blocks.itemsize, 1)


@inner_kernel
def serve_weights(blocks, ends, consumed, dram, channels, shared, figures, laid_out):
    """Serve what is left of the weight channel's block.

    Parameters
    ----------
    blocks, ends, consumed, dram, channels, shared
        See `azsim.machine.engines.shared_dram.serve_turns`.
    figures : (entries, NUM_FIGURES) int64, written
        Figures of blocks' stretches, one after the other from the block's entry on.
    laid_out : (entries,) int32, written
        Where in a row the block began, for which its figures are; -1 for none.
    """
    free, due, place = shared[BUS_FREE], shared[NEXT_REFRESH], channels[PLACE, WEIGHT]
    block, count, served = (
        channels[ENTRY, WEIGHT],
        channels[COUNT, WEIGHT],
        channels[SERVED, WEIGHT],
    )
    start, left = channels[START, WEIGHT], channels[CONSUMED, WEIGHT]
    block_late, left_late = channels[BLOCK_LATE, WEIGHT], channels[LEFT_LATE, WEIGHT]
    row, in_row = place // dram.row_bursts, place % dram.row_bursts
    began = (place - served) % dram.row_bursts
    if laid_out[block] != began:
        laid_out[block] = began
        _figures(blocks, block, count, began, dram, figures)
    # A burst that the window waits for has ended when the bus is free.
    is_wide = (dram.outstanding - 1) * dram.burst >= dram.latency + dram.ticks - 1
    harmless = served == 0  # all bursts before this one; the rings are not kept then
    if harmless:
        block_late = left_late = _LONG_AGO
    else:
        _forget(served, ends, consumed)
    b, stretch = served, block + (began + served) // dram.row_bursts
    while b < count:
        stop = min(count, b + dram.row_bursts - in_row)
        if is_wide and not harmless:
            harmless = _is_harmless(consumed, b, free, dram)
        ready = dram.latency + (start if harmless else _requested(b, start, ends, consumed, dram))
        if due <= max(free, ready) and dram.refresh_every > 0:
            free, due = refreshed(free, due, ready, dram, shared)
        free = max(free, ready) + opened(row, dram, shared) + dram.burst
        before = min(b, in_row) * dram.burst  # what of the stretch was served, on the bus
        if harmless and is_wide and left_late + figures[stretch, _BEHIND] <= free - before:
            last = free + (stop - b - 1) * dram.burst
            is_whole, is_known = before == 0, False
            is_quiet = due > last - dram.burst or dram.refresh_every == 0 or b + 1 == stop
            if is_whole and is_quiet:
                is_known = True
                block_late = max(block_late, free + figures[stretch, _MAKES_END_LATE])
                left_late = max(left_late, free + figures[stretch, _MAKES_LEFT_LATE])
                free = last
            elif is_whole:
                is_known, free, due, block_late, left_late = _with_refresh(
                    figures, stretch, last, free, due, block_late, left_late, dram, shared
                )
            if not is_known:
                free, due, block_late, left_late = _by_the_bus(
                    blocks, block + b, block + stop, free, due, block_late, left_late, dram, shared
                )
        else:
            if harmless:
                harmless, left = False, _LONG_AGO
                _forget(0, ends, consumed)
            block_late, left_late = rounded(block_late, dram.ticks), rounded(left_late, dram.ticks)
            free, due, block_late, left_late, left = _burst_by_burst(
                blocks, b, stop, free, due, left, block_late, left_late, ends, consumed, dram,
                channels, shared,
            )  # fmt: skip
        b, stretch, row, in_row = stop, stretch + 1, row + 1, 0
    shared[BUS_FREE], shared[NEXT_REFRESH], shared[TURN] = free, due, WEIGHT + 1
    late = rounded(block_late, dram.ticks) + blocks[block + count - 1, LEFT] * dram.ticks
    channels[CONSUMED, WEIGHT] = max(rounded(free, dram.ticks), late)
