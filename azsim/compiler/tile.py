"""Tiles and residency: how each weight matrix is cut, and which tiles stay on the chip.

Contract: takes the matrix products of the lowered graph, gives a plan in which tiles cover every
matrix exactly once, a tile stays inside one K segment, pinned tiles plus two slots plus the
parameters fit weight SRAM, and the accumulators hold ``m_tile * n_tile`` sums.

If everything fits, everything is pinned.  Otherwise tiles are pinned by traffic saved per byte of
SRAM, and the rest is streamed through two slots; the slot size is the one with the least traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from azsim.errors import CompileError
from azsim.hardware.description import Hardware
from azsim.ir import CompressedGraph, CompressedWeight
from azsim.ops.lowering import Loop, Lowering, Matmul, Step

__all__ = ["ALIGN_BYTES", "Plan", "Tile", "choose_tiles", "element_width", "packed_bytes"]

ALIGN_BYTES = 64
_K_STEP = 64
_MAX_EXTENT = 65_536
_ROWS_TARGET = 64
_TILE_OVERHEAD_BYTES = 256  # what one more streamed tile costs in latency, put as traffic


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
        By weight; by n, then segment, then k.
    m_tile : mapping of str to int
        Most activation rows per matrix product.
    pinned : frozenset of str
        Names of the tiles that stay in weight SRAM.
    slot_bytes : int
        Size of each of the two streaming slots; 0 if nothing streams.
    parameter_bytes : int
        Scales and biases, which always stay.
    """

    tiles: Mapping[str, tuple[Tile, ...]]
    m_tile: Mapping[str, int]
    pinned: frozenset[str]
    slot_bytes: int
    parameter_bytes: int


@dataclass(frozen=True)
class _Use:
    weight: CompressedWeight
    rows: int
    times: int


def element_width(bits: int) -> int:
    """Bits that a code takes in weight SRAM: 2, 4 or 8."""
    return 2 if bits == 2 else 4 if bits <= 4 else 8


def packed_bytes(rows: int, cols: int, width: int) -> int:
    """Bytes of a tile in weight SRAM: rows start at bytes, tiles at `ALIGN_BYTES`."""
    return -(-rows * -(-cols * width // 8) // ALIGN_BYTES) * ALIGN_BYTES


def _uses(steps: Sequence[Step], compressed: CompressedGraph, times: int, found: dict) -> None:
    for step in steps:
        if isinstance(step, Loop):
            _uses(step.body, compressed, times * step.count, found)
        elif isinstance(step, Matmul):
            known = found.get(step.weight)
            found[step.weight] = _Use(
                compressed.weights[step.weight],
                max(step.codes.rows, known.rows if known else 0),
                times + (known.times if known else 0),
            )


def _cut(
    name: str, use: _Use, accumulators: int, lanes: int, slot_bytes: int | None
) -> tuple[tuple[Tile, ...], int] | None:
    """Tiles of one weight and its m_tile; None if one row does not fit the slot."""
    outputs = use.weight.codes.shape[0]
    width = element_width(use.weight.bits)
    longest = max(b - a for a, b in zip(use.weight.segments, use.weight.segments[1:], strict=False))
    k_tile = longest
    if slot_bytes is not None and packed_bytes(1, longest, width) > slot_bytes:
        k_tile = slot_bytes * 8 // width // _K_STEP * _K_STEP
        if k_tile < min(_K_STEP, longest):
            return None
    k_tile = min(k_tile, _MAX_EXTENT // _K_STEP * _K_STEP)
    m_tile = min(use.rows, _ROWS_TARGET)
    n_tile = min(outputs, max(1, accumulators // m_tile), _MAX_EXTENT)
    if slot_bytes is not None:
        n_tile = min(n_tile, max(1, slot_bytes // -(-k_tile * width // 8)))
    if n_tile < outputs and n_tile > lanes:
        n_tile = n_tile // lanes * lanes
    m_tile = min(use.rows, max(1, accumulators // n_tile))
    tiles = [
        Tile(name, segment, n0, min(n0 + n_tile, outputs), k0, min(k0 + k_tile, high))
        for n0 in range(0, outputs, n_tile)
        for segment, (low, high) in enumerate(
            zip(use.weight.segments, use.weight.segments[1:], strict=False)
        )
        for k0 in range(low, high, k_tile)
    ]
    return tuple(tiles), m_tile


def _tile_bytes(tile: Tile, use: _Use) -> int:
    width = element_width(use.weight.bits)
    return packed_bytes(tile.n1 - tile.n0, tile.k1 - tile.k0, width)


def _saved_per_byte(tile: Tile, use: _Use) -> float:
    """Estimated compressed bytes of a tile, times its uses, per byte of SRAM."""
    codes = use.weight.codes[tile.n0 : tile.n1, tile.k0 : tile.k1]
    bits = np.count_nonzero(codes) * use.weight.bits + codes.size
    return use.times * bits / 8 / _tile_bytes(tile, use)


def choose_tiles(lowering: Lowering, hardware: Hardware, parameter_bytes: int) -> Plan:
    """Cut every weight matrix and decide which tiles are pinned.

    Raises
    ------
    CompileError
        If even two of the smallest tiles do not fit weight SRAM.
    """
    uses: dict[str, _Use] = {}
    _uses([step for _, step in lowering.steps], lowering.compressed, 1, uses)
    mac, capacity = hardware.mac, hardware.weight_sram.bytes
    budget = capacity - parameter_bytes

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
        )
    best: tuple[float, Plan] | None = None
    slot_bytes = budget // 2 // ALIGN_BYTES * ALIGN_BYTES
    while slot_bytes >= ALIGN_BYTES:
        found = cut(slot_bytes)
        if found is None:
            break
        traffic, pinned = _pin(found, uses, budget - 2 * slot_bytes)
        plan = Plan(
            {name: tiles for name, (tiles, _) in found.items()},
            {name: rows for name, (_, rows) in found.items()},
            pinned,
            slot_bytes,
            parameter_bytes,
        )
        if best is None or traffic < best[0]:
            best = traffic, plan
        slot_bytes = slot_bytes // 2 // ALIGN_BYTES * ALIGN_BYTES
    if best is None:
        least = max(
            packed_bytes(1, min(_K_STEP, use.weight.codes.shape[1]), element_width(use.weight.bits))
            for use in uses.values()
        )
        raise CompileError(
            f"weight SRAM of {capacity} bytes is too small for any tiling: scales and biases take "
            f"{parameter_bytes} bytes and two slots of the smallest tile {2 * least}; "
            f"at least {parameter_bytes + 2 * least} bytes are needed"
        )
    return best[1]


def _pin(found: Mapping, uses: Mapping[str, _Use], room: int) -> tuple[float, frozenset[str]]:
    """Pin by traffic saved per byte; returns the estimated traffic that remains."""
    candidates = [(tile, uses[name]) for name, (tiles, _) in found.items() for tile in tiles]
    ranked = sorted(candidates, key=lambda entry: -_saved_per_byte(*entry))
    pinned: set[str] = set()
    traffic = 0.0
    for tile, use in ranked:
        size = _tile_bytes(tile, use)
        if size <= room:
            room -= size
            pinned.add(tile.name)
        else:
            traffic += _saved_per_byte(tile, use) * size + use.times * _TILE_OVERHEAD_BYTES
    return traffic, frozenset(pinned)
