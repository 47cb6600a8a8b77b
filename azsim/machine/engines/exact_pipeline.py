"""Memory, weight engine, double-buffered weight SRAM and MAC array, joined, cycle by cycle.

Tile i goes into slot i mod 2.  The weight engine (DMA, burst FIFO, decoder) takes one tile after
another: it begins when the slot is free, first takes the palette out of the FIFO, a burst a cycle,
then decodes, and is done when every code is written and every burst has left the FIFO.  A burst
holds the same number of words of each lane's stream, and leaves when each lane has taken its own.
The array takes a tile when its slot is full, and frees the slot with its last sum.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from azsim.jit import kernel
from azsim.machine.engines.exact_decoder import WRITTEN, step_decoder
from azsim.machine.engines.exact_dram import request, step_memory
from azsim.machine.engines.exact_mac import step_lanes

__all__ = [
    "BEGINS_SUM",
    "HANDS_OVER",
    "INNER_SUM_CYCLES",
    "OUTER_SUM_CYCLES",
    "Chip",
    "Tiles",
    "pipeline_cycles",
]

INNER_SUM_CYCLES, OUTER_SUM_CYCLES = 3, 2
"""From a tile's last products to the last written sum."""
HANDS_OVER, BEGINS_SUM = 1, 2
# State of the array: its tile, turns taken, whether it works, cycles since its lanes were done (-1
# before).
_TILE, _SENT, _BUSY, _DRAINING = range(4)


class Chip(NamedTuple):
    """Sizes of the engines."""

    words: int
    """Words of 64 bits that a burst holds for each decoder lane."""
    port_codes: int
    is_zero_run: bool
    outstanding: int
    fifo_bursts: int
    macs: int
    queue_depth: int
    sum_cycles: int


class Tiles(NamedTuple):
    """The work: arrays over tiles, then over what all tiles hold together."""

    first_burst: np.ndarray
    bursts: np.ndarray
    table_bursts: np.ndarray
    rows_of_lane: np.ndarray
    """Rows of the tile that a decoder lane decodes."""
    groups: np.ndarray
    """Groups of 16 codes in a row, as the tile is stored."""
    width: np.ndarray
    """Bits of a field."""
    lanes: np.ndarray
    """(tiles, decoder lanes, columns): `azsim.machine.engines.exact_decoder.new_lanes`."""
    events: np.ndarray
    first_turn: np.ndarray
    """(tiles + 1,): where each tile's turns begin in `turns`."""
    turns: np.ndarray
    """Cycles, if the lanes have room, in which the array hands over a window or an activation
    (`HANDS_OVER`), for which the lanes meet before (`BEGINS_SUM`), or finds nothing in a row."""
    scans: np.ndarray
    """Windows of a turn."""
    products: np.ndarray
    """(windows, MAC lanes): see `azsim.machine.engines.exact_mac.step_lanes`."""


@kernel
def _pop_words(words, took, held, at, released):
    """Take a word of each lane that takes one out of its share of the FIFO."""
    for lane in range(len(held)):
        if took[lane]:
            at[lane] += 1
            if at[lane] == words:
                at[lane] = 0
                held[lane] -= 1
                released[lane] += 1


@kernel
def _step_mac(chip, tiles, loaded_tiles, array, held, scan, at, left, fresh):
    """Let one cycle of the array pass; tells whether its tile's last sum is written in it."""
    tile = array[_TILE]
    if array[_BUSY] == 0:
        array[_BUSY] = tile < loaded_tiles
        array[_DRAINING] = -1
        return False
    all_room, all_idle = step_lanes(
        tiles.products, tiles.scans[tile], chip.macs, 1, chip.queue_depth, held, scan, at, left,
        fresh,
    )  # fmt: skip
    if array[_SENT] == tiles.first_turn[tile + 1]:
        array[_DRAINING] += all_idle
    else:
        what = tiles.turns[array[_SENT]]
        if all_idle or (all_room and what & BEGINS_SUM == 0):
            held += what & HANDS_OVER
            array[_SENT] += 1
    if array[_DRAINING] < chip.sum_cycles:
        return False
    array[_BUSY] = 0
    array[_TILE] += 1
    return True


@kernel
def _step_decoder(chip, tiles, tile, turn, has_word, took, banks):
    """Let one cycle of the decoder pass; see `step_decoder`."""
    mac_lanes = tiles.products.shape[1]
    for lane in range(len(took)):
        # Even and odd words of a MAC lane have a bank each; passes rotate over the lanes.
        written = tiles.lanes[tile, lane, WRITTEN]
        row = lane * tiles.rows_of_lane[tile] + written // tiles.groups[tile]
        number = row // mac_lanes * tiles.groups[tile] + written % tiles.groups[tile]
        banks[lane] = (row + row // mac_lanes) % mac_lanes * 2 + number % 2
    return step_decoder(
        tiles.lanes[tile], tiles.events, tiles.width[tile], chip.is_zero_run, chip.port_codes,
        banks, turn, has_word, took,
    )  # fmt: skip


@kernel
def pipeline_cycles(chip, tiles, dram, stall, memory, counters, queues):
    """Cycles from the first request to the last written sum.

    Parameters
    ----------
    chip : Chip
    tiles : Tiles
    dram : ndarray of shape (8,), int64
        See `azsim.machine.engines.exact_dram.dram_cycles`; one channel is used.
    stall : ndarray of shape (period,), uint8
        Cycles, again and again, in which the memory takes no request.
    memory, counters, queues : ndarray
        Of `azsim.machine.engines.exact_dram.new_memory` and `new_queues`.
    """
    num_tiles, num_lanes = tiles.lanes.shape[0], tiles.lanes.shape[1]
    mac_lanes = tiles.products.shape[1]
    arrived = np.zeros(3, np.int64)
    # The burst FIFO: whole bursts and words of the head burst for each lane; bursts it has taken.
    fifo_held = np.zeros(num_lanes, np.int64)
    fifo_at = np.zeros(num_lanes, np.int64)
    released = np.zeros(num_lanes, np.int64)
    took = np.zeros(num_lanes, np.bool_)
    banks = np.zeros(num_lanes, np.int64)
    outstanding = reserved = left_all = asked = taken = 0
    # The weight engine's tile, and how far it is.
    tile = -1
    active = decoding = decoded = False
    table_burst = turn = 0
    # The array and its lanes.
    held = np.zeros(mac_lanes, np.int64)
    scan = np.zeros(mac_lanes, np.int64)
    at = np.zeros(mac_lanes, np.int64)
    left = np.zeros(mac_lanes, np.int64)
    fresh = np.ones(mac_lanes, np.bool_)
    array = np.zeros(4, np.int64)
    loaded_tiles = 0
    cycle = 0
    while True:
        has_burst = arrived[0]
        # What has left the FIFO by now, and whether the tile is loaded.
        left_all_now = min(left_all + 1, released.min())
        consumed = left_all_now - left_all
        left_all = left_all_now
        taken += consumed
        outstanding -= has_burst
        reserved -= consumed
        if active and decoded and taken == tiles.bursts[tile]:
            active = False
            loaded_tiles = tile + 1
        is_free = not active and tile + 1 < num_tiles
        begins = is_free and tile + 1 < array[_TILE] + 2
        if begins:
            tile += 1
            active = True
            decoded = False
            asked = taken = table_burst = 0
        job_done = _step_mac(chip, tiles, loaded_tiles, array, held, scan, at, left, fresh)
        # DMA.
        may_ask = outstanding < chip.outstanding and reserved < chip.fifo_bursts
        if active and asked < tiles.bursts[tile] and may_ask and stall[cycle % len(stall)] == 0:
            request(memory, counters, queues, dram, 0, tiles.first_burst[tile] + asked)
            asked += 1
            outstanding += 1
            reserved += 1
        # Palette, then decoder, then padding.
        has_table = table_burst == tiles.table_bursts[tile]
        starts_decoder = active and not decoding and not decoded and has_table
        took[:] = False
        if active and not begins and not has_table:
            comes = fifo_held[0] > 0  # a burst comes to all lanes at once
            table_burst += comes
            fifo_held -= comes
            released += comes
        elif decoding:
            turn, is_done = _step_decoder(chip, tiles, tile, turn, fifo_held > 0, took, banks)
            if is_done:
                decoding = False
                decoded = True
        elif decoded and active:
            took[:] = fifo_held > 0
        if starts_decoder:
            decoding = True
            turn = 0
        _pop_words(chip.words, took, fifo_held, fifo_at, released)
        fifo_held += has_burst
        if job_done and array[_TILE] == num_tiles:
            return cycle + 1
        step_memory(memory, counters, queues, dram, arrived)
        cycle += 1
