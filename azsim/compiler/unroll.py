"""Unroll: loops of few rounds become straight, so that their work can overlap with what is around.

Contract: takes a schedule, gives one that does the same, in which loops of the frame's body with
few items in all their rounds are written out.  Where frames need not wait for their arrival,
nothing in the body repeats, and activation SRAM has room for it, a round of the frame loop computes
two of them, one behind the other; of an odd number the last one is computed behind the loop.
Program size grows by no more than a constant for each loop.

Of two frames, the second one works in buffers of its own, but for what outlives a frame, so that
its work can begin while the first one's goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace

from azsim.compiler.allocate import fits
from azsim.compiler.rounds import fresh_numbers, written_out
from azsim.compiler.schedule import (
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    of_frame,
    walk,
)
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access

__all__ = ["unroll"]

_MOST_ITEMS = 64
"""That a loop may have in all of its rounds."""
_MOST_PAIRED = 600
"""Items of a frame that may be in a round with another."""


def unroll(schedule: Schedule, hardware: Hardware, *, is_paced: bool) -> Schedule:
    """Write out the loops of a schedule's body that have few items, and pairs of frames.

    Parameters
    ----------
    schedule : Schedule
    hardware : Hardware
    is_paced : bool
        Whether a frame has to arrive first.
    """
    fresh = fresh_numbers(schedule.body)
    body = tuple(
        itertools.chain.from_iterable(
            written_out(item, fresh) if isinstance(item, Repeat) and _is_short(item) else (item,)
            for item in schedule.body
        )
    )
    schedule = replace(schedule, body=body)
    items = [item for item in body if isinstance(item, Item) and item.leave is None]
    is_straight = len(items) == len(body) <= _MOST_PAIRED
    if is_paced or schedule.frames == 1 or not is_straight or _loads_again(schedule):
        return schedule
    paired = _in_pairs(schedule, items)
    return paired if fits(paired, hardware) else schedule


def _is_short(loop: Repeat) -> bool:
    is_plain = all(isinstance(item, Item) for item in loop.body) and not loop.is_region
    return is_plain and loop.rounds is None and loop.count * len(loop.body) <= _MOST_ITEMS


def _loads_again(schedule: Schedule) -> bool:
    """Whether weights that a frame holds for a while make place for others of the same frame."""
    used = (schedule.storages[name] for name in _touched(walk(schedule.body)))
    return any(
        storage.space == "weight" and not storage.persistent and storage.slot is None
        for storage in used
    )


def _in_pairs(schedule: Schedule, items: Sequence[Item]) -> Schedule:
    """Two frames a round; items are those of one."""
    frames, local = schedule.frames, _local(schedule)
    is_loop, is_odd = frames >= 4, bool(frames % 2)
    always = [replace(item, but_last=None) for item in items]
    at_last = [item for item in items if item.but_last is None]
    second = always if is_odd else items if is_loop else at_last
    times = 2 if is_loop else 0
    body = [
        *(_of_frame(item, 0, 0, times, local) for item in always),
        *(_of_frame(item, 1, 1, times, local) for item in second),
    ]
    rest = [_of_frame(item, 2, frames - 1, 0, local) for item in at_last] if is_odd else []
    copies = {
        of_frame(name, frame): replace(schedule.storages[name], name=of_frame(name, frame))
        for frame in ((1, 2) if is_odd else (1,))
        for name in local
    }
    return replace(
        schedule,
        startup=schedule.startup if is_loop else tuple(map(_without_waits, schedule.startup)),
        body=tuple(body),
        finish=(*rest, *schedule.finish),
        storages={**schedule.storages, **copies},
        per_round=2,
    )


def _without_waits(item: Item | Repeat) -> Item | Repeat:
    """What comes before a single round is put in order together with it."""
    if isinstance(item, Repeat):
        return item
    operands = {name: value for name, value in item.operands.items() if name[:5] != "wait_"}
    return replace(item, operands=operands)


def _local(schedule: Schedule) -> set[str]:
    """Buffers in activation SRAM that are used within a frame only."""
    around = _touched(walk(schedule.startup + schedule.finish))
    inside = _touched(walk(schedule.body)) - around
    return {name for name in inside if _is_of_a_frame(schedule.storages[name])}


def _touched(items: Iterable[Item]) -> set[str]:
    return {name for item in items for name in item.buffers}


def _is_of_a_frame(storage: Storage) -> bool:
    return storage.space == "activation" and not storage.persistent and storage.slot is None


def _of_frame(item: Item, frame: int, begin: int, times: int, local: Set[str]) -> Item:
    """An item `begin` frames later, which moves `times` as far from round to round."""

    def window(access: Access) -> Access:
        step = access.advance.get(FRAME_LOOP, 0)
        advance = {FRAME_LOOP: times * step} if times and step else {}
        buffer = of_frame(access.buffer, frame) if access.buffer in local else access.buffer
        return replace(access, buffer=buffer, offset=access.offset + begin * step, advance=advance)

    windows = {name: window(access) for name, access in accesses(item)}
    # A round is counted by the load that waits for what it works on.
    paced = {"paced": 0} if frame and item.operands.get("paced") else {}
    return replace(item, operands={**item.operands, **windows, **paced}, frame=frame)
