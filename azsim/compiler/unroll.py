"""Unroll: loops of few rounds become straight, so that their work can overlap with what is around.

Contract: takes a schedule, gives one that does the same in the same order, in which loops of the
frame's body with few items in all their rounds are written out.  Program size grows by no more
than a constant for each loop.  What lives in a round of a loop (`Storage.round_of`) lives longer
where it is written out: a loop that activation SRAM has no room for then stays one.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import replace

from azsim.compiler.allocate import fits
from azsim.compiler.rounds import fresh_numbers, written_out
from azsim.compiler.schedule import Item, Repeat, Schedule
from azsim.hardware.description import Hardware

__all__ = ["unroll"]

_MOST_ITEMS = 128
"""That a loop may have in all of its rounds."""


def unroll(schedule: Schedule, hardware: Hardware) -> Schedule:
    """Write out the loops of a schedule's body that have few items.

    Parameters
    ----------
    schedule : Schedule
    hardware : Hardware
    """
    loops = [at for at, item in enumerate(schedule.body) if _is_short(item)]
    found = _written_out(schedule, loops)
    if not loops or fits(found, hardware) or not fits(schedule, hardware):
        return found
    kept: list[int] = []
    for at in loops:
        if fits(_written_out(schedule, [*kept, at]), hardware):
            kept.append(at)
    return _written_out(schedule, kept)


def _written_out(schedule: Schedule, loops: Collection[int]) -> Schedule:
    """A schedule without those loops of its body."""
    fresh = fresh_numbers(schedule.body)
    body = (
        written_out(item, fresh) if at in loops and isinstance(item, Repeat) else (item,)
        for at, item in enumerate(schedule.body)
    )
    return replace(schedule, body=tuple(itertools.chain.from_iterable(body)))


def _is_short(loop: Item | Repeat) -> bool:
    if isinstance(loop, Item):
        return False
    is_plain = all(isinstance(item, Item) for item in loop.body) and not loop.is_region
    return is_plain and loop.rounds is None and loop.count * len(loop.body) <= _MOST_ITEMS
