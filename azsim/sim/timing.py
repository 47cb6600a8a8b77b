"""Timing: replay a trace under a hardware description.

Nothing is executed again: shapes, addresses, tiles and zero masks of the trace give each
instruction its cycles, and `azsim.machine.engines.clock` lets the engines run against each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from azsim.collector import no_collection
from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.isa.program import Program
from azsim.machine.engines.bus import bus_parameters
from azsim.machine.engines.clock import ENGINES, run_clock
from azsim.machine.trace import Trace
from azsim.sim.flatten import FlatTrace
from azsim.sim.sums import idle_times, times_without

__all__ = ["Products", "Timing", "collect", "replay"]


@dataclass(frozen=True)
class Products:
    """Work of each executed matrix product (zero for other instructions).

    Attributes
    ----------
    macs, executed, nonzero : ndarray of int64
        Products of the dense shapes, carried out by the array, with two non-zero factors.
    ideal_cycles : ndarray of float64
        Non-zero products over the array's peak at the instruction's precision.
    """

    macs: np.ndarray
    executed: np.ndarray
    nonzero: np.ndarray
    ideal_cycles: np.ndarray


@dataclass(frozen=True)
class Timing:
    """When everything happened; arrays run over engine instructions in program order.

    Attributes
    ----------
    site : ndarray of int32
        Index into the trace's sites.
    engine : ndarray of int64
        Index into `azsim.machine.engines.clock.ENGINES`; 5 for fence and halt, 6 for a control
        instruction that waits.
    dispatch, start, end : ndarray of int64
        Cycles of wall-clock time, waiting for input included.
    arrival : ndarray of int64
        Cycle at which the frame has arrived, for paced loads; 0 for others.
    work : ndarray of int64
        Cycles of the engine proper: those of the decoder for weight loads, its input always ready
        (0 with `decoder.at: read`, which has none), occupancy for MAC and vector.
    bursts : ndarray of int64
        DRAM bursts of transfers.
    useful_bytes : ndarray of int64
        Bytes that transfers asked for.
    products : Products
    idle_from, idle_to : ndarray of int64
        Stretches in which everything waited for input.
    issued_instructions : int
        All executed instructions, control included.
    row_misses, refresh_waits : int
    end_cycles : int
        When the last instruction had retired, in wall-clock cycles.
    """

    site: np.ndarray
    engine: np.ndarray
    dispatch: np.ndarray
    start: np.ndarray
    end: np.ndarray
    arrival: np.ndarray
    work: np.ndarray
    bursts: np.ndarray
    useful_bytes: np.ndarray
    products: Products
    idle_from: np.ndarray
    idle_to: np.ndarray
    issued_instructions: int
    row_misses: int
    refresh_waits: int
    end_cycles: int

    @property
    def cycles(self) -> int:
        """The whole run, waiting for input not counted."""
        return self.end_cycles - int((self.idle_to - self.idle_from).sum())

    def without_idle(self, times: np.ndarray) -> np.ndarray:
        """Convert wall-clock cycles to cycles that do not count waiting for input."""
        if not len(self.idle_from):
            return times
        return times_without(np.ascontiguousarray(times), self.idle_from, self.idle_to)


def collect(
    flat: FlatTrace,
    dispatch: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    arrival: np.ndarray,
    work: np.ndarray,
    counters: np.ndarray,
) -> Timing:
    """Put together what a model of the machine has found; times in whole cycles.

    Parameters
    ----------
    flat : FlatTrace
    dispatch, start, end, arrival, work : ndarray of int64
        See `Timing`; `work` of weight loads is taken from `flat`.
    counters : ndarray of shape (>= 2,), int64
        Row misses, refresh waits.
    """
    idle_from, idle_to = idle_times(start, end, arrival)
    has_decoder = flat.hardware.decoder.at != "read"
    if work is not flat.cycles or not has_decoder:
        is_load = flat.engine == ENGINES.index("weight")
        work = np.where(is_load, flat.cycles * has_decoder, work)
    return Timing(
        site=flat.site,
        engine=flat.engine,
        dispatch=dispatch,
        start=start,
        end=end,
        arrival=arrival,
        work=work,
        bursts=flat.num_bursts,
        useful_bytes=flat.useful_bytes,
        products=Products(flat.macs, flat.executed, flat.nonzero, flat.ideal),
        idle_from=idle_from,
        idle_to=idle_to,
        issued_instructions=len(flat.trace.sequence),
        row_misses=int(counters[0]),
        refresh_waits=int(counters[1]),
        end_cycles=int(end.max(initial=0)),
    )


@no_collection()
def replay(trace: Trace, program: Program, hardware: Hardware) -> Timing:
    """Time a trace.

    Parameters
    ----------
    trace : Trace
    program : Program
        For its stream: frame period and pacing.
    hardware : Hardware
        Any description whose structural keys are those that the program was compiled for.

    Raises
    ------
    MachineError
        If the program cannot come to its end.
    """
    flat = FlatTrace(trace, hardware)
    ticks, bus = bus_parameters(hardware)
    arrival = flat.arrivals(program)
    count = len(flat.engine)
    dispatch, start, end = (np.full(count, -1, np.int64) for _ in range(3))
    counters = np.zeros(3, np.int64)
    run_clock(
        flat.engine,
        flat.control_before,
        flat.cycles,
        flat.blocks,
        flat.block_at,
        flat.targets(),
        flat.first_burst,
        flat.num_bursts,
        flat.pieces,
        flat.piece_at,
        arrival * ticks,
        flat.members,
        ticks,
        hardware.sequencer.issue_cycles,
        hardware.sequencer.queue_entries,
        bus,
        dispatch,
        start,
        end,
        counters,
    )
    if count and end.min() < 0:
        stuck = trace.sites[flat.site[int(np.argmax(end < 0))]]
        raise MachineError(f"instruction {stuck.index} ({stuck.mnemonic}) can never run")
    # Starts and dispatches may fall between two cycles, after a DRAM burst; ends never do.
    for times in (dispatch, start, end):
        times //= ticks
    return collect(flat, dispatch, start, end, arrival, flat.cycles, counters)
