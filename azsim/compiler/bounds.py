"""Lower bounds on a run's cycles: necessary work over peak rates, from the graph and the chip.

Nothing here is read from emitted instructions.  What is necessary:

- DRAM: inputs, outputs, constants and scales once; compressed weights once if they can stay on the
  chip, else once per use.  What can stay is bounded by filling weight SRAM with the weights that
  save the most traffic per byte, the last one in part.
- decoder: lane or write-port cycles of those same weight reads.
- MAC array: its own time for whole K segments with inputs ready, and the drain.  Where the array
  skips zero activations, only products of two non-zero factors count.
- vector engine: elements over lanes, without pipeline depth.
- critical path: the longest chain of dependent steps with every engine free and every step at its
  smallest tile: one group of lanes through the pipeline, one window sequence of one output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.codecs import block_lane_cycles, encode_block
from azsim.compiler.image import used_codec
from azsim.compiler.tile import element_width, packed_bytes
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, CompressedWeight
from azsim.isa.program import Stream
from azsim.machine.engines.mac import MatmulCycles, geometry
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
    bytes_needed, decoder_cycles = _weight_traffic(work, lowering, hardware, parameter_bytes)
    bytes_needed += parameter_bytes + _port_bytes(lowering.compressed, stream, state)
    dram = bytes_needed * hardware.clock_hz / hardware.dram.bytes_per_s
    drained = sum(
        step.dst.rows * step.dst.cols * times for step, times in work if isinstance(step, Matmul)
    )
    products = (
        ideal_mac_cycles
        if hardware.mac.zero_skip in ("activations", "both")
        else sum(
            _matmul_cycles(step, lowering.compressed, hardware) * times
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


def _weight_traffic(
    work: Sequence[tuple[Step, int]],
    lowering: Lowering,
    hardware: Hardware,
    parameter_bytes: int,
) -> tuple[float, float]:
    """Bytes and decoder cycles of the weight reads that no plan can avoid."""
    uses: dict[str, int] = {}
    for step, times in work:
        if isinstance(step, Matmul):
            uses[step.weight] = uses.get(step.weight, 0) + times
    entries = []
    for name, times in uses.items():
        weight = lowering.compressed.weights[name]
        codec = used_codec(weight.codec, hardware)
        rows, cols = weight.codes.shape
        block = encode_block(
            codec.name, weight.codes, weight.bits, columns=max(1, cols), **codec.parameters
        )
        dense = packed_bytes(rows, cols, element_width(weight.bits))
        # A whole matrix in one block is what no tiling can undercut; headers are not necessary.
        payload = len(block) - 16
        port = (
            rows
            * cols
            * element_width(weight.bits)
            / 8
            / hardware.weight_sram.write_bytes_per_cycle
        )
        lanes = _balanced_lane_cycles(block, hardware)
        entries.append((payload, max(lanes, port), dense, times))
    entries.sort(key=lambda entry: -entry[0] * (entry[3] - 1) / entry[2])
    room = float(hardware.weight_sram.bytes - parameter_bytes)
    total_bytes = total_cycles = 0.0
    for payload, cycles, dense, times in entries:
        kept = min(1.0, max(0.0, room / dense))
        room -= kept * dense
        reads = kept + (1 - kept) * times
        total_bytes += payload * reads
        total_cycles += cycles * reads
    return total_bytes, total_cycles


def _balanced_lane_cycles(block: bytes, hardware: Hardware) -> float:
    """Symbols over lanes: what the lanes need if no tile leaves one idle."""
    return block_lane_cycles(block, 1) / hardware.decoder.lanes


def _matmul_cycles(step: Matmul, compressed: CompressedGraph, hardware: Hardware) -> int:
    weight = compressed.weights[step.weight]
    shape = geometry(hardware.mac, element_width(weight.bits), weight.activation_bits)
    return step.codes.rows * sum(
        MatmulCycles(np.ascontiguousarray(weight.codes[:, low:high]), shape).static_row_cycles()
        for low, high in _segments(weight)
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
    carried = list(state.values())
    from_inputs, from_state = longest(inputs), longest(list(state))
    whole = max(0.0, arrival(from_inputs, results))
    if stream.frames > 1 and state:
        into, around = arrival(from_inputs, carried), arrival(from_state, carried)
        out = arrival(from_state, results)
        if min(into, around, out) > -math.inf:
            whole = max(whole, into + (stream.frames - 2) * around + out)
    return int(whole) + 2 * transfer
