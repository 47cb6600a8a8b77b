"""The architectural state: memories, views, accumulators, and what the weight SRAM holds.

Blocks of compressed weights are decoded from the DRAM image on first use.  The decoded tile is
kept by its address and length for as long as nothing writes to those bytes, so that a weight that
streams once a frame is decoded once; the SRAM gets its packed bytes every time.  A chip that
decodes at read has the blocks in weight SRAM, and they are decoded from there; the tile is kept by
the block's bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from azsim.codecs import (
    block_bytes,
    block_codec,
    block_column_entries,
    decode_block,
)
from azsim.errors import CodecError, MachineError
from azsim.hardware.description import Hardware
from azsim.isa.program import DramImage, Program, Region
from azsim.isa.spec import instruction_set
from azsim.machine.engines.decoder import DecoderSizes, block_times
from azsim.machine.view import View

__all__ = ["NUMPY_TYPES", "NUM_SCALARS", "NUM_VIEWS", "Machine", "Operation", "Tile"]

NUM_VIEWS = 256
NUM_SCALARS = 32
NUMPY_TYPES = {
    "u8": np.uint8,
    "i8": np.int8,
    "i16": np.int16,
    "i32": np.int32,
    "f32": np.float32,
}
_CHOICES = ("function", "comparison", "reduction", "rank", "norm", "condition", "operation")


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A decoded block.

    Attributes
    ----------
    codes : ndarray of shape (N, K), int8
    digest : str
        Hash of shape and codes: the tile's identity in traces and caches.
    encoded : bytes
        The block as it lies in DRAM, for the decoder's timing.
    """

    codes: np.ndarray
    digest: str
    encoded: bytes

    def burst_times(self, sizes: DecoderSizes, offset_bytes: int, bursts: int) -> np.ndarray:
        """What the decoder makes of each burst of a transfer of this block.

        Parameters
        ----------
        sizes : DecoderSizes
        offset_bytes : int
            Where in its first burst the block begins.
        bursts : int
            Bursts of the transfer.

        Returns
        -------
        ndarray of shape (bursts, 4), int64
            See `azsim.machine.engines.decoder`.
        """
        return block_times(self.encoded, sizes, 8 * offset_bytes, bursts)


@dataclass(frozen=True, slots=True)
class _Resident:
    """A tile that weight SRAM is known to hold, in bytes [low, high)."""

    view: View
    tile: Tile
    low: int
    high: int


class Operation:
    """An instruction with its operands as attributes (0 where absent).

    `function` is the one choice that an instruction has, whatever its operand is called.
    """

    __slots__ = (
        "acc", "accumulate", "bias", "buckets", "code_scale", "count", "dst", "epoch", "execute",
        "function", "index", "indices", "initial", "left", "mnemonic", "number", "other", "paced",
        "peak", "requantize", "right", "scale", "site", "src", "src2", "static", "step", "target",
        "to", "use_bias", "use_peak", "value", "view", "window",
    )  # fmt: skip

    def __init__(
        self, index: int, mnemonic: str, operands: Mapping[str, int | float | str]
    ) -> None:
        self.index = index
        self.mnemonic = mnemonic
        for name in (
            "acc", "accumulate", "bias", "code_scale", "count", "dst", "indices", "initial",
            "left", "number", "other", "paced", "peak", "requantize", "right", "scale", "src",
            "src2", "static", "step", "target", "to", "use_bias", "use_peak", "view",
        ):  # fmt: skip
            setattr(self, name, operands.get(name, 0))
        self.count = int(operands.get("count", 1))
        self.buckets = int(operands.get("buckets", 1))
        fields = instruction_set().instructions[mnemonic].operands
        choice = next((name for name in _CHOICES if name in fields), None)
        default = fields[choice].default if choice else "none"
        self.function = str(operands.get(choice, default) if choice else "none")
        self.value = float(operands.get("value", 0.0))
        self.window: View | None = None
        if mnemonic == "view":
            self.window = View(
                space=str(operands.get("space", "dram")),
                dtype=str(operands.get("dtype", "u8")),
                addr=int(operands.get("addr", 0)),
                rows=int(operands.get("rows", 1)),
                cols=int(operands.get("cols", 1)),
                row_stride=int(operands.get("row_stride", 0)),
                col_stride=int(operands.get("col_stride", 0)),
            )
        self.epoch = -1
        self.site = -1


class Machine:
    """Memories and registers of one chip that runs one program.

    Attributes
    ----------
    memory : dict of str to ndarray of uint8
        ``dram``, ``weight``, ``activation``.
    accumulators : ndarray of int32
    views : list of View or None
    arrays : list of ndarray or None
        The numpy window of each view (None for packed types).
    shapes : list of int
        A number for each view as it was set, with its region: equal numbers, equal windows.
    scalars : list of int
        int32 registers of the sequencer; the first one stays 0.
    epoch : int
        Counts ``view`` instructions: while it stands still, views only moved.
    """

    def __init__(self, program: Program, image: DramImage, hardware: Hardware) -> None:
        self.memory = {
            "dram": image.data.copy(),
            "weight": np.zeros(hardware.weight_sram.bytes, np.uint8),
            "activation": np.zeros(hardware.activation_sram.bytes, np.uint8),
        }
        self.accumulators = np.zeros(hardware.mac.accumulators, np.int32)
        self.views: list[View | None] = [None] * NUM_VIEWS
        self.arrays: list[np.ndarray | None] = [None] * NUM_VIEWS
        self.regions: list[Region | None] = [None] * NUM_VIEWS
        self.shapes = [-1] * NUM_VIEWS
        self.scalars = [0] * NUM_SCALARS
        self._origin = [0] * NUM_VIEWS
        self.epoch = 0
        self.codecs = frozenset(hardware.decoder.codecs)
        self._reads_blocks = hardware.decoder.at == "read"
        self._lanes = hardware.mac.lanes
        self._region_by_name = {region.name: region for region in program.regions}
        self._region_of_view = program.region_of_view
        self._decoded: dict[tuple[int, int, int, int, int], Tile] = {}
        self._resident: dict[tuple[int, int, int], _Resident] = {}
        self._read: dict[bytes, Tile] = {}
        self._set: dict[int, tuple[View, np.ndarray | None, Region | None, int]] = {}
        self._shape_number: dict[tuple[View, str | None], int] = {}

    # ---- views

    def set_view(self, number: int, view: View, index: int) -> None:
        """Execute a ``view`` instruction at `index`."""
        self.epoch += 1
        self._origin[number] = view.addr
        known = self._set.get(index)
        if known is not None and known[0] is view:
            self.views[number], self.arrays[number], self.regions[number] = known[:3]
            self.shapes[number] = known[3]
            return
        name = self._region_of_view.get(index)
        if name is None:
            self.regions[number] = None
        elif name in self._region_by_name:
            self.regions[number] = self._region_by_name[name]
        else:
            raise MachineError(f"instruction {index}: view v{number}: no region is named '{name}'")
        self._resolve(number, view, index)
        self.shapes[number] = self._shape_number.setdefault((view, name), len(self._shape_number))
        self._set[index] = view, self.arrays[number], self.regions[number], self.shapes[number]

    def place_view(self, number: int, offset_bytes: int, index: int) -> int:
        """Execute a ``view_at`` instruction at `index`; returns the address."""
        view, origin = self.view(number, index), self._origin[number]
        self._resolve(number, view.stepped(origin + offset_bytes - view.addr), index)
        return origin + offset_bytes

    def step_view(self, number: int, step_bytes: int, index: int) -> None:
        """Execute a ``view_step`` instruction at `index`."""
        self._resolve(number, self.view(number, index).stepped(step_bytes), index)

    def _resolve(self, number: int, view: View, index: int) -> None:
        memory = self.memory[view.space]
        low, high = view.extent()
        region = self.regions[number]
        # A view may step one stride past its region at the end of a loop; only using it there is
        # an error, so out-of-range windows have no array.
        start, stop = 0, len(memory)
        if region is not None:
            start, stop = region.start_bytes, region.start_bytes + region.size_bytes
        if low < start or high > min(stop, len(memory)):
            self.arrays[number] = None
        elif view.element_bits >= 8:
            size = view.element_bits // 8
            if view.addr % size:
                raise MachineError(
                    f"instruction {index}: view v{number}: address {view.addr:#x} is not aligned "
                    f"to {size} bytes"
                )
            self.arrays[number] = np.ndarray(
                (view.rows, view.cols),
                NUMPY_TYPES[view.dtype],
                memory.data,
                view.addr,
                (view.row_stride * size, view.col_stride * size),
            )
        else:
            self.arrays[number] = memory[low:high]
        self.views[number] = view

    def view(self, number: int, index: int) -> View:
        """Return the view that a register holds."""
        view = self.views[number]
        if view is None:
            raise MachineError(f"instruction {index}: view v{number} was never set")
        return view

    def array(self, number: int, index: int) -> np.ndarray:
        """Return the memory that a view shows."""
        array = self.arrays[number]
        if array is None:
            view = self.view(number, index)
            low, high = view.extent()
            region = self.regions[number]
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

    def check_live(self, number: int, index: int) -> None:
        """Raise if the view's region is not alive at an instruction."""
        region = self.regions[number]
        if region is not None and not region.first <= index <= region.last:
            raise MachineError(
                f"instruction {index}: region '{region.name}' is used, but lives from instruction "
                f"{region.first} to {region.last}"
            )

    # ---- compressed weights

    def fetch_tile(self, source: View, target: View, index: int) -> Tile:
        """Decode the block that `source` shows, for the matrix shape of `target`."""
        size = source.rows * source.cols
        key = (source.addr, size, target.rows, target.cols, target.element_bits)
        tile = self._decoded.get(key)
        if tile is None:
            window = self.memory["dram"][source.addr : source.addr + size].tobytes()
            try:
                encoded = _one_block(window)
                codes, bits = decode_block(encoded)
                codec = block_codec(encoded)
            except CodecError as error:
                raise CodecError(
                    f"instruction {index}: block at DRAM {source.addr:#x}: {error}"
                ) from error
            if self._reads_blocks and codec != "raw":
                raise MachineError(
                    f"instruction {index}: block at DRAM {source.addr:#x} is coded with '{codec}' "
                    "and would be dense in weight SRAM, but the decoder decodes at read"
                )
            if codec not in self.codecs:
                raise MachineError(
                    f"instruction {index}: block at DRAM {source.addr:#x} is coded with '{codec}', "
                    f"the decoder knows {', '.join(sorted(self.codecs))}"
                )
            if bits > target.element_bits:
                raise MachineError(
                    f"instruction {index}: block at DRAM {source.addr:#x} has {bits}-bit codes, "
                    f"its view holds {target.dtype}"
                )
            if codes.size != target.num_elements:
                raise MachineError(
                    f"instruction {index}: block at DRAM {source.addr:#x} has {codes.size} codes, "
                    f"its view {target.rows} x {target.cols}"
                )
            matrix = np.ascontiguousarray(codes.reshape(target.rows, target.cols), np.int8)
            tile = self._decoded[key] = Tile(matrix, _digest(matrix), encoded)
        return tile

    def place_tile(self, target: View, tile: Tile, number: int, index: int) -> None:
        """Write a decoded tile, packed, into weight SRAM."""
        array = self.array(number, index)
        packed = pack(tile.codes, target.element_bits)
        if target.element_bits >= 8:
            array[...] = packed
        else:
            pitch = target.row_stride * target.element_bits // 8
            for row in range(target.rows):
                array[row * pitch : row * pitch + packed.shape[1]] = packed[row]
        low, high = target.extent()
        self.forget("weight", low, high)
        self._resident[_place(target)] = _Resident(target, tile, low, high)

    def resident_tile(self, source: View, number: int, index: int) -> Tile:
        """Return the tile that a weight view shows, unpacked from SRAM if need be."""
        array = self.array(number, index)
        known = self._resident.get(_place(source))
        if known is not None and (known.view is source or known.view == source):
            return known.tile
        codes = unpack(array, source)
        tile = Tile(codes, _digest(codes), b"")
        self._resident[_place(source)] = _Resident(source, tile, *source.extent())
        return tile

    def place_block(self, source: View, dst: int, src: int, index: int) -> None:
        """Copy a block from DRAM to weight SRAM as it is."""
        if not self._reads_blocks:
            raise MachineError(
                f"instruction {index}: a block for weight SRAM, but the decoder decodes at fill"
            )
        array = self.array(dst, index)
        array[...] = self.array(src, index).reshape(array.shape)
        self.forget("weight", *self.view(dst, index).extent())

    def block_tile(self, source: View, number: int, index: int) -> Tile:
        """Return the tile of the block that a weight view shows, decoded from SRAM if need be."""
        array = self.array(number, index)
        known = self._resident.get(_place(source))
        if known is not None and (known.view is source or known.view == source):
            return known.tile
        window = array.tobytes()
        tile = self._read.get(window)
        if tile is None:
            try:
                tile = self._read[window] = self._decode_at_read(_one_block(window))
            except CodecError as error:
                raise CodecError(
                    f"instruction {index}: block at weight SRAM {source.addr:#x}: {error}"
                ) from error
        self._resident[_place(source)] = _Resident(source, tile, *source.extent())
        return tile

    def _decode_at_read(self, encoded: bytes) -> Tile:
        codec = block_codec(encoded)
        if codec not in self.codecs:
            known = ", ".join(sorted(self.codecs))
            raise CodecError(f"it is coded with '{codec}', the decoder knows {known}")
        lanes, columns = block_column_entries(encoded).shape
        codes, _ = decode_block(encoded)
        matrix = np.ascontiguousarray(codes.reshape(-1, columns), np.int8)
        if lanes != min(self._lanes, len(matrix)):
            raise CodecError(
                f"its rows are dealt out to {lanes} lanes, the array has {self._lanes}"
            )
        return Tile(matrix, _digest(matrix), encoded)

    def forget(self, space: str, low: int, high: int) -> None:
        """Drop what is remembered of bytes that were written."""
        if space == "dram" and self._decoded:
            gone = [key for key in self._decoded if key[0] < high and low < key[0] + key[1]]
            for key in gone:
                del self._decoded[key]
        elif space == "weight" and self._resident:
            stale = [
                place
                for place, entry in self._resident.items()
                if entry.low < high and low < entry.high
            ]
            for place in stale:
                del self._resident[place]


def _place(view: View) -> tuple[int, int, int]:
    """Where a tile is remembered: parts of one may begin where it does."""
    return view.addr, view.rows, view.cols


def _digest(codes: np.ndarray) -> str:
    """Identity of a tile: hash of shape and codes."""
    digest = hashlib.blake2b(repr(codes.shape).encode(), digest_size=12)
    digest.update(np.ascontiguousarray(codes).data)
    return digest.hexdigest()


def _one_block(window: bytes) -> bytes:
    """Cut the zeros that follow a block off."""
    length = block_bytes(window)
    if any(window[length:]):
        raise CodecError("block: bytes after it are not zero")
    return window[:length]


def pack(codes: np.ndarray, element_bits: int) -> np.ndarray:
    """Pack an (N, K) matrix of int8 codes to 8, 4 or 2 bits, low bits first, rows at bytes."""
    if element_bits == 8:
        return codes
    per_byte = 8 // element_bits
    rows, cols = codes.shape
    padded = np.zeros((rows, -(-cols // per_byte) * per_byte), np.uint8)
    padded[:, :cols] = codes.view(np.uint8) & ((1 << element_bits) - 1)
    groups = padded.reshape(rows, -1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * element_bits
    return np.bitwise_or.reduce(groups << shifts, axis=2)


def unpack(array: np.ndarray, view: View) -> np.ndarray:
    """Inverse of `pack` for a view's memory."""
    bits = view.element_bits
    if bits == 8:
        return np.array(array, np.int8, order="C")  # a copy: the tile outlives the memory's bytes
    per_byte = 8 // bits
    pitch = view.row_stride * bits // 8
    row_bytes = -(-view.cols // per_byte)
    rows = np.stack([array[row * pitch : row * pitch + row_bytes] for row in range(view.rows)])
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    fields = (rows[:, :, None] >> shifts) & ((1 << bits) - 1)
    codes = fields.reshape(view.rows, -1)[:, : view.cols].astype(np.int16)
    return np.where(codes >= 1 << (bits - 1), codes - (1 << bits), codes).astype(np.int8)
