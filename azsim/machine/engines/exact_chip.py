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
    Instructions,
    Sequencer,
    awaited_arrival,
    complete,
    issue,
    next_to_start,
    start,
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
    """(5,) bool: whether it was finished in the cycle before; for array and vector engine."""
    arrived: np.ndarray
    """(3,) int64: bursts of each channel that ended in the cycle before."""


class Times(NamedTuple):
    """What is found; (n,) int64 arrays, -1 where something never happens."""

    dispatch: np.ndarray
    start: np.ndarray
    end: np.ndarray
    work: np.ndarray
    """Cycles in which the decoder, the array or the vector engine worked on the instruction."""


# The functions below take no more than they need: a kernel pays for every array it is given.


@kernel
def _complete(sequencer, channels, transfers, active, is_over, arrived, end, cycle):
    """Let what was finished in the cycle before complete."""
    for e in range(_ENGINES):
        i = active[e]
        if i < 0:
            continue
        over = is_over[e]
        if e < _CHANNELS:
            over = land(channels, e, transfers, i, arrived[e])
        if over:
            end[i] = cycle
            active[e] = -1
            complete(sequencer, e)


@kernel
def _begin(sizes, work, state, e, i):
    """Give an engine an instruction."""
    state.active[e] = i
    state.is_over[e] = False
    if e < _CHANNELS:
        begin_transfer(state.channels, e, work.transfers, i, state.decoder, work.blocks)
    elif e == _MAC:
        begin_matrix(state.array, sizes.array, work.matrices, i)
    else:
        begin_passes(state.vector, work.passes, i)


@kernel
def _start(sizes, work, state, starts, cycle):
    """Start what can start."""
    for e in range(_ENGINES):
        if state.active[e] >= 0:
            continue
        i = next_to_start(state.sequencer, work.program, e)
        if i < 0:
            continue
        start(state.sequencer, e)
        starts[i] = cycle
        _begin(sizes, work, state, e, i)


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
    sequencer, channels, decoder, array, vector, memory, active, is_over, arrived = state
    program, transfers, blocks, matrices, passes = work
    cycle = 0
    stepped = 0
    while True:
        # The edge.  What enters an empty queue may start at once.
        _complete(sequencer, channels, transfers, active, is_over, arrived, times.end, cycle)
        _start(sizes, work, state, times.start, cycle)
        next_arrival = awaited_arrival(sequencer, program, cycle)
        has_left, i, is_done = False, -1, False
        if next_arrival < 0:
            has_left, i, is_done = issue(
                sequencer, program, sizes.issue_cycles, sizes.queue_entries
            )
        if i >= 0:
            times.dispatch[i] = cycle
        if is_done:
            times.start[i] = cycle
            times.end[i] = cycle
        if has_left:
            _start(sizes, work, state, times.start, cycle)
        # The cycle.
        is_working = step_sequencer(sequencer, program) or has_left
        if not is_working and active.max() < 0:
            if next_arrival < 0:
                return stepped
            skip_memory(memory.state, memory.dram, next_arrival - cycle)
            cycle = next_arrival
            continue
        for c in range(_CHANNELS):
            if active[c] >= 0:
                step_dma(
                    channels, c, transfers, active[c], sizes.outstanding, sizes.fifo_bursts,
                    memory.state, memory.counters, memory.queues, memory.dram,
                )  # fmt: skip
        if active[_WEIGHT] >= 0:
            times.work[active[_WEIGHT]] += step_decoding(
                channels, transfers, active[_WEIGHT], decoder, blocks, sizes.bus_bits,
                sizes.burst_bits,
            )  # fmt: skip
        if active[_MAC] >= 0:
            times.work[active[_MAC]] += 1
            is_over[_MAC] = step_array(array, sizes.array, matrices, active[_MAC])
        if active[_VECTOR] >= 0:
            times.work[active[_VECTOR]] += 1
            is_over[_VECTOR] = step_vector(vector, passes, active[_VECTOR], sizes.vector_lanes)
        step_memory(memory.state, memory.counters, memory.queues, memory.dram, arrived)
        cycle += 1
        stepped += 1
