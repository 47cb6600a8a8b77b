"""The machine's clock: one compiled loop over flat arrays that times a whole trace.

Every instruction waits for its dispatch (the sequencer issues in program order, and an engine's
queue must have room), for its engine to be free, and for the completions that its wait fields
name.  All of these point backwards in program order, so the start of an instruction is known as
soon as those ends are; what is not a matter of program order is DRAM, which three channels
(weights, activation loads, stores) share burst by burst, round-robin.  The loop therefore
advances all that is determined, and then lets DRAM serve one burst; when a single channel is
active, nothing else can become active before its transfer ends, so its bursts run in one go.

One burst::

    requested = max(transfer's start, end of burst b - outstanding, consumption of burst b - fifo)
    ready     = requested + latency
    begin     = max(bus free, ready), moved out of a refresh, plus row_miss if it opens a row
    end       = begin + burst
    consumed  = max(end, consumed of burst b - 1) + its share of the decoder's cycles

An instruction ends when its last burst is consumed, rounded up to a cycle.

Times are integers in ticks; a cycle is `ticks` ticks, chosen so that a burst's transfer time is
exact (or within 2**-20 cycle where no small number does it).
"""

from __future__ import annotations

import numpy as np

from azsim.jit import kernel

__all__ = ["ENGINES", "run_clock"]

ENGINES = ("weight", "load", "store", "mac", "vector")
"""Engines by number; 5 marks a fence or halt in the arrays."""

_CHANNELS = 3
_FENCE = 5


@kernel
def _ready(
    channel, b, begin, ring_end, ring_consumed, mask, outstanding, fifo, latency_ticks, window
):
    """Tick at which a channel's next burst could be on the bus."""
    requested = begin
    if b >= outstanding:
        requested = max(requested, ring_end[channel * window + ((b - outstanding) & mask)])
    if b >= fifo:
        requested = max(requested, ring_consumed[channel * window + ((b - fifo) & mask)])
    return requested + latency_ticks


@kernel(
    "int64(int64[::1], int64[::1], int64[::1], int64[:, ::1], int64[::1], int64[::1], int64[::1],"
    " int64[::1], int64, int64, int64, int64, int64, int64, int64, int64, int64, int64, int64,"
    " int64, int64, int64[::1], int64[::1], int64[::1], int64[::1])"
)
def run_clock(
    engine,
    control_before,
    cycles,
    targets,
    first_burst,
    num_bursts,
    arrival,
    members,
    ticks,
    issue_cycles,
    queue_entries,
    burst_ticks,
    latency_ticks,
    outstanding,
    fifo,
    bursts_per_row,
    row_miss_ticks,
    refresh_interval_ticks,
    refresh_ticks,
    instructions,
    burst_window,
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
    cycles : int64, engine occupancy; for transfers the decoder's or port's cycles
    targets : (n, 5) int64, completions of each engine to wait for
    first_burst, num_bursts : int64, transfers only
    arrival : int64, tick before which the instruction cannot start
    members : int64 (n,), instruction numbers grouped by engine, each group in program order
    burst_window : power of two above outstanding and fifo
    dispatch, start, end : int64 (n,), written, in ticks
    counters : int64 (3,), written: row misses, refresh waits, bursts

    Returns
    -------
    int : tick at which the sequencer has issued everything
    """
    base = np.zeros(6, np.int64)
    totals = np.zeros(6, np.int64)
    for i in range(instructions):
        if engine[i] < _FENCE:
            totals[engine[i]] += 1
    for e in range(1, 6):
        base[e] = base[e - 1] + totals[e - 1]
    started = np.zeros(6, np.int64)
    issued = np.zeros(6, np.int64)
    free = np.zeros(6, np.int64)
    active = np.zeros(6, np.int64) - 1
    served = np.zeros(6, np.int64)
    consumed_last = np.zeros(6, np.int64)
    bus_free = 0
    open_row = -1
    turn = 0
    issue_ticks = issue_cycles * ticks
    now = 0
    issuing = 0
    known_ends = 0
    latest_end = 0
    ring_end = np.zeros(_CHANNELS * burst_window, np.int64)
    ring_consumed = np.zeros(_CHANNELS * burst_window, np.int64)
    mask = burst_window - 1
    completed = np.zeros(6, np.int64)
    while True:
        progress = True
        while progress:
            progress = False
            # The sequencer issues as long as queues have room.
            while issuing < instructions:
                e = engine[issuing]
                if e == _FENCE:
                    if known_ends < issuing:
                        break
                    now = max(now + issue_ticks * (1 + control_before[issuing]), latest_end)
                    dispatch[issuing] = now
                    start[issuing] = now
                    end[issuing] = now
                    issuing += 1
                    known_ends += 1
                    progress = True
                    continue
                at = now + issue_ticks * (1 + control_before[issuing])
                waiting = issued[e] - queue_entries
                if waiting >= 0:
                    if started[e] <= waiting:
                        break
                    at = max(at, start[members[base[e] + waiting]])
                now = at
                dispatch[issuing] = at
                issued[e] += 1
                issuing += 1
                progress = True
            # Engines begin what is determined.
            for e in range(_FENCE):
                while started[e] < issued[e] and active[e] < 0:
                    i = members[base[e] + started[e]]
                    at = max(dispatch[i], free[e])
                    blocked = False
                    for other in range(_FENCE):
                        need = targets[i, other]
                        if need == 0:
                            continue
                        if completed[other] < need:
                            blocked = True
                            break
                        at = max(at, end[members[base[other] + need - 1]])
                    if blocked:
                        break
                    at = max(at, arrival[i])
                    start[i] = at
                    started[e] += 1
                    progress = True
                    if e < _CHANNELS and num_bursts[i] > 0:
                        active[e] = i
                        served[e] = 0
                        consumed_last[e] = at
                    else:
                        end[i] = at + cycles[i] * ticks
                        free[e] = end[i]
                        completed[e] += 1
                        known_ends += 1
                        latest_end = max(latest_end, end[i])
        # DRAM serves.
        num_active = 0
        for e in range(_CHANNELS):
            if active[e] >= 0:
                num_active += 1
        if num_active == 0:
            break
        # Earliest ready burst of each channel; the bus takes, from `turn` on, the first channel
        # whose burst is ready when the bus can move.
        while True:
            earliest = -1
            for e in range(_CHANNELS):
                i = active[e]
                if i >= 0:
                    ready = _ready(
                        e,
                        served[e],
                        start[i],
                        ring_end,
                        ring_consumed,
                        mask,
                        outstanding,
                        fifo,
                        latency_ticks,
                        burst_window,
                    )
                    if earliest < 0 or ready < earliest:
                        earliest = ready
            at = max(bus_free, earliest)
            chosen = -1
            for offset in range(_CHANNELS):
                e = (turn + offset) % _CHANNELS
                i = active[e]
                if i >= 0:
                    ready = _ready(
                        e,
                        served[e],
                        start[i],
                        ring_end,
                        ring_consumed,
                        mask,
                        outstanding,
                        fifo,
                        latency_ticks,
                        burst_window,
                    )
                    if ready <= at:
                        chosen = e
                        break
            e = chosen
            i = active[e]
            b = served[e]
            turn = (e + 1) % _CHANNELS
            if refresh_interval_ticks > 0:
                since = at % refresh_interval_ticks
                if at >= refresh_interval_ticks and since < refresh_ticks:
                    at += refresh_ticks - since
                    counters[1] += 1
            row = (first_burst[i] + b) // bursts_per_row
            if row != open_row:
                open_row = row
                at += row_miss_ticks
                counters[0] += 1
            done = at + burst_ticks
            bus_free = done
            counters[2] += 1
            n = num_bursts[i]
            work = cycles[i] * ticks
            share = work * (b + 1) // n - work * b // n
            consumed = max(done, consumed_last[e]) + share
            consumed_last[e] = consumed
            ring_end[e * burst_window + (b & mask)] = done
            ring_consumed[e * burst_window + (b & mask)] = consumed
            served[e] = b + 1
            if b + 1 == n:
                end[i] = -(-consumed // ticks) * ticks
                free[e] = end[i]
                completed[e] += 1
                known_ends += 1
                latest_end = max(latest_end, end[i])
                active[e] = -1
                break
    return now
