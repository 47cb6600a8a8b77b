"""Timing: replay a trace under a hardware description.

Nothing is executed again: shapes, addresses, tiles and zero masks of the trace give each
instruction its cycles, and `azsim.machine.engines.clock` lets the engines run against each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from azsim.errors import MachineError
from azsim.hardware.description import Dram, Hardware
from azsim.isa.program import Program
from azsim.machine.engines.clock import ENGINES, run_clock
from azsim.machine.engines.mac import geometry, matmul_cycles, peak_macs_per_cycle
from azsim.machine.instructions import instructions
from azsim.machine.trace import Site, Trace
from azsim.machine.view import View

__all__ = ["Products", "Timing", "replay"]

_MAX_TICKS = 1 << 20
_CHUNK_MARKS = 1 << 25
_FENCE = 5


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
        Index into `azsim.machine.engines.clock.ENGINES`; 5 for fence and halt.
    dispatch, start, end : ndarray of int64
        Cycles of wall-clock time, waiting for input included.
    arrival : ndarray of int64
        Cycle at which the frame has arrived, for paced loads; 0 for others.
    work : ndarray of int64
        Cycles of the engine proper: decoder cycles for weight loads, occupancy for MAC and vector.
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

    def without_idle(self, times: np.ndarray) -> np.ndarray:
        """Convert wall-clock cycles to cycles that do not count waiting for input."""
        if not len(self.idle_from):
            return times
        lengths = np.concatenate([[0], np.cumsum(self.idle_to - self.idle_from)])
        number = np.searchsorted(self.idle_to, times, side="right")
        # A time inside a stretch counts up to the stretch's beginning.
        begin = self.idle_from[np.minimum(number, len(self.idle_from) - 1)]
        inside = np.searchsorted(self.idle_from, times, side="right") > number
        return np.where(inside, begin, times) - lengths[number]


def dram_ticks(dram: Dram, clock_hz: int) -> tuple[int, int]:
    """Ticks per cycle, and ticks that one burst takes on the bus.

    Exact where the burst's cycles are a fraction with a denominator up to 2**20, rounded up to
    such a fraction otherwise.
    """
    cycles = Fraction(dram.burst_bytes * clock_hz, dram.bytes_per_s)
    if cycles.denominator <= _MAX_TICKS:
        return cycles.denominator, cycles.numerator
    return _MAX_TICKS, math.ceil(cycles * _MAX_TICKS)


def _ticks(time_ns: float, clock_hz: int, ticks: int) -> int:
    return math.ceil(Fraction(time_ns) * clock_hz * ticks / 10**9)


def _row_ranges(view: View) -> tuple[np.ndarray, int]:
    """Offsets from the view's address of its contiguous pieces, and bytes of each."""
    bits = view.element_bits
    row_bytes = -(-view.cols * bits // 8)
    pitch = view.row_stride * bits // 8
    if view.rows == 1 or pitch == row_bytes:
        return np.zeros(1, np.int64), row_bytes * view.rows
    return np.arange(view.rows, dtype=np.int64) * pitch, row_bytes


def _bursts(view: View, addresses: np.ndarray, burst_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """First burst and number of bursts of transfers of one shape at several addresses."""
    offsets, piece_bytes = _row_ranges(view)
    low = addresses[:, None] + offsets[None, :]
    first = low // burst_bytes
    last = (low + piece_bytes - 1) // burst_bytes
    return first[:, 0], (last - first + 1).sum(axis=1)


class _Replay:
    """Flat arrays for the clock, filled site by site."""

    def __init__(self, trace: Trace, hardware: Hardware) -> None:
        self.trace = trace
        self.hardware = hardware
        kinds = np.array(
            [
                ENGINES.index(site.engine)
                if site.engine in ENGINES
                else (_FENCE if site.mnemonic in ("fence", "halt") else -1)
                for site in trace.sites
            ],
            np.int64,
        )
        kind = kinds[trace.sequence]
        self.positions = np.flatnonzero(kind >= 0)
        self.engine = np.ascontiguousarray(kind[self.positions])
        self.site = trace.sequence[self.positions]
        self.control_before = np.diff(self.positions, prepend=-1) - 1
        count = len(self.positions)
        self.cycles = np.zeros(count, np.int64)
        self.first_burst = np.zeros(count, np.int64)
        self.num_bursts = np.zeros(count, np.int64)
        self.useful_bytes = np.zeros(count, np.int64)
        self.macs = np.zeros(count, np.int64)
        self.executed = np.zeros(count, np.int64)
        self.nonzero = np.zeros(count, np.int64)
        self.ideal = np.zeros(count, np.float64)
        self._table = instructions()
        order = np.argsort(self.site, kind="stable")
        bounds = np.searchsorted(self.site[order], np.arange(len(trace.sites) + 1))
        for number, site in enumerate(trace.sites):
            where = order[bounds[number] : bounds[number + 1]]
            if len(where) and site.engine in ENGINES:
                self._fill(site, where)

    def _fill(self, site: Site, where: np.ndarray) -> None:
        payload = self.trace.payload[self.positions[where]]
        tile_of = self.trace.tile_of[self.positions[where]]
        burst_bytes = self.hardware.dram.burst_bytes
        if site.mnemonic == "mac_matmul":
            for tile in np.unique(tile_of):
                self._fill_matmul(site, where[tile_of == tile], payload[tile_of == tile], int(tile))
        elif site.mnemonic == "weight_load":
            source, target = site.views["src"], site.views["dst"]
            self.first_burst[where], self.num_bursts[where] = _bursts(source, payload, burst_bytes)
            self.useful_bytes[where] = source.num_bytes
            port = -(-target.num_bytes // self.hardware.weight_sram.write_bytes_per_cycle)
            for tile in np.unique(tile_of):
                lanes = self.trace.tiles[tile].lane_cycles(self.hardware.decoder.lanes)
                self.cycles[where[tile_of == tile]] = max(lanes, port)
        elif site.mnemonic in ("load", "store"):
            view = site.views["src" if site.mnemonic == "load" else "dst"]
            self.first_burst[where], self.num_bursts[where] = _bursts(view, payload, burst_bytes)
            self.useful_bytes[where] = view.num_bytes
        else:
            self.cycles[where] = self._table[site.mnemonic].cycles(site, self.hardware)

    def _fill_matmul(self, site: Site, where: np.ndarray, offsets: np.ndarray, tile: int) -> None:
        source, weights = site.views["src"], site.views["src2"]
        mac = self.hardware.mac
        widths = weights.element_bits, source.element_bits
        record = self.trace.tiles[tile]
        prepared = matmul_cycles(record.digest, record.codes, geometry(mac, *widths))
        row_bytes = -(-source.cols // 8)
        step = max(1, _CHUNK_MARKS // max(1, source.rows * row_bytes * 8))
        for begin in range(0, len(where), step):
            part, base = where[begin : begin + step], offsets[begin : begin + step]
            index = base[:, None] + np.arange(source.rows * row_bytes)
            bits = np.unpackbits(self.trace.masks[index].reshape(-1, row_bytes), axis=1)
            marks = np.ascontiguousarray(bits[:, : source.cols])

            def per_instruction(values: np.ndarray, part: np.ndarray = part) -> np.ndarray:
                return values.reshape(len(part), source.rows).sum(axis=1)

            self.cycles[part] = mac.pipeline_cycles + per_instruction(prepared.row_cycles(marks))
            self.executed[part] = per_instruction(prepared.executed_products(marks))
            self.nonzero[part] = per_instruction(prepared.nonzero_products(marks))
        self.macs[where] = source.rows * weights.rows * weights.cols
        self.ideal[where] = self.nonzero[where] / peak_macs_per_cycle(mac, *widths)

    def targets(self) -> np.ndarray:
        """Completions of each engine that each instruction waits for: (n, 5)."""
        waits = np.array(
            [[site.waits.get(engine, 0) for engine in ENGINES] for site in self.trace.sites],
            np.int64,
        ).reshape(-1, len(ENGINES))[self.site]
        issued = np.zeros_like(waits)
        for number in range(len(ENGINES)):
            mine = self.engine == number
            issued[:, number] = np.cumsum(mine) - mine
        return np.ascontiguousarray(np.where(waits > 0, np.maximum(issued - waits + 1, 0), 0))


def _arrivals(replay: _Replay, program: Program, clock_hz: int, ticks: int) -> np.ndarray:
    arrival = np.zeros(len(replay.engine), np.int64)
    paced = np.array([site.paced for site in replay.trace.sites], bool)[replay.site]
    stream = program.stream
    if stream.paced and stream.period_s is not None:
        period = Fraction(stream.period_s).limit_denominator(10**9) * clock_hz
        where = np.flatnonzero(paced)
        arrival[where] = [math.ceil((frame + 1) * period) * ticks for frame in range(len(where))]
    return arrival


def _idle(start: np.ndarray, end: np.ndarray, arrival: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stretches that end with the arrival of a frame and in which no engine was busy."""
    order = np.argsort(start, kind="stable")
    busy_until = np.maximum.accumulate(np.concatenate([[0], end[order]]))[:-1]
    begins = start[order]
    waits = (arrival[order] > 0) & (begins == arrival[order]) & (busy_until < begins)
    return busy_until[waits], begins[waits]


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
    flat = _Replay(trace, hardware)
    dram, clock = hardware.dram, hardware.clock_hz
    ticks, burst_ticks = dram_ticks(dram, clock)
    arrival = _arrivals(flat, program, clock, ticks)
    count = len(flat.engine)
    members = np.ascontiguousarray(np.argsort(flat.engine, kind="stable"))
    bus = np.array(
        [
            burst_ticks,
            _ticks(dram.latency_ns, clock, ticks),
            dram.outstanding_bursts,
            hardware.decoder.fifo_bursts,
            max(1, dram.row_bytes // dram.burst_bytes),
            _ticks(dram.row_miss_ns, clock, ticks),
            _ticks(dram.refresh_interval_ns, clock, ticks),
            _ticks(dram.refresh_ns, clock, ticks),
        ],
        np.int64,
    )
    dispatch, start, end = (np.full(count, -1, np.int64) for _ in range(3))
    counters = np.zeros(3, np.int64)
    run_clock(
        flat.engine,
        flat.control_before,
        flat.cycles,
        flat.targets(),
        flat.first_burst,
        flat.num_bursts,
        arrival,
        members,
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
    dispatch, start, end = dispatch // ticks, start // ticks, end // ticks
    arrival //= ticks
    idle_from, idle_to = _idle(start, end, arrival)
    return Timing(
        site=flat.site,
        engine=flat.engine,
        dispatch=dispatch,
        start=start,
        end=end,
        arrival=arrival,
        work=flat.cycles,
        bursts=flat.num_bursts,
        useful_bytes=flat.useful_bytes,
        products=Products(flat.macs, flat.executed, flat.nonzero, flat.ideal),
        idle_from=idle_from,
        idle_to=idle_to,
        issued_instructions=len(trace.sequence),
        row_misses=int(counters[0]),
        refresh_waits=int(counters[1]),
        end_cycles=int(end.max(initial=0)),
    )
