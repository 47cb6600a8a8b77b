"""Beside: results that are there before data decides go to DRAM while a decision is worked out.

Contract: takes a schedule, gives one with the same stores.  Nothing is under way where data decides
(`azsim.compiler.regions`), so that a store in front of a region is waited for, and one behind it is
at the end of the frame.  One that takes no longer than the work for the first decision goes on
beside that work: in the region, where the first round alone carries it out (`Item.once`).  What it
stores lives as long as the region then: where activation SRAM has no room for that, it stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from azsim.compiler.allocate import fits
from azsim.compiler.edges import OUTPUT
from azsim.compiler.estimate import Estimator
from azsim.compiler.pieces_in_dram import writes_to
from azsim.compiler.schedule import Item, Repeat, Schedule, walk
from azsim.hardware.description import Hardware

__all__ = ["beside"]

_Items = tuple[Item | Repeat, ...]


def beside(schedule: Schedule, estimator: Estimator, hardware: Hardware) -> Schedule:
    """Move stores of a frame's results into the last region that has work for a decision.

    Parameters
    ----------
    schedule : Schedule
    estimator : Estimator
    hardware : Hardware
    """

    def cycles(items: Iterable[Item | Repeat]) -> int:
        return sum(estimator.cycles(item, schedule.storages) for item in walk(tuple(items)))

    for at in reversed(range(len(schedule.body))):
        item = schedule.body[at]
        if not (isinstance(item, Repeat) and item.is_region):
            continue
        found, left = schedule, cycles(_first_work(item))
        moved: list[Item] = []
        for store in _stores_of_what_is_there(schedule, at):
            if (takes := cycles([store])) > left:
                continue
            moving = _with_stores(schedule, at, [*moved, store])
            if fits(moving, hardware) or not fits(schedule, hardware):
                found, left = moving, left - takes
                moved.append(store)
        if moved:
            return found
    return schedule


def _with_stores(schedule: Schedule, region: int, stores: Sequence[Item]) -> Schedule:
    """A schedule in which a region carries out stores, once."""
    body, gone = schedule.body, set(map(id, stores))
    item = body[region]
    assert isinstance(item, Repeat)
    once = [replace(store, once=True) for store in stores]
    found = _with_behind([item], _first_work(item)[0], once)
    before = (one for one in body[:region] if id(one) not in gone)
    behind = (one for one in body[region + 1 :] if id(one) not in gone)
    return replace(schedule, body=(*before, *found, *behind))


def _stores_of_what_is_there(schedule: Schedule, region: int) -> Iterator[Item]:
    """Stores of a frame's results that nothing writes from them or the region on."""
    for at, item in enumerate(schedule.body):
        if isinstance(item, Item) and item.mnemonic == "store" and item.layer == OUTPUT:
            source = schedule.storages[dict(item.windows)["src"].buffer]
            is_alone = source.slot is None and source.within is None
            if is_alone and not writes_to(schedule.body[min(at, region) :], source.name):
                yield item


def _first_work(region: Repeat) -> _Items:
    """What a decision waits for, the first that waits for anything and that data cannot leave out.

    Nothing where there is no such decision.
    """
    begin = 0
    for at, item in enumerate(region.body):
        if isinstance(item, Item) and item.leave is not None:
            return region.body[begin:at]
        if isinstance(item, Repeat) and item.is_region:
            begin = at + 1
            if work := _first_work(item):
                return work
    return ()


def _with_behind(
    items: Iterable[Item | Repeat], first: Item | Repeat, stores: Iterable[Item]
) -> Iterator[Item | Repeat]:
    """Items of a region, and of the loops in it, with stores behind one of them."""
    for item in items:
        if isinstance(item, Repeat) and item.is_region:
            yield replace(item, body=tuple(_with_behind(item.body, first, stores)))
            continue
        yield item
        if item is first:
            yield from stores
