"""Unroll: loops of few rounds become straight, so that their work can overlap with what is around.

Contract: takes a schedule, gives one that does the same in the same order, in which loops of the
frame's body with few items in all their rounds are written out.  Program size grows by no more
than a constant for each loop.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

from azsim.compiler.rounds import fresh_numbers, written_out
from azsim.compiler.schedule import Item, Repeat, Schedule

__all__ = ["unroll"]

_MOST_ITEMS = 128
"""That a loop may have in all of its rounds."""


def unroll(schedule: Schedule) -> Schedule:
    """Write out the loops of a schedule's body that have few items."""
    fresh = fresh_numbers(schedule.body)
    body = (
        written_out(item, fresh) if isinstance(item, Repeat) and _is_short(item) else (item,)
        for item in schedule.body
    )
    return replace(schedule, body=tuple(itertools.chain.from_iterable(body)))


def _is_short(loop: Repeat) -> bool:
    is_plain = all(isinstance(item, Item) for item in loop.body) and not loop.is_region
    return is_plain and loop.rounds is None and loop.count * len(loop.body) <= _MOST_ITEMS
