"""Longest chain of dependent work with any number of engines.

Every step is cut to its smallest tile: one group of lanes through the pipeline, one window sequence
of one output.  With one of each engine the chain is longer: `azsim.compiler.frame_path`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from azsim.arith import TABLE_FUNCTIONS
from azsim.compiler.regions import certain
from azsim.compiler.step_cycles import scale_cycles
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
    Leave,
    Loop,
    Lowering,
    Matmul,
    Product,
    Quantize,
    Step,
    Unary,
    Vector,
)
from azsim.ops.steps import moved_windows, reads, windows, writes

__all__ = [
    "MAX_CHAIN_STEPS",
    "critical_path",
    "flat_steps",
    "group_cycles",
    "layer_paths",
    "least_cycles",
    "placed",
    "step_elements",
    "transfer_cycles",
    "unrolled",
]

MAX_CHAIN_STEPS = 200_000


def flat_steps(steps: Sequence[Step], times: float) -> Iterator[tuple[Step, float]]:
    """Steps inside loops, with how often they run; where data decides that, on average."""
    for step in steps:
        if isinstance(step, Loop):
            yield from flat_steps(step.body, times * step.mean_rounds)
            continue
        yield step, times
        if isinstance(step, Leave):
            times *= step.stays


def group_cycles(step: Step, hardware: Hardware) -> int:
    """Cycles that the vector engine needs for a group of a step's elements; 0 for a product.

    The search for a dynamic scale is not counted: those who write what is quantized may do it,
    see `azsim.compiler.step_cycles.scale_cycles`.
    """
    vector = hardware.vector
    match step:
        case Unary(function):
            if function in TABLE_FUNCTIONS:
                return vector.table_cycles
            return vector.divide_cycles if function == "sqrt" else 1
        case Binary(function):
            return vector.divide_cycles if function == "div" else 1
        case Quantize():
            return vector.divide_cycles
        case Copy() | Fill():
            return 1
        case Vector(mnemonic, operands):
            return _instruction_cycles(mnemonic, operands, hardware)
    return 0


def _instruction_cycles(
    mnemonic: str, operands: Mapping[str, Access | int | float | str], hardware: Hardware
) -> int:
    """Cycles of a group of elements in all passes of an instruction, its pipeline not counted."""
    vector = hardware.vector
    match mnemonic:
        case "load_gather":
            return 0
        case "vector_softmax":
            return 1 + vector.table_cycles + vector.divide_cycles
        case "vector_norm":
            return (2 if operands["norm"] == "layer_norm" else 1) + vector.divide_cycles
        case "vector_top_k":
            window = operands["dst"]
            return window.cols if isinstance(window, Access) else 1
        case "vector_unary" if operands["function"] in TABLE_FUNCTIONS:
            return vector.table_cycles
        case "vector_unary" | "vector_binary" if operands["function"] in ("sqrt", "div"):
            return vector.divide_cycles
    return 1


def step_elements(step: Step) -> int:
    """Elements that the vector engine goes through in each pass of a step; 0 for other engines."""
    if isinstance(step, Loop | Leave | Matmul | Product):
        return 0
    shown = {name: window.rows * window.cols for name, window in windows(step).items()}
    if not isinstance(step, Vector):
        return shown["dst"]
    if step.mnemonic in ("vector_gather", "load_gather"):
        return shown["dst"]  # rows of a table
    if step.mnemonic == "vector_scatter":
        return shown["src"]
    return max(shown["dst"], shown.get("src", 0))


def _segments(weight: CompressedWeight) -> Iterator[tuple[int, int]]:
    return zip(weight.segments, weight.segments[1:], strict=False)


def least_cycles(step: Step, compressed: CompressedGraph, hardware: Hardware) -> int:
    """Latency of a step cut to its smallest legal tile."""
    vector, mac = hardware.vector, hardware.mac
    match step:
        case Vector("load_gather"):
            return transfer_cycles(hardware)
        case Unary() | Binary() | Copy() | Fill() | Vector():
            return vector.pipeline_cycles + group_cycles(step, hardware)
        case Quantize():
            found = scale_cycles(step, hardware)
            return found + vector.pipeline_cycles + group_cycles(step, hardware)
        case Matmul():
            weight = compressed.weights[step.weight]
            shape = geometry(mac, element_width(weight.bits), weight.activation_bits)
            windows = 1
            if not shape.is_outer:
                windows = sum(-(-(high - low) // shape.window) for low, high in _segments(weight))
            elif not shape.skip_activations:
                windows = weight.codes.shape[1]
            return mac.pipeline_cycles + windows + mac.pipeline_cycles + 1
        case Product(codes=codes):
            windows = -(-codes.cols // mac.window) if mac.dataflow == "inner" else 1
            return mac.pipeline_cycles + windows + mac.pipeline_cycles + 1
    return 0


def _extent(access: Access) -> tuple[int, int]:
    corners = [
        access.offset + row * access.row_stride + col * access.col_stride
        for row in (0, access.rows - 1)
        for col in (0, access.cols - 1)
    ]
    return min(corners), max(corners) + 1


def unrolled(steps: Sequence[Step], at: Mapping[int, int]) -> Iterator[Step]:
    """Every step that surely runs, in all rounds of loops."""
    for step in certain(steps):
        if isinstance(step, Loop):
            for iteration in range(step.count):
                yield from unrolled(step.body, {**at, step.number: iteration})
        else:
            yield placed(step, at)


def placed(step: Step, at: Mapping[int, int]) -> Step:
    """Step in some rounds of the loops around it, by number; its windows advance no more."""

    def place(access: Access) -> Access:
        moved = sum(step * at.get(loop, 0) for loop, step in access.advance.items())
        return replace(access, offset=access.offset + moved, advance={})

    return moved_windows(step, place)


class _Chain:
    """When each part of each buffer is ready at the earliest (-inf: not from these sources)."""

    def __init__(self) -> None:
        self._ready: dict[str, list[tuple[int, int, float]]] = {}

    def write(self, access: Access, at: float) -> None:
        low, high = _extent(access)
        parts = self._ready.setdefault(access.buffer, [])
        if high - low == access.rows * access.cols:  # every element between is replaced
            parts[:] = [
                piece
                for first, last, when in parts
                for piece in ((first, min(last, low), when), (max(first, high), last, when))
                if piece[0] < piece[1]
            ]
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
        if sum(times for _, times in flat_steps(own, 1)) <= MAX_CHAIN_STEPS:
            for step in unrolled(own, {}):
                read, written = list(reads(step)), list(writes(step))
                begin = max([0.0, *(chain.read(access) for access in read)])
                end = begin + least_cycles(step, lowering.compressed, hardware)
                longest = max(longest, end)
                for access in written:
                    chain.write(access, end)
        paths[layer] = int(longest) * frames
    return paths


def critical_path(
    lowering: Lowering, hardware: Hardware, stream: Stream, state: Mapping[str, str]
) -> int:
    """Longest chain of a run, from the first load to the last store; 0 above 200,000 steps."""
    total = sum(times for _, times in flat_steps([step for _, step in lowering.steps], 1))
    if total > MAX_CHAIN_STEPS:
        return 0
    steps = list(unrolled([step for _, step in lowering.steps], {}))
    views, graph = lowering.views, lowering.compressed.graph

    def longest(sources: Sequence[str]) -> _Chain:
        chain = _Chain()
        for name in sources:
            view = views[name]
            size = int(np.prod(view.shape, dtype=np.int64))
            chain.write(Access(view.buffer, view.offset, 1, size, 0, 1), 0.0)
        for step in steps:
            read, written = list(reads(step)), list(writes(step))
            begin = max((chain.read(access) for access in read), default=-math.inf)
            if begin > -math.inf:
                for access in written:
                    chain.write(access, begin + least_cycles(step, lowering.compressed, hardware))
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
