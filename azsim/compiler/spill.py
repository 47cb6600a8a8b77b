"""Spill: what activation SRAM has no room for lives in DRAM: state, constants, outputs, scratch.

Contract: takes a schedule in which all of them stay on the chip as a whole, gives one in which
every item works on the same bytes.  As many stay as fit beside what else lives, those first that
save the most traffic per byte: states, which come and go, before constants, which only come, before
outputs, which go anyway, and small ones before large ones, as a short transfer costs more per byte
than a long one.

What does not stay comes and goes where it is used (`azsim.compiler.moving`); what a round of a loop
reads of several constants comes together where that is not slower (`azsim.compiler.records`).
Large intermediate tensors move only where all else is not enough.  Loops over what lives in DRAM
get finer rounds, two in a body (`azsim.compiler.rounds`), where an estimate of the frame
(`azsim.compiler.frame_cycles`) says that this is worth their instructions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from azsim.compiler.allocate import fits
from azsim.compiler.delay_line import delay_line
from azsim.compiler.frame_cycles import frame_cycles
from azsim.compiler.movable import Movable, State, constants, large_scratch, outputs
from azsim.compiler.moving import Rewriting
from azsim.compiler.pieces_in_dram import step_of_loop
from azsim.compiler.records import in_records
from azsim.compiler.rounds import finer, fresh_numbers, in_pairs
from azsim.compiler.schedule import Repeat, Schedule, users_of
from azsim.hardware.description import Hardware

__all__ = ["leaving_room", "spill"]

_FINER = (1, 2, 4)
"""In how many each round of a loop over what comes from DRAM may be cut."""
_ROOM = (0.0, 1 / 32, 1 / 16, 3 / 32, 1 / 8, 5 / 32, 3 / 16, 1 / 4, 3 / 8, 1 / 2)
"""Shares of activation SRAM that may be left for the work of further frames."""
_FIRST_ROOM = 7
"""Number of the one that is tried first."""
_WORTH_TURNS = 0.98
"""Part of a frame's cycles that is left where rounds in pairs are worth their instructions."""


def spill(
    schedule: Schedule, hardware: Hardware, state: Mapping[str, str], *, appends: bool = False
) -> Schedule:
    """Move states to DRAM until the rest fits activation SRAM.

    Parameters
    ----------
    schedule : Schedule
    hardware : Hardware
    state : mapping of str to str
        Carried tensors, graph input to graph output.
    appends : bool
        Whether delay lines may be appended to, which keeps frames apart.

    Returns
    -------
    Schedule
        With `spilled`: state by input name, to the output that it takes from the frame before.
    """
    if fits(schedule, hardware):
        return schedule
    plain, *others = _spilled_ways(schedule, hardware, state, appends=appends)
    best = min([plain, *others], key=lambda found: frame_cycles(found, hardware))
    is_worth = frame_cycles(best, hardware) <= _WORTH_TURNS * frame_cycles(plain, hardware)
    return best if is_worth else plain


def leaving_room(
    schedule: Schedule,
    hardware: Hardware,
    state: Mapping[str, str],
    counts: Sequence[int],
    is_enough: Callable[[Schedule, int], bool],
) -> Iterator[tuple[int, Schedule]]:
    """Schedules that leave room for the work of further frames.

    Parameters
    ----------
    schedule : Schedule
    hardware : Hardware
    state : mapping of str to str
    counts : sequence of int
        Of frames that may be worked on together, fewest first.
    is_enough : callable
        ``is_enough(found, count)``: whether a schedule leaves as much room as so many frames need.

    Yields
    ------
    count : int
    found : Schedule
        With loops as they are, and for each number of parts of a round: for each count the one that
        leaves least and enough, but for those that leave enough for more.
    """

    @functools.cache
    def plain(number: int) -> _Left:
        return _Left.of(_ROOM[number], schedule, hardware, state)

    for parts in (0, *_FINER):

        @functools.cache
        def left(number: int, parts: int = parts) -> Schedule | None:
            return _in_finer_rounds(plain(number), parts, schedule, state)

        low, high = -1, None  # the last number that leaves too little, and the first that does not
        for count in counts:

            def enough(number: int, count: int = count) -> bool:
                found = left(number)
                return found is not None and is_enough(found, count)

            if high is not None:
                if enough(high):
                    continue  # what leaves enough for fewer frames does for these
                low = high
            # With very little left, nothing fits at all.
            first = max(_FIRST_ROOM, low + 1)
            high = next((number for number in range(first, len(_ROOM)) if enough(number)), None)
            if high is None:
                break
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if enough(middle) else (middle, high)
            found = left(high)
            assert found is not None
            yield count, found


class _Left(NamedTuple):
    """A chip with less activation SRAM, a schedule that may fit it, and what has been moved."""

    smaller: Hardware
    found: Schedule
    moved: list[Movable]

    @classmethod
    def of(
        cls, share: float, schedule: Schedule, hardware: Hardware, state: Mapping[str, str]
    ) -> _Left:
        """Leave a share of activation SRAM."""
        sram = hardware.activation_sram
        sram = replace(sram, bytes=round(sram.bytes * (1 - share)))
        smaller = replace(hardware, activation_sram=sram)
        pieces_bytes = (sram.bytes, sram.bytes // 2)
        return cls(smaller, *_spilled(schedule, smaller, state, pieces_bytes))


def _in_finer_rounds(
    left: _Left, parts: int, schedule: Schedule, state: Mapping[str, str]
) -> Schedule | None:
    """A schedule that fits, its loops as they are or in finer rounds, if there is one."""
    found = left.found
    if parts:
        changed = _taking_turns(schedule, left.moved, parts)
        if changed is schedule:
            return None
        room_bytes = left.smaller.activation_sram.bytes
        found, _ = _spilled(changed, left.smaller, state, (room_bytes,))
    return found if fits(found, left.smaller) else None


def _spilled_ways(
    schedule: Schedule, hardware: Hardware, state: Mapping[str, str], *, appends: bool
) -> Iterator[Schedule]:
    """Schedules that fit: with loops as they are, and with rounds that take turns with places."""
    room_bytes = hardware.activation_sram.bytes
    # A piece that just fits leaves no room for what is made of it: then it comes item by item.
    room = (room_bytes, room_bytes // 2)
    found, moved = _spilled(schedule, hardware, state, room, appends=appends)
    yield found
    for parts in _FINER:
        changed = _taking_turns(schedule, moved, parts)
        if changed is not schedule:
            found, _ = _spilled(changed, hardware, state, room[:1], appends=appends)
            if fits(found, hardware):
                yield found


def _taking_turns(schedule: Schedule, moved: Sequence[Movable], parts: int) -> Schedule:
    """A schedule with each loop over what moved in finer rounds, two of them in a body."""
    storages = dict(schedule.storages)
    users = users_of((*schedule.startup, *schedule.body, *schedule.finish))
    before = len(schedule.startup)
    fresh = fresh_numbers(schedule.body)
    body = list(schedule.body)
    for number, loop in enumerate(body):
        if not isinstance(loop, Repeat) or loop.is_region:
            continue
        if not any(step_of_loop(loop, one.buffer) for one in moved):
            continue
        outside = {name for name in loop.buffers if users[name] != [before + number]}
        cut = finer(loop, parts, storages, outside)
        if cut is not None and (pairs := in_pairs(cut[0], fresh)) is not None:
            body[number] = pairs
            storages |= cut[1]
    if body == list(schedule.body):
        return schedule
    return replace(schedule, body=tuple(body), storages=storages)


def _spilled(
    schedule: Schedule,
    hardware: Hardware,
    state: Mapping[str, str],
    pieces_bytes: Sequence[int],
    *,
    appends: bool = False,
) -> tuple[Schedule, list[Movable]]:
    """A schedule that fits if any does, and what does not stay.

    Larger pieces than one of `pieces_bytes` come item by item; the first that will do is taken.
    """
    states = [State.of(schedule, source, target) for source, target in state.items()]
    movable: list[Movable] = [
        (delay_line(one, schedule) if appends else None) or one for one in states if one is not None
    ]
    movable += constants(schedule)
    movable += outputs(schedule, {one.buffer for one in movable})
    taken = {one.buffer for one in movable}

    def without(moved: Sequence[Movable], way: _Way) -> Schedule:
        return _without(schedule, moved, way)

    def everything(way: _Way) -> list[Movable]:
        if not way.has_scratch:
            return movable
        scratch = large_scratch(schedule, taken, way.piece_bytes, in_rounds=way.in_rounds)
        return [*movable, *scratch]

    ways = [_Way(most, *rest) for most in pieces_bytes for rest in _WAYS]
    way = next((way for way in ways if fits(without(everything(way), way), hardware)), ways[-1])
    gone: list[Movable] = []
    left = everything(way)
    left.sort(key=lambda one: one.traffic_per_byte(schedule), reverse=True)
    while left:
        # The first `low` of what is left fit, the first `high` do not.
        low, high = 0, len(left) + 1
        while high - low > 1:
            middle = (low + high) // 2
            if fits(without([*gone, *left[middle:]], way), hardware):
                low = middle
            else:
                high = middle
        size_bytes = _size_bytes(left[low], schedule) if low < len(left) else 0
        too_large = [one for one in left[low:] if _size_bytes(one, schedule) >= size_bytes]
        gone += too_large
        left = [one for one in left[low:] if one not in too_large]
    found = without(gone, way)
    joined, in_dram = in_records(schedule, gone, hardware)
    if joined is not schedule:
        records = _without(joined, in_dram, way)
        # A record waits for the last use of all of its pieces in the place that it goes to.
        is_sooner = frame_cycles(records, hardware) <= frame_cycles(found, hardware)
        if is_sooner and fits(records, hardware):
            found = records
    return found, gone


def _without(schedule: Schedule, moved: Iterable[Movable], way: _Way) -> Schedule:
    """A schedule in which some of what is in activation SRAM lives in DRAM."""
    rewriting = Rewriting(schedule, way.piece_bytes, in_rounds=way.in_rounds)
    for one in moved:
        rewriting.move(one)
    return rewriting.schedule()


class _Way(NamedTuple):
    """The most that comes as a whole; whether scratch moves too, and inside the rounds of loops."""

    piece_bytes: int
    has_scratch: bool
    in_rounds: bool


_WAYS = ((False, False), (True, False), (True, True))
"""To move scratch, and inside rounds: the plainest first."""


def _size_bytes(moved: Movable, schedule: Schedule) -> int:
    return schedule.storages[moved.buffer].size_bytes
