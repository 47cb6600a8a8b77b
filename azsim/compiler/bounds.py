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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from azsim.codecs import block_lane_steps
from azsim.compiler.critical_path import (
    binary_cycles,
    critical_path,
    flat_steps,
    layer_paths,
    transfer_cycles,
    unary_cycles,
)
from azsim.compiler.encode import encode_tiles
from azsim.compiler.order import INPUT, OUTPUT, STARTUP, STATE
from azsim.compiler.residence import encode_codes
from azsim.compiler.residency import plan_weights
from azsim.compiler.stored import used_codec
from azsim.compiler.tile import Plan, Tile, element_width, packed_bytes
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph
from azsim.isa.program import Stream
from azsim.machine.engines.mac import MatmulCycles, block_cycles, geometry
from azsim.ops.lowering import (
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


@dataclass(frozen=True)
class EngineBounds:
    """Lower bounds in cycles for a whole run; see the module."""

    dram_cycles: int
    decoder_cycles: int
    mac_cycles: int
    vector_cycles: int
    critical_path_cycles: int


@dataclass
class _Work:
    """Necessary work of a layer, or of what surrounds the graph."""

    dram_bytes: float = 0.0
    decoder_cycles: float = 0.0
    mac_cycles: float = 0.0
    vector_cycles: float = 0.0

    def bounds(self, hardware: Hardware, critical_path_cycles: int) -> EngineBounds:
        """Work over peak rates."""
        return EngineBounds(
            math.floor(self.dram_bytes * hardware.clock_hz / hardware.dram.bytes_per_s),
            math.floor(self.decoder_cycles),
            math.floor(self.mac_cycles),
            math.floor(self.vector_cycles),
            critical_path_cycles,
        )


def engine_bounds(
    lowering: Lowering,
    hardware: Hardware,
    stream: Stream,
    state: Mapping[str, str],
    parameter_bytes: int,
    ideal_mac_cycles: Mapping[str, float],
) -> tuple[EngineBounds, dict[str, EngineBounds]]:
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
    ideal_mac_cycles : mapping of str to float
        By layer, non-zero products over the array's peak; the MAC bound where activations are
        skipped.

    Returns
    -------
    run : EngineBounds
    layers : dict of str to EngineBounds
        The same work by layer.  Weights that can stay on the chip are work of ``(startup)``.  A
        layer's loads may run while an earlier one computes, so that a layer may take less than its
        own bound; the run may not.
    """
    work: dict[str, _Work] = {}

    def of(layer: str) -> _Work:
        return work.setdefault(layer, _Work())

    plan = plan_weights(lowering, hardware, parameter_bytes, stream.frames)
    of(STARTUP).dram_bytes = parameter_bytes
    _add_ports(of, lowering.compressed, stream, state)
    _add_weights(of, lowering, plan, hardware, parameter_bytes, stream.frames)
    skips_activations = hardware.mac.zero_skip in ("activations", "both")
    for layer, outer in lowering.steps:
        for step, times in flat_steps([outer], stream.frames):
            of(layer).vector_cycles += _vector_groups(step, hardware) * times
            if isinstance(step, Matmul):
                drained = step.dst.rows * step.dst.cols
                cycles = drained / hardware.mac.drain_lanes
                if not skips_activations:
                    cycles += _matmul_cycles(step, plan, lowering.compressed, hardware)
                of(layer).mac_cycles += cycles * times
    if skips_activations:
        for layer, cycles in ideal_mac_cycles.items():
            of(layer).mac_cycles += cycles
    whole = _Work(
        *(math.fsum(getattr(part, field.name) for part in work.values()) for field in fields(_Work))
    )
    paths = layer_paths(lowering, hardware, stream.frames)
    once = transfer_cycles(hardware)
    paths |= {STARTUP: once, STATE: once}
    paths |= dict.fromkeys((INPUT, OUTPUT), once * stream.frames)
    return whole.bounds(hardware, critical_path(lowering, hardware, stream, state)), {
        layer: part.bounds(hardware, paths.get(layer, 0))
        for layer, part in work.items()
        if part != _Work()
    }


def _add_ports(
    of: Callable[[str], _Work],
    compressed: CompressedGraph,
    stream: Stream,
    state: Mapping[str, str],
) -> None:
    """Bytes of inputs, outputs and carried state."""
    graph = compressed.graph
    for name, kind in graph.inputs.items():
        is_state = name in state
        size = 4 * kind.num_elements * (1 if is_state else stream.frames)
        of(STARTUP if is_state else INPUT).dram_bytes += size
    for name in graph.outputs:
        is_state = name in state.values()
        size = 4 * graph.types[name].num_elements * (1 if is_state else stream.frames)
        of(STATE if is_state else OUTPUT).dram_bytes += size


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


def _add_weights(
    of: Callable[[str], _Work],
    lowering: Lowering,
    plan: Plan,
    hardware: Hardware,
    parameter_bytes: int,
    frames: int,
) -> None:
    """Bytes and decoder cycles of the weight reads that no choice of pinned tiles can avoid."""
    uses: dict[str, int] = {}
    for name, times in _runs([step for _, step in lowering.steps], frames):
        uses[name] = uses.get(name, 0) + times
    layer_of: dict[str, str] = {}
    for layer, outer in lowering.steps:
        for step, _ in flat_steps([outer], 1):
            if isinstance(step, Matmul):
                layer_of.setdefault(step.weight, layer)
    blocks = encode_tiles(lowering.compressed, plan, hardware)
    layers, reads_bytes, reads_cycles = [], [], []
    loop_of = _only_loops(lowering)
    again: dict[int, list[tuple[str, float, float, int, int]]] = {}
    for name, all_times in uses.items():
        # What one loop uses may stay for its rounds alone, and be read once a frame.
        times = min(all_times, frames) if name in loop_of else all_times
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
            layers.append(layer_of[name])
            reads_bytes.append((float(len(block)), held, times))
            reads_cycles.append((max(float(lanes), port), held, times))
            if times < all_times:
                size, cycles = reads_bytes[-1][0], reads_cycles[-1][0]
                entry = (layer_of[name], size, cycles, held, all_times - times)
                again.setdefault(loop_of[name], []).append(entry)
    room = float(hardware.weight_sram.bytes - parameter_bytes)
    for layer, (kept, streamed) in zip(layers, _least(reads_bytes, room), strict=True):
        of(STARTUP).dram_bytes += kept
        of(layer).dram_bytes += streamed
    for layer, (kept, streamed) in zip(layers, _least(reads_cycles, room), strict=True):
        of(STARTUP).decoder_cycles += kept
        of(layer).decoder_cycles += streamed
    for entries in again.values():
        in_bytes = [(size, held, more + 1) for _, size, _, held, more in entries]
        in_cycles = [(cycles, held, more + 1) for _, _, cycles, held, more in entries]
        for entry, (_, streamed) in zip(entries, _least(in_bytes, room), strict=True):
            of(entry[0]).dram_bytes += streamed * entry[-1] / (entry[-1] + 1)
        for entry, (_, streamed) in zip(entries, _least(in_cycles, room), strict=True):
            of(entry[0]).decoder_cycles += streamed * entry[-1] / (entry[-1] + 1)


def _only_loops(lowering: Lowering) -> dict[str, int]:
    """Number of the outermost loop of each weight that nothing outside it uses."""
    found: dict[str, set[int]] = {}
    for _, outer in lowering.steps:
        number = outer.number if isinstance(outer, Loop) else -1
        for step, _ in flat_steps([outer], 1):
            if isinstance(step, Matmul):
                found.setdefault(step.weight, set()).add(number)
    return {
        name: min(where) for name, where in found.items() if len(where) == 1 and -1 not in where
    }


def _least(reads: list[tuple[float, int, int]], room: float) -> list[tuple[float, float]]:
    """Costs of reads (cost, bytes in SRAM, times) that add up to the least total.

    What fits is read once (the first figure), the rest each time (the second).
    """
    found = [(0.0, 0.0)] * len(reads)
    saved = [-cost * (times - 1) / held for cost, held, times in reads]
    for number in sorted(range(len(reads)), key=saved.__getitem__):
        cost, held, times = reads[number]
        kept = min(1.0, max(0.0, room / held))
        room -= kept * held
        found[number] = cost * kept, cost * (1 - kept) * times
    return found


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


def _vector_groups(step: Step, hardware: Hardware) -> float:
    vector = hardware.vector
    match step:
        case Unary(function, dst, _):
            return dst.rows * dst.cols / vector.lanes * unary_cycles(function, hardware)
        case Binary(function, dst):
            return dst.rows * dst.cols / vector.lanes * binary_cycles(function, hardware)
        case Copy(dst) | Fill(dst):
            return dst.rows * dst.cols / vector.lanes
        case Quantize(dst, _, _, static):
            passes = vector.divide_cycles + (0 if static else 1)
            return dst.rows * dst.cols / vector.lanes * passes
    return 0.0
