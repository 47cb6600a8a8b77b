"""The clock, burst by burst: what `azsim.machine.engines.clock` has to give.

Every burst is chosen and served alone, whoever has DRAM; see there for the rules.
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["run_clock"]

_WEIGHT = 0
_CHANNELS = 3
_FENCE = 5
_SCALAR_WAIT = 6

# Rows of the state that each engine has, and entries of the state that all share.
_BASE, _ISSUED, _STARTED, _COMPLETED, _FREE, _ACTIVE, _SERVED, _CONSUMED = range(8)
_BLOCK_LATE, _LEFT_LATE = 8, 9  # of the weight engine's block
_PLACE, _PIECE = 10, 11  # burst in DRAM that comes next, and its piece
_FIRST, _UP_TO = range(2)
_LEFT, _END_SLACK, _LEFT_SLACK, _HOLD = range(4)
# The last entry is the first bank's open row; those of the other banks follow.
_NOW, _NEXT, _KNOWN_ENDS, _LATEST_END, _BUS_FREE, _TURN, _NEXT_REFRESH, _OPEN_ROWS = range(8)
# Entries of the DRAM description.
_BURST, _LATENCY, _OUTSTANDING, _FIFO, _ROW_BURSTS, _ROW_MISS, _REFRESH_EVERY, _REFRESH = range(8)
_BANKS = 8


@kernel
def _finish(e, i, at, end, own, shared):
    """Record that instruction i of engine e has ended."""
    end[i] = at
    own[_FREE, e] = at
    own[_COMPLETED, e] += 1
    shared[_KNOWN_ENDS] += 1
    shared[_LATEST_END] = max(shared[_LATEST_END], at)


@kernel
def _waited(i, at, targets, members, end, own):
    """Tick from `at` on at which an instruction's waits are over; -1 while one has no end yet."""
    for other in range(_FENCE):
        need = targets[i, other]
        if need > 0:
            if own[_COMPLETED, other] < need:
                return -1
            at = max(at, end[members[own[_BASE, other] + need - 1]])
    return at


@kernel
def _issue(
    engine, control_before, targets, arrival, members, issue_ticks, queue_entries, dispatch, start,
    end, own, shared,
):  # fmt: skip
    """Let the sequencer issue for as long as queues have room; tells whether it did."""
    progress = False
    while shared[_NEXT] < len(engine):
        i = shared[_NEXT]
        e = engine[i]
        at = shared[_NOW] + issue_ticks * (1 + control_before[i])
        if e == _FENCE:
            if shared[_KNOWN_ENDS] < i:
                break
            at = max(at, shared[_LATEST_END])
            start[i] = at
            end[i] = at
            shared[_KNOWN_ENDS] += 1
        elif e == _SCALAR_WAIT:
            waited = _waited(i, at, targets, members, end, own)
            if waited < 0:
                break
            at = waited
            start[i] = at
            end[i] = at
            shared[_KNOWN_ENDS] += 1
        else:
            waiting = own[_ISSUED, e] - queue_entries
            if waiting >= 0:
                if own[_STARTED, e] <= waiting:
                    break
                at = max(at, start[members[own[_BASE, e] + waiting]])
            at = max(at, arrival[i])
            own[_ISSUED, e] += 1
        dispatch[i] = at
        shared[_NOW] = at
        shared[_NEXT] = i + 1
        progress = True
    return progress


@kernel
def _begin(
    cycles, targets, first_burst, num_bursts, piece_at, members, ticks, dispatch, start,
    end, own, shared,
):  # fmt: skip
    """Begin every instruction whose start is determined; tells whether there was one."""
    progress = False
    for e in range(_FENCE):
        while own[_STARTED, e] < own[_ISSUED, e] and own[_ACTIVE, e] < 0:
            i = members[own[_BASE, e] + own[_STARTED, e]]
            at = _waited(i, max(dispatch[i], own[_FREE, e]), targets, members, end, own)
            if at < 0:
                break
            start[i] = at
            own[_STARTED, e] += 1
            progress = True
            if e < _CHANNELS and num_bursts[i] > 0:
                own[_ACTIVE, e] = i
                own[_SERVED, e] = 0
                own[_CONSUMED, e] = at
                own[_PLACE, e] = first_burst[i]
                own[_PIECE, e] = piece_at[i]
            else:
                _finish(e, i, at + cycles[i] * ticks, end, own, shared)
    return progress


@kernel
def _ready(e, start, ring_end, ring_consumed, dram, own):
    """Tick at which a channel's next burst could be on the bus."""
    window = ring_end.shape[1]
    b = own[_SERVED, e]
    requested = start[own[_ACTIVE, e]]
    if b >= dram[_OUTSTANDING]:
        requested = max(requested, ring_end[e, (b - dram[_OUTSTANDING]) % window])
    if e == _WEIGHT and b >= dram[_FIFO]:
        requested = max(requested, ring_consumed[e, (b - dram[_FIFO]) % window])
    return requested + dram[_LATENCY]


@kernel
def _refreshed(free, due, ready, every, takes):
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
def _refresh(ready, dram, shared):
    """Make the refreshes that go before a burst that is ready; tells whether it waits."""
    every, takes = dram[_REFRESH_EVERY], dram[_REFRESH]
    if every == 0:
        return False
    free, due, waits = _refreshed(shared[_BUS_FREE], shared[_NEXT_REFRESH], ready, every, takes)
    shared[_BUS_FREE], shared[_NEXT_REFRESH] = free, due
    return waits


@kernel
def _choose(start, ring_end, ring_consumed, dram, own, shared):
    """Channel that the bus serves next, the tick, and whether it waited for a refresh."""
    earliest = -1
    for e in range(_CHANNELS):
        if own[_ACTIVE, e] >= 0:
            ready = _ready(e, start, ring_end, ring_consumed, dram, own)
            if earliest < 0 or ready < earliest:
                earliest = ready
    if earliest < 0:
        return -1, 0, False
    waits = _refresh(earliest, dram, shared)
    at = max(shared[_BUS_FREE], earliest)
    for offset in range(_CHANNELS):
        e = (shared[_TURN] + offset) % _CHANNELS
        if own[_ACTIVE, e] >= 0 and _ready(e, start, ring_end, ring_consumed, dram, own) <= at:
            return e, at, waits
    return -1, at, waits


@kernel
def _leave(blocks, entry, seen, is_first, is_last, ticks, own):
    """Tick at which a block's burst has left the FIFO; for its last one, the block's end."""
    block_late = seen - blocks[entry, _END_SLACK] * ticks
    left_late = seen - blocks[entry, _LEFT_SLACK] * ticks
    leaves = seen + blocks[entry, _HOLD] * ticks
    if not is_first:
        block_late = max(block_late, own[_BLOCK_LATE, _WEIGHT])
        before = own[_LEFT_LATE, _WEIGHT]
        left_late = max(left_late, before)
        if not is_last:
            by_order = before + blocks[entry, _LEFT] * ticks
            leaves = max(leaves, min(by_order, block_late + blocks[entry + 1, _END_SLACK] * ticks))
    own[_BLOCK_LATE, _WEIGHT] = block_late
    own[_LEFT_LATE, _WEIGHT] = left_late
    if is_last:
        return max(seen, block_late + blocks[entry, _LEFT] * ticks)
    return max(leaves, own[_CONSUMED, _WEIGHT])


@kernel
def _go_on(e, done, is_last, pieces, own):
    """Move a channel on to its next burst, after `done` bursts of its transfer."""
    own[_SERVED, e] = done
    own[_PLACE, e] += 1
    piece = own[_PIECE, e]
    if piece >= 0 and not is_last and done == pieces[piece, _UP_TO]:
        own[_PIECE, e] = piece + 1
        own[_PLACE, e] = pieces[piece + 1, _FIRST]


@kernel
def _serve(
    blocks, block_at, num_bursts, pieces, ticks, start, end, ring_end, ring_consumed, dram,
    own, shared, counters,
):  # fmt: skip
    """Serve bursts until a transfer has ended; False if no transfer is under way."""
    while True:
        e, at, waits = _choose(start, ring_end, ring_consumed, dram, own, shared)
        if e < 0:
            return False
        i, b = own[_ACTIVE, e], own[_SERVED, e]
        shared[_TURN] = (e + 1) % _CHANNELS
        counters[1] += waits
        row = own[_PLACE, e] // dram[_ROW_BURSTS]
        bank = _OPEN_ROWS + row % dram[_BANKS]
        if row != shared[bank]:
            shared[bank] = row
            at += dram[_ROW_MISS]
            counters[0] += 1
        done = at + dram[_BURST]
        shared[_BUS_FREE] = done
        counters[2] += 1
        seen = -(-done // ticks) * ticks
        consumed = seen
        is_last = b + 1 == num_bursts[i]
        if e == _WEIGHT:
            consumed = _leave(blocks, block_at[i] + b, seen, b == 0, is_last, ticks, own)
        own[_CONSUMED, e] = consumed
        ring_end[e, b % ring_end.shape[1]] = seen
        ring_consumed[e, b % ring_end.shape[1]] = consumed
        _go_on(e, b + 1, is_last, pieces, own)
        if is_last:
            own[_ACTIVE, e] = -1
            _finish(e, i, consumed, end, own, shared)
            return True


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[:, ::1],"
    " int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int64, int64,"
    " int64, int64[::1], int64[::1], int64[::1], int64[::1], int64[::1])"
)
def run_clock(
    engine,
    control_before,
    cycles,
    blocks,
    block_at,
    targets,
    first_burst,
    num_bursts,
    pieces,
    piece_at,
    arrival,
    members,
    ticks,
    issue_cycles,
    queue_entries,
    dram,
    dispatch,
    start,
    end,
    counters,
):
    """As `azsim.machine.engines.clock.run_clock`."""
    own = np.zeros((12, 6), np.int64)
    own[_ACTIVE, :] = -1
    for i in range(len(engine)):
        for e in range(engine[i] + 1, 6):
            own[_BASE, e] += 1
    shared = np.zeros(_OPEN_ROWS + dram[_BANKS], np.int64)
    shared[_OPEN_ROWS:] = -1
    shared[_NEXT_REFRESH] = dram[_REFRESH_EVERY]
    window = 1
    while window <= max(dram[_OUTSTANDING], dram[_FIFO]):
        window *= 2
    ring_end = np.zeros((_CHANNELS, window), np.int64)
    ring_consumed = np.zeros((_CHANNELS, window), np.int64)
    issue_ticks = issue_cycles * ticks
    under_way = True
    while under_way:
        progress = True
        while progress:
            issued = _issue(
                engine, control_before, targets, arrival, members, issue_ticks, queue_entries,
                dispatch, start, end, own, shared,
            )  # fmt: skip
            begun = _begin(
                cycles, targets, first_burst, num_bursts, piece_at, members, ticks,
                dispatch, start, end, own, shared,
            )  # fmt: skip
            progress = issued or begun
        under_way = _serve(
            blocks, block_at, num_bursts, pieces, ticks, start, end, ring_end, ring_consumed,
            dram, own, shared, counters,
        )  # fmt: skip
    return shared[_NOW]
