"""Lower bounds on a run's cycles: necessary work over peak rates, from the graph and the chip.

Nothing here is read from emitted instructions.  What is necessary, with the matrices cut into tiles
as the plan cuts them:

- DRAM: inputs, outputs, constants and scales once; compressed tiles once if they can stay on the
  chip, else each time that another weight was used in between.  What can stay is bounded by
  filling weight SRAM with the tiles that save the most per byte, the last one in part.
- decoder: lane or write-port cycles of those same weight reads.
- MAC array: its own time for the tiles with inputs ready, and the drain.  Where the array skips
  zero activations, only products of two non-zero factors count.
- vector engine: elements over lanes, without pipeline depth.
- critical path: the longest chain of dependent steps with every engine free and every step at its
  smallest tile: one group of lanes through the pipeline, one window sequence of one output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.codecs import block_lane_steps
from azsim.compiler.image import encode_tiles
from azsim.compiler.residence import encode_codes
from azsim.compiler.stored import used_codec
from azsim.compiler.tile import Plan, Tile, choose_tiles, element_width, packed_bytes
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, CompressedWeight
from azsim.isa.program import Stream
from azsim.machine.engines.mac import MatmulCycles, block_cycles, geometry
from azsim.ops.lowering import (
    Access,
    Binary,
    Copy,
    Fill,
    Loop,
    Lowering,
    Matmul,
    Quantize,
    Step,
    Unary,
)

__all__ = ["EngineBounds", "engine_bounds"]

_TABLE_FUNCTIONS = ("sigmoid", "tanh", "exp")
_MAX_CHAIN_STEPS = 200_000


@dataclass(frozen=True)
class EngineBounds:
    """Lower bounds in cycles for a whole run; see the module."""

    dram_cycles: int
    decoder_cycles: int
    mac_cycles: int
    vector_cycles: int
    critical_path_cycles: int


def _flat(steps: Sequence[Step], times: int) -> Iterator[tuple[Step, int]]:
    for step in steps:
        if isinstance(step, Loop):
            yield from _flat(step.body, times * step.count)
        else:
            yield step, times


def engine_bounds(
    lowering: Lowering,
    hardware: Hardware,
    stream: Stream,
    state: Mapping[str, str],
    parameter_bytes: int,
    ideal_mac_cycles: float,
) -> EngineBounds:
    """Bounds of a run of `stream.frames` frames.

    Parameters
    ----------
    lowering : Lowering
        Steps of one frame, before tiling.
    hardware : Hardware
    stream : Stream
    state : mapping of str to str
    parameter_bytes : int
        Scales and biases.
    ideal_mac_cycles : float
        Non-zero products over the array's peak; the MAC bound where activations are skipped.
    """
    work = list(_flat([step for _, step in lowering.steps], stream.frames))
    plan = choose_tiles(lowering, hardware, parameter_bytes)
    bytes_needed, decoder_cycles = _weight_traffic(
        lowering, plan, hardware, parameter_bytes, stream.frames
    )
    bytes_needed += parameter_bytes + _port_bytes(lowering.compressed, stream, state)
    dram = bytes_needed * hardware.clock_hz / hardware.dram.bytes_per_s
    drained = sum(
        step.dst.rows * step.dst.cols * times for step, times in work if isinstance(step, Matmul)
    )
    products = (
        ideal_mac_cycles
        if hardware.mac.zero_skip in ("activations", "both")
        else sum(
            _matmul_cycles(step, plan, lowering.compressed, hardware) * times
            for step, times in work
            if isinstance(step, Matmul)
        )
    )
    vector = sum(_vector_groups(step, hardware) * times for step, times in work)
    return EngineBounds(
        dram_cycles=math.floor(dram),
        decoder_cycles=math.floor(decoder_cycles),
        mac_cycles=math.floor(products + drained / hardware.mac.drain_lanes),
        vector_cycles=math.floor(vector),
        critical_path_cycles=_critical_path(lowering, hardware, stream, state),
    )


def _port_bytes(compressed: CompressedGraph, stream: Stream, state: Mapping[str, str]) -> int:
    graph = compressed.graph
    total = 0
    for name, kind in graph.inputs.items():
        total += 4 * kind.num_elements * (1 if name in state else stream.frames)
    for name in graph.outputs:
        total += (
            4 * graph.types[name].num_elements * (1 if name in state.values() else stream.frames)
        )
    return total


def _runs(steps: Sequence[Step], times: int) -> list[tuple[str, int]]:
    """Weights in order of use and how often each has to be there anew; neighbours are one."""
    runs: list[tuple[str, int]] = []
    for step in steps:
        if isinstance(step, Matmul):
            more = [(step.weight, 1)]
        else:
            more = _runs(step.body, step.count) if isinstance(step, Loop) else []
        if runs and more and runs[-1][0] == more[0][0]:
            runs[-1] = (runs[-1][0], runs[-1][1] + more[0][1] - 1)
            more = more[1:]
        runs += more
    if len(runs) == 1 and runs[0][1] == 1:
        return runs
    repeated = [(name, count * times) for name, count in runs]
    if len(runs) > 1 and runs[0][0] == runs[-1][0]:
        repeated[-1] = (repeated[-1][0], repeated[-1][1] - times + 1)
    return repeated


def _weight_traffic(
    lowering: Lowering, plan: Plan, hardware: Hardware, parameter_bytes: int, frames: int
) -> tuple[float, float]:
    """Bytes and decoder cycles of the weight reads that no choice of pinned tiles can avoid."""
    uses: dict[str, int] = {}
    for name, times in _runs([step for _, step in lowering.steps], frames):
        uses[name] = uses.get(name, 0) + times
    blocks = encode_tiles(lowering.compressed, plan, hardware)
    reads_bytes, reads_cycles = [], []
    for name, times in uses.items():
        width = element_width(lowering.compressed.weights[name].bits)
        for tile in plan.tiles[name]:
            block = blocks[tile.name]
            if name in plan.read:
                held = written = len(block)
                lanes = 0
            else:
                held = packed_bytes(tile.n1 - tile.n0, tile.k1 - tile.k0, width)
                written = _dense_bytes(tile, width)
                lanes = block_lane_steps(block, hardware.decoder.lanes).most_steps
            port = written / hardware.weight_sram.write_bytes_per_cycle
            reads_bytes.append((float(len(block)), held, times))
            reads_cycles.append((max(float(lanes), port), held, times))
    room = float(hardware.weight_sram.bytes - parameter_bytes)
    return _least(reads_bytes, room), _least(reads_cycles, room)


def _least(reads: list[tuple[float, int, int]], room: float) -> float:
    """Least total cost of reads (cost, bytes in SRAM, times), if what fits is read once."""
    total = 0.0
    for cost, held, times in sorted(reads, key=lambda read: -read[0] * (read[2] - 1) / read[1]):
        kept = min(1.0, max(0.0, room / held))
        room -= kept * held
        total += cost * (kept + (1 - kept) * times)
    return total


def _dense_bytes(tile: Tile, width: int) -> int:
    """Bytes that the write port has to bring to weight SRAM for a tile."""
    return (tile.n1 - tile.n0) * -(-(tile.k1 - tile.k0) * width // 8)


def _matmul_cycles(
    step: Matmul, plan: Plan, compressed: CompressedGraph, hardware: Hardware
) -> int:
    weight = compressed.weights[step.weight]
    shape = geometry(hardware.mac, element_width(weight.bits), weight.activation_bits)
    if step.weight in plan.read:
        shape = geometry(hardware.mac, 8, weight.activation_bits)
        codec = used_codec(weight.codec, hardware)
        parts = [weight.codes[t.n0 : t.n1, t.k0 : t.k1] for t in plan.tiles[step.weight]]
        blocks = [(encode_codes(codec, codes, weight.bits), codes) for codes in parts]
        return step.codes.rows * sum(
            block_cycles(block, codes, shape).static_row_cycles() for block, codes in blocks
        )
    return step.codes.rows * sum(
        MatmulCycles(
            np.ascontiguousarray(weight.codes[tile.n0 : tile.n1, tile.k0 : tile.k1]), shape
        ).static_row_cycles()
        for tile in plan.tiles[step.weight]
    )


def _segments(weight: CompressedWeight) -> Iterator[tuple[int, int]]:
    return zip(weight.segments, weight.segments[1:], strict=False)


def _vector_groups(step: Step, hardware: Hardware) -> float:
    vector = hardware.vector
    match step:
        case Unary(function, dst, _):
            return dst.rows * dst.cols / vector.lanes * _unary_cycles(function, hardware)
        case Binary(function, dst):
            return dst.rows * dst.cols / vector.lanes * _binary_cycles(function, hardware)
        case Copy(dst) | Fill(dst):
            return dst.rows * dst.cols / vector.lanes
        case Quantize(dst, _, _, static):
            passes = vector.divide_cycles + (0 if static else 1)
            return dst.rows * dst.cols / vector.lanes * passes
    return 0.0


def _unary_cycles(function: str, hardware: Hardware) -> int:
    if function in _TABLE_FUNCTIONS:
        return hardware.vector.table_cycles
    return hardware.vector.divide_cycles if function == "sqrt" else 1


def _binary_cycles(function: str, hardware: Hardware) -> int:
    return hardware.vector.divide_cycles if function == "div" else 1


# --------------------------------------------------------------------------- critical path


def _least_cycles(step: Step, compressed: CompressedGraph, hardware: Hardware) -> int:
    """Latency of a step cut to its smallest legal tile."""
    vector, mac = hardware.vector, hardware.mac
    match step:
        case Unary(function):
            return vector.pipeline_cycles + _unary_cycles(function, hardware)
        case Binary(function):
            return vector.pipeline_cycles + _binary_cycles(function, hardware)
        case Copy() | Fill():
            return vector.pipeline_cycles + 1
        case Quantize(dst, _, scale, static):
            # The largest element is known only after all that share a scale were seen.
            shared = dst.rows * dst.cols // scale.rows
            search = 0 if static else vector.pipeline_cycles + -(-shared // vector.lanes)
            return search + vector.pipeline_cycles + vector.divide_cycles
        case Matmul():
            weight = compressed.weights[step.weight]
            shape = geometry(mac, element_width(weight.bits), weight.activation_bits)
            windows = 1
            if not shape.is_outer:
                windows = sum(-(-(high - low) // shape.window) for low, high in _segments(weight))
            elif not shape.skip_activations:
                windows = weight.codes.shape[1]
            return mac.pipeline_cycles + windows + mac.pipeline_cycles + 1
    return 0


def _extent(access: Access) -> tuple[int, int]:
    corners = [
        access.offset + row * access.row_stride + col * access.col_stride
        for row in (0, access.rows - 1)
        for col in (0, access.cols - 1)
    ]
    return min(corners), max(corners) + 1


def _reads_and_writes(step: Step) -> tuple[list[Access], list[Access]]:
    match step:
        case Copy(dst, src) | Unary(_, dst, src):
            return [src], [dst]
        case Fill(dst):
            return [], [dst]
        case Binary(_, dst, left, right):
            return [left, right], [dst]
        case Quantize(dst, src, scale, static):
            return [src, scale] if static else [src], [dst] if static else [dst, scale]
        case Matmul():
            reads = [step.codes, step.scale] + ([step.dst] if step.accumulate else [])
            return reads, [step.dst]
    return [], []


def _unrolled(steps: Sequence[Step], at: Mapping[int, int]) -> Iterator[Step]:
    for step in steps:
        if isinstance(step, Loop):
            for iteration in range(step.count):
                yield from _unrolled(step.body, {**at, step.number: iteration})
        else:
            yield _placed(step, at)


def _placed(step: Step, at: Mapping[int, int]) -> Step:
    def place(access: Access) -> Access:
        moved = sum(step * at.get(loop, 0) for loop, step in access.advance.items())
        return replace(access, offset=access.offset + moved, advance={})

    changes = {
        name: place(value) for name, value in vars(step).items() if isinstance(value, Access)
    }
    return replace(step, **changes)


class _Chain:
    """When each part of each buffer is ready at the earliest (-inf: not from these sources)."""

    def __init__(self) -> None:
        self._ready: dict[str, list[tuple[int, int, float]]] = {}

    def write(self, access: Access, at: float) -> None:
        low, high = _extent(access)
        parts = self._ready.setdefault(access.buffer, [])
        # Ranges that are wholly replaced are forgotten; partly replaced ones stay, later wins.
        parts[:] = [part for part in parts if not (low <= part[0] and part[1] <= high)]
        parts.append((low, high, at))

    def read(self, access: Access) -> float:
        low, high = _extent(access)
        parts = self._ready.get(access.buffer, [])
        return max(
            (at for first, last, at in parts if first < high and low < last), default=-math.inf
        )


def _critical_path(
    lowering: Lowering, hardware: Hardware, stream: Stream, state: Mapping[str, str]
) -> int:
    total = sum(times for _, times in _flat([step for _, step in lowering.steps], 1))
    if total > _MAX_CHAIN_STEPS:
        return 0
    steps = list(_unrolled([step for _, step in lowering.steps], {}))
    views, graph = lowering.views, lowering.compressed.graph
    dram = hardware.dram
    transfer = math.floor(
        (dram.latency_ns / 1e9 + dram.burst_bytes / dram.bytes_per_s) * hardware.clock_hz
    )

    def longest(sources: Sequence[str]) -> _Chain:
        chain = _Chain()
        for name in sources:
            view = views[name]
            size = int(np.prod(view.shape, dtype=np.int64))
            chain.write(Access(view.buffer, view.offset, 1, size, 0, 1), 0.0)
        for step in steps:
            reads, writes = _reads_and_writes(step)
            begin = max((chain.read(access) for access in reads), default=-math.inf)
            if begin > -math.inf:
                for access in writes:
                    chain.write(access, begin + _least_cycles(step, lowering.compressed, hardware))
        return chain

    def arrival(chain: _Chain, names: Sequence[str]) -> float:
        found = [-math.inf]
        for name in names:
            view = views[name]
            spans = [
                (length - 1) * step for length, step in zip(view.shape, view.strides, strict=True)
            ]
            size = 1 + sum(span for span in spans if span > 0)
            found.append(chain.read(Access(view.buffer, view.offset, 1, size, 0, 1)))
        return max(found)

    inputs = [name for name in graph.inputs if name not in state and name in views]
    results = [name for name in graph.outputs if name not in state.values()]
    from_inputs = longest(inputs)
    whole = arrival(from_inputs, results)
    if stream.frames > 1 and state:
        from_state = [longest([name]) for name in state]
        into = np.array([arrival(from_inputs, [name]) for name in state.values()])
        around = np.array(
            [[arrival(chain, [name]) for chain in from_state] for name in state.values()]
        )
        out = np.array([arrival(chain, results) for chain in from_state])
        ready = into
        for _ in range(stream.frames - 2):
            ready = np.maximum(into, (around + ready).max(axis=1))
        whole = max(whole, float((ready + out).max()))
    # The chain begins with a load and ends with a store.
    return 0 if whole == -math.inf else int(whole) + 2 * transfer
