"""The machine's clock: one compiled loop over flat arrays that times a whole trace.

Every instruction waits for its dispatch (the sequencer issues in program order, an engine's queue
must have room, and a paced load is issued when its frame has arrived), for its engine to be free,
and for the completions that its wait fields name.  All of these point backwards in program order,
so the start of an instruction is known as soon as those ends are; what is not a matter of program
order is DRAM, which three channels (weights, activation loads, stores) share burst by burst, round-
robin. The loop therefore advances all that is determined, and then lets DRAM serve one burst; when
a single channel is active, nothing else can become active before its transfer ends, so its bursts
run in one go.

One burst::

    requested = max(transfer's start, end of burst b - outstanding, consumption of burst b - fifo)
    ready     = requested + latency
    begin     = max(bus free, ready), plus row_miss if its row is not open in its bank
    end       = begin + burst, which the core sees in the next whole cycle
    consumed  = end, or for weights what the decoder makes of it

The FIFO lies before the decoder lanes, so that it holds back weights only.  What late bursts do to
a block follows from four numbers for each burst (`azsim.machine.engines.decoder`)::

    block_late = max(block_late, end - end_slack[b])
    left_late  = max(left_late, end - left_slack[b])
    consumed   = max(consumed of burst b - 1, end + hold[b],
                     min(left_late before b + left[b], block_late + end_slack[b + 1]))

and the block ends at ``block_late + left[last]``.

Of several channels that are ready when the bus is free the one whose turn it is goes first.

Row `r` of DRAM lies in bank `r mod banks`, and each bank keeps the row open that it opened last.
The bus waits while a row is opened, whatever bank it lies in.

A transfer's bursts follow one another in DRAM, unless it has pieces: stretches of its own, one for
each row of a strided or gathered matrix.

A refresh is due each interval.  It takes the bus for its whole time, from when it is due or the
burst under way has ended; no burst goes before a refresh that is due.

An instruction ends when its last burst is consumed.  Only the bus works between two cycles.

Times are integers in ticks; a cycle is `ticks` ticks, chosen so that a burst's transfer time is
exact (or within 2**-20 cycle where no small number does it).
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.lone_weights import refreshed, serve_weights

__all__ = ["ENGINES", "run_clock"]

ENGINES = ("weight", "load", "store", "mac", "vector")
"""Engines by number; in the arrays 5 marks a fence or halt, 6 a control instruction that waits."""

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
def _refresh(ready, dram, shared):
    """Make the refreshes that go before a burst that is ready; tells whether it waits."""
    every, takes = dram[_REFRESH_EVERY], dram[_REFRESH]
    if every == 0:
        return False
    free, due, waits = refreshed(shared[_BUS_FREE], shared[_NEXT_REFRESH], ready, every, takes)
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
def _serve_lone_weights(
    blocks, block_at, num_bursts, ticks, start, end, ring_end, ring_consumed, dram, own, shared,
    counters,
):  # fmt: skip
    """Serve what is left of the weight channel's block, which has DRAM to itself, and end it."""
    i = own[_ACTIVE, _WEIGHT]
    late = own[_CONSUMED : _LEFT_LATE + 1, _WEIGHT]
    left, free, due = serve_weights(
        blocks, block_at[i], own[_SERVED, _WEIGHT], num_bursts[i], start[i], own[_PLACE, _WEIGHT],
        ticks, shared[_BUS_FREE], shared[_NEXT_REFRESH], late, shared[_OPEN_ROWS:],
        ring_end[_WEIGHT], ring_consumed[_WEIGHT], dram, counters,
    )  # fmt: skip
    shared[_TURN] = _WEIGHT + 1
    shared[_BUS_FREE], shared[_NEXT_REFRESH] = free, due
    own[_ACTIVE, _WEIGHT] = -1
    _finish(_WEIGHT, i, left, end, own, shared)


@kernel
def _serve(
    blocks, block_at, num_bursts, pieces, ticks, start, end, ring_end, ring_consumed, dram,
    own, shared, counters,
):  # fmt: skip
    """Serve bursts until a transfer has ended; False if no transfer is under way."""
    others = own[_ACTIVE, 1] >= 0 or own[_ACTIVE, 2] >= 0
    if own[_ACTIVE, _WEIGHT] >= 0 and not others:
        _serve_lone_weights(
            blocks, block_at, num_bursts, ticks, start, end, ring_end, ring_consumed, dram, own,
            shared, counters,
        )  # fmt: skip
        return True
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
    """Time every instruction; see the module for the rules.

    Parameters (arrays run over engine instructions, fences and the halt, in program order)
    ----------
    engine : int64, 0 to 4 as `ENGINES`, 5 for fence and halt
    control_before : int64, control instructions issued just before this one
    cycles : int64, engine occupancy; transfers have none
    blocks : (entries, 4) int64, left, end slack, left slack and hold of all blocks' bursts
    block_at : int64, weight loads only: where their block's entries begin
    targets : (n, 5) int64, completions of each engine to wait for
    first_burst, num_bursts : int64, transfers only
    pieces : (entries, 2) int64, first burst of a piece of a transfer, and bursts of the transfer up
        to its end
    piece_at : int64, where a transfer's pieces begin, -1 if its bursts follow one another
    arrival : int64, tick before which the sequencer does not issue the instruction
    members : int64, instruction numbers grouped by engine, each group in program order
    ticks : per cycle
    issue_cycles, queue_entries : of the sequencer
    dram : int64 (9,): burst, latency (ticks), outstanding bursts, FIFO bursts, bursts a row,
        row miss, refresh interval (0: none), refresh time, which is less (ticks), banks
    dispatch, start, end : int64, written, in ticks; -1 where an instruction can never run
    counters : int64 (3,), written: row misses, refresh waits, bursts

    Returns
    -------
    int : tick at which the sequencer has issued everything
    """
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
