"""Critical path: the longest chain of dependent steps with every engine free.

Every step is cut to its smallest tile: one group of lanes through the pipeline, one window sequence
of one output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from azsim.compiler.tile import element_width
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, CompressedWeight
from azsim.isa.program import Stream
from azsim.machine.engines.mac import geometry
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

__all__ = [
    "binary_cycles",
    "critical_path",
    "flat_steps",
    "layer_paths",
    "transfer_cycles",
    "unary_cycles",
]

_TABLE_FUNCTIONS = ("sigmoid", "tanh", "exp")
_MAX_CHAIN_STEPS = 200_000


def flat_steps(steps: Sequence[Step], times: int) -> Iterator[tuple[Step, int]]:
    """Steps inside loops, with how often they run."""
    for step in steps:
        if isinstance(step, Loop):
            yield from flat_steps(step.body, times * step.count)
        else:
            yield step, times


def unary_cycles(function: str, hardware: Hardware) -> int:
    """Cycles that the vector engine needs for a group of elements."""
    if function in _TABLE_FUNCTIONS:
        return hardware.vector.table_cycles
    return hardware.vector.divide_cycles if function == "sqrt" else 1


def binary_cycles(function: str, hardware: Hardware) -> int:
    """Cycles that the vector engine needs for a group of elements."""
    return hardware.vector.divide_cycles if function == "div" else 1


def _segments(weight: CompressedWeight) -> Iterator[tuple[int, int]]:
    return zip(weight.segments, weight.segments[1:], strict=False)


def _least_cycles(step: Step, compressed: CompressedGraph, hardware: Hardware) -> int:
    """Latency of a step cut to its smallest legal tile."""
    vector, mac = hardware.vector, hardware.mac
    match step:
        case Unary(function):
            return vector.pipeline_cycles + unary_cycles(function, hardware)
        case Binary(function):
            return vector.pipeline_cycles + binary_cycles(function, hardware)
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


def transfer_cycles(hardware: Hardware) -> int:
    """Cycles of the shortest transfer: a burst after its latency."""
    dram = hardware.dram
    return math.floor(
        (dram.latency_ns / 1e9 + dram.burst_bytes / dram.bytes_per_s) * hardware.clock_hz
    )


def layer_paths(lowering: Lowering, hardware: Hardware, frames: int) -> dict[str, int]:
    """Longest chain of each layer, its inputs there at its beginning, frame after frame.

    A layer of more than 200,000 steps has none (0).
    """
    steps: dict[str, list[Step]] = {}
    for layer, step in lowering.steps:
        steps.setdefault(layer, []).append(step)
    paths = {}
    for layer, own in steps.items():
        chain, longest = _Chain(), 0.0
        if sum(times for _, times in flat_steps(own, 1)) <= _MAX_CHAIN_STEPS:
            for step in _unrolled(own, {}):
                reads, writes = _reads_and_writes(step)
                begin = max([0.0, *(chain.read(access) for access in reads)])
                end = begin + _least_cycles(step, lowering.compressed, hardware)
                longest = max(longest, end)
                for access in writes:
                    chain.write(access, end)
        paths[layer] = int(longest) * frames
    return paths


def critical_path(
    lowering: Lowering, hardware: Hardware, stream: Stream, state: Mapping[str, str]
) -> int:
    """Longest chain of a run, from the first load to the last store; 0 above 200,000 steps."""
    total = sum(times for _, times in flat_steps([step for _, step in lowering.steps], 1))
    if total > _MAX_CHAIN_STEPS:
        return 0
    steps = list(_unrolled([step for _, step in lowering.steps], {}))
    views, graph = lowering.views, lowering.compressed.graph

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
    return 0 if whole == -math.inf else int(whole) + 2 * transfer_cycles(hardware)
