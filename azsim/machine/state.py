"""The architectural state: memories, views, accumulators, and what the weight SRAM holds.

Blocks of compressed weights are decoded from the DRAM image on first use.  The decoded tile is
kept by its address and length for as long as nothing writes to those bytes, so that a weight that
streams once a frame is decoded once; the SRAM gets its packed bytes when something reads them.  A
chip that decodes at read has the blocks in weight SRAM, and they are decoded from there; the tile
is kept by the block's bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from azsim.errors import CodecError, MachineError
from azsim.hardware.description import Hardware
from azsim.isa.program import DramImage, Program
from azsim.machine.blocks import BlockDecoder
from azsim.machine.dram import Contents
from azsim.machine.tile import Tile, digest_of, one_block, pack, unpack
from azsim.machine.view import View
from azsim.machine.window import Window, Windows, check_aligned

__all__ = [
    "NUMPY_TYPES",
    "NUM_SCALARS",
    "NUM_VIEWS",
    "Machine",
    "Resident",
    "memory_sizes",
    "place",
]

NUM_VIEWS = 256
_ALIGNED = 64
NUM_SCALARS = 32
NUMPY_TYPES = {
    "u8": np.uint8,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "f32": np.float32,
}


@dataclass(slots=True)
class Resident:
    """A tile that weight SRAM is known to hold, in bytes [low, high).

    Attributes
    ----------
    view : View
    tile : Tile
    low, high : int
    is_pending : bool
        Whether its bytes have still to be written: nothing has asked for them so far.
    """

    view: View
    tile: Tile
    low: int
    high: int
    is_pending: bool = False


class _Shown(NamedTuple):
    """A window that has moved: its view, and its memory if it lies inside the region."""

    window: Window
    offset_bytes: int
    view: View
    array: np.ndarray | None


_Decoding = tuple[int, int, int, int, int]
"""Address and bytes of a block; rows, columns and bits of its tile."""


def _decoding(source: View, target: View) -> _Decoding:
    size = source.rows * source.cols
    return source.addr, size, target.rows, target.cols, target.element_bits


def memory_sizes(image: DramImage, hardware: Hardware) -> dict[str, int]:
    """Bytes of each memory."""
    return {
        "dram": image.data.size,
        "weight": hardware.weight_sram.bytes,
        "activation": hardware.activation_sram.bytes,
    }


class Machine:
    """Memories and registers of one chip that runs one program.

    Attributes
    ----------
    arena : ndarray of uint8
        All memories, one after another.
    base : dict of str to int
        Where each memory begins in the arena; a multiple of 64.
    memory : dict of str to ndarray of uint8
        ``dram``, ``weight``, ``activation``; bytes of DRAM where `dram` was told of them.
    dram : Contents
    accumulators : ndarray of int32
    window_table : Windows
        May be that of earlier machines with memories of the same sizes, as may be the arena.
    windows : list of Window or None
        What each view register was set to.
    offsets : list of int
        Bytes by which each register has moved since.
    scalars : list of int
        int32 registers of the sequencer; the first one stays 0.
    epoch : int
        Counts ``view`` instructions: while it stands still, views only moved.
    blocks_version : int
        Counts stores to bytes of blocks that were decoded.
    blocks : tuple of (int, int)
        Bytes of DRAM in which all blocks lie that were decoded.
    resident : dict
        Tiles that weight SRAM is known to hold, by `place`.
    """

    def __init__(
        self,
        program: Program,
        image: DramImage,
        hardware: Hardware,
        window_table: Windows | None = None,
        arena: np.ndarray | None = None,
    ) -> None:
        sizes = memory_sizes(image, hardware)
        starts = np.cumsum([0, *(-(-size // _ALIGNED) * _ALIGNED for size in sizes.values())])
        self.base = dict(zip(sizes, starts.tolist(), strict=False))
        if arena is None:
            self.arena = np.zeros(starts[-1], np.uint8)
        else:
            self.arena = arena
            self.arena[self.base["weight"] :] = 0
        self.memory = {
            name: self.arena[self.base[name] : self.base[name] + size]
            for name, size in sizes.items()
        }
        self.dram = Contents(self.memory["dram"], image.data)
        self.accumulators = np.zeros(hardware.mac.accumulators, np.int32)
        self.window_table = Windows(program, sizes) if window_table is None else window_table
        self.windows: list[Window | None] = [None] * NUM_VIEWS
        self.offsets = [0] * NUM_VIEWS
        self._shown: list[_Shown | None] = [None] * NUM_VIEWS
        self.scalars = [0] * NUM_SCALARS
        self.epoch = 0
        self.blocks_version = 0
        self._decoder = BlockDecoder(hardware)
        self._lines = np.empty((0, 0), np.float32)
        self._decoded: dict[_Decoding, Tile] = {}
        self.blocks = (image.data.size, 0)
        self.resident: dict[tuple[int, int, int], Resident] = {}
        self._has_pending = False
        self._read: dict[bytes, Tile] = {}
        self._unmoved: dict[Window, _Shown] = {}

    def lines(self, count: int, size: int) -> np.ndarray:
        """Scratch for compiled loops: (count, size or more) float32."""
        if self._lines.shape[0] < count or self._lines.shape[1] < size:
            self._lines = np.empty((count, size), np.float32)
        return self._lines

    # ---- views

    def set_view(self, number: int, view: View, index: int) -> None:
        """Execute a ``view`` instruction at `index`."""
        self.epoch += 1
        self.windows[number], self.offsets[number] = self.window_table.of(number, view, index), 0

    def place_view(self, number: int, offset_bytes: int, index: int) -> int:
        """Execute a ``view_at`` instruction at `index`; returns the address."""
        self.view(number, index)
        self.offsets[number] = offset_bytes
        return self.view(number, index).addr

    def step_view(self, number: int, step_bytes: int, index: int) -> None:
        """Execute a ``view_step`` instruction at `index`."""
        self.view(number, index)
        self.offsets[number] += step_bytes
        self.view(number, index)

    def _show(self, number: int, window: Window, offset_bytes: int, index: int) -> _Shown:
        view = window.stepped(offset_bytes)
        memory = self.memory[view.space]
        # A view may step one stride past its region at the end of a loop; only using it there is
        # an error, so out-of-range windows have no array.
        if not window.is_inside(offset_bytes):
            array = None
        elif view.element_bits >= 8:
            check_aligned(number, window, offset_bytes, index)
            size = view.element_bits // 8
            array = np.ndarray(
                (view.rows, view.cols),
                NUMPY_TYPES[view.dtype],
                memory.data,
                view.addr,
                (view.row_stride * size, view.col_stride * size),
            )
        else:
            array = memory[window.low + offset_bytes : window.high + offset_bytes]
        return _Shown(window, offset_bytes, view, array)

    def _now(self, number: int, index: int) -> _Shown:
        """What a register shows, with the bytes that it has moved."""
        window, offset_bytes = self.windows[number], self.offsets[number]
        if window is None:
            raise MachineError(f"instruction {index}: view v{number} was never set")
        shown = self._shown[number]
        if shown is None or shown.window is not window or shown.offset_bytes != offset_bytes:
            shown = None if offset_bytes else self._unmoved.get(window)
            if shown is None:
                shown = self._show(number, window, offset_bytes, index)
                if not offset_bytes:
                    self._unmoved[window] = shown
            self._shown[number] = shown
        return shown

    def view(self, number: int, index: int) -> View:
        """Return the view that a register holds."""
        return self._now(number, index).view

    def array(self, number: int, index: int) -> np.ndarray:
        """Return the memory that a view shows."""
        array, view = self._inside(number, index), self.view(number, index)
        if view.space == "dram":
            self.dram.touch(*view.extent())
        elif self._has_pending and view.space == "weight":
            self._settle()
        return array

    def table(self, number: int, index: int) -> np.ndarray:
        """Return the memory that a view of DRAM shows; `dram` has to be told of rows to touch."""
        return self._inside(number, index)

    def _inside(self, number: int, index: int) -> np.ndarray:
        window, _, view, array = self._now(number, index)
        if array is None:
            low, high = view.extent()
            region = window.region
            limit = (
                f"region '{region.name}' [{region.start_bytes:#x}, "
                f"{region.start_bytes + region.size_bytes:#x})"
                if region
                else f"{len(self.memory[view.space])} bytes"
            )
            raise MachineError(
                f"instruction {index}: view v{number} reaches {view.space} bytes "
                f"[{low:#x}, {high:#x}), outside its {limit}"
            )
        return array

    def check_live(self, window: Window | None, index: int) -> None:
        """Raise if a window's region is not alive at an instruction."""
        if window is not None:
            window.check_live(index)

    # ---- compressed weights

    def fetch_tile(self, source: View, target: View, index: int) -> Tile:
        """Decode the block that `source` shows, for the matrix shape of `target`."""
        key = _decoding(source, target)
        tile = self._decoded.get(key)
        if tile is None:
            window = self.dram.read(source.addr, source.addr + key[1]).tobytes()
            where = f"instruction {index}: block at DRAM {source.addr:#x}"
            try:
                tile = self._decoder.at_fill(one_block(window), target, where)
            except CodecError as error:
                raise CodecError(f"{where}: {error}") from error
            self._remember(key, tile)
        return tile

    def _remember(self, key: _Decoding, tile: Tile) -> None:
        self._decoded[key] = tile
        (low, high), (address, size, *_) = self.blocks, key
        self.blocks = min(low, address), max(high, address + size)

    def fetch_known(self, source: View, target: View, tile: Tile) -> bool:
        """Whether `source` shows the block that a tile for such a `target` was decoded from.

        The machine may take the tile then as what it has decoded itself.
        """
        key = _decoding(source, target)
        if key in self._decoded:
            return self._decoded[key] is tile
        window = self.dram.read(source.addr, source.addr + key[1]).tobytes()
        if not window.startswith(tile.encoded) or any(window[len(tile.encoded) :]):
            return False
        self._remember(key, tile)
        return True

    def place_tile(self, target: View, tile: Tile, number: int, index: int) -> None:
        """Put a decoded tile into weight SRAM; its packed bytes are written when they are read."""
        self._inside(number, index)
        self.keep(Resident(target, tile, *target.extent(), is_pending=True))

    def keep(self, entry: Resident) -> None:
        """Remember a tile that was put into weight SRAM."""
        if entry.view.num_bytes != entry.high - entry.low:
            self._settle()  # between its rows something else may lie
        self.forget("weight", entry.low, entry.high)
        self.resident[place(entry.view)] = entry
        self._has_pending |= entry.is_pending

    def _settle(self) -> None:
        """Write the bytes of all tiles that were only remembered so far."""
        self._has_pending = False
        for entry in self.resident.values():
            self._write(entry)

    def settle(self, low: int, high: int) -> None:
        """Make sure that bytes of weight SRAM are written that lie in [low, high)."""
        if self._has_pending and any(
            entry.is_pending and entry.low < high and low < entry.high
            for entry in self.resident.values()
        ):
            self._settle()

    def _write(self, entry: Resident) -> None:
        if not entry.is_pending:
            return
        entry.is_pending = False
        view, memory = entry.view, self.memory["weight"]
        packed = pack(entry.tile.codes, view.element_bits)
        if view.element_bits >= 8:
            strides = (view.row_stride, view.col_stride)
            np.ndarray(packed.shape, np.int8, memory.data, view.addr, strides)[...] = packed
            return
        pitch = view.row_stride * view.element_bits // 8
        for row, line in enumerate(packed):
            begin = view.addr + row * pitch
            memory[begin : begin + len(line)] = line

    def resident_tile(self, source: View, number: int, index: int) -> Tile:
        """Return the tile that a weight view shows, unpacked from SRAM if need be."""
        known = self.known_tile(source)
        if known is not None:
            self._inside(number, index)
            return known
        codes = unpack(self.array(number, index), source)
        tile = Tile(codes, digest_of(codes), b"")
        self.resident[place(source)] = Resident(source, tile, *source.extent())
        return tile

    def known_tile(self, source: View) -> Tile | None:
        """Tile that a weight view is known to show."""
        known = self.resident.get(place(source))
        return known.tile if known is not None and known.view == source else None

    def place_block(self, source: View, dst: int, src: int, index: int) -> None:
        """Copy a block from DRAM to weight SRAM as it is."""
        if not self._decoder.is_at_read:
            raise MachineError(
                f"instruction {index}: a block for weight SRAM, but the decoder decodes at fill"
            )
        array = self.array(dst, index)
        array[...] = self.array(src, index).reshape(array.shape)
        self.forget("weight", *self.view(dst, index).extent())

    def block_tile(self, source: View, number: int, index: int) -> Tile:
        """Return the tile of the block that a weight view shows, decoded from SRAM if need be."""
        array = self.array(number, index)
        known = self.known_tile(source)
        if known is not None:
            return known
        window = array.tobytes()
        tile = self._read.get(window)
        if tile is None:
            try:
                tile = self._read[window] = self._decoder.at_read(one_block(window))
            except CodecError as error:
                raise CodecError(
                    f"instruction {index}: block at weight SRAM {source.addr:#x}: {error}"
                ) from error
        self.resident[place(source)] = Resident(source, tile, *source.extent())
        return tile

    def forget(self, space: str, low: int, high: int) -> None:
        """Drop what is remembered of bytes that were, or are about to be, written."""
        if space == "dram" and low < self.blocks[1] and self.blocks[0] < high:
            gone = [key for key in self._decoded if key[0] < high and low < key[0] + key[1]]
            for key in gone:
                del self._decoded[key]
            self.blocks_version += bool(gone)
        elif space == "weight" and self.resident:
            stale = [
                entry for entry in self.resident.values() if entry.low < high and low < entry.high
            ]
            for entry in stale:
                if entry.low < low or high < entry.high:
                    self._write(entry)  # what is left of it stays
                del self.resident[place(entry.view)]


def place(view: View) -> tuple[int, int, int]:
    """Where a tile is remembered: parts of one may begin where it does."""
    return view.addr, view.rows, view.cols
