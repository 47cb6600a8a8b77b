"""Tiles and residency: how each weight matrix is cut, and which tiles stay on the chip.

Contract: takes the matrix products of the lowered graph, gives a plan in which tiles cover every
matrix exactly once, a tile stays inside one K segment, pinned tiles plus two slots plus the
parameters fit weight SRAM, and the accumulators hold ``m_tile * n_tile`` sums.

If everything fits, everything is pinned.  Otherwise some tiles are pinned and the rest is streamed
through two slots.  Tiles are pinned matrix by matrix, the one that saves the most traffic per byte
of SRAM first, or spread evenly over the program, so that loads can hide behind the products in
between.  Of both ways and several slot sizes the plan with the least estimated time is taken.
Neighbouring pinned tiles are joined.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.residence import BlockSizes, is_read
from azsim.compiler.schedule import MAX_EXTENT, rows_and_cols
from azsim.compiler.stored import estimated_bits, used_codec
from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, CompressedWeight
from azsim.machine.engines.mac import geometry
from azsim.ops.lowering import Loop, Lowering, Matmul, Step

__all__ = ["ALIGN_BYTES", "Plan", "Tile", "choose_tiles", "element_width", "packed_bytes"]

ALIGN_BYTES = 64
_K_STEP = 64
_ROWS_TARGET = 64
_LEAST_SLOT_BYTES = 1024  # smaller ones are tried only if nothing else fits


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
    """

    tiles: Mapping[str, tuple[Tile, ...]]
    m_tile: Mapping[str, int]
    pinned: frozenset[str]
    slot_bytes: int
    parameter_bytes: int
    read: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Use:
    """A weight matrix, the rows of activations that it meets, and how often in a frame."""

    weight: CompressedWeight
    hardware: Hardware
    rows: int
    times: int
    sizes: BlockSizes | None
    """Sizes of its blocks, where they lie in weight SRAM as they are."""

    @functools.cached_property
    def density(self) -> float:
        """Share of codes that are not zero."""
        return np.count_nonzero(self.weight.codes) / max(1, self.weight.codes.size)

    @functools.cached_property
    def stream_ratio(self) -> float:
        """Estimated compressed bytes per byte in SRAM."""
        if self.sizes is not None:
            return 1.0
        width = element_width(self.weight.bits)
        return estimated_bits(self.weight, self.hardware) / width


def element_width(bits: int) -> int:
    """Bits that a code takes in weight SRAM: 2, 4 or 8."""
    return 2 if bits == 2 else 4 if bits <= 4 else 8


def packed_bytes(rows: int, cols: int, width: int) -> int:
    """Bytes of a tile in weight SRAM: rows start at bytes, tiles at `ALIGN_BYTES`."""
    return -(-rows * -(-cols * width // 8) // ALIGN_BYTES) * ALIGN_BYTES


def _uses(
    steps: Sequence[Step],
    compressed: CompressedGraph,
    hardware: Hardware,
    times: int,
    found: dict[str, _Use],
) -> None:
    for step in steps:
        if isinstance(step, Loop):
            _uses(step.body, compressed, hardware, times * step.count, found)
        elif isinstance(step, Matmul) and step.weight in found:
            known = found[step.weight]
            rows = max(step.codes.rows, known.rows)
            found[step.weight] = replace(known, rows=rows, times=known.times + times)
        elif isinstance(step, Matmul):
            weight, sizes = compressed.weights[step.weight], None
            if is_read(weight.codec, hardware):
                sizes = BlockSizes(weight, used_codec(weight.codec, hardware))
            found[step.weight] = _Use(weight, hardware, step.codes.rows, times, sizes)


def _cut(
    name: str, use: _Use, accumulators: int, lanes: int, slot_bytes: int | None
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


def _block_rows(use: _Use, accumulators: int, lanes: int) -> int:
    """Rows of the blocks of a weight that is read: as many as the accumulators hold."""
    outputs = use.weight.codes.shape[0]
    n_tile = min(outputs, max(1, accumulators // min(use.rows, _ROWS_TARGET)), MAX_EXTENT)
    return n_tile // lanes * lanes if lanes < n_tile < outputs else n_tile


def _cut_blocks(
    name: str, use: _Use, accumulators: int, lanes: int, slot_bytes: int | None
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


def _tile_bytes(tile: Tile, use: _Use) -> int:
    if use.sizes is not None:
        rows, cols = rows_and_cols(use.sizes.num_bytes(tile.n0, tile.n1, tile.k0, tile.k1))
        return -(-rows * cols // ALIGN_BYTES) * ALIGN_BYTES
    width = element_width(use.weight.bits)
    return packed_bytes(tile.n1 - tile.n0, tile.k1 - tile.k0, width)


def choose_tiles(lowering: Lowering, hardware: Hardware, parameter_bytes: int) -> Plan:
    """Cut every weight matrix and decide which tiles are pinned.

    Raises
    ------
    CompileError
        If even two of the smallest tiles do not fit weight SRAM.
    """
    uses: dict[str, _Use] = {}
    _uses([step for _, step in lowering.steps], lowering.compressed, hardware, 1, uses)
    read = frozenset(name for name, use in uses.items() if use.sizes is not None)
    mac, capacity = hardware.mac, hardware.weight_sram.bytes
    # Storages begin at whole units, so that a last broken one is of no use.
    reserved = -(-parameter_bytes // ALIGN_BYTES) * ALIGN_BYTES
    budget = capacity // ALIGN_BYTES * ALIGN_BYTES - reserved

    def cut(slot_bytes: int | None) -> dict[str, tuple[tuple[Tile, ...], int]] | None:
        found: dict[str, tuple[tuple[Tile, ...], int]] = {}
        for name, use in uses.items():
            entry = _cut(name, use, mac.accumulators, mac.lanes, slot_bytes)
            if entry is None:
                return None
            found[name] = entry
        return found

    whole = cut(None)
    assert whole is not None
    everything = [(tile, uses[name]) for name, (tiles, _) in whole.items() for tile in tiles]
    if sum(_tile_bytes(tile, use) for tile, use in everything) <= budget:
        return Plan(
            {name: tiles for name, (tiles, _) in whole.items()},
            {name: rows for name, (_, rows) in whole.items()},
            frozenset(tile.name for tile, _ in everything),
            0,
            parameter_bytes,
            read,
        )
    best: tuple[float, Plan] | None = None
    slot_bytes = budget // 2 // ALIGN_BYTES * ALIGN_BYTES
    while slot_bytes >= (ALIGN_BYTES if best is None else _LEAST_SLOT_BYTES):
        found = cut(slot_bytes)
        if found is None:
            break
        room = budget - 2 * slot_bytes
        for pinned in (_pin_by_matrix(found, uses, room), _pin_spread(found, uses, room)):
            plan = _plan(found, pinned, mac.accumulators, slot_bytes, parameter_bytes, read)
            cost = _estimated_cycles(plan, uses, hardware)
            if best is None or cost < best[0]:
                best = cost, plan
        slot_bytes = slot_bytes // 2 // ALIGN_BYTES * ALIGN_BYTES
    if best is None:
        least = max(_least_slot(use, mac.accumulators, mac.lanes) for use in uses.values())
        raise CompileError(
            f"weight SRAM of {capacity} bytes is too small for any tiling: scales and biases take "
            f"{parameter_bytes} bytes and two slots of the smallest tile {2 * least}; "
            f"at least {reserved + 2 * least} bytes are needed"
        )
    return best[1]


_Cut = Mapping[str, tuple[tuple[Tile, ...], int]]


def _least_slot(use: _Use, accumulators: int, lanes: int) -> int:
    """Bytes of the smallest tile of a weight: one row, or the fullest column of a block."""
    outputs, inner = use.weight.codes.shape
    if use.sizes is None:
        return packed_bytes(1, min(_K_STEP, inner), element_width(use.weight.bits))
    rows = _block_rows(use, accumulators, lanes)
    return max(
        _tile_bytes(Tile("", 0, n0, min(n0 + rows, outputs), k, k + 1), use)
        for n0 in range(0, outputs, rows)
        for k in range(inner)
    )


def _plan(
    found: _Cut,
    pinned: frozenset[str],
    accumulators: int,
    slot_bytes: int,
    parameter_bytes: int,
    read: frozenset[str],
) -> Plan:
    """Join pinned neighbours and make a plan."""
    tiles: dict[str, tuple[Tile, ...]] = {}
    kept: list[str] = []
    for name, (cut, rows) in found.items():
        # Rows of a block that is read stay as they were counted.
        joined = _joined(cut, pinned, 0 if name in read else accumulators // rows)
        tiles[name] = tuple(tile for tile, _ in joined)
        kept += [tile.name for tile, is_pinned in joined if is_pinned]
    m_tile = {name: rows for name, (_, rows) in found.items()}
    return Plan(tiles, m_tile, frozenset(kept), slot_bytes, parameter_bytes, read)


def _pin_by_matrix(found: _Cut, uses: Mapping[str, _Use], room: int) -> frozenset[str]:
    """Pin tiles of the matrix that saves the most traffic per byte first."""
    ranked = sorted(uses, key=lambda name: -uses[name].times * uses[name].stream_ratio)
    pinned: set[str] = set()
    for name in ranked:
        for tile in found[name][0]:
            size = _tile_bytes(tile, uses[name])
            if size <= room:
                room -= size
                pinned.add(tile.name)
    return frozenset(pinned)


def _pin_spread(found: _Cut, uses: Mapping[str, _Use], room: int) -> frozenset[str]:
    """Pin the same share of tiles everywhere, evenly in program order."""
    sized = [(tile, _tile_bytes(tile, uses[name])) for name in uses for tile in found[name][0]]
    share = room / max(1, sum(size for _, size in sized))
    pinned: set[str] = set()
    due = 0.0
    for tile, size in sized:
        due += share * size
        if due >= size and size <= room:
            due -= size
            room -= size
            pinned.add(tile.name)
    return frozenset(pinned)


def _joined(
    tiles: tuple[Tile, ...], pinned: frozenset[str], most_rows: int
) -> list[tuple[Tile, bool]]:
    """Tiles with whether they are pinned; pinned neighbours joined where K is not cut."""
    is_k_cut = len({(tile.segment, tile.k0) for tile in tiles}) > len({t.segment for t in tiles})
    result: list[tuple[Tile, bool]] = []
    for tile in tiles:
        is_pinned = tile.name in pinned
        last, last_is_pinned = result[-1] if result else (None, False)
        if (
            last is not None
            and is_pinned
            and last_is_pinned
            and not is_k_cut
            and last.segment == tile.segment
            and last.n1 == tile.n0
            and tile.n1 - last.n0 <= most_rows
        ):
            result[-1] = replace(last, n1=tile.n1), True
        else:
            result.append((tile, is_pinned))
    return result


def _estimated_cycles(plan: Plan, uses: Mapping[str, _Use], hardware: Hardware) -> float:
    """Time of two frames of a plan: products in order, loads two tiles ahead."""
    clock, dram, mac = hardware.clock_hz, hardware.dram, hardware.mac
    cycles_per_byte = clock / dram.bytes_per_s
    latency_cycles = dram.latency_ns * 1e-9 * clock
    multiplied = loaded = 0.0
    ends = [0.0, 0.0]  # of the products with the last two streamed tiles
    for name, use in (entry for _ in range(2) for entry in uses.items()):
        shape = geometry(mac, element_width(use.weight.bits), use.weight.activation_bits)
        per_window = max(1.0, shape.window * use.density * shape.halves / shape.macs)
        for tile in plan.tiles[name]:
            windows = -(-(tile.k1 - tile.k0) // shape.window) * -(-(tile.n1 - tile.n0) // mac.lanes)
            if use.sizes is not None:  # about an entry a non-zero
                windows = use.density * (tile.k1 - tile.k0) * (tile.n1 - tile.n0) / mac.lanes
            product = use.rows * windows * per_window + 2 * mac.pipeline_cycles
            if tile.name not in plan.pinned:
                size = use.stream_ratio * _tile_bytes(tile, use)
                loaded = max(loaded, ends[0]) + size * cycles_per_byte + latency_cycles
                multiplied = max(multiplied, loaded)
                ends = [ends[1], multiplied + product * use.times]
            multiplied += product * use.times
    return multiplied
