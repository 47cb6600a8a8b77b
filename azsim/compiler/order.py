"""Order: the whole program as items, with tiles, transfers and stores in place.

Contract: takes lowered steps and the tile plan, gives a schedule in which every step has become
items, in the same order, and what stays is loaded at the start.  The loads of other tiles are
beside it, by name (`Schedule.loads`), for `azsim.compiler.prefetch` to place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from azsim.compiler.critical_path import flat_steps
from azsim.compiler.parameters import PARAMETERS, Parameters, has_one_scale, matmuls, scales_of
from azsim.compiler.schedule import (
    BLOCK_SUFFIX,
    DATA_SCALAR,
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    Storage,
    contiguous,
    part,
    rows_and_cols,
)
from azsim.compiler.tile import ALIGN_BYTES, Plan, Tile, element_width, packed_bytes
from azsim.isa.program import WAKE
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
    TensorView,
    Unary,
    Vector,
    rows_of,
)
from azsim.ops.steps import ELEMENT_BYTES, MAX_EXTENT, windows

__all__ = ["INPUT", "OUTPUT", "STARTUP", "STATE", "block_name", "order"]

STARTUP, INPUT, OUTPUT, STATE = "(startup)", "(input)", "(output)", "(state)"


def block_name(tile: Tile) -> str:
    """Name of a tile's compressed block in DRAM."""
    return f"{tile.name}{BLOCK_SUFFIX}"


def tile_window(tile: Tile, bits: int) -> Access:
    """Window over a tile in weight SRAM."""
    width = element_width(bits)
    per_byte = 8 // width
    cols = tile.k1 - tile.k0
    return Access(tile.name, 0, tile.n1 - tile.n0, cols, -(-cols // per_byte) * per_byte, 1)


class _Orderer:
    def __init__(
        self,
        lowering: Lowering,
        plan: Plan,
        parameters: Parameters,
        blocks: Mapping[str, bytes],
        accumulators: int,
    ) -> None:
        self.lowering = lowering
        self.plan = plan
        self.parameters = parameters
        self.blocks = blocks
        self.accumulators = accumulators
        self.storages: dict[str, Storage] = {}
        self._loops = 1000
        self._bias_buffers = {
            step.bias.buffer
            for step in matmuls(step for _, step in lowering.steps)
            if step.bias is not None and step.bias.buffer in parameters.offset_of
        }
        used = {step.weight for step in matmuls(step for _, step in lowering.steps)}
        self._scales = {
            weight: _scale_buffer(lowering, weight)
            for weight in sorted(used - parameters.offset_of.keys())
        }
        for buffer in lowering.buffers.values():
            if buffer.name not in self._bias_buffers:
                self.storages[buffer.name] = Storage(
                    buffer.name,
                    buffer.space,
                    buffer.dtype,
                    buffer.num_elements * ELEMENT_BYTES[buffer.dtype],
                    buffer.persistent,
                )
        size = 4 * parameters.values.size
        if size:
            self.storages[PARAMETERS] = Storage(PARAMETERS, "weight", "f32", size, True)
            self._dram(PARAMETERS, "f32", size)
        for tile in self._tiles():
            dtype, size = self._form(tile)
            is_pinned = tile.name in plan.pinned
            self.storages[tile.name] = Storage(tile.name, "weight", dtype, size, is_pinned)
            rows, cols = rows_and_cols(len(blocks[tile.name]))
            self._dram(block_name(tile), "u8", rows * cols, named=block_name(tile))

    def _form(self, tile: Tile) -> tuple[str, int]:
        """Element type and bytes of a tile in weight SRAM."""
        if tile.weight in self.plan.read:
            rows, cols = rows_and_cols(len(self.blocks[tile.name]))
            return "u8", -(-rows * cols // ALIGN_BYTES) * ALIGN_BYTES
        width = element_width(self.lowering.compressed.weights[tile.weight].bits)
        return f"i{width}", packed_bytes(tile.n1 - tile.n0, tile.k1 - tile.k0, width)

    def _window(self, tile: Tile) -> Access:
        """Window over a tile in weight SRAM: its dense matrix, or its block."""
        if tile.weight in self.plan.read:
            return contiguous(tile.name, len(self.blocks[tile.name]))
        return tile_window(tile, self.lowering.compressed.weights[tile.weight].bits)

    def _tiles(self) -> Iterator[Tile]:
        for tiles in self.plan.tiles.values():
            yield from tiles

    def _dram(self, name: str, dtype: str, size_bytes: int, named: str | None = None) -> str:
        full = named or f"{name}#dram"
        self.storages[full] = Storage(full, "dram", dtype, size_bytes, True)
        return full

    # ---- steps to items

    def step(self, step: Step, layer: str) -> list[Item | Repeat]:
        """Items of one step."""
        match step:
            case Leave(word):
                operands = {"src": word, "to": DATA_SCALAR}
                return [Item("scalar_read", layer, operands, leave=step)]
            case Loop(number, count, body, rounds):
                inner = [item for inner in body for item in self.step(inner, layer)]
                held = (t for t in self._tiles() if self.plan.held.get(t.name) == number)
                loads = [self._load_tile(tile, layer) for tile in held]
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
                self._loops += 1
                number = self._loops
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
            "src2": self._window(tile),
            "accumulate": int(tile.k0 > low),
        }
        product = Item("mac_matmul", layer, operands)
        if tile.k1 < high:
            return [product]
        is_last_segment = tile.segment == len(weight.segments) - 2
        spans = _spans(step, tile) if is_last_segment else [(tile.n0, tile.n1, "none")]
        if len(spans) == 1:
            return [product, self._drain(step, tile, spans[0], row, rows, layer)]
        items: list[Item] = []
        if tile.k0 > low or tile.weight in self.plan.read:
            # The product is of one piece: functions that differ come after the drain.
            whole = (tile.n0, tile.n1, "none")
            items += [product, self._drain(step, tile, whole, row, rows, layer)]
            for first, last, function in spans:
                if function != "none":
                    window = part(step.dst, row, rows, first, last - first)
                    applied = {"dst": window, "src": window, "function": function}
                    items.append(Item("vector_unary", layer, applied))
            return items
        for first, last, function in spans:
            rows_of_tile = part(
                self._window(tile), first - tile.n0, last - first, 0, tile.k1 - tile.k0
            )
            items += [
                replace(product, operands={**operands, "src2": rows_of_tile}),
                self._drain(step, tile, (first, last, function), row, rows, layer),
            ]
        return items

    def _drain(
        self, step: Matmul, tile: Tile, span: tuple[int, int, str], row: int, rows: int, layer: str
    ) -> Item:
        """Drain of some outputs of a product with a tile."""
        weight = self.lowering.compressed.weights[step.weight]
        first, last, function = span
        cols = last - first
        buffer = self._scales.get(step.weight, PARAMETERS)
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

    def _load_tile(self, tile: Tile, layer: str) -> Item:
        source = contiguous(block_name(tile), len(self.blocks[tile.name]))
        return Item("weight_load", layer, {"dst": self._window(tile), "src": source})

    # ---- the program

    def startup(self, state: Mapping[str, str], frames: int) -> list[Item | Repeat]:
        """Load what stays: parameters, constants, initial state, pinned tiles."""
        items: list[Item | Repeat] = []
        if self.parameters.values.size:
            window = contiguous(PARAMETERS, self.parameters.values.size)
            source = replace(window, buffer=f"{PARAMETERS}#dram")
            items.append(Item("load", STARTUP, {"dst": window, "src": source}))
        for buffer in self.lowering.buffers.values():
            is_loaded = buffer.constant is not None and buffer.space == "activation"
            if is_loaded and buffer.name not in self._bias_buffers:
                self._round_up(buffer.name, buffer.num_elements)
                window = contiguous(buffer.name, buffer.num_elements)
                source = self._dram(
                    buffer.name,
                    buffer.dtype,
                    window.rows * window.cols * ELEMENT_BYTES[buffer.dtype],
                )
                operands = {"dst": window, "src": replace(window, buffer=source)}
                items.append(Item("load", STARTUP, operands))
        for name in state:
            items.append(self._port_load(name, STARTUP, {}, 1, paced=False))
        pinned = [tile for tile in self._tiles() if tile.name in self.plan.pinned]
        weights = [self._load_tile(tile, STARTUP) for tile in pinned]
        if items and weights and frames > 1:  # a single frame's work is put in order as a whole
            # Two channels that take turns open each other's rows anew for every burst.
            weights[0] = replace(weights[0], operands={**weights[0].operands, "wait_load": 1})
        items += weights
        return items

    def _round_up(self, buffer: str, num_elements: int) -> None:
        rows, cols = rows_and_cols(num_elements)
        storage = self.storages[buffer]
        size_bytes = rows * cols * ELEMENT_BYTES[storage.dtype]
        self.storages[buffer] = replace(storage, size_bytes=size_bytes)

    def wake(self, state: Mapping[str, str], frames: int, utterances: int) -> list[Item | Repeat]:
        """Load the initial state once more behind the last frame of an utterance.

        A word of the input `WAKE` comes with each frame and says whether it is such a one.
        """
        self.storages[WAKE] = Storage(WAKE, "activation", "i32", ELEMENT_BYTES["i32"])
        source = self._dram(WAKE, "i32", frames * ELEMENT_BYTES["i32"], named=f"input {WAKE}")
        word = contiguous(WAKE, 1)
        flag = {"dst": word, "src": contiguous(source, 1, {FRAME_LOOP: 1})}
        leave = Leave(word, 0, stays=utterances / frames)
        asked = Item("scalar_read", WAKE, {"src": word, "to": DATA_SCALAR}, leave=leave)
        loads = [self._port_load(name, WAKE, {}, 1, paced=False) for name in state]
        self._loops += 2
        woken = Repeat(self._loops, 1, (asked, *loads), 1.0)
        # Around it a region in which both ways end with one fence, as those of operators have.
        return [Item("load", INPUT, flag), Repeat(self._loops - 1, 1, (woken,))]

    def _port_load(
        self, tensor: str, layer: str, advance: Mapping[int, int], frames: int, *, paced: bool
    ) -> Item:
        view = self.lowering.views[tensor]
        size = int(np.prod(view.shape, dtype=np.int64))
        if view.offset == 0:
            self._round_up(view.buffer, size)
        window = replace(contiguous(view.buffer, size), offset=view.offset)
        dtype = self.storages[view.buffer].dtype
        num_bytes = max(frames * size, window.rows * window.cols) * ELEMENT_BYTES[dtype]
        source = self._dram(tensor, dtype, num_bytes, named=f"input {tensor}")
        operands = {
            "dst": window,
            "src": replace(window, buffer=source, offset=0, advance=advance),
            "paced": int(paced),
        }
        return Item("load", layer, operands)

    def port_store(
        self, tensor: str, source: TensorView, layer: str, advance: Mapping[int, int], frames: int
    ) -> list[Item | Repeat]:
        """Items that store a tensor; through a contiguous copy if it is strided."""
        size = int(np.prod(source.shape, dtype=np.int64))
        dtype = self.storages[source.buffer].dtype
        items: list[Item | Repeat] = []
        window = rows_of(source)
        if window is None or (window.col_stride != 1 and window.cols > 1):
            target = self._packed(f"{tensor}#packed", source.shape, dtype)
            items += self._copy(target, source, layer)
            window = rows_of(target)
            assert window is not None
        num_bytes = max(1, frames * size) * ELEMENT_BYTES[dtype]
        target = self._dram(tensor, dtype, num_bytes, named=f"output {tensor}")
        is_dense = window.rows == 1 or window.row_stride == window.cols
        if is_dense and max(window.shape) > MAX_EXTENT:
            for first, rows, cols in _whole_rows(size):
                inside = Access(window.buffer, window.offset + first, rows, cols, cols, 1)
                outside = replace(inside, buffer=target, offset=first, advance=advance)
                items.append(Item("store", layer, {"dst": outside, "src": inside}))
            return items
        destination = replace(
            window, buffer=target, offset=0, row_stride=window.cols, col_stride=1, advance=advance
        )
        return [*items, Item("store", layer, {"dst": destination, "src": window})]

    def carry(self, state: Mapping[str, str]) -> list[Item | Repeat]:
        """Items that make this frame's results the next frame's state.

        A result may be a window of the old state (a delay line): it is put aside first.
        """
        views = self.lowering.views
        pairs = [(views[source], views[target]) for source, target in state.items()]
        carried = {old.buffer for old, _ in pairs}
        aside: list[Item | Repeat] = []
        items: list[Item | Repeat] = []
        for old, new in pairs:
            if (old.buffer, old.offset) == (new.buffer, new.offset) and new.is_contiguous:
                continue  # stays as it is
            if new.buffer in carried:
                put_aside = self._packed(
                    f"{new.buffer}#aside", new.shape, self.storages[new.buffer].dtype
                )
                aside += self._copy(put_aside, new, STATE)
                new = put_aside
            place = TensorView(old.buffer, old.offset, new.shape, _c_strides(new.shape))
            items += self._copy(place, new, STATE)
        return aside + items

    def _packed(self, name: str, shape: tuple[int, ...], dtype: str) -> TensorView:
        size = int(np.prod(shape, dtype=np.int64))
        buffer = self.lowering.buffer(name, dtype, size)
        self.storages[buffer] = Storage(buffer, "activation", dtype, size * ELEMENT_BYTES[dtype])
        return TensorView(buffer, 0, shape, _c_strides(shape))

    def _copy(self, target: TensorView, source: TensorView, layer: str) -> list[Item | Repeat]:
        before = len(self.lowering.steps)
        self.lowering.elementwise(Copy, target, source)
        steps = [step for _, step in self.lowering.steps[before:]]
        del self.lowering.steps[before:]
        return [item for step in steps for item in self.step(step, layer)]


def _scale_buffer(lowering: Lowering, weight: str) -> str:
    """Place the scales of a weight that have no place among the parameters, as a constant."""
    scales = scales_of(lowering.compressed.weights[weight]).reshape(-1)
    return lowering.buffer(f"{weight}#scales", "f32", scales.size, constant=scales)


def _whole_rows(size: int) -> Iterator[tuple[int, int, int]]:
    """First element, rows and columns of windows that show neighbours, as long as they may be."""
    rows, left = divmod(size, MAX_EXTENT)
    if rows:
        yield 0, rows, MAX_EXTENT
    if left:
        yield rows * MAX_EXTENT, 1, left


def _c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))


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
    graph = lowering.compressed.graph
    orderer = _Orderer(lowering, plan, parameters, blocks, accumulators)
    for name in state:
        view = lowering.views[name]
        orderer.storages[view.buffer] = replace(orderer.storages[view.buffer], persistent=True)
    startup = orderer.startup(state, frames)
    body: list[Item | Repeat] = []
    used = _use_of_buffers(lowering.steps)
    arriving: dict[int, list[Item | Repeat]] = {}
    for name, kind in graph.inputs.items():
        if name in state or name not in lowering.views:
            continue
        advance = {FRAME_LOOP: kind.num_elements} if frames > 1 else {}
        load = orderer._port_load(name, INPUT, advance, frames, paced=not arriving)
        # The frame begins with its first load; the others come when they are wanted.
        first, _ = used.get(lowering.views[name].buffer, (0, 0))
        arriving.setdefault(first if arriving else 0, []).append(load)
    stores: dict[int, list[Item | Repeat]] = {}
    for name in graph.outputs:
        if name not in state.values():
            view = lowering.views[name]
            advance = {FRAME_LOOP: graph.types[name].num_elements} if frames > 1 else {}
            _, last = used.get(view.buffer, (0, 0))
            store = orderer.port_store(name, view, OUTPUT, advance, frames)
            stores.setdefault(last, []).extend(store)
    for number, (layer, step) in enumerate(lowering.steps):
        body += arriving.get(number, [])
        body += orderer.step(step, layer)
        body += stores.get(number, [])
    if not lowering.steps:
        body += [*arriving.get(0, []), *stores.get(0, [])]
    body += orderer.carry(state)
    if utterances > 1:
        body += orderer.wake(state, frames, utterances)
    finish: list[Item | Repeat] = []
    for source, target in state.items():
        shape = lowering.views[target].shape
        view = replace(lowering.views[source], shape=shape, strides=_c_strides(shape))
        finish += orderer.port_store(target, view, STATE, {}, 1)
    loads = {
        tile.name: orderer._load_tile(tile, STARTUP)
        for tile in orderer._tiles()
        if tile.name not in plan.pinned and tile.name not in plan.held
    }
    return Schedule(tuple(startup), tuple(body), tuple(finish), frames, orderer.storages, loads)
