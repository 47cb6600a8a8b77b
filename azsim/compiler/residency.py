"""Residency: which weight tiles stay in weight SRAM, which of the cuts is taken, what is streamed.

Contract: takes the cuts of `azsim.compiler.tile`, gives a plan with one of them.  Pinned tiles,
those that any one loop holds, two slots and the parameters fit weight SRAM.  A tile is pinned (read
from DRAM once), held during the one loop of the frame that uses it (once a frame), or streamed
through the slots (each time).  If everything fits, everything is pinned.  Neighbouring pinned tiles
are joined.

There are two aims, and traffic comes first.  For each cut `azsim.compiler.knapsack` finds the
choice with the least weight traffic in the whole run, from the estimated size of each block.  Many
choices come within 2 % of it: tiles of one density save the same per byte, whichever of them stay.
Of these the one with the least estimated time is taken.  Candidates are

- the least traffic itself, with a slight preference to stream what a product of its own hides,
- tiles that stay evenly over the program, so that each load finds products to hide behind: evenly
  by bytes, or by the time of the products in between.

Choices, and then cuts, within 1 % of the least estimated time compete by traffic.  Smaller slots
leave more room to tiles that stay, but cost a latency and a pipeline more often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.knapsack import DROPPED, KEPT, KEPT_IN_PHASE, Things, choose_kept, saved
from azsim.compiler.tile import (
    ALIGN_BYTES,
    Cut,
    Cuts,
    Plan,
    Tile,
    cut_tiles,
    element_width,
    tile_bytes,
)
from azsim.hardware.description import Hardware
from azsim.jit import kernel
from azsim.machine.engines.mac import geometry
from azsim.ops.lowering import Lowering

__all__ = ["choose_residents", "plan_weights"]

_HEADER_BYTES = 32
_TRAFFIC_SLACK = 1.02
_TIME_SLACK = 1.01
_PREFERENCES = (1e-6, 0.01, 0.1, 0.5)
_SCREENING_STEPS = 50_000
_STEPS = 100_000
_NUM_HALVINGS = 24


def plan_weights(lowering: Lowering, hardware: Hardware, parameter_bytes: int, frames: int) -> Plan:
    """Cut every weight matrix and decide which tiles stay: both passes in one."""
    return choose_residents(cut_tiles(lowering, hardware, parameter_bytes), hardware, frames)


def choose_residents(cuts: Cuts, hardware: Hardware, frames: int) -> Plan:
    """Choose a cut and what stays.

    Parameters
    ----------
    cuts : Cuts
    hardware : Hardware
    frames : int
        How often the graph runs.
    """
    if not cuts.cuts[0].slot_bytes:
        everything = frozenset(t.name for tiles in cuts.cuts[0].tiles.values() for t in tiles)
        return _plan(cuts, cuts.cuts[0], everything, {}, hardware)
    screened = [_Costs(cuts, cut, hardware, frames) for cut in cuts.cuts]
    found = [costs.best(_SCREENING_STEPS, _SCREENING_STEPS) for costs in screened]
    costs = screened[_fastest(found)[0]]
    choice = costs.even(costs.best(None, _STEPS)).choice
    named = zip(costs.tiles, choice, costs.loop, strict=True)
    kept = [(tile.name, int(way), int(loop)) for tile, way, loop in named]
    pinned = frozenset(name for name, way, _ in kept if way == KEPT)
    held = {name: loop for name, way, loop in kept if way == KEPT_IN_PHASE}
    return _plan(cuts, costs.cut, pinned, held, hardware)


@dataclass(frozen=True)
class _Choice:
    """What stays, what that reads from DRAM in the whole run, and how long it takes."""

    choice: np.ndarray
    traffic_bytes: float
    cycles: float


def _fastest(found: list[_Choice]) -> tuple[int, _Choice]:
    """The choice with the least traffic of those with nearly the least time, and its number."""
    most_cycles = _TIME_SLACK * min(entry.cycles for entry in found)
    near = [(n, entry) for n, entry in enumerate(found) if entry.cycles <= most_cycles]
    return min(near, key=lambda entry: (entry[1].traffic_bytes, entry[0]))


class _Costs:
    """Estimated costs of one cut's tiles, in the order of the first visit."""

    def __init__(self, cuts: Cuts, cut: Cut, hardware: Hardware, frames: int) -> None:
        self.cut, self.frames = cut, frames
        self.room = cuts.room_bytes - 2 * cut.slot_bytes
        names = list(dict.fromkeys(visit.weight for visit in cuts.visits))
        self.tiles = [tile for name in names for tile in cut.tiles[name]]
        first = np.cumsum([0, *(len(cut.tiles[name]) for name in names)])
        span = {name: (first[n], first[n + 1]) for n, name in enumerate(names)}
        count = len(self.tiles)
        self.size = np.zeros(count, np.int64)
        self.block = np.zeros(count)
        self.product = np.zeros(count)
        for name, (low, high) in span.items():
            use = cuts.uses[name]
            self.size[low:high] = [tile_bytes(tile, use) for tile in cut.tiles[name]]
            blocks = use.stream_ratio * self.size[low:high] + _HEADER_BYTES
            self.block[low:high] = _whole_bursts(blocks, hardware)
            self.product[low:high] = _product_cycles(cut, name, cuts, hardware)
        self.load = _load_cycles(self.block, hardware)
        reads, self.loop = np.zeros(count), np.full(count, -2, np.int64)
        order: list[np.ndarray] = []
        times: list[np.ndarray] = []
        for visit in cuts.visits:
            low, high = span[visit.weight]
            reads[low:high] += visit.times
            known = self.loop[low:high]
            known[:] = np.where((known == -2) | (known == visit.loop), visit.loop, -1)
            order.append(np.arange(low, high))
            times.append(np.full(high - low, visit.times))
        self.order, self.times = np.concatenate(order), np.concatenate(times)
        is_in_loop = (self.loop >= 0) & (reads > 1)
        self.loop = np.where(is_in_loop, self.loop, -1)
        self.streamed = self.block * reads * frames
        saves = self.streamed - self.block
        in_phase = np.where(is_in_loop, self.block * (reads - 1) * frames, 0.0)
        # What saves nothing may stay as well, and is there early.
        saves = np.maximum(saves, 1e-6 * self.block)
        self.things = Things(self.size, saves, in_phase, self.loop)
        self.hidden = np.minimum(1.0, self.product / np.maximum(1.0, self.load))

    def best(self, first_steps: int | None, most_steps: int) -> _Choice:
        """The choice with the least time of those with nearly the least traffic.

        The one for traffic alone is searched for in `first_steps`, the others in `most_steps`.
        """
        steps = (first_steps, *[most_steps] * (len(_PREFERENCES) - 1))
        found = [self._evaluated(choice) for choice in self._candidates(steps)]
        least = min(entry.traffic_bytes for entry in found)
        near = [entry for entry in found if entry.traffic_bytes <= _TRAFFIC_SLACK * least]
        return _fastest(near)[1]

    def even(self, found: _Choice) -> _Choice:
        """Stream one tile more where an odd number of uses in a frame costs time.

        Then the next frame's first tile does not have to wait for the last product of this one.
        """
        uses = int((found.choice[self.order] == DROPPED).sum())
        pinned = np.flatnonzero((found.choice == KEPT) & (self.loop < 0))
        if uses % 2 == 0 or not pinned.size or self.frames == 1:
            return found
        choice = found.choice.copy()
        choice[pinned[np.argmin(self.load[pinned])]] = DROPPED
        other = self._evaluated(choice)
        is_near = other.traffic_bytes <= _TRAFFIC_SLACK * found.traffic_bytes
        return other if is_near and other.cycles < found.cycles else found

    def _candidates(self, steps: tuple[int | None, ...]) -> Iterator[np.ndarray]:
        for preference, most_steps in zip(_PREFERENCES, steps, strict=True):
            worth = 1.0 - preference * self.hidden
            things = replace(
                self.things,
                saves=self.things.saves * worth,
                saves_in_phase=self.things.saves_in_phase * worth,
            )
            yield choose_kept(things, self.room, most_steps)
        for time in (self.size.astype(np.float64), self.product * self.streamed / self.block):
            yield self._spread(time)

    def _spread(self, time: np.ndarray) -> np.ndarray:
        """Stream tiles evenly over the time that passes with all of them."""
        low, high = 0.0, float(self.streamed.sum() / max(1e-9, time.sum())) * 16
        for _ in range(_NUM_HALVINGS):
            share = 0.5 * (low + high)
            choice = _spread(time * share, self.streamed)
            if self.size[choice == KEPT].sum() <= self.room:
                high = share
            else:
                low = share
        choice = _spread(time * high, self.streamed)
        if self.size[choice == KEPT].sum() > self.room:
            choice[:] = DROPPED
        return choice

    def _evaluated(self, choice: np.ndarray) -> _Choice:
        traffic = float(self.streamed.sum()) - saved(self.things, choice)
        cycles = _estimated_cycles(
            choice, self.order, self.times, self.product, self.load, self.frames
        )
        return _Choice(choice, traffic, cycles)


def _whole_bursts(block_bytes: np.ndarray, hardware: Hardware) -> np.ndarray:
    """Bytes of the bursts that blocks lie in; one more for every second that begins within one."""
    burst_bytes = hardware.dram.burst_bytes
    begins_within = 0.5 if burst_bytes > ALIGN_BYTES else 0.0
    return burst_bytes * (np.ceil(block_bytes / burst_bytes) + begins_within)


def _load_cycles(block_bytes: np.ndarray, hardware: Hardware) -> np.ndarray:
    """Estimated cycles of loads: a latency, the bytes, a row miss for each row, and refreshes."""
    dram = hardware.dram
    ns = block_bytes * (1e9 / dram.bytes_per_s + dram.row_miss_ns / dram.row_bytes)
    if dram.refresh_interval_ns:
        ns = ns / (1.0 - dram.refresh_ns / dram.refresh_interval_ns)
    return (ns + dram.latency_ns) * 1e-9 * hardware.clock_hz


def _product_cycles(cut: Cut, name: str, cuts: Cuts, hardware: Hardware) -> np.ndarray:
    """Estimated cycles of the array for one visit to each tile of a weight."""
    use, mac = cuts.uses[name], hardware.mac
    shape = geometry(mac, element_width(use.weight.bits), use.weight.activation_bits)
    per_window = max(1.0, shape.window * use.density * shape.halves / shape.macs)
    rows = np.array([tile.n1 - tile.n0 for tile in cut.tiles[name]])
    cols = np.array([tile.k1 - tile.k0 for tile in cut.tiles[name]])
    if use.sizes is not None:  # about an entry a non-zero
        windows = use.density * rows * cols / mac.lanes
    else:
        windows = -(-cols // shape.window) * -(-rows // mac.lanes)
    drained = use.rows * rows / mac.drain_lanes
    return use.rows * windows * per_window + drained + 2 * mac.pipeline_cycles


@kernel
def _spread(time: np.ndarray, streamed: np.ndarray) -> np.ndarray:
    """Stream a tile whenever its traffic is due."""
    choice = np.full(time.size, KEPT)
    due = 0.0
    for number in range(time.size):
        due += time[number]
        if due >= 0.5 * streamed[number]:
            due -= streamed[number]
            choice[number] = DROPPED
    return choice


@kernel
def _estimated_cycles(
    choice: np.ndarray,
    order: np.ndarray,
    times: np.ndarray,
    product: np.ndarray,
    load: np.ndarray,
    frames: int,
) -> float:
    """Time of a run: products in order, loads in the two slots' turns, pinned tiles first."""
    multiplied = loaded = 0.0
    ready = np.zeros(choice.size)
    for number in range(choice.size):
        if choice[number] == KEPT:
            loaded += load[number]
            ready[number] = loaded
    free = np.zeros(2)  # ends of the products with what the slots hold
    ends = np.zeros(2)  # of the first frame and the second
    for frame in range(min(frames, 2)):
        turn = 0
        is_held = np.zeros(choice.size, np.bool_)
        for visit in range(order.size):
            tile, count = order[visit], times[visit]
            if choice[tile] == DROPPED:
                loaded = max(loaded, free[turn]) + load[tile] * count
                multiplied = max(multiplied, loaded) + product[tile] * count
                free[turn] = multiplied
                turn = 1 - turn
                continue
            if choice[tile] == KEPT_IN_PHASE and not is_held[tile]:
                loaded += load[tile]
                ready[tile], is_held[tile] = loaded, True
            multiplied = max(multiplied, ready[tile]) + product[tile] * count
        ends[frame] = multiplied
    return ends[0] + (ends[1] - ends[0]) * (frames - 1) if frames > 1 else ends[0]


def _plan(
    cuts: Cuts, cut: Cut, pinned: frozenset[str], held: dict[str, int], hardware: Hardware
) -> Plan:
    """Join neighbours that stay, and make a plan."""
    read = frozenset(name for name, use in cuts.uses.items() if use.sizes is not None)
    tiles: dict[str, tuple[Tile, ...]] = {}
    stays = {**dict.fromkeys(pinned, -1), **held}
    found: dict[str, int] = {}
    for name, parts in cut.tiles.items():
        # Rows of a block that is read stay as they were counted.
        most_rows = 0 if name in read else hardware.mac.accumulators // cut.m_tile[name]
        joined = _joined(parts, stays, most_rows)
        tiles[name] = tuple(tile for tile, _ in joined)
        found |= {tile.name: loop for tile, loop in joined if loop is not None}
    return Plan(
        tiles,
        cut.m_tile,
        frozenset(name for name, loop in found.items() if loop < 0),
        cut.slot_bytes,
        cuts.parameter_bytes,
        read,
        {name: loop for name, loop in found.items() if loop >= 0},
    )


def _joined(
    tiles: tuple[Tile, ...], stays: dict[str, int], most_rows: int
) -> list[tuple[Tile, int | None]]:
    """Tiles with where they stay; neighbours that stay alike joined where K is not cut."""
    is_k_cut = len({(tile.segment, tile.k0) for tile in tiles}) > len({t.segment for t in tiles})
    result: list[tuple[Tile, int | None]] = []
    for tile in tiles:
        loop = stays.get(tile.name)
        last, last_loop = result[-1] if result else (None, None)
        if (
            last is not None
            and loop is not None
            and loop == last_loop
            and not is_k_cut
            and last.segment == tile.segment
            and last.n1 == tile.n0
            and tile.n1 - last.n0 <= most_rows
        ):
            result[-1] = replace(last, n1=tile.n1), loop
        else:
            result.append((tile, loop))
    return result
