"""Exact timing: step a trace through the whole machine, cycle by cycle.

The same trace and the same description as for `azsim.sim.timing.replay`, and a result of the same
kind; what is worked out here again, and by other means, is every cycle.
"""

from __future__ import annotations

import numpy as np

from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.isa.program import Program
from azsim.machine.engines.bus import bus_parameters
from azsim.machine.engines.exact_array import new_array
from azsim.machine.engines.exact_chip import Memory, Sizes, State, Times, run_chip
from azsim.machine.engines.exact_dram import BURST_WAITS, ROW_MISSES, new_memory, new_queues
from azsim.machine.engines.exact_lanes import new_lanes
from azsim.machine.engines.exact_sequencer import new_sequencer
from azsim.machine.engines.exact_transfer import new_channels
from azsim.machine.engines.exact_vector import new_vector
from azsim.machine.trace import Trace
from azsim.sim.exact_work import all_work, array_shape, most_products
from azsim.sim.flatten import FlatTrace
from azsim.sim.timing import Timing, collect

__all__ = ["replay_exact"]


def replay_exact(trace: Trace, program: Program, hardware: Hardware) -> Timing:
    """Time a trace cycle by cycle; hundreds of times slower than `replay`.

    Parameters
    ----------
    trace : Trace
    program : Program
        For its stream: frame period and pacing.
    hardware : Hardware
        Any description whose structural keys are those that the program was compiled for.

    Returns
    -------
    Timing
        `work` of weight loads is no finding: the decoder's own cycles, as `replay` has them.

    Raises
    ------
    MachineError
        If the program cannot come to its end.
    """
    flat = FlatTrace(trace, hardware)
    ticks, bus = bus_parameters(hardware)
    burst, latency, outstanding, fifo, row_bursts, row_miss, every, refresh, banks = bus.tolist()
    times = [ticks, burst, latency, row_bursts, row_miss, every, refresh]
    dram = np.array([*times, 0, banks], np.int64)  # a refresh closes no row
    counters, queues = new_queues(outstanding + 1)
    shape = array_shape(hardware)
    work = all_work(flat, program, hardware)
    sizes = Sizes(
        hardware.sequencer.issue_cycles,
        hardware.sequencer.queue_entries,
        outstanding,
        fifo,
        8 * hardware.decoder.bus_bytes_per_cycle,
        8 * hardware.dram.burst_bytes,
        hardware.vector.lanes,
        shape,
    )
    memory = Memory(new_memory(dram), counters, queues, dram)
    state = State(
        new_sequencer(hardware.sequencer.issue_cycles),
        new_channels(),
        new_lanes(hardware.decoder.lanes),
        new_array(shape, *most_products(work.matrices, shape)),
        new_vector(hardware.vector.pipeline_cycles),
        memory,
        np.full(5, -1, np.int64),
        np.zeros(5, np.bool_),
        np.zeros(3, np.int64),
    )
    count = len(flat.engine)
    dispatch, start, end = (np.full(count, -1, np.int64) for _ in range(3))
    times = Times(dispatch, start, end, np.zeros(count, np.int64))
    run_chip(sizes, work, state, times)
    if count and times.end.min() < 0:
        stuck = trace.sites[flat.site[int(np.argmax(times.end < 0))]]
        raise MachineError(f"instruction {stuck.index} ({stuck.mnemonic}) can never run")
    counts = memory.state[[ROW_MISSES, BURST_WAITS]]
    return collect(
        flat, times.dispatch, times.start, times.end, work.program.arrival, times.work, counts
    )
