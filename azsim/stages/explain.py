"""Explain: why weights lie where they do, what limits each layer, and what would help.

Reasons come from the plan, the schedule and the clock.  What would help is not estimated: the run
is timed again on chips with one other value, with the same program where it stays valid, and with
one that is planned for that chip.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from azsim.compiler.compile import Compiled
from azsim.compiler.schedule import Item, Repeat, Schedule, accesses, is_weight_product
from azsim.compiler.storages import block_name
from azsim.compiler.tile import Tile, aligned
from azsim.errors import AzsimError
from azsim.hardware.description import Hardware
from azsim.hardware.plan import is_structural, value_of, with_value
from azsim.ir import CompressedWeight
from azsim.machine.trace import Trace
from azsim.sim.explanation import Explanation, LayerLimit, TensorPlace, Variant, WeightRoom
from azsim.sim.result import Bounds
from azsim.sim.stalls import layer_stalls
from azsim.sim.statistics import LayerStatistics, Statistics, measure
from azsim.sim.timing import Timing, replay

__all__ = ["explain"]

_CHANGES = (
    ("weight_sram.bytes", 2.0),
    ("decoder.lanes", 2.0),
    ("dram.bytes_per_s", 2.0),
    ("dram.latency_ns", 0.5),
    ("mac.lanes", 2.0),
    ("vector.lanes", 2.0),
)
_MOST = {"decoder.lanes": 256, "mac.lanes": 4096, "weight_sram.bytes": 1 << 32}
_CHANNELS = ("weight", "load", "store")
_LEAST_HELP = 0.005

Run = Callable[[Hardware], tuple[Compiled, Trace]]
"""Compiles for a chip and executes."""


def explain(
    compiled: Compiled,
    trace: Trace,
    timing: Timing,
    hardware: Hardware,
    planned: Hardware,
    statistics: Statistics,
    bounds: Mapping[str, Bounds],
    run: Run,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Explanation:
    """Explain a run.

    Parameters
    ----------
    compiled : Compiled
    trace : Trace
    timing : Timing
    hardware : Hardware
        The chip that the run was timed on.
    planned : Hardware
        The chip that it was compiled for.
    statistics : Statistics
    bounds : mapping of str to Bounds
        By layer.
    run : callable
        Compiles for another chip and executes there.
    progress : callable, optional
        ``progress(done, total)``.
    """
    variants = _variants(compiled, trace, hardware, planned, statistics.cycles, run, progress)
    room = _room(compiled, hardware)
    stalls = layer_stalls(trace, timing, compiled.program)
    return Explanation(
        cycles=statistics.cycles,
        room=room,
        tensors=tuple(_with_reasons(list(_tensors(compiled, room, planned)), room)),
        layers=tuple(
            _layer(layer, bounds.get(layer.name), stalls.get(layer.name, {}), variants)
            for layer in statistics.layers
        ),
        variants=variants,
    )


# ------------------------------------------------------------------------- what would help


def _variants(
    compiled: Compiled,
    trace: Trace,
    hardware: Hardware,
    planned: Hardware,
    cycles: int,
    run: Run,
    progress: Callable[[int, int], None],
) -> tuple[Variant, ...]:
    found = []
    for number, (key, factor) in enumerate(_CHANGES):
        progress(number, len(_CHANGES))
        old = value_of(hardware, key)
        new = type(old)(old * factor)
        if new == old or new > _MOST.get(key, new):
            continue
        chip = with_value(hardware, key, new)
        replayed = anew = None
        if not is_structural(key, hardware):
            replayed = _measured(compiled, trace, chip)
        with contextlib.suppress(AzsimError):  # where it does not fit there is nothing to time
            anew = _measured(*run(with_value(planned, key, new)), chip)
        known = [one for one in (replayed, anew) if one is not None]
        best = min(known, key=lambda one: one.cycles, default=None)
        found.append(
            Variant(
                key,
                new,
                new / old,
                None if replayed is None else replayed.cycles,
                None if anew is None else anew.cycles,
                {} if best is None else {layer.name: layer.cycles for layer in best.layers},
            )
        )
    return tuple(sorted(found, key=lambda one: cycles if one.cycles is None else one.cycles))


def _measured(compiled: Compiled, trace: Trace, hardware: Hardware) -> Statistics:
    timing = replay(trace, compiled.program, hardware)
    return measure(trace, timing, compiled.program, hardware)


# --------------------------------------------------------------------------------- layers


def _layer(
    layer: LayerStatistics,
    bounds: Bounds | None,
    stalls: Mapping[str, Mapping[str, int]],
    variants: Sequence[Variant],
) -> LayerLimit:
    engine, bound = "", 0
    if bounds is not None:
        bound = max(bounds.bound_cycles, bounds.critical_path_cycles)
        engine = bounds.bound_by if bound == bounds.bound_cycles else "path"
    stopped = engine if engine in ("mac", "vector") else layer.busiest if engine == "path" else ""
    if stopped not in ("mac", "vector"):
        stopped = max(_CHANNELS, key=lambda name: layer.busy_cycles.get(name, 0))
    helps, fewest = "", layer.cycles
    for variant in variants:
        cycles = variant.layer_cycles.get(layer.name, layer.cycles)
        if cycles < fewest and cycles <= layer.cycles * (1 - _LEAST_HELP):
            helps, fewest = variant.key, cycles
    own = stalls.get(stopped, {})
    return LayerLimit(
        layer.name,
        layer.cycles,
        engine,
        bound,
        dict(sorted(own.items(), key=lambda entry: -entry[1])),
        helps,
        fewest,
    )


# -------------------------------------------------------------------------------- weights


def _sizes(compiled: Compiled) -> dict[str, int]:
    """Bytes of each tile in weight SRAM, by its name."""
    return {
        storage.name.partition("@")[0]: aligned(storage.size_bytes)
        for storage in compiled.schedule.storages.values()
        if storage.space == "weight"
    }


def _room(compiled: Compiled, hardware: Hardware) -> WeightRoom:
    plan, sizes = compiled.plan, _sizes(compiled)
    used = compiled.allocation.peak_bytes["weight"]
    parameters = aligned(plan.parameter_bytes)
    held = Counter[int]()
    for name, loop in plan.held.items():
        held[loop] += sizes[name]
    pinned = sum(sizes[name] for name in plan.pinned)
    in_loops = max(held.values(), default=0)
    tiles = [tile for tiles in plan.tiles.values() for tile in tiles]
    return WeightRoom(
        capacity_bytes=hardware.weight_sram.bytes,
        parameter_bytes=parameters,
        slot_bytes=used - parameters - pinned - in_loops,
        pinned_bytes=pinned,
        held_bytes=in_loops,
        free_bytes=hardware.weight_sram.bytes - used,
        all_bytes=parameters + sum(sizes[tile.name] for tile in tiles),
    )


def _tensors(compiled: Compiled, room: WeightRoom, hardware: Hardware) -> Iterator[TensorPlace]:
    plan, schedule, sizes = compiled.plan, compiled.schedule, _sizes(compiled)
    loads = _loads(schedule)
    uses = _uses(schedule)
    blocks = {
        tile.name: schedule.storages[block_name(tile)].size_bytes
        for tiles in plan.tiles.values()
        for tile in tiles
    }
    for name, tiles in plan.tiles.items():
        pinned = [tile.name for tile in tiles if tile.name in plan.pinned]
        held = [tile.name for tile in tiles if tile.name in plan.held]
        stay = {*pinned, *held}
        streamed = [tile.name for tile in tiles if tile.name not in stay]
        most = max((uses[tile.name] for tile in tiles), default=0)
        size = sum(sizes[tile.name] for tile in tiles)
        streamed_bytes = sum(sizes[tile] for tile in streamed)
        held_bytes = sum(sizes[tile] for tile in held)
        yield TensorPlace(
            name=name,
            tiles=len(tiles),
            pinned_tiles=len(pinned),
            held_tiles=len(held),
            pinned_bytes=size - streamed_bytes - held_bytes,
            held_bytes=held_bytes,
            streamed_bytes=streamed_bytes,
            uses=most,
            read_bytes=sum(blocks[tile.name] * loads[tile.name] for tile in tiles),
            saved_bytes=sum(blocks[tile] * (uses[tile] - loads[tile]) for tile in stay),
            saved_per_byte=sum(blocks[tile.name] * (uses[tile.name] - 1) for tile in tiles) / size,
            missing_bytes=max(0, streamed_bytes - room.free_bytes),
            why="",
            tile_why=_tile_why(tiles, streamed, compiled, sizes, hardware),
        )


def _with_reasons(places: Sequence[TensorPlace], room: WeightRoom) -> Iterator[TensorPlace]:
    for place in places:
        why = _why(place, room)
        rivals = [other.saved_per_byte for other in places if other.pinned_tiles]
        if place.streamed_bytes and rivals and place.saved_per_byte > min(rivals):
            why += "; what is pinned elsewhere saves about as much, and more time"
        yield replace(place, why=why)


def _loads(schedule: Schedule) -> Counter[str]:
    """How often the run loads each tile."""
    found: dict[str, float] = {}

    def visit(items: Iterable[Item | Repeat], times: float, count: int) -> None:
        for item in items:
            if isinstance(item, Repeat):
                visit(item.body, times * item.mean_rounds, item.count)
            elif item.leave is not None:
                times *= item.leave.stays
            elif item.mnemonic == "weight_load":
                left_out = 0 if item.but_last is None else times // count
                name = dict(accesses(item))["dst"].buffer.partition("@")[0]
                found[name] = found.get(name, 0) + times - left_out

    visit(schedule.startup, 1, 1)
    visit(schedule.body, schedule.rounds, schedule.rounds)
    visit(schedule.finish, 1, 1)
    return Counter({name: round(times) for name, times in found.items()})


def _uses(schedule: Schedule) -> Counter[str]:
    """How often each tile comes round; products one after another with one tile are one use.

    So are those of frames that share loads.
    """

    def visit(items: Iterable[Item | Repeat], frame: int) -> list[tuple[str, float]]:
        runs: list[tuple[str, float]] = []
        share = 1.0
        for item in items:
            if isinstance(item, Repeat):
                more = visit(item.body, frame)
                times = item.mean_rounds if len(more) > 1 else 1
                more = [(tile, count * times) for tile, count in more]
            elif is_weight_product(item, schedule.storages) and item.frame == frame:
                windows = dict(accesses(item))
                more = [(windows["src2"].buffer.partition("@")[0], 1)]
            else:
                share *= item.leave.stays if item.leave is not None else 1
                continue
            more = [(tile, count * share) for tile, count in more]
            if runs and more and runs[-1][0] == more[0][0]:
                more = more[1:]
            runs += more
        return runs

    items = (*schedule.body, *schedule.finish)
    apart = 1 if schedule.shares_loads else schedule.per_round
    frames = [visit(items, frame) for frame in range(apart)]
    behind = schedule.per_round if schedule.last_apart else 0
    numbers = [*range(apart if behind else 0), *range(behind, behind + schedule.left_over)]
    left_over = [visit(items, schedule.per_round + number) for number in numbers]
    if sum(map(len, frames)) == apart:
        return Counter(tile for tile, _ in frames[0])  # which stays
    found: dict[str, float] = {}
    for times, uses in ((schedule.rounds, frames), (1, left_over)):
        for tile, count in itertools.chain.from_iterable(uses):
            found[tile] = found.get(tile, 0) + count * times
    return Counter({tile: round(count) for tile, count in found.items()})


def _why(place: TensorPlace, room: WeightRoom) -> str:
    saves = f"save {place.saved_bytes:,} B of DRAM reads"
    if place.pinned_tiles == place.tiles:
        held = f"{place.pinned_bytes:,} B"
        if not place.saved_bytes:
            return f"pinned: its {held} fit, and it is read once either way"
        sentence = f"pinned: its {held} of weight SRAM {saves}, {place.saved_per_byte:.2f} B a byte"
        return f"{sentence}; all weights fit" if not room.slot_bytes else sentence
    if place.held_tiles == place.tiles:
        kept = f"{place.held_bytes:,} B {saves}" if place.saved_bytes else "no other tile comes up"
        return f"held during its loop: {kept}; {place.read_bytes:,} B are read"
    start = [f"{place.pinned_tiles} of {place.tiles} tiles pinned"] if place.pinned_tiles else []
    if place.held_tiles:
        start.append(f"{place.held_tiles} of {place.tiles} tiles held during their loop")
    text = " and ".join(start) or "streamed"
    if place.saved_bytes:
        text += f", which {saves.replace('save', 'saves')}"
    if place.streamed_bytes:
        text += f": {_lacks(place)}"
    read = f"{place.read_bytes:,} B are read"
    if not place.saved_per_byte:
        return f"{text}; {read}, and would be if it were pinned"
    return f"{text}; {read}, and a byte more would save {place.saved_per_byte:.2f} B"


def _lacks(place: TensorPlace) -> str:
    streamed = f"{place.streamed_bytes:,} B"
    if not place.missing_bytes:
        return f"{streamed} would fit and were left to the slots"
    if place.pinned_tiles or place.held_tiles:
        return f"the {streamed} left are {place.missing_bytes:,} B more than weight SRAM has free"
    return f"its {streamed} are {place.missing_bytes:,} B more than weight SRAM has free"


def _tile_why(
    tiles: Sequence[Tile],
    streamed: Sequence[str],
    compiled: Compiled,
    sizes: Mapping[str, int],
    hardware: Hardware,
) -> str:
    """Say what set the size of a tensor's tiles."""
    weight: CompressedWeight = compiled.compressed.weights[tiles[0].weight]
    outputs, inner = weight.codes.shape
    shown = [tile for tile in tiles if tile.name in set(streamed)] or list(tiles)
    rows = max(tile.n1 - tile.n0 for tile in shown)
    cols = max(tile.k1 - tile.k0 for tile in shown)
    longest = max(b - a for a, b in zip(weight.segments, weight.segments[1:], strict=False))
    m_tile, mac = compiled.plan.m_tile[weight.name], hardware.mac
    lanes = min(mac.lanes, outputs)
    slot = compiled.plan.slot_bytes
    row_bytes = max(sizes[tile.name] // (tile.n1 - tile.n0) for tile in shown)
    if rows == outputs:
        reason = "all outputs"
    elif (rows + lanes) * m_tile > mac.accumulators:
        reason = f"{mac.accumulators:,} accumulators hold {m_tile} x {rows} sums"
    elif streamed and (rows + lanes) * row_bytes > slot:
        reason = f"a slot holds {slot:,} B"
    else:
        reason = "pinned between streamed ones" if streamed else "neighbours that stay are joined"
    count = -(-rows // mac.lanes)
    passes = f"{count} pass{'es' if count > 1 else ''} of {mac.lanes} lanes"
    if cols == inner:
        depth = "all of K"
    elif cols == longest:
        depth = f"K in {len(weight.segments) - 1} segments, each with its own scale or sum"
    else:
        depth = f"K cut at {cols}, as a slot holds {slot:,} B"
    return f"{rows} x {cols}: {reason}; {passes}; {depth}"
