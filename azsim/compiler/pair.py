"""Pair: two frames in a round of the frame loop, so that one's work fills the gaps of the other's.

Contract: takes a schedule whose frames need not wait for their arrival, gives one that does the
same with two frames in a round, one behind the other, and a frame that is left over behind the
loop, where it stays in program order.  Where something in a frame repeats, a frame has more than
600 items, weights come again within it, or activation SRAM has no room for both, the schedule stays
as it is.  It has three times the items at most.

A further frame works in buffers of its own, but for what outlives a frame, so that its work can
begin while that of the first one goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from azsim.compiler.allocate import fits
from azsim.compiler.schedule import (
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    accesses,
    walk,
)
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access

__all__ = ["pair"]

_MOST_ITEMS = 600
"""Of a frame; of a longer one its own work fills the gaps."""


def pair(schedule: Schedule, hardware: Hardware) -> Schedule:
    """Put two frames into a round.

    Parameters
    ----------
    schedule : Schedule
    hardware : Hardware
    """
    items = [item for item in schedule.body if isinstance(item, Item) and item.leave is None]
    is_straight = len(items) == len(schedule.body) <= _MOST_ITEMS
    if schedule.frames == 1 or not is_straight or _loads_again(schedule):
        return schedule
    paired = _in_pairs(schedule, items)
    return paired if fits(paired, hardware) else schedule


def _loads_again(schedule: Schedule) -> bool:
    """Whether weights that a frame holds for a while make place for others of the same frame."""
    used = (schedule.storages[name] for name in _touched(schedule.body))
    return any(
        storage.space == "weight" and not storage.persistent and storage.slot is None
        for storage in used
    )


def _in_pairs(schedule: Schedule, items: Sequence[Item]) -> Schedule:
    """Two frames a round; items are those of one."""
    frames = schedule.frames
    is_loop, is_odd = frames >= 4, bool(frames % 2)
    copies = dict(_copies(schedule, 2 if is_odd else 1))
    always = [replace(item, but_last=None) for item in items]
    at_last = [item for item in items if item.but_last is None]
    second = always if is_odd else items if is_loop else at_last
    times = 2 if is_loop else 0
    body = [
        *(_of_frame(item, 0, 0, times, copies) for item in always),
        *(_of_frame(item, 1, 1, times, copies) for item in second),
    ]
    rest = [_of_frame(item, 2, frames - 1, 0, copies) for item in at_last] if is_odd else []
    storages = {
        name: replace(schedule.storages[buffer], name=name) for (buffer, _), name in copies.items()
    }
    return replace(
        schedule,
        startup=schedule.startup if is_loop else tuple(map(_without_waits, schedule.startup)),
        body=tuple(body),
        finish=(*rest, *schedule.finish),
        storages={**schedule.storages, **storages},
        per_round=2,
        copies=copies,
    )


def _copies(schedule: Schedule, frames: int) -> Iterator[tuple[tuple[str, int], str]]:
    """Names for what takes a buffer's part in further frames."""
    around = _touched(schedule.startup + schedule.finish)
    inside = _touched(schedule.body)
    for name, storage in schedule.storages.items():
        if name in inside and name not in around and storage.is_of_a_frame:
            for frame in range(1, 1 + frames):
                copy = f"{name}~{frame}"
                while copy in schedule.storages:  # a tensor may have any name
                    copy += "~"
                yield (name, frame), copy


def _touched(items: Iterable[Item | Repeat]) -> set[str]:
    return {name for item in walk(tuple(items)) for name in item.buffers}


def _without_waits(item: Item | Repeat) -> Item | Repeat:
    """What comes before a single round is put in order together with it."""
    if isinstance(item, Repeat):
        return item
    operands = {name: value for name, value in item.operands.items() if name[:5] != "wait_"}
    return replace(item, operands=operands)


def _of_frame(
    item: Item, frame: int, begin: int, times: int, copies: Mapping[tuple[str, int], str]
) -> Item:
    """An item `begin` frames later, which moves `times` as far from round to round."""

    def window(access: Access) -> Access:
        step = access.advance.get(FRAME_LOOP, 0)
        advance = {FRAME_LOOP: times * step} if times and step else {}
        buffer = copies.get((access.buffer, frame), access.buffer)
        return replace(access, buffer=buffer, offset=access.offset + begin * step, advance=advance)

    windows = {name: window(access) for name, access in accesses(item)}
    # A round is counted by the load that waits for what it works on.
    paced = {"paced": 0} if frame and item.operands.get("paced") else {}
    return replace(item, operands={**item.operands, **windows, **paced}, frame=frame)
