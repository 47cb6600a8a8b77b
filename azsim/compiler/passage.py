"""Passage: a frame's products with tiles in order, and about how long a run takes by what stays.

An estimate for `azsim.compiler.residency`, which asks it some hundred times; the clock is not run.

- Products and vector work come one after another, as if nothing were moved between them; loads go
  on beside them, two tiles ahead.
- The first two tiles of a frame are loaded behind the frame before, and a frame that waits for its
  input does not begin before they are there (`azsim.compiler.prefetch`).
- In a region nothing is loaded ahead of a fence (`azsim.compiler.regions`).
- Neighbouring tiles that stay are one product.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from azsim.compiler.knapsack import DROPPED, KEPT, KEPT_IN_PHASE
from azsim.compiler.tile import ALIGN_BYTES, Cut, Tile, Use, element_width, tile_bytes
from azsim.compiler.visits import Visit
from azsim.hardware.description import Hardware
from azsim.jit import kernel
from azsim.machine.engines.mac import geometry

__all__ = ["Passage", "Tiles", "estimated_cycles", "is_joinable", "passage", "tiles_of"]


class Tiles(NamedTuple):
    """What is known of each of N tiles, by its number.

    Attributes
    ----------
    size_bytes : ndarray of shape (N,), int64
        In weight SRAM.
    block_bytes : ndarray of shape (N,), float64
        In DRAM, whole bursts.
    load_cycles : ndarray of shape (N,), float64
    product_cycles : ndarray of shape (N,), float64
        Of a product with the tile alone.
    joined_cycles : ndarray of shape (N,), float64
        What it adds to the product with the tile before.
    rows : ndarray of shape (N,), int64
    joined_rows : ndarray of shape (N,), int64
        Most rows of a product that begins before the tile; 0 where none does.
    """

    size_bytes: np.ndarray
    block_bytes: np.ndarray
    load_cycles: np.ndarray
    product_cycles: np.ndarray
    joined_cycles: np.ndarray
    rows: np.ndarray
    joined_rows: np.ndarray


class Passage(NamedTuple):
    """Products with tiles in the order of a frame.

    Attributes
    ----------
    tile : ndarray of shape (P,), int64
        Number of the tile.
    times : ndarray of shape (P,), float64
        How often it comes in a frame.
    vector_cycles : ndarray of shape (P,), float64
        Of the vector engine before it, in a frame.
    is_fenced : ndarray of shape (P,), bool
    num_ahead : int
        Products before the first region; all of them where there is none.
    """

    tile: np.ndarray
    times: np.ndarray
    vector_cycles: np.ndarray
    is_fenced: np.ndarray
    num_ahead: int


def tiles_of(cut: Cut, name: str, use: Use, hardware: Hardware) -> Tiles:
    """Estimates for the tiles of one weight."""
    tiles = cut.tiles[name]
    size_bytes = np.array([tile_bytes(tile, use) for tile in tiles])
    if use.sizes is not None:
        stored, decoder_cycles = size_bytes, np.zeros(len(tiles))
    else:
        codes = np.array([(tile.n1 - tile.n0) * (tile.k1 - tile.k0) for tile in tiles])
        stored, decoder_cycles = use.samples.bytes_of(codes), use.samples.cycles_of(codes)
    block_bytes = _whole_bursts(stored, hardware)
    joined_rows = np.zeros(len(tiles), np.int64)
    if is_joinable(tiles) and use.sizes is None:
        most_rows = hardware.mac.accumulators // cut.m_tile[name]
        joined_rows = np.array([most_rows * (tile.n0 > 0) for tile in tiles])
    return Tiles(
        size_bytes,
        block_bytes,
        _load_cycles(block_bytes, decoder_cycles, hardware),
        _product_cycles(tiles, use, hardware),
        _product_cycles(tiles, use, hardware, as_part=True),
        np.array([tile.n1 - tile.n0 for tile in tiles]),
        joined_rows,
    )


def passage(visits: Sequence[tuple[np.ndarray, Visit]]) -> Passage:
    """Products in order, from each visit with the numbers of its weight's tiles."""

    def at_first(tiles: np.ndarray, value: float) -> np.ndarray:
        return np.where(tiles == tiles[0], value, 0.0)

    before = itertools.takewhile(lambda entry: not entry[1].is_in_region, visits)
    return Passage(
        np.concatenate([tiles for tiles, _ in visits]),
        np.concatenate([np.full(tiles.size, visit.times) for tiles, visit in visits]),
        np.concatenate([at_first(tiles, visit.vector_cycles) for tiles, visit in visits]),
        np.concatenate([at_first(tiles, visit.is_fenced) for tiles, visit in visits]) > 0,
        sum(tiles.size for tiles, _ in before),
    )


def is_joinable(tiles: Sequence[Tile]) -> bool:
    """Whether neighbours may be one product: no segment's K is cut."""
    starts = {(tile.segment, tile.k0) for tile in tiles}
    return len(starts) == len({tile.segment for tile in tiles})


def _whole_bursts(block_bytes: np.ndarray, hardware: Hardware) -> np.ndarray:
    """Bytes of the bursts that blocks lie in; one more for every second that begins within one."""
    burst_bytes = hardware.dram.burst_bytes
    begins_within = 0.5 if burst_bytes > ALIGN_BYTES else 0.0
    return burst_bytes * (np.ceil(block_bytes / burst_bytes) + begins_within)


def _load_cycles(
    block_bytes: np.ndarray, decoder_cycles: np.ndarray, hardware: Hardware
) -> np.ndarray:
    """Cycles of loads: a latency, and what takes longest of DRAM and decoder.

    Of DRAM the bytes, a row miss for each row, and refreshes.
    """
    dram = hardware.dram
    ns = block_bytes * (1e9 / dram.bytes_per_s + dram.row_miss_ns / dram.row_bytes)
    if dram.refresh_interval_ns:
        ns = ns / (1.0 - dram.refresh_ns / dram.refresh_interval_ns)
    cycles_per_ns = 1e-9 * hardware.clock_hz
    return np.maximum(ns * cycles_per_ns, decoder_cycles) + dram.latency_ns * cycles_per_ns


def _product_cycles(
    tiles: Sequence[Tile], use: Use, hardware: Hardware, *, as_part: bool = False
) -> np.ndarray:
    """Cycles of the array for a product with each tile, or of what it adds as a part of one."""
    mac = hardware.mac
    shape = geometry(mac, element_width(use.weight.bits), use.weight.activation_bits)
    per_window = max(1.0, shape.window * use.density * shape.halves / shape.macs)
    rows = np.array([tile.n1 - tile.n0 for tile in tiles])
    cols = np.array([tile.k1 - tile.k0 for tile in tiles])
    if use.sizes is not None:  # about an entry a non-zero
        windows = use.density * rows * cols / mac.lanes
    else:
        groups = rows / mac.lanes if as_part else -(-rows // mac.lanes)
        windows = -(-cols // shape.window) * groups
    drained = use.rows * rows / mac.drain_lanes
    alone = 0 if as_part else 2 * mac.pipeline_cycles
    return use.rows * windows * per_window + drained + alone


@kernel
def estimated_cycles(
    choice: np.ndarray, tiles: Tiles, products: Passage, frames: int, is_paced: bool
) -> float:
    """Cycles of a run.

    Parameters
    ----------
    choice : ndarray of shape (N,), int64
        What becomes of each tile, see `azsim.compiler.knapsack`.
    tiles : Tiles
    products : Passage
    frames : int
    is_paced : bool
        Whether each frame waits for its input.
    """
    ready = np.zeros(choice.size)
    loaded = 0.0
    for number in range(choice.size):
        if choice[number] == KEPT:
            loaded += tiles.load_cycles[number]
            ready[number] = loaded
    product_cycles = _product_cycles_of_frame(choice, tiles, products)
    heads = _heads(choice, products)
    free = np.zeros(2)  # ends of the products with what the slots hold
    ahead = np.zeros(2)  # ends of the loads before a frame
    in_slot = np.full(2, -1)
    ends = np.zeros(3)  # of what is before the first frame, of it, and of the second
    multiplied = 0.0
    for frame in range(min(frames, 2) + 1):
        uses = 0
        is_held = np.zeros(choice.size, np.bool_)
        for number in range(products.tile.size if frame else 0):
            tile, count = products.tile[number], products.times[number]
            multiplied += products.vector_cycles[number]
            if products.is_fenced[number] and number:
                multiplied = loaded = max(multiplied, loaded)
                in_slot[:] = -1  # each part of a region loads anew
            if choice[tile] == DROPPED:
                if uses and in_slot[(uses - 1) % 2] == tile:
                    uses -= 1
                slot = uses % 2
                if uses < len(heads):
                    ready[tile] = ahead[slot]
                elif in_slot[slot] != tile:
                    loaded = max(loaded, free[slot]) + tiles.load_cycles[tile] * count
                    ready[tile] = loaded
                free[slot] = max(multiplied, ready[tile]) + product_cycles[number]
                in_slot[slot] = tile
                uses += 1
            elif choice[tile] == KEPT_IN_PHASE and not is_held[tile]:
                loaded += tiles.load_cycles[tile]
                ready[tile], is_held[tile] = loaded, True
            multiplied = max(multiplied, ready[tile]) + product_cycles[number]
        if products.is_fenced[0] and frame:
            multiplied = loaded = max(multiplied, loaded)
            in_slot[:] = -1
        for slot, tile in enumerate(heads):
            if in_slot[slot] != tile:
                loaded = max(loaded, free[slot]) + tiles.load_cycles[tile]
                ahead[slot], in_slot[slot] = loaded, tile
        ends[frame] = multiplied = max(multiplied, loaded) if is_paced else multiplied
    return ends[1] + (ends[2] - ends[1]) * (frames - 1) if frames > 1 else ends[1]


@kernel
def _heads(choice: np.ndarray, products: Passage) -> list[int]:
    """The first two tiles that a frame streams, unless a region comes before them."""
    heads = [-1][:0]
    for tile in products.tile[: products.num_ahead]:
        if choice[tile] == DROPPED and len(heads) < 2 and tile not in heads[-1:]:
            heads.append(tile)
    return heads


@kernel
def _product_cycles_of_frame(choice: np.ndarray, tiles: Tiles, products: Passage) -> np.ndarray:
    """Cycles of each product in a frame; neighbours that stay alike are one."""
    cycles = np.zeros(products.tile.size)
    last, rows = -2, 0  # tile of the product before, and rows that are joined with it
    for number, tile in enumerate(products.tile):
        is_near = tile == last + 1 and choice[last] == choice[tile] != DROPPED
        if is_near and rows + tiles.rows[tile] <= tiles.joined_rows[tile]:
            cycles[number] = tiles.joined_cycles[tile] * products.times[number]
            rows += tiles.rows[tile]
        else:
            cycles[number] = tiles.product_cycles[tile] * products.times[number]
            rows = tiles.rows[tile]
        last = tile
    return cycles
