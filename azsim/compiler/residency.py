"""Residency: which weight tiles stay in weight SRAM, which of the cuts is taken, what is streamed.

Contract: takes the cuts of `azsim.compiler.tile`, gives a plan with one of them.  Pinned tiles,
those that any one loop holds, two slots and the parameters fit weight SRAM.  A tile is pinned (read
from DRAM once), held during the one loop of the frame that uses it (once a frame), or streamed
through the slots (each time).  If everything fits, everything is pinned.  Neighbouring pinned tiles
are joined.

There are two aims, and traffic comes first.  For each cut `azsim.compiler.knapsack` finds the
choice with the least weight traffic in the whole run, from estimated sizes of blocks.  Where data
decides what comes next a load hides behind little (`azsim.compiler.regions`), so what DRAM could
bring while the chip waits for it counts as traffic too.  Many choices come within 2 % of the least:
tiles of one density save the same per byte, whichever of them stay.  Candidates are

- the least traffic itself, with a slight preference to stream what a product of its own hides,
- tiles that stay evenly over the program, so that each load finds products to hide behind: evenly
  by bytes, or by the time of the products in between.

Of these, and then of the cuts, the one with the least product of traffic and the square of the
estimated time is taken (`azsim.compiler.passage`).  Smaller slots leave more room to tiles that
stay, but cost a latency and a pipeline more often, and narrow tiles leave lanes of the array idle:
the more, the more frames multiply what one load has brought.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.knapsack import DROPPED, KEPT, KEPT_IN_PHASE, Things, choose_kept, saved
from azsim.compiler.passage import Tiles, estimated_cycles, is_joinable, passage, tiles_of
from azsim.compiler.tile import Cut, Cuts, Plan, Tile, cut_tiles
from azsim.compiler.visits import Visit, weight_visits
from azsim.hardware.description import Hardware
from azsim.isa.program import Stream
from azsim.jit import kernel
from azsim.ops.lowering import Lowering

__all__ = ["choose_residents", "plan_weights"]

_TRAFFIC_SLACK = 1.02
_TIME_COUNTS = 2  # percents of traffic that a percent of time is worth
_PREFERENCES = (1e-6, 0.01, 0.1, 0.5)
_SCREENING_STEPS = 50_000
_STEPS = 100_000
_NUM_HALVINGS = 24
_PASSES = (8, 4, 2, 1)  # of all lanes of the array over a tile's rows
_WORTH_CUTTING = 0.03  # of a frame's cycles that finer tiles have to save


def plan_weights(
    lowering: Lowering, hardware: Hardware, parameter_bytes: int, stream: Stream
) -> Plan:
    """Cut every weight matrix and decide which tiles stay: both passes in one."""
    cuts = cut_tiles(lowering, hardware, parameter_bytes)
    return choose_residents(cuts, weight_visits(lowering, hardware), hardware, stream)


def choose_residents(
    cuts: Cuts, visits: Sequence[Visit], hardware: Hardware, stream: Stream, per_load: int = 1
) -> Plan:
    """Choose a cut and what stays.

    Parameters
    ----------
    cuts : Cuts
    visits : sequence of Visit
    hardware : Hardware
    stream : Stream
        How often the graph runs, and whether each frame waits for its input.
    per_load : int
        Frames that share what is streamed: so often a tile is multiplied while it is there.
    """
    if not cuts.cuts[0].slot_bytes:
        if stream.frames == 1:
            return _passing(cuts, visits, hardware)
        everything = frozenset(t.name for tiles in cuts.cuts[0].tiles.values() for t in tiles)
        return _plan(cuts, cuts.cuts[0], everything, {}, hardware)
    screened = [_Costs(cuts, cut, visits, hardware, stream, per_load) for cut in cuts.cuts]
    found = [costs.best(_SCREENING_STEPS, _SCREENING_STEPS) for costs in screened]
    costs = screened[found.index(_best(found))]
    best = costs.even(costs.best(None, _STEPS))
    named = zip(costs.tiles, best.choice, costs.loop, strict=True)
    kept = [(tile.name, int(way), int(loop)) for tile, way, loop in named]
    pinned = frozenset(name for name, way, _ in kept if way == KEPT)
    held = {name: loop for name, way, loop in kept if way == KEPT_IN_PHASE}
    plan = _plan(cuts, costs.cut, pinned, held, hardware)
    return replace(plan, estimated_cycles=best.cycles)


def _passing(cuts: Cuts, visits: Sequence[Visit], hardware: Hardware) -> Plan:
    """Everything stays and is used for one frame: in tiles that let products begin early."""
    (whole,) = cuts.cuts
    read = frozenset(name for name, use in cuts.uses.items() if use.sizes is not None)

    def at_most(num_passes: int) -> Cut:
        rows = num_passes * hardware.mac.lanes
        tiles = {
            name: parts if name in read else tuple(t for part in parts for t in _split(part, rows))
            for name, parts in whole.tiles.items()
        }
        return replace(whole, tiles=tiles)

    best, least = whole, _passing_cycles(whole, cuts, visits, hardware)
    for num_passes in _PASSES:
        cut = at_most(num_passes)
        cycles = _passing_cycles(cut, cuts, visits, hardware)
        if cycles < least * (1 - _WORTH_CUTTING):
            best, least = cut, cycles
    pinned = frozenset(tile.name for tiles in best.tiles.values() for tile in tiles)
    return Plan(best.tiles, best.m_tile, pinned, 0, cuts.parameter_bytes, read, {})


def _split(tile: Tile, rows: int) -> Iterator[Tile]:
    """A tile in tiles of at most so many rows."""
    for n0 in range(tile.n0, tile.n1, rows):
        yield replace(tile, n0=n0, n1=min(n0 + rows, tile.n1))


def _passing_cycles(cut: Cut, cuts: Cuts, visits: Sequence[Visit], hardware: Hardware) -> float:
    """About how long a frame takes whose products wait for their tiles, each loaded once."""
    loaded = done = 0.0
    seen: set[str] = set()
    for visit in visits:
        known = tiles_of(cut, visit.weight, cuts.uses[visit.weight], hardware)
        done += visit.vector_cycles
        for load, product in zip(known.load_cycles, known.product_cycles, strict=True):
            if visit.weight not in seen:
                loaded += load
                done = max(done, loaded)
            done += visit.times * product
        seen.add(visit.weight)
    return done


@dataclass(frozen=True, eq=False)
class _Choice:
    """What stays, what that reads from DRAM in the run or waits for, and how long it takes."""

    choice: np.ndarray
    traffic_bytes: float
    cycles: float


def _best(found: Sequence[_Choice]) -> _Choice:
    """The choice with the best of time and traffic."""
    return min(found, key=lambda entry: entry.cycles**_TIME_COUNTS * entry.traffic_bytes)


class _Costs:
    """Estimated costs of one cut's tiles, in the order of the first visit.

    Frames that share what is streamed count as one, whose products and vector work take longer.
    """

    def __init__(
        self,
        cuts: Cuts,
        cut: Cut,
        visits: Sequence[Visit],
        hardware: Hardware,
        stream: Stream,
        per_load: int,
    ) -> None:
        rounds, left = divmod(stream.frames, per_load)
        self.cut, self.stream = cut, replace(stream, frames=rounds + left)
        self.room = cuts.room_bytes - 2 * cut.slot_bytes
        names = list(dict.fromkeys(visit.weight for visit in visits))
        self.tiles = [tile for name in names for tile in cut.tiles[name]]
        known = [tiles_of(cut, name, cuts.uses[name], hardware) for name in names]
        found = Tiles(*(np.concatenate(columns) for columns in zip(*known, strict=True)))
        self.known = found._replace(
            product_cycles=per_load * found.product_cycles,
            joined_cycles=per_load * found.joined_cycles,
        )
        first = np.cumsum([0, *(len(cut.tiles[name]) for name in names)])
        numbers = {name: np.arange(*first[n : n + 2]) for n, name in enumerate(names)}
        visited = [(numbers[visit.weight], visit) for visit in visits]
        in_order = passage(visited)
        self.products = in_order._replace(vector_cycles=per_load * in_order.vector_cycles)
        block, load, product = (
            self.known.block_bytes,
            self.known.load_cycles,
            self.known.product_cycles,
        )
        reads, waiting = np.zeros((2, len(self.tiles)))
        loop = np.full(len(self.tiles), -2)
        for tiles, visit in visited:
            reads[tiles] += visit.times
            if visit.is_in_region:
                waiting[tiles] += visit.times * np.maximum(0.0, load - product)[tiles]
            is_same = (loop[tiles] == -2) | (loop[tiles] == visit.loop)
            loop[tiles] = np.where(is_same, visit.loop, -1)
        is_in_loop = (loop >= 0) & (reads > 1)
        self.loop = np.where(is_in_loop, loop, -1)
        waited_bytes = waiting * hardware.dram.bytes_per_s / hardware.clock_hz
        self.streamed = (block * reads + waited_bytes) * self.stream.frames
        # What saves nothing may stay as well, and is there early.
        saves = np.maximum(self.streamed - block, 1e-6 * block)
        again = 1.0 - 1.0 / np.maximum(1.0, reads)
        in_phase = np.where(is_in_loop, self.streamed * again, 0.0)
        self.things = Things(self.known.size_bytes, saves, in_phase, self.loop)
        self.hidden = np.minimum(1.0, product / np.maximum(1.0, load))

    def best(self, first_steps: int | None, most_steps: int) -> _Choice:
        """The best of time and traffic among the choices with nearly the least traffic.

        The one for traffic alone is searched for in `first_steps`, the others in `most_steps`.
        """
        steps = (first_steps, *[most_steps] * (len(_PREFERENCES) - 1))
        found = [self._evaluated(choice) for choice in self._candidates(steps)]
        least = min(entry.traffic_bytes for entry in found)
        return _best([entry for entry in found if entry.traffic_bytes <= _TRAFFIC_SLACK * least])

    def even(self, found: _Choice) -> _Choice:
        """Stream one tile more where an odd number of uses in a frame costs time.

        Then the next frame's first tile does not have to wait for the last product of this one.
        """
        uses = int((found.choice[self.products.tile] == DROPPED).sum())
        pinned = np.flatnonzero((found.choice == KEPT) & (self.loop < 0))
        if uses % 2 == 0 or not pinned.size or self.stream.frames == 1:
            return found
        choice = found.choice.copy()
        choice[pinned[np.argmin(self.known.load_cycles[pinned])]] = DROPPED
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
        known = self.known
        product = known.product_cycles * self.streamed / known.block_bytes
        for time in (known.size_bytes.astype(np.float64), product):
            yield self._spread(time)

    def _spread(self, time: np.ndarray) -> np.ndarray:
        """Stream tiles evenly over the time that passes with all of them."""
        low, high = 0.0, float(self.streamed.sum() / max(1e-9, time.sum())) * 16
        for _ in range(_NUM_HALVINGS):
            share = 0.5 * (low + high)
            choice = _spread(time * share, self.streamed)
            if self.known.size_bytes[choice == KEPT].sum() <= self.room:
                high = share
            else:
                low = share
        choice = _spread(time * high, self.streamed)
        if self.known.size_bytes[choice == KEPT].sum() > self.room:
            choice[:] = DROPPED
        return choice

    def _evaluated(self, choice: np.ndarray) -> _Choice:
        traffic = float(self.streamed.sum()) - saved(self.things, choice)
        stream = self.stream
        cycles = estimated_cycles(choice, self.known, self.products, stream.frames, stream.paced)
        return _Choice(choice, traffic, cycles)


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
    may_join = is_joinable(tiles)
    result: list[tuple[Tile, int | None]] = []
    for tile in tiles:
        loop = stays.get(tile.name)
        last, last_loop = result[-1] if result else (None, None)
        if (
            last is not None
            and loop is not None
            and loop == last_loop
            and may_join
            and last.segment == tile.segment
            and last.n1 == tile.n0
            and tile.n1 - last.n0 <= most_rows
        ):
            result[-1] = replace(last, n1=tile.n1), loop
        else:
            result.append((tile, loop))
    return result
