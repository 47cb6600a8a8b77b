"""Order: the whole program as items, with tiles, transfers and stores in place.

Contract: takes lowered steps and the tile plan, gives a schedule in which every step has become
items, in the same order, and what stays is loaded at the start.  The loads of other tiles are
beside it, by name (`Schedule.loads`), for `azsim.compiler.prefetch` to place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from azsim.compiler.critical_path import flat_steps
from azsim.compiler.edges import INPUT, OUTPUT, STARTUP, STATE, Edges
from azsim.compiler.parameters import PARAMETERS, Parameters, has_one_scale
from azsim.compiler.schedule import (
    DATA_SCALAR,
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    part,
)
from azsim.compiler.storages import Storages, c_strides
from azsim.compiler.tile import Plan, Tile
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
from azsim.ops.steps import ELEMENT_BYTES, is_region, reads, windows

__all__ = ["order"]

_LEAST_PART_BYTES = 256
"""Of a frame that comes in two loads; what is shorter is mostly latency."""
_LEAST_REST_BYTES = 4096
"""Behind the first row of a frame whose loop is not peeled, so that it is worth another latency."""
_FIRST_LOOP = 1001
"""Number of the first loop that is none of an operator's."""


@dataclass
class _Orderer:
    """Turns steps into items."""

    lowering: Lowering
    plan: Plan
    parameters: Parameters
    storages: Storages
    accumulators: int
    loop_numbers: Iterator[int] = field(default_factory=lambda: itertools.count(_FIRST_LOOP))

    def step(self, step: Step, layer: str) -> list[Item | Repeat]:
        """Items of one step."""
        match step:
            case Leave(word):
                operands = {"src": word, "to": DATA_SCALAR}
                return [Item("scalar_read", layer, operands, leave=step)]
            case Loop(number, count, body, rounds):
                inner = [item for inner in body for item in self.step(inner, layer)]
                held = (t for t in self.storages.tiles() if self.plan.held.get(t.name) == number)
                loads = [self.storages.load_tile(tile, layer) for tile in held]
                return [*loads, Repeat(number, count, tuple(inner), rounds)]
            case Copy(dst, src):
                return [Item("vector_copy", layer, {"dst": dst, "src": src})]
            case Fill(dst, value):
                return [Item("vector_fill", layer, {"dst": dst, "value": value})]
            case Unary(function, dst, src):
                operands = {"dst": dst, "src": src, "function": function}
                return [Item("vector_unary", layer, operands)]
            case Binary(function, dst, left, right):
                operands = {"dst": dst, "src": left, "src2": right, "function": function}
                return [Item("vector_binary", layer, operands)]
            case Quantize(dst, src, scale, static):
                operands = {"dst": dst, "src": src, "scale": scale, "static": int(static)}
                return [Item("vector_quantize", layer, operands)]
            case Vector(mnemonic, operands):
                return [Item(mnemonic, layer, operands)]
            case Product():
                return self._computed_product(step, layer)
            case Matmul():
                return self._matmul(step, layer)

    def _computed_product(self, step: Product, layer: str) -> list[Item | Repeat]:
        """As many rows and outputs at a time as there are accumulators."""
        rows, outputs = step.dst.shape
        cols = min(outputs, self.accumulators)
        height = min(rows, max(1, self.accumulators // cols))
        items: list[Item | Repeat] = []
        for row, col in itertools.product(range(0, rows, height), range(0, outputs, cols)):
            block = min(height, rows - row), min(cols, outputs - col)
            inner = step.codes.cols
            scale = step.scale if step.scale.rows == 1 else part(step.scale, row, block[0], 0, 1)
            operands: dict[str, Access | int | float | str] = {
                "src": part(step.codes, row, block[0], 0, inner),
                "src2": part(step.other, col, block[1], 0, inner),
            }
            drained: dict[str, Access | int | float | str] = {
                "dst": part(step.dst, row, block[0], col, block[1]),
                "src": scale,
                "scale": part(step.other_scale, 0, 1, col, block[1]),
                "accumulate": int(step.accumulate),
            }
            items += [Item("mac_matmul", layer, operands), Item("mac_drain", layer, drained)]
        return items

    def _matmul(self, step: Matmul, layer: str) -> list[Item | Repeat]:
        tiles = self.plan.tiles[step.weight]
        rows, m_tile = step.codes.rows, min(step.codes.rows, self.plan.m_tile[step.weight])
        weight = self.lowering.compressed.weights[step.weight]
        split_k = len(tiles) > 1 and any(
            (tile.k0, tile.k1) != (weight.segments[tile.segment], weight.segments[tile.segment + 1])
            for tile in tiles
        )
        groups = [tiles] if split_k else [(tile,) for tile in tiles]
        items: list[Item | Repeat] = []
        for group in groups:
            blocks = rows // m_tile
            if blocks > 1:
                number = next(self.loop_numbers)
                moved = _moved_rows(step, number, m_tile)
                body = [
                    item for tile in group for item in self._tile(moved, tile, 0, m_tile, layer)
                ]
                items.append(Repeat(number, blocks, tuple(body)))
            else:
                items += [
                    item for tile in group for item in self._tile(step, tile, 0, m_tile, layer)
                ]
            if rest := rows - blocks * m_tile:
                items += [
                    item
                    for tile in group
                    for item in self._tile(step, tile, blocks * m_tile, rest, layer)
                ]
        return items

    def _tile(self, step: Matmul, tile: Tile, row: int, rows: int, layer: str) -> list[Item]:
        weight = self.lowering.compressed.weights[step.weight]
        low, high = weight.segments[tile.segment : tile.segment + 2]
        operands: dict[str, Access | int | float | str] = {
            "src": part(step.codes, row, rows, tile.k0, tile.k1 - tile.k0),
            "src2": self.storages.window(tile),
            "accumulate": int(tile.k0 > low),
        }
        product = Item("mac_matmul", layer, operands)
        if tile.k1 < high:
            return [product]
        is_last_segment = tile.segment == len(weight.segments) - 2
        spans = _spans(step, tile) if is_last_segment else [(tile.n0, tile.n1, "none")]
        return [product, *(self._drain(step, tile, span, row, rows, layer) for span in spans)]

    def _drain(
        self, step: Matmul, tile: Tile, span: tuple[int, int, str], row: int, rows: int, layer: str
    ) -> Item:
        """Drain of some outputs of a product with a tile."""
        weight = self.lowering.compressed.weights[step.weight]
        first, last, function = span
        cols = last - first
        buffer = self.storages.scale_buffers.get(step.weight, PARAMETERS)
        offset = self.parameters.offset_of.get(step.weight, 0)
        if has_one_scale(weight):
            scale = Access(buffer, offset, 1, cols, 0, 0)
        else:
            start = offset + tile.segment * weight.codes.shape[0] + first
            scale = Access(buffer, start, 1, cols, 0, 1)
        one_scale = step.scale.rows == 1
        operands: dict[str, Access | int | float | str] = {
            "dst": part(step.dst, row, rows, first, cols),
            "src": step.scale if one_scale else part(step.scale, row, rows, 0, 1),
            "scale": scale,
            "accumulate": int(step.accumulate or tile.segment > 0),
        }
        if first > tile.n0:  # of one row, as only that has several functions
            operands["acc"] = first - tile.n0
        if tile.segment == len(weight.segments) - 2:
            operands["function"] = function
            if step.bias is not None:
                place = self.parameters.offset_of.get(step.bias.buffer)
                start = (place or 0) + step.bias.offset + first
                buffer = step.bias.buffer if place is None else PARAMETERS
                operands["bias"] = Access(buffer, start, 1, cols, 0, step.bias.col_stride)
                operands["use_bias"] = 1
        if step.code_scale is not None:
            operands |= {"code_scale": step.code_scale, "requantize": 1}
        return Item("mac_drain", layer, operands)


def _spans(step: Matmul, tile: Tile) -> list[tuple[int, int, str]]:
    """Outputs [first, last) of a tile with the function that each gets."""
    spans: list[tuple[int, int, str]] = []
    at = tile.n0
    for first, last, function in step.functions:
        low, high = max(first, tile.n0), min(last, tile.n1)
        if low < high:
            spans += [(at, low, "none")] if at < low else []
            spans.append((low, high, function))
            at = high
    return [*spans, (at, tile.n1, step.function)] if at < tile.n1 else spans


def _moved_rows(step: Matmul, number: int, m_tile: int) -> Matmul:
    """Let a matrix product's row windows advance with a loop over row blocks."""

    def moving(access: Access) -> Access:
        return replace(access, advance={**access.advance, number: m_tile * access.row_stride})

    return replace(
        step,
        codes=moving(step.codes),
        dst=moving(step.dst),
        scale=step.scale if step.scale.rows == 1 else moving(step.scale),
    )


def _use_of_buffers(steps: Sequence[tuple[str, Step]]) -> dict[str, tuple[int, int]]:
    """Number of the first and the last step that touches each buffer."""
    used: dict[str, tuple[int, int]] = {}
    for number, (_, step) in enumerate(steps):
        for inner, _ in flat_steps([step], 1):
            for window in windows(inner).values():
                first, _ = used.get(window.buffer, (number, number))
                used[window.buffer] = first, number
    return used


def order(
    lowering: Lowering,
    plan: Plan,
    parameters: Parameters,
    blocks: Mapping[str, bytes],
    frames: int,
    state: Mapping[str, str],
    accumulators: int,
    utterances: int = 1,
) -> Schedule:
    """Put the whole program in order.

    Parameters
    ----------
    lowering, plan, parameters
        From the passes before.
    blocks : mapping of str to bytes
        Compressed block of each tile, by tile name.
    frames : int
        How often the graph runs.
    state : mapping of str to str
        Carried tensors, graph input to graph output.
    accumulators : int
        Of the array.
    utterances : int
        Parts of the stream; with more than one each frame asks whether the next one is another's.
    """
    storages = Storages(lowering, plan, parameters, blocks)
    for name in state:
        buffer = lowering.views[name].buffer
        storages.by_name[buffer] = replace(storages.by_name[buffer], persistent=True)
    orderer = _Orderer(lowering, plan, parameters, storages, accumulators)
    edges = Edges(lowering, plan, parameters, storages, orderer.step, orderer.loop_numbers)
    startup = edges.startup(state, frames)
    used = _use_of_buffers(lowering.steps)
    arriving = _loads_of_inputs(edges, used, frames, state, plan)
    stores = _stores_of_outputs(edges, used, frames, state)
    carried, last = _carried(edges, used, state)
    body: list[Item | Repeat] = []
    for number, (layer, step) in enumerate(lowering.steps):
        body += arriving.get(number, [])
        body += orderer.step(step, layer)
        body += stores.get(number, [])
        body += carried.get(number, [])
    if not lowering.steps:
        body += [*arriving.get(0, []), *stores.get(0, [])]
    body += last
    if utterances > 1:
        word, woken = edges.wake(state, frames, utterances)
        body = [body[0], word, *body[1:], woken]  # the frame begins with its first load
    finish: list[Item | Repeat] = []
    for source, target in state.items():
        shape = lowering.views[target].shape
        view = replace(lowering.views[source], shape=shape, strides=c_strides(shape))
        finish += edges.port_store(target, view, STATE, {}, 1)
    loads = {
        tile.name: storages.load_tile(tile, STARTUP)
        for tile in storages.tiles()
        if tile.name not in plan.pinned and tile.name not in plan.held
    }
    return Schedule(tuple(startup), tuple(body), tuple(finish), frames, storages.by_name, loads)


_ByStep = dict[int, list[Item | Repeat]]


def _loads_of_inputs(
    edges: Edges,
    used: Mapping[str, tuple[int, int]],
    frames: int,
    state: Mapping[str, str],
    plan: Plan,
) -> _ByStep:
    """Loads of a frame's inputs, by the number of the step that they come before."""
    lowering = edges.lowering
    loads: _ByStep = {}
    for name, kind in lowering.compressed.graph.inputs.items():
        if name in state or name not in lowering.views:
            continue
        advance = {FRAME_LOOP: kind.num_elements} if frames > 1 else {}
        load = edges.port_load(name, INPUT, advance, frames, paced=not loads)
        # The frame begins with its first load; the others come when they are wanted.
        first, _ = used.get(lowering.views[name].buffer, (0, 0))
        parts = [load] if loads else _parts(load, lowering, plan)
        loads.setdefault(first if loads else 0, []).extend(parts)
    return loads


def _parts(load: Item, lowering: Lowering, plan: Plan) -> list[Item]:
    """Loads of the first row of a frame and of the rest, or the load as it is.

    The first row is worked at while those behind it come: where a loop is peeled, see
    `azsim.compiler.peel`, or where many bytes are behind it and no weights have to come meanwhile.
    """
    source, target = load.operands["src"], load.operands["dst"]
    assert isinstance(source, Access)
    assert isinstance(target, Access)
    steps = [step for _, outer in lowering.steps for step, _ in flat_steps([outer], 1)]
    readers = [step for step in steps if target.buffer in {one.buffer for one in reads(step)}]
    if len(readers) != 1 or not isinstance(readers[0], Quantize) or target.rows > 1:
        return [load]
    codes, rows = readers[0].dst, readers[0].src
    first_bytes = rows.cols * ELEMENT_BYTES[lowering.buffers[rows.buffer].dtype]
    is_dense = rows.row_stride == rows.cols and rows.col_stride == 1
    is_all = (rows.offset, rows.rows * rows.cols) == (target.offset, target.cols)
    products = [
        step for step in steps if isinstance(step, Matmul) and step.codes.buffer == codes.buffer
    ]
    is_peeled = any(step.accumulate and step.codes == replace(codes, rows=1) for step in products)
    tiles = {tile.name for step in products for tile in plan.tiles[step.weight]}
    rest_bytes = first_bytes * (rows.rows - 1)
    is_long = rest_bytes >= _LEAST_REST_BYTES and tiles <= plan.pinned
    is_worth = first_bytes >= _LEAST_PART_BYTES and readers[0].scale.rows > 1
    if not (is_dense and is_all and is_worth and (is_peeled or is_long)):
        return [load]
    return [
        replace(
            load,
            operands={
                "dst": part(target, 0, 1, first, count),
                "src": part(source, 0, 1, first, count),
                "paced": int(first == 0 and bool(load.operands["paced"])),
            },
        )
        for first, count in ((0, rows.cols), (rows.cols, target.cols - rows.cols))
    ]


def _carried(
    edges: Edges, used: Mapping[str, tuple[int, int]], state: Mapping[str, str]
) -> tuple[_ByStep, list[Item | Repeat]]:
    """What makes results the next frame's state, by the number of the step that it comes behind.

    That is in front of a region if it can be: nothing moves through one, and what data decides is
    mostly the end of a frame.  All else is behind the last step.
    """
    regions = [n for n, (_, step) in enumerate(edges.lowering.steps) if is_region(step)]
    early: _ByStep = {}
    last: list[Item | Repeat] = []
    for buffers, items in edges.carry(state):
        at = max((used.get(buffer, (0, 0))[1] for buffer in buffers), default=None)
        if at is not None and any(at < region for region in regions):
            early.setdefault(at, []).extend(items)
        else:
            last += items
    return early, last


def _stores_of_outputs(
    edges: Edges, used: Mapping[str, tuple[int, int]], frames: int, state: Mapping[str, str]
) -> _ByStep:
    """Stores of a frame's outputs, by the number of the step that they come behind."""
    lowering, graph = edges.lowering, edges.lowering.compressed.graph
    stores: _ByStep = {}
    for name in graph.outputs:
        if name not in state.values():
            view = lowering.views[name]
            advance = {FRAME_LOOP: graph.types[name].num_elements} if frames > 1 else {}
            _, last = used.get(view.buffer, (0, 0))
            stores.setdefault(last, []).extend(
                edges.port_store(name, view, OUTPUT, advance, frames)
            )
    return stores
