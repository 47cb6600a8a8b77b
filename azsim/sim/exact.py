"""Exact timing: step a trace through the whole machine, cycle by cycle.

The same trace and the same description as for `azsim.sim.timing.replay`, and a result of the same
kind; what is worked out here again, and by other means, is every cycle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from azsim.arith import TABLE_FUNCTIONS
from azsim.codecs import block_lane_steps
from azsim.errors import MachineError
from azsim.hardware.description import Hardware
from azsim.isa.program import Program
from azsim.machine.engines.exact_array import ArrayShape, Matrices, new_array
from azsim.machine.engines.exact_chip import Memory, Sizes, State, Times, Work, run_chip
from azsim.machine.engines.exact_dram import BURST_WAITS, ROW_MISSES, new_memory, new_queues
from azsim.machine.engines.exact_lanes import Blocks, new_lanes
from azsim.machine.engines.exact_sequencer import Instructions, new_sequencer
from azsim.machine.engines.exact_transfer import new_channels
from azsim.machine.engines.exact_vector import new_vector
from azsim.machine.trace import Site, Trace
from azsim.sim.flatten import FlatTrace, bus_parameters
from azsim.sim.timing import Timing, collect

__all__ = ["replay_exact"]

_CONTROL, _FENCE = -1, 5
_WIDTH_GAIN = {8: 1, 4: 2, 2: 4}


def replay_exact(trace: Trace, program: Program, hardware: Hardware) -> Timing:
    """Time a trace cycle by cycle; about a hundred times slower than `replay`.

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
        `work` of weight loads counts the cycles in which decoder, bus or write port did something.

    Raises
    ------
    MachineError
        If the program cannot come to its end.
    """
    flat = FlatTrace(trace, hardware)
    ticks, bus = bus_parameters(hardware)
    burst, latency, outstanding, fifo, row_bursts, row_miss, every, refresh = bus.tolist()
    dram = np.array([ticks, burst, latency, row_bursts, row_miss, every, refresh, 0], np.int64)
    shape = _array_shape(hardware)
    matrices = _matrices(flat, hardware)
    work = Work(
        _instructions(flat, program),
        _transfers(flat, hardware),
        _blocks(trace, hardware.decoder.lanes),
        matrices,
        _passes(flat, hardware),
    )
    sizes = Sizes(
        hardware.sequencer.issue_cycles,
        hardware.sequencer.queue_entries,
        outstanding,
        fifo,
        8 * getattr(hardware.decoder, "bus_bytes_per_cycle", 16),
        8 * hardware.dram.burst_bytes,
        hardware.vector.lanes,
        shape,
    )
    memory = Memory(new_memory(dram), *new_queues(outstanding + 1), dram)
    state = State(
        new_sequencer(hardware.sequencer.issue_cycles),
        new_channels(),
        new_lanes(hardware.decoder.lanes),
        new_array(shape, *_most(matrices, shape)),
        new_vector(hardware.vector.pipeline_cycles),
        memory,
        np.full(5, -1, np.int64),
        np.zeros(5, np.bool_),
        np.zeros(3, np.int64),
    )
    count = len(flat.engine)
    times = Times(*(np.full(count, -1, np.int64) for _ in range(3)), np.zeros(count, np.int64))
    run_chip(sizes, work, state, times)
    if count and times.end.min() < 0:
        stuck = trace.sites[flat.site[int(np.argmax(times.end < 0))]]
        raise MachineError(f"instruction {stuck.index} ({stuck.mnemonic}) can never run")
    counters = memory.state[[ROW_MISSES, BURST_WAITS]]
    return collect(
        flat, times.dispatch, times.start, times.end, work.program.arrival, times.work, counters
    )


def _instructions(flat: FlatTrace, program: Program) -> Instructions:
    stream = np.full(len(flat.trace.sequence), _CONTROL, np.int64)
    stream[flat.positions] = flat.engine
    base = np.searchsorted(np.sort(flat.engine), np.arange(_FENCE + 1))
    members = np.argsort(flat.engine, kind="stable")
    return Instructions(
        stream,
        np.ascontiguousarray(members, np.int64),
        np.ascontiguousarray(base, np.int64),
        flat.targets(),
        flat.arrivals(program),
    )


def _rows(
    flat: FlatTrace, size: int, figures: Callable[[Site], tuple[int, ...] | None]
) -> np.ndarray:
    """A row of `size` figures for each instruction, those of its site; zeros where it has none."""
    rows = [figures(site) or (0,) * size for site in flat.trace.sites]
    return np.array(rows, np.int64).reshape(len(rows), size)[flat.site]


def _transfers(flat: FlatTrace, hardware: Hardware) -> np.ndarray:
    def figures(site: Site) -> tuple[int, ...] | None:
        if site.mnemonic != "weight_load":
            return None
        port_bits = 8 * hardware.weight_sram.write_bytes_per_cycle
        return 1, port_bits // site.views["dst"].element_bits

    is_block, port_codes = _rows(flat, 2, figures).T
    address = flat.trace.payload[flat.positions]
    tile = flat.trace.tile_of[flat.positions]
    offset_bits = address % hardware.dram.burst_bytes * 8
    columns = flat.first_burst, flat.num_bursts, tile, offset_bits * is_block, port_codes
    return np.stack(columns, axis=1).astype(np.int64)


def _blocks(trace: Trace, lanes: int) -> Blocks:
    loads = [number for number, site in enumerate(trace.sites) if site.mnemonic == "weight_load"]
    loaded = set(trace.tile_of[np.isin(trace.sequence, loads)].tolist())
    heads = np.zeros(len(trace.tiles), np.int64)
    first = np.zeros((len(trace.tiles), lanes + 1), np.int64)
    bits: list[np.ndarray] = [np.zeros(0, np.int64)]
    codes: list[np.ndarray] = [np.zeros(0, np.int64)]
    begin = 0
    for number in sorted(loaded):
        steps = block_lane_steps(trace.tiles[number].encoded, lanes)
        heads[number] = steps.head_bits
        first[number] = begin + steps.first
        bits.append(steps.bits)
        codes.append(steps.codes)
        begin += len(steps.bits)
    return Blocks(
        heads, first, np.concatenate(bits, dtype=np.int64), np.concatenate(codes, dtype=np.int64)
    )


def _array_shape(hardware: Hardware) -> ArrayShape:
    mac = hardware.mac
    return ArrayShape(
        mac.lanes,
        mac.queue_depth,
        mac.zero_skip in ("weights", "both"),
        mac.zero_skip in ("activations", "both"),
        mac.dataflow == "outer",
        mac.drain_lanes,
        mac.pipeline_cycles,
    )


def _matrices(flat: FlatTrace, hardware: Hardware) -> Matrices:
    mac, trace = hardware.mac, flat.trace

    def figures(site: Site) -> tuple[int, ...] | None:
        if site.mnemonic == "mac_drain":
            return site.views["dst"].num_elements, 0, 0, 0, 0, 0, 0
        if site.mnemonic != "mac_matmul":
            return None
        source, weights = site.views["src"], site.views["src2"]
        gain, halves = _WIDTH_GAIN[weights.element_bits], source.element_bits // 8
        window = max(1, mac.window * gain // halves)
        inner = source.cols
        return 0, source.rows, weights.rows, inner, mac.macs_per_lane * gain, halves, window

    rows = _rows(flat, 7, figures)
    is_product = rows[:, 1] > 0
    tile = flat.trace.tile_of[flat.positions]
    masks = [np.zeros(0, np.uint8)]
    begins = np.zeros(len(trace.tiles) + 1, np.int64)
    used = set(tile[is_product].tolist())
    for number, found in enumerate(trace.tiles):
        mask = np.packbits(found.codes != 0, axis=1).reshape(-1) if number in used else masks[0]
        masks.append(mask)
        begins[number + 1] = begins[number] + len(mask)
    begin = np.stack([begins[tile], trace.payload[flat.positions]], axis=1)
    rows = np.concatenate([rows, begin * is_product[:, None]], axis=1)
    return Matrices(np.ascontiguousarray(rows), np.concatenate(masks), trace.masks)


def _most(matrices: Matrices, shape: ArrayShape) -> tuple[int, int]:
    """Products of the largest sum (`outer`: of the largest tile); positions of the longest row."""
    outputs, inner = matrices.of[:, 2], matrices.of[:, 3]
    window = np.maximum(1, matrices.of[:, 6])
    if shape.is_outer:
        rows_of_lane = -(-outputs // shape.lanes)
        windows = inner * -(-rows_of_lane // window)
    else:
        windows = -(-inner // window)
    return int(windows.max(initial=0)) * shape.lanes, int(inner.max(initial=0))


def _passes(flat: FlatTrace, hardware: Hardware) -> np.ndarray:
    vector = hardware.vector

    def figures(site: Site) -> tuple[int, ...] | None:
        if site.engine != "vector":
            return None
        elements = site.views["dst"].num_elements
        if site.mnemonic == "vector_quantize":  # the largest magnitude is looked for first
            divide = vector.divide_cycles
            return (elements, divide, 0) if site.static else (elements, 1, divide)
        if site.function in ("div", "sqrt"):
            return elements, vector.divide_cycles, 0
        if site.function in TABLE_FUNCTIONS:
            return elements, vector.table_cycles, 0
        return elements, 1, 0

    return _rows(flat, 3, figures)
