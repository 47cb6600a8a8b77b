"""Tile: the ways in which each weight matrix can be cut.

Contract: takes the matrix products of the lowered graph, gives cuts for several sizes of the two
streaming slots, largest first, each no larger than its largest tile.  In each cut tiles cover every
matrix exactly once, a tile stays inside one K segment and fits a slot, and the accumulators hold
``m_tile * n_tile`` sums.  Where everything fits weight SRAM there is one cut, without slots.
`azsim.compiler.residency` chooses among them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from azsim.compiler.residence import BlockSizes, is_read
from azsim.compiler.samples import Samples, take_samples
from azsim.compiler.schedule import MAX_EXTENT, rows_and_cols
from azsim.compiler.stored import used_codec
from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.ir import CompressedWeight
from azsim.ops.lowering import Loop, Lowering, Matmul, Step

__all__ = [
    "ALIGN_BYTES",
    "Cut",
    "Cuts",
    "Plan",
    "Tile",
    "Use",
    "aligned",
    "cut_tiles",
    "element_width",
    "matmuls",
    "packed_bytes",
    "tile_bytes",
]

ALIGN_BYTES = 64
_K_STEP = 64
_ROWS_TARGET = 64
_LEAST_SLOT_BYTES = 1024  # smaller ones are tried only if nothing else fits
_MANY_TILES = 2048  # still smaller slots would make more


@dataclass(frozen=True)
class Tile:
    """Rows [n0, n1) and columns [k0, k1) of a weight matrix, inside one K segment."""

    weight: str
    segment: int
    n0: int
    n1: int
    k0: int
    k1: int

    @property
    def name(self) -> str:
        """Unique name of the tile."""
        return f"{self.weight}[{self.n0}:{self.n1},{self.k0}:{self.k1}]"


@dataclass(frozen=True)
class Plan:
    """How weights are cut and where they live.

    Attributes
    ----------
    tiles : mapping of str to tuple of Tile
        By weight; by segment, then n, then k.
    m_tile : mapping of str to int
        Most activation rows per matrix product.
    pinned : frozenset of str
        Names of the tiles that stay in weight SRAM.
    slot_bytes : int
        Size of each of the two streaming slots; 0 if nothing streams.
    parameter_bytes : int
        Scales and biases, which always stay.
    read : frozenset of str
        Weights whose blocks lie in weight SRAM as they are.
    held : mapping of str to int
        Names of the tiles that stay during a loop: its number.
    estimated_cycles : float
        Of the run, as it was told where not everything stays; else 0.
    """

    tiles: Mapping[str, tuple[Tile, ...]]
    m_tile: Mapping[str, int]
    pinned: frozenset[str]
    slot_bytes: int
    parameter_bytes: int
    read: frozenset[str] = frozenset()
    held: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    estimated_cycles: float = 0.0

    def num_columns(self, lanes: int) -> int:
        """Columns of all tiles, as often as their rows fill the lanes of an array."""
        every = (tile for tiles in self.tiles.values() for tile in tiles)
        return sum((tile.k1 - tile.k0) * -(-(tile.n1 - tile.n0) // lanes) for tile in every)


@dataclass(frozen=True)
class Use:
    """A weight matrix, and the most rows of activations that it meets at once."""

    weight: CompressedWeight
    hardware: Hardware
    rows: int
    sizes: BlockSizes | None
    """Sizes of its blocks, where they lie in weight SRAM as they are."""

    @functools.cached_property
    def density(self) -> float:
        """Share of codes that are not zero."""
        return np.count_nonzero(self.weight.codes) / max(1, self.weight.codes.size)

    @functools.cached_property
    def samples(self) -> Samples:
        """Of its blocks, where they do not lie in weight SRAM as they are."""
        return take_samples(self.weight, self.hardware)


@dataclass(frozen=True)
class Cut:
    """One way to cut every matrix.

    Attributes
    ----------
    tiles : mapping of str to tuple of Tile
        By weight; by segment, then n, then k.
    m_tile : mapping of str to int
        Most activation rows per matrix product.
    slot_bytes : int
        Of the largest tile; 0 for a cut without slots.
    """

    tiles: Mapping[str, tuple[Tile, ...]]
    m_tile: Mapping[str, int]
    slot_bytes: int


@dataclass(frozen=True)
class Cuts:
    """Ways to cut, and what they are ways for.

    Attributes
    ----------
    uses : mapping of str to Use
        By weight.
    cuts : tuple of Cut
    room_bytes : int
        Of weight SRAM, without scales and biases.
    parameter_bytes : int
        Scales and biases.
    """

    uses: Mapping[str, Use]
    cuts: tuple[Cut, ...]
    room_bytes: int
    parameter_bytes: int


def element_width(bits: int) -> int:
    """Bits that a code takes in weight SRAM: 2, 4 or 8."""
    return 2 if bits == 2 else 4 if bits <= 4 else 8


def aligned(size_bytes: int, unit_bytes: int = ALIGN_BYTES) -> int:
    """Bytes rounded up to whole units."""
    return -(-size_bytes // unit_bytes) * unit_bytes


def packed_bytes(rows: int, cols: int, width: int) -> int:
    """Bytes of a tile in weight SRAM: rows start at bytes, tiles at `ALIGN_BYTES`."""
    return -(-rows * -(-cols * width // 8) // ALIGN_BYTES) * ALIGN_BYTES


def _uses(lowering: Lowering, hardware: Hardware) -> dict[str, Use]:
    """Every weight that is multiplied by, in the order of the first product."""
    found: dict[str, Use] = {}
    for step in matmuls(step for _, step in lowering.steps):
        rows, known = step.codes.rows, found.get(step.weight)
        if known is not None:
            found[step.weight] = replace(known, rows=max(rows, known.rows))
            continue
        weight, sizes = lowering.compressed.weights[step.weight], None
        if is_read(weight.codec, hardware):
            sizes = BlockSizes(weight, used_codec(weight.codec, hardware))
        found[step.weight] = Use(weight, hardware, rows, sizes)
    return found


def matmuls(steps: Iterable[Step]) -> Iterator[Matmul]:
    """Every matrix product, also inside loops."""
    for step in steps:
        if isinstance(step, Loop):
            yield from matmuls(step.body)
        elif isinstance(step, Matmul):
            yield step


def _cut(
    name: str, use: Use, accumulators: int, lanes: int, slot_bytes: int | None
) -> tuple[tuple[Tile, ...], int] | None:
    """Tiles of one weight and its m_tile; None if one row does not fit the slot."""
    if use.sizes is not None:
        return _cut_blocks(name, use, accumulators, lanes, slot_bytes)
    outputs = use.weight.codes.shape[0]
    width = element_width(use.weight.bits)
    longest = max(b - a for a, b in zip(use.weight.segments, use.weight.segments[1:], strict=False))
    k_tile = longest
    if slot_bytes is not None and packed_bytes(1, longest, width) > slot_bytes:
        k_tile = slot_bytes * 8 // width // _K_STEP * _K_STEP
        if k_tile < min(_K_STEP, longest):
            return None
    k_tile = min(k_tile, MAX_EXTENT // _K_STEP * _K_STEP)
    m_tile = min(use.rows, _ROWS_TARGET)
    n_tile = min(outputs, max(1, accumulators // m_tile), MAX_EXTENT)
    if slot_bytes is not None:
        n_tile = min(n_tile, max(1, slot_bytes // -(-k_tile * width // 8)))
    if n_tile < outputs and n_tile > lanes:
        n_tile = n_tile // lanes * lanes
    m_tile = min(use.rows, max(1, accumulators // n_tile))
    tiles = [
        Tile(name, segment, n0, min(n0 + n_tile, outputs), k0, min(k0 + k_tile, high))
        for segment, (low, high) in enumerate(
            zip(use.weight.segments, use.weight.segments[1:], strict=False)
        )
        for n0 in range(0, outputs, n_tile)
        for k0 in range(low, high, k_tile)
    ]
    return tuple(tiles), m_tile


def _block_rows(use: Use, accumulators: int, lanes: int) -> int:
    """Rows of the blocks of a weight that is read: as many as the accumulators hold."""
    outputs = use.weight.codes.shape[0]
    n_tile = min(outputs, max(1, accumulators // min(use.rows, _ROWS_TARGET)), MAX_EXTENT)
    return n_tile // lanes * lanes if lanes < n_tile < outputs else n_tile


def _cut_blocks(
    name: str, use: Use, accumulators: int, lanes: int, slot_bytes: int | None
) -> tuple[tuple[Tile, ...], int] | None:
    """As `_cut`, for a weight whose blocks are read: as many rows as can be, K cut by size."""
    assert use.sizes is not None
    outputs = use.weight.codes.shape[0]
    n_tile = _block_rows(use, accumulators, lanes)
    m_tile = min(use.rows, max(1, accumulators // n_tile))
    longest = MAX_EXTENT // _K_STEP * _K_STEP
    if slot_bytes is not None:
        slot_bytes -= slot_bytes // MAX_EXTENT  # what a window of several rows may add
    tiles: list[Tile] = []
    bounds = zip(use.weight.segments, use.weight.segments[1:], strict=False)
    for segment, (low, high) in enumerate(bounds):
        for n0 in range(0, outputs, n_tile):
            n1 = min(n0 + n_tile, outputs)
            for start in range(low, high, longest):
                stop = min(start + longest, high)
                parts = [(start, stop)]
                if slot_bytes is not None:
                    found = use.sizes.cut(n0, n1, start, stop, slot_bytes)
                    if found is None:
                        return None
                    parts = found
                tiles += [Tile(name, segment, n0, n1, k0, k1) for k0, k1 in parts]
    return tuple(tiles), m_tile


def tile_bytes(tile: Tile, use: Use) -> int:
    """Bytes of a tile in weight SRAM."""
    if use.sizes is not None:
        rows, cols = rows_and_cols(use.sizes.num_bytes(tile.n0, tile.n1, tile.k0, tile.k1))
        return -(-rows * cols // ALIGN_BYTES) * ALIGN_BYTES
    width = element_width(use.weight.bits)
    return packed_bytes(tile.n1 - tile.n0, tile.k1 - tile.k0, width)


def cut_tiles(lowering: Lowering, hardware: Hardware, parameter_bytes: int) -> Cuts:
    """Cut every weight matrix for several sizes of slots.

    Raises
    ------
    CompileError
        If even two of the smallest tiles do not fit weight SRAM.
    """
    uses = _uses(lowering, hardware)
    mac, capacity = hardware.mac, hardware.weight_sram.bytes
    # Storages begin at whole units, so that a last broken one is of no use.
    reserved = -(-parameter_bytes // ALIGN_BYTES) * ALIGN_BYTES
    budget = capacity // ALIGN_BYTES * ALIGN_BYTES - reserved

    def cut(slot_bytes: int | None) -> Cut | None:
        tiles: dict[str, tuple[Tile, ...]] = {}
        m_tile: dict[str, int] = {}
        for name, use in uses.items():
            entry = _cut(name, use, mac.accumulators, mac.lanes, slot_bytes)
            if entry is None:
                return None
            tiles[name], m_tile[name] = entry
        if slot_bytes is None:
            return Cut(tiles, m_tile, 0)
        largest = max(tile_bytes(tile, uses[name]) for name in uses for tile in tiles[name])
        return Cut(tiles, m_tile, min(slot_bytes, largest))

    whole = cut(None)
    assert whole is not None
    size = sum(tile_bytes(tile, uses[name]) for name in uses for tile in whole.tiles[name])
    found: list[Cut] = []
    slot_bytes = budget // 2 // ALIGN_BYTES * ALIGN_BYTES
    while size > budget and slot_bytes >= (_LEAST_SLOT_BYTES if found else ALIGN_BYTES):
        for share in (4, 3):  # quarters
            one = cut(slot_bytes * share // 4 // ALIGN_BYTES * ALIGN_BYTES)
            if one is not None and one.slot_bytes and one not in found[-1:]:
                found.append(one)
        if not found or sum(map(len, found[-1].tiles.values())) > _MANY_TILES:
            break
        slot_bytes = slot_bytes // 2 // ALIGN_BYTES * ALIGN_BYTES
    if size > budget and not found:
        least = max(_least_slot(use, mac.accumulators, mac.lanes) for use in uses.values())
        raise CompileError(
            f"weight SRAM of {capacity} bytes is too small for any tiling: scales and biases take "
            f"{parameter_bytes} bytes and two slots of the smallest tile {2 * least}; "
            f"at least {reserved + 2 * least} bytes are needed"
        )
    return Cuts(uses, tuple(found) or (whole,), budget, parameter_bytes)


def _least_slot(use: Use, accumulators: int, lanes: int) -> int:
    """Bytes of the smallest tile of a weight: one row, or the fullest column of a block."""
    outputs, inner = use.weight.codes.shape
    if use.sizes is None:
        return packed_bytes(1, min(_K_STEP, inner), element_width(use.weight.bits))
    rows = _block_rows(use, accumulators, lanes)
    return max(
        tile_bytes(Tile("", 0, n0, min(n0 + rows, outputs), k, k + 1), use)
        for n0 in range(0, outputs, rows)
        for k in range(inner)
    )
