"""The whole machine cycle by cycle: slow and obvious, what `clock` is held to.

One turn of the loop is one clock cycle.  At its edge, what was finished in the cycle before
completes, instructions whose waits are over start, and the sequencer's instruction enters a queue;
then every engine works for a cycle, and DRAM last.  Nothing is foreseen.  Only where the whole
machine waits for a frame to arrive does the loop jump to that cycle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.exact_array import Array, ArrayShape, Matrices, begin_matrix, step_array
from azsim.machine.engines.exact_dram import skip_memory, step_memory
from azsim.machine.engines.exact_lanes import Blocks, Lanes
from azsim.machine.engines.exact_sequencer import (
    COMPLETED,
    Instructions,
    Sequencer,
    head,
    issue,
    may_start,
    start_head,
    step_sequencer,
)
from azsim.machine.engines.exact_transfer import (
    Transfers,
    begin_transfer,
    land,
    step_decoding,
    step_dma,
)
from azsim.machine.engines.exact_vector import Passes, Vector, begin_passes, step_vector

__all__ = ["Memory", "Sizes", "State", "Times", "Work", "run_chip"]

_WEIGHT, _LOAD, _STORE, _MAC, _VECTOR = range(5)
_ENGINES = 5
_CHANNELS = 3
_NEVER = np.int64(2**62)


class Sizes(NamedTuple):
    """Sizes of the engines."""

    issue_cycles: int
    queue_entries: int
    outstanding: int
    fifo_bursts: int
    bus_bits: int
    burst_bits: int
    vector_lanes: int
    array: ArrayShape


class Work(NamedTuple):
    """What is to be done."""

    program: Instructions
    transfers: Transfers
    blocks: Blocks
    matrices: Matrices
    passes: Passes


class Memory(NamedTuple):
    """State of DRAM, see `azsim.machine.engines.exact_dram`."""

    state: np.ndarray
    counters: np.ndarray
    queues: np.ndarray
    dram: np.ndarray


class State(NamedTuple):
    """State of everything."""

    sequencer: Sequencer
    channels: np.ndarray
    decoder: Lanes
    array: Array
    vector: Vector
    memory: Memory
    active: np.ndarray
    """(5,) int64: instruction that each engine works on, -1 for none."""
    is_over: np.ndarray
    """(5,) bool: whether it was finished in the cycle before."""
    arrived: np.ndarray
    """(3,) int64: bursts of each channel that ended in the cycle before."""


class Times(NamedTuple):
    """What is found; (n,) int64 arrays, -1 where something never happens."""

    dispatch: np.ndarray
    start: np.ndarray
    end: np.ndarray
    work: np.ndarray
    """Cycles in which the decoder, the array or the vector engine worked on the instruction."""


@kernel
def _complete(work, state, times, cycle):
    """Let what was finished in the cycle before complete."""
    for e in range(_ENGINES):
        i = state.active[e]
        if i < 0:
            continue
        if e < _CHANNELS:
            over = land(state.channels, e, work.transfers, i, state.arrived[e])
        else:
            over = state.is_over[e]
        if over:
            times.end[i] = cycle
            state.active[e] = -1
            state.sequencer.counts[COMPLETED, e] += 1


@kernel
def _start(sizes, work, state, times, cycle):
    """Start what can start; returns the cycle in which the next frame arrives if one waits."""
    next_arrival = _NEVER
    for e in range(_ENGINES):
        i = head(state.sequencer, work.program, e)
        if i < 0 or state.active[e] >= 0 or not may_start(state.sequencer, work.program, i):
            continue
        if work.program.arrival[i] > cycle:
            next_arrival = min(next_arrival, work.program.arrival[i])
            continue
        start_head(state.sequencer, e)
        state.active[e] = i
        state.is_over[e] = False
        times.start[i] = cycle
        if e < _CHANNELS:
            begin_transfer(state.channels, e, work.transfers, i, state.decoder, work.blocks)
        elif e == _MAC:
            begin_matrix(state.array, sizes.array, work.matrices, i)
        else:
            begin_passes(state.vector, work.passes, i)
    return next_arrival


@kernel
def _issue(sizes, work, state, times, cycle):
    """Let an instruction leave the sequencer; tells whether one did."""
    has_left, i, is_fence = issue(
        state.sequencer, work.program, sizes.issue_cycles, sizes.queue_entries
    )
    if i >= 0:
        times.dispatch[i] = cycle
        if is_fence:
            times.start[i] = cycle
            times.end[i] = cycle
    return has_left


@kernel
def _step_engines(sizes, work, state, times):
    """Let every engine work for a cycle."""
    active, memory = state.active, state.memory
    for c in range(_CHANNELS):
        if active[c] >= 0:
            step_dma(
                state.channels, c, work.transfers, active[c], sizes.outstanding,
                sizes.fifo_bursts, memory.state, memory.counters, memory.queues, memory.dram,
            )  # fmt: skip
    if active[_WEIGHT] >= 0:
        times.work[active[_WEIGHT]] += step_decoding(
            state.channels, work.transfers, active[_WEIGHT], state.decoder, work.blocks,
            sizes.bus_bits, sizes.burst_bits,
        )  # fmt: skip
    if active[_MAC] >= 0:
        times.work[active[_MAC]] += 1
        state.is_over[_MAC] = step_array(state.array, sizes.array, work.matrices, active[_MAC])
    if active[_VECTOR] >= 0:
        times.work[active[_VECTOR]] += 1
        state.is_over[_VECTOR] = step_vector(
            state.vector, work.passes, active[_VECTOR], sizes.vector_lanes
        )
    step_memory(memory.state, memory.counters, memory.queues, memory.dram, state.arrived)


@kernel
def run_chip(sizes, work, state, times):
    """Step until every instruction has completed, or until nothing can ever happen again.

    Parameters
    ----------
    sizes : Sizes
    work : Work
    state : State
        At rest; changed.
    times : Times
        Written.

    Returns
    -------
    int
        Cycles that were stepped, those that were jumped over not counted.
    """
    cycle = 0
    stepped = 0
    while True:
        _complete(work, state, times, cycle)
        _start(sizes, work, state, times, cycle)
        has_left = _issue(sizes, work, state, times, cycle)
        next_arrival = _start(sizes, work, state, times, cycle)
        is_working = step_sequencer(state.sequencer, work.program)
        if not has_left and not is_working and (state.active < 0).all():
            if next_arrival == _NEVER:
                return stepped
            skip_memory(state.memory.state, state.memory.dram, next_arrival - cycle)
            cycle = next_arrival
            continue
        _step_engines(sizes, work, state, times)
        cycle += 1
        stepped += 1
