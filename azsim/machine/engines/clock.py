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

from azsim.jit import inner_kernel, kernel
from azsim.machine.engines.lone_weights import NUM_FIGURES, foresee_weights, serve_weights
from azsim.machine.engines.shared_dram import (
    CHANNELS,
    CONSUMED,
    COUNT,
    ENTRY,
    NEXT_REFRESH,
    NUM_OF_CHANNEL,
    OPEN_ROWS,
    PIECE,
    PLACE,
    REFRESH_WAITS,
    ROW_MISSES,
    SERVED,
    START,
    TRANSFER,
    WEIGHT,
    Dram,
    serve_turns,
)

__all__ = ["ENGINES", "run_clock"]

ENGINES = ("weight", "load", "store", "mac", "vector")
"""Engines by number; in the arrays 5 marks a fence or halt, 6 a control instruction that waits."""

_FENCE = 5
_SCALAR_WAIT = 6

# Rows of the state that each engine has: where its members begin, how many were issued, have begun
# and have ended, and when the last one ended.
_BASE, _ISSUED, _BEGUN, _ENDED, _FREE = range(5)
# Of the sequencer: last issue, next instruction, how many ends are known, and the latest of them.
_NOW, _NEXT, _KNOWN_ENDS, _LATEST_END = range(4)


@inner_kernel
def _finish(e, i, at, end, engines, sequencer):
    """Record that instruction i of engine e has ended."""
    end[i] = at
    engines[_FREE, e] = at
    engines[_ENDED, e] += 1
    sequencer[_KNOWN_ENDS] += 1
    sequencer[_LATEST_END] = max(sequencer[_LATEST_END], at)


@inner_kernel
def _waited(i, at, targets, members, end, engines):
    """Tick from `at` on at which an instruction's waits are over; -1 while one has no end yet."""
    for other in range(_FENCE):
        need = targets[i, other]
        if need > 0:
            if engines[_ENDED, other] < need:
                return -1
            at = max(at, end[members[engines[_BASE, other] + need - 1]])
    return at


@inner_kernel
def _issue(
    engine, control_before, targets, arrival, members, issue_ticks, queue_entries, dispatch, start,
    end, engines, sequencer,
):  # fmt: skip
    """Let the sequencer issue for as long as queues have room."""
    while sequencer[_NEXT] < len(engine):
        i = sequencer[_NEXT]
        e = engine[i]
        at = sequencer[_NOW] + issue_ticks * (1 + control_before[i])
        if e == _FENCE:
            if sequencer[_KNOWN_ENDS] < i:
                return
            at = max(at, sequencer[_LATEST_END])
        elif e == _SCALAR_WAIT:
            at = _waited(i, at, targets, members, end, engines)
            if at < 0:
                return
        else:
            waiting = engines[_ISSUED, e] - queue_entries
            if waiting >= 0:
                if engines[_BEGUN, e] <= waiting:
                    return
                at = max(at, start[members[engines[_BASE, e] + waiting]])
            at = max(at, arrival[i])
            engines[_ISSUED, e] += 1
        if e >= _FENCE:
            start[i] = at
            end[i] = at
            sequencer[_KNOWN_ENDS] += 1
        dispatch[i] = at
        sequencer[_NOW] = at
        sequencer[_NEXT] = i + 1


@inner_kernel
def _begin(
    cycles, targets, block_at, first_burst, num_bursts, piece_at, members, ticks, dispatch, start,
    end, engines, sequencer, channels,
):  # fmt: skip
    """Begin every instruction whose start is determined; tells whether there was one."""
    progress = False
    for e in range(_FENCE):
        while engines[_BEGUN, e] < engines[_ISSUED, e]:
            if e < CHANNELS and channels[TRANSFER, e] >= 0:
                break
            i = members[engines[_BASE, e] + engines[_BEGUN, e]]
            at = max(dispatch[i], engines[_FREE, e])
            at = _waited(i, at, targets, members, end, engines)
            if at < 0:
                break
            start[i] = at
            engines[_BEGUN, e] += 1
            progress = True
            if e < CHANNELS and num_bursts[i] > 0:
                channels[TRANSFER, e] = i
                channels[COUNT, e] = num_bursts[i]
                channels[ENTRY, e] = block_at[i]
                channels[START, e] = at
                channels[SERVED, e] = 0
                channels[CONSUMED, e] = at
                channels[PLACE, e] = first_burst[i]
                channels[PIECE, e] = piece_at[i]
            else:
                _finish(e, i, at + cycles[i] * ticks, end, engines, sequencer)
    return progress


@inner_kernel
def _serve(
    blocks, pieces, ring_end, ring_consumed, memory, figures, laid_out, channels, shared
):  # fmt: skip
    """Serve bursts until a transfer has ended: its channel, -1 if no transfer is under way."""
    if channels[TRANSFER, WEIGHT] >= 0 and channels[TRANSFER, 1] < 0 and channels[TRANSFER, 2] < 0:
        serve_weights(blocks, ring_end, ring_consumed, memory, channels, shared, figures, laid_out)
        return WEIGHT
    return serve_turns(blocks, pieces, ring_end, ring_consumed, memory, channels, shared)


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
    memory = Dram(
        dram[0], dram[1], dram[2], dram[3], dram[4], dram[5], dram[6], dram[7], dram[8], ticks
    )
    engines, sequencer = np.zeros((5, len(ENGINES) + 2), np.int64), np.zeros(4, np.int64)
    for i in range(len(engine)):
        for e in range(engine[i] + 1, len(ENGINES)):
            engines[_BASE, e] += 1
    channels = np.zeros((NUM_OF_CHANNEL, CHANNELS), np.int64)
    channels[TRANSFER] = -1
    shared = np.zeros(OPEN_ROWS + memory.banks, np.int64)
    shared[OPEN_ROWS:] = -1
    shared[NEXT_REFRESH] = memory.refresh_every
    window = 1
    while window <= max(memory.outstanding, memory.fifo):
        window *= 2
    ring_end, ring_consumed = np.zeros((CHANNELS, window), np.int64), np.zeros(window, np.int64)
    figures = np.empty((len(blocks), NUM_FIGURES), np.int64)
    laid_out = np.full(len(blocks), np.int32(-1), np.int32)
    issue_ticks = issue_cycles * ticks
    while True:
        progress = True
        while progress:  # what has begun makes room in queues
            _issue(
                engine, control_before, targets, arrival, members, issue_ticks, queue_entries,
                dispatch, start, end, engines, sequencer,
            )  # fmt: skip
            progress = _begin(
                cycles, targets, block_at, first_burst, num_bursts, piece_at, members, ticks,
                dispatch, start, end, engines, sequencer, channels,
            )  # fmt: skip
        following = engines[_BEGUN, WEIGHT]
        if following < engines[_BASE, 1]:
            i = members[following]
            foresee_weights(blocks, block_at[i], num_bursts[i], figures, laid_out)
        e = _serve(
            blocks, pieces, ring_end, ring_consumed, memory, figures, laid_out, channels, shared
        )  # fmt: skip
        if e < 0:
            break
        i = channels[TRANSFER, e]
        channels[TRANSFER, e] = -1
        counters[2] += num_bursts[i]
        _finish(e, i, channels[CONSUMED, e], end, engines, sequencer)
    counters[0], counters[1] = shared[ROW_MISSES], shared[REFRESH_WAITS]
    return sequencer[_NOW]
