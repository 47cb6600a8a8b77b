"""Storages: what memory buffers, parameters, tiles and their compressed blocks need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from azsim.compiler.parameters import PARAMETERS, Parameters, scales_of
from azsim.compiler.schedule import BLOCK_SUFFIX, Item, Storage, contiguous, rows_and_cols
from azsim.compiler.tile import ALIGN_BYTES, Plan, Tile, element_width, matmuls, packed_bytes
from azsim.ops.lowering import Access, Lowering, TensorView
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["Storages", "block_name", "c_strides"]


def block_name(tile: Tile) -> str:
    """Name of a tile's compressed block in DRAM."""
    return f"{tile.name}{BLOCK_SUFFIX}"


def _tile_window(tile: Tile, bits: int) -> Access:
    """Window over a tile in weight SRAM."""
    width = element_width(bits)
    per_byte = 8 // width
    cols = tile.k1 - tile.k0
    return Access(tile.name, 0, tile.n1 - tile.n0, cols, -(-cols // per_byte) * per_byte, 1)


class Storages:
    """Storages of a program, as they are found out while it is put in order.

    Attributes
    ----------
    by_name : dict of str to Storage
    bias_buffers : set of str
        Buffers of biases that lie among the parameters.
    scale_buffers : dict of str to str
        By weight, the buffer of scales that have no place among the parameters.
    """

    def __init__(
        self, lowering: Lowering, plan: Plan, parameters: Parameters, blocks: Mapping[str, bytes]
    ) -> None:
        self._lowering = lowering
        self._plan = plan
        self._blocks = blocks
        self.by_name: dict[str, Storage] = {}
        self.bias_buffers = {
            step.bias.buffer
            for step in matmuls(step for _, step in lowering.steps)
            if step.bias is not None and step.bias.buffer in parameters.offset_of
        }
        used = {step.weight for step in matmuls(step for _, step in lowering.steps)}
        self.scale_buffers = {
            weight: _scale_buffer(lowering, weight)
            for weight in sorted(used - parameters.offset_of.keys())
        }
        for buffer in lowering.buffers.values():
            if buffer.name not in self.bias_buffers:
                self.by_name[buffer.name] = Storage(
                    buffer.name,
                    buffer.space,
                    buffer.dtype,
                    buffer.num_elements * ELEMENT_BYTES[buffer.dtype],
                    buffer.persistent,
                )
        size = 4 * parameters.values.size
        if size:
            self.by_name[PARAMETERS] = Storage(PARAMETERS, "weight", "f32", size, True)
            self.add_dram(PARAMETERS, "f32", size)
        for tile in self.tiles():
            dtype, size = self._form(tile)
            is_pinned = tile.name in plan.pinned
            self.by_name[tile.name] = Storage(tile.name, "weight", dtype, size, is_pinned)
            rows, cols = rows_and_cols(len(blocks[tile.name]))
            self.add_dram(block_name(tile), "u8", rows * cols, named=block_name(tile))

    def _form(self, tile: Tile) -> tuple[str, int]:
        """Element type and bytes of a tile in weight SRAM."""
        if tile.weight in self._plan.read:
            rows, cols = rows_and_cols(len(self._blocks[tile.name]))
            return "u8", -(-rows * cols // ALIGN_BYTES) * ALIGN_BYTES
        width = element_width(self._lowering.compressed.weights[tile.weight].bits)
        return f"i{width}", packed_bytes(tile.n1 - tile.n0, tile.k1 - tile.k0, width)

    def window(self, tile: Tile) -> Access:
        """Window over a tile in weight SRAM: its dense matrix, or its block."""
        if tile.weight in self._plan.read:
            return contiguous(tile.name, len(self._blocks[tile.name]))
        return _tile_window(tile, self._lowering.compressed.weights[tile.weight].bits)

    def tiles(self) -> Iterator[Tile]:
        """Yield the tiles of all weights."""
        for tiles in self._plan.tiles.values():
            yield from tiles

    def add_dram(self, name: str, dtype: str, size_bytes: int, named: str | None = None) -> str:
        """Give something a place in DRAM; returns its name there."""
        full = named or f"{name}#dram"
        self.by_name[full] = Storage(full, "dram", dtype, size_bytes, True)
        return full

    def load_tile(self, tile: Tile, layer: str) -> Item:
        """Item that brings a tile to weight SRAM."""
        source = contiguous(block_name(tile), len(self._blocks[tile.name]))
        return Item("weight_load", layer, {"dst": self.window(tile), "src": source})

    def round_up(self, buffer: str, num_elements: int) -> None:
        """Let a buffer have room for whole rows of a transfer."""
        rows, cols = rows_and_cols(num_elements)
        storage = self.by_name[buffer]
        size_bytes = rows * cols * ELEMENT_BYTES[storage.dtype]
        self.by_name[buffer] = replace(storage, size_bytes=size_bytes)

    def add_packed(self, name: str, shape: tuple[int, ...], dtype: str) -> TensorView:
        """Add a contiguous tensor in activation SRAM."""
        size = int(np.prod(shape, dtype=np.int64))
        buffer = self._lowering.buffer(name, dtype, size)
        self.by_name[buffer] = Storage(buffer, "activation", dtype, size * ELEMENT_BYTES[dtype])
        return TensorView(buffer, 0, shape, c_strides(shape))


def _scale_buffer(lowering: Lowering, weight: str) -> str:
    """Place the scales of a weight that have no place among the parameters, as a constant."""
    scales = scales_of(lowering.compressed.weights[weight]).reshape(-1)
    return lowering.buffer(f"{weight}#scales", "f32", scales.size, constant=scales)


def c_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of a contiguous tensor, in elements."""
    return tuple(int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape)))
