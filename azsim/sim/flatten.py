"""A trace as flat arrays: what both timing models start from.

Shapes, addresses, tiles and zero masks give each instruction the DRAM bursts and products that it
stands for, and the cycles that its engine takes when nothing holds it up.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from azsim.hardware.description import Hardware
from azsim.isa.program import Program
from azsim.machine.engines.clock import ENGINES
from azsim.machine.instructions import instructions
from azsim.machine.trace import Trace
from azsim.sim.outline import kept, outline_of
from azsim.sim.products import product_work
from azsim.sim.site_facts import FENCE, KIND, ROWS
from azsim.sim.transfers import Transfers

__all__ = ["FlatTrace"]

_STORE = ENGINES.index("store")


class FlatTrace:
    """A trace as flat arrays over engine instructions, fences and the halt, in program order.

    What depends on few values of the hardware is shared with other replays, and written by none.

    Attributes
    ----------
    trace : Trace
    hardware : Hardware
    positions : ndarray of int64
        Index of each instruction in `trace.sequence`, which holds control instructions too.
    site : ndarray of int32
        Index into the trace's sites.
    engine : ndarray of int64
        Index into `azsim.machine.engines.clock.ENGINES`; 5 for fence and halt, 6 for a control
        instruction that waits.
    control_before : ndarray of int64
        Control instructions issued just before the instruction.
    members : ndarray of int64
        Instruction numbers grouped by engine, each group in program order.
    cycles : ndarray of int64
        The engine's own cycles: decoder or write port for weight loads, occupancy for MAC and
        vector; 0 for loads and stores.
    blocks : ndarray of shape (entries, 4), int64
        What the decoder makes of each burst of a block (`azsim.machine.engines.decoder`); equal
        blocks once.
    block_at : ndarray of int64
        Weight loads: where their block's entries begin.
    first_burst, num_bursts, useful_bytes : ndarray of int64
        DRAM bursts of transfers and the bytes that they asked for.
    pieces : ndarray of shape (entries, 2), int64
        Of transfers whose rows do not follow one another: first burst of each row, and bursts of
        the transfer up to its end.
    piece_at : ndarray of int64
        Where a transfer's pieces begin; -1 where its bursts follow one another.
    macs, executed, nonzero : ndarray of int64
        Products of the dense shapes, carried out by the array, with two non-zero factors.
    ideal : ndarray of float64
        Non-zero products over the array's peak.
    """

    def __init__(self, trace: Trace, hardware: Hardware) -> None:
        self.trace = trace
        self.hardware = hardware
        of_path = trace.path.derived
        outline = outline_of(trace)
        self.positions, self.site, self.engine = outline.positions, outline.site, outline.engine
        self.control_before, self.members = outline.control_before, outline.members
        decoder, sram, burst_bytes = (
            hardware.decoder,
            hardware.weight_sram,
            hardware.dram.burst_bytes,
        )
        key = decoder.lanes, decoder.bus_bytes_per_cycle, sram.write_bytes_per_cycle, burst_bytes
        transfers = kept(of_path, "transfers", key, 2, lambda: Transfers(trace, hardware))
        if transfers.gathers:
            transfers = kept(trace.derived, "gathers", key, 2, lambda: transfers.of(trace))
        self.blocks, self.block_at = transfers.blocks, transfers.block_at
        self.first_burst, self.num_bursts = transfers.first_burst, transfers.num_bursts
        self.useful_bytes = transfers.useful_bytes
        self.pieces, self.piece_at = transfers.pieces, transfers.piece_at
        work = product_work(trace, hardware.mac)
        self.macs, self.executed, self.nonzero = work.macs, work.executed, work.nonzero
        self.ideal = work.ideal
        mac = hardware.mac
        key = hardware.vector, mac.drain_lanes, mac.pipeline_cycles
        others = kept(of_path, "others", key, 2, lambda: _other_cycles(trace, hardware))
        self.cycles = others + transfers.cycles
        self.cycles[work.where] = mac.pipeline_cycles + work.cycles

    def arrivals(self, program: Program) -> np.ndarray:
        """Cycle before which a paced load cannot start; 0 for everything else."""
        arrival = np.zeros(len(self.engine), np.int64)
        stream = program.stream
        if stream.paced and stream.period_s is not None:
            period = Fraction(stream.period_s).limit_denominator(10**9) * self.hardware.clock_hz
            where = outline_of(self.trace).paced
            above, below = period.numerator, period.denominator
            arrival[where] = [-(-above * frame // below) for frame in range(1, len(where) + 1)]
        return arrival

    def targets(self) -> np.ndarray:
        """Completions of each engine that each instruction waits for: (n, 5) int64, 0 for none."""
        return outline_of(self.trace).targets


def _other_cycles(trace: Trace, hardware: Hardware) -> np.ndarray:
    """Cycles of what is neither a transfer nor a product; 0 for these."""
    outline, table = outline_of(trace), instructions()
    kind, rows = outline.facts[:, KIND], outline.facts[:, ROWS]
    of_site = np.zeros(len(trace.sites), np.int64)
    for number in np.flatnonzero((kind > _STORE) & (kind < FENCE) & (rows == 0)).tolist():
        site = trace.sites[number]
        of_site[number] = table[site.mnemonic].cycles(site, hardware)
    return of_site[outline.site]
