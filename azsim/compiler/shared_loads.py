"""Shared loads: what comes from DRAM for a frame comes once for all frames of a round.

Weights and constants that have no room on the chip come piece by piece, each to a place where the
next one replaces it.  A frame behind another needs each piece again.  Frames beside one another use
it while it is there: what stands between two loads is done for one frame after the other, then the
next piece comes for all of them.  Pieces come together where nothing in between has to be done
first: whatever a frame has made when others go on takes room for each of them.
"""

from __future__ import annotations

import bisect
import itertools
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

from azsim.compiler.lifetimes import lifetimes
from azsim.compiler.schedule import Item, Storage, accesses, extent, in_whole, is_written
from azsim.ops.lowering import Access

__all__ = ["beside"]


_LOADS = ("load", "weight_load")
_TRANSFERS = (*_LOADS, "store")


@dataclass(frozen=True)
class _Touch:
    """Elements [first, end) of a place."""

    place: Hashable
    first: int
    end: int
    is_write: bool

    def conflicts(self, other: _Touch) -> bool:
        """Whether one writes what both touch."""
        return (
            self.place == other.place
            and (self.is_write or other.is_write)
            and self.first < other.end
            and other.first < self.end
        )


def beside(
    of_frames: Sequence[Sequence[Item]],
    before: Iterable[Item],
    storages: Mapping[str, Storage],
    own: Set[str],
    accumulators: int,
    *,
    is_late: bool = False,
) -> tuple[list[Item], set[str]] | None:
    """Items of a round in which frames share what comes from DRAM.

    Parameters
    ----------
    of_frames : sequence of sequence of Item
        The same work for each frame of a round, each in program order.
    before : iterable of Item
        What the program begins with.
    storages : mapping of str to Storage
    own : set of str
        Buffers of the first frame in whose place further frames have others.
    accumulators : int
        Of the array.
    is_late : bool
        Whether what is shared comes and goes as late as something else does, so that there are
        fewer places where all frames have come as far.

    Returns
    -------
    items : list of Item
    passing : set of str
        Buffers of the first frame that hold nothing that is needed where what is shared comes or
        goes: one may serve all frames.
    None
        Where frames share no load, where one would read what one before it has yet to write,
        or write what that has yet to read, or where there are not enough accumulators.
    """
    if len({len(items) for items in of_frames}) > 1:
        return None
    touches = [list(_touches(item, storages)) for item in of_frames[0]]
    outlives = {_place(storage) for name, storage in storages.items() if name not in own}
    order = _early(of_frames[0], touches, outlives)
    of_frames = [[items[at] for at in order] for items in of_frames]
    touches = [touches[at] for at in order]
    shared = _shared(of_frames, touches, storages)
    if not shared or not _begins_alike(of_frames[0], before, touches, shared, storages):
        return None
    loads = _before_readers(of_frames[0], touches, shared)
    if is_late:
        loads = _brought_late(loads, touches, shared)
    loads = _brought_early(loads, touches, shared)
    if _is_turned([at for end in sorted(loads) for at in loads[end]], touches):
        return None
    if any(first < at <= last for at in loads for first, last in _sums(of_frames[0])):
        if len(of_frames) * (most := _most_accumulators(of_frames[0])) > accumulators:
            return None
        of_frames = [
            [_with_accumulators(item, frame * most) for item in items]
            for frame, items in enumerate(of_frames)
        ]
    touches = [[touch for touch in of_item if touch.place in outlives] for of_item in touches]
    stretches = [
        [at for at in range(low, high) if at not in shared]
        for low, high in itertools.pairwise([0, *sorted(loads)])
    ]
    touches = _by_visit(of_frames[0], touches, shared, storages)
    if _is_in_conflict([[touches[at] for at in stretch] for stretch in stretches]):
        return None
    items: list[Item] = []
    for stretch, end in zip(stretches, sorted(loads), strict=True):
        items += [frame[at] for frame in of_frames for at in stretch]
        items += [of_frames[-1][at] for at in loads[end]]
    return items, _passing(of_frames[0], own, loads)


def _passing(items: Sequence[Item], own: Set[str], borders: Iterable[int]) -> set[str]:
    """Buffers that hold nothing that is needed before any of some items."""
    places = sorted(borders)
    return {
        buffer
        for buffer, spans in lifetimes(items).items()
        if buffer in own
        and all(
            first >= 0 and bisect.bisect(places, first) == bisect.bisect(places, last)
            for first, last in spans
        )
    }


def _touches(item: Item, storages: Mapping[str, Storage]) -> Iterable[_Touch]:
    for name, access in accesses(item):
        storage = storages[access.buffer]
        first, end = extent(in_whole(access, storage), {})
        if storage.pieces_bytes is not None or storage.slot is not None:
            first, end = 0, sys.maxsize
        yield _Touch(_place(storage), first, end, is_written(item, name))


def _place(storage: Storage) -> Hashable:
    """What a storage takes turns in, or what it is a part of, or itself."""
    return storage.whole if storage.slot is None else (storage.space, storage.slot)


def _early(
    items: Sequence[Item], touches: Sequence[Sequence[_Touch]], outlives: Set[Hashable]
) -> list[int]:
    """Numbers of a frame's items, those that write what outlives it as early as can be.

    So that the next frame need not wait until the end of this one.
    """
    order: list[int] = []
    for at, item in enumerate(items):
        is_late = item.mnemonic.startswith("vector_") and any(
            touch.is_write and touch.place in outlives for touch in touches[at]
        )
        place = len(order)
        while is_late and place and not _conflict(touches[order[place - 1]], touches[at]):
            place -= 1
        order.insert(place, at)
    return order


def _conflict(some: Iterable[_Touch], others: Sequence[_Touch]) -> bool:
    return any(one.conflicts(other) for one in some for other in others)


def _shared(
    of_frames: Sequence[Sequence[Item]],
    touches: Sequence[Sequence[_Touch]],
    storages: Mapping[str, Storage],
) -> set[int]:
    """Numbers of the transfers that all frames have alike, and of which one does for all.

    Loads of what no frame writes; and loads and stores of what comes to a place, is worked on there
    and goes back: one frame may go on where the one before it has ended.
    """
    first, *_ = of_frames
    alike = {
        at
        for at, (one, *others) in enumerate(zip(*of_frames, strict=True))
        if one.mnemonic in _TRANSFERS and all(other.windows == one.windows for other in others)
    }
    users: dict[Hashable, list[int]] = {}
    for at, of_item in enumerate(touches):
        for place in {touch.place for touch in of_item}:
            users.setdefault(place, []).append(at)
    of_place: dict[Hashable, dict[int, int | None]] = {}
    for place in {_moved(first[at], storages)[1] for at in alike if first[at].mnemonic != "store"}:
        visits = _visits(place, [(at, first[at], touches[at]) for at in users[place]])
        if visits is not None and {at for visit in visits.items() for at in visit} <= {
            *alike,
            None,
        }:
            of_place[place] = visits
    while True:
        back = {load: store for visits in of_place.values() for load, store in visits.items()}
        lost = {
            _moved(first[at], storages)[1]
            for outside in {_moved(first[at], storages)[0] for at in back}
            if not _comes_and_goes(outside, users[outside], first, touches, back)
            for at in back.keys() & set(users[outside])
        }
        if not lost:
            return back.keys() | {store for store in back.values() if store is not None}
        of_place = {place: visits for place, visits in of_place.items() if place not in lost}


def _comes_and_goes(
    outside: Hashable,
    users: Sequence[int],
    items: Sequence[Item],
    touches: Sequence[Sequence[_Touch]],
    back: Mapping[int, int | None],
) -> bool:
    """Whether nothing changes in a place in DRAM, or each part of it in one visit of a frame."""
    if all(items[at].mnemonic != "store" for at in users):
        return True
    if any(at not in back and at not in back.values() for at in users):
        return False
    loads = [at for at in users if at in back]
    parts = sorted(
        (touch.first, touch.end) for at in loads for touch in touches[at] if touch.place == outside
    )
    is_once = all(end <= first for (_, end), (first, _) in itertools.pairwise(parts))
    return is_once and all(back[at] is not None for at in loads)


def _moved(item: Item, storages: Mapping[str, Storage]) -> tuple[Hashable, Hashable]:
    """Places in DRAM and on the chip between which a transfer moves something."""
    source, target = (_place(storages[_window(item, name).buffer]) for name in ("src", "dst"))
    return (target, source) if item.mnemonic == "store" else (source, target)


def _window(item: Item, name: str) -> Access:
    window = item.operands[name]
    assert isinstance(window, Access)
    return window


def _visits(
    place: Hashable, users: Sequence[tuple[int, Item, Sequence[_Touch]]]
) -> dict[int, int | None] | None:
    """By each load to a place, the store that takes back what it brought, if any does.

    None where something that is made there is lost, or goes elsewhere.  What a frame begins with
    has come at the end of the one before.
    """
    begin = next(at for at, (_, item, _) in enumerate(users) if item.mnemonic in _LOADS)
    found: dict[int, int | None] = {}
    brought, is_changed = users[begin][:2], False
    for at, item, touches in (*users[begin:], *users[:begin]):
        if item.mnemonic in _LOADS:
            if is_changed:
                return None
            brought = at, item
            found[at] = None
        elif item.mnemonic == "store":
            number, load = brought
            if (_window(item, "src"), _window(item, "dst")) != (
                _window(load, "dst"),
                _window(load, "src"),
            ):
                return None
            found[number], is_changed = at, False
        else:
            is_changed |= any(touch.place == place and touch.is_write for touch in touches)
    return None if is_changed else found


def _sums(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Numbers of the first product and the last drain of each sum, which come in turn."""
    found: list[tuple[int, int]] = []
    for at, item in enumerate(items):
        if item.mnemonic == "mac_matmul" and not item.operands.get("accumulate"):
            found.append((at, at))
        elif item.mnemonic in ("mac_matmul", "mac_drain"):
            found[-1] = found[-1][0], at
    return found


def _most_accumulators(items: Sequence[Item]) -> int:
    """Accumulators of the largest sum."""
    return max(
        _first_accumulator(item) + _window(item, "dst").rows * _window(item, "dst").cols
        for item in items
        if item.mnemonic == "mac_drain"
    )


def _first_accumulator(item: Item) -> int:
    number = item.operands.get("acc", 0)
    assert isinstance(number, int)
    return number


def _with_accumulators(item: Item, first: int) -> Item:
    """An item of the array that works on other accumulators, or any other item as it is."""
    if not first or item.mnemonic not in ("mac_matmul", "mac_drain"):
        return item
    return replace(item, operands={**item.operands, "acc": first + _first_accumulator(item)})


def _before_readers(
    items: Sequence[Item],
    touches: Sequence[Sequence[_Touch]],
    shared: Set[int],
) -> dict[int, list[int]]:
    """Shared loads by the item that they come before, the first that reads what one of them brings.

    There a frame is mostly done with what it made of the piece before.  It is not in the middle of
    a sum, where that can be avoided.
    """
    places = {touch.place for at in shared for touch in touches[at]}
    reads = [
        at
        for at, of_item in enumerate(touches)
        if at not in shared and any(touch.place in places for touch in of_item)
    ]
    sums = _sums(items)
    found: dict[int, list[int]] = {len(touches): []}
    for at in sorted(shared):
        following = bisect.bisect_left(reads, at)
        before = reads[following] if following < len(reads) else len(touches)
        around = next((sum_ for sum_ in sums if sum_[0] < before <= sum_[1]), None)
        if around is not None:
            before = _beside_sum(at, before, around, items, touches)
        found.setdefault(before, []).append(at)
    return found


def _beside_sum(
    at: int,
    before: int,
    around: tuple[int, int],
    items: Sequence[Item],
    touches: Sequence[Sequence[_Touch]],
) -> int:
    """Where a load would come before an item of a sum: before its products or behind its drains."""
    first, last = around
    if not any(_conflict(touches[number], touches[at]) for number in range(first, at)):
        return first
    rest = range(before, last + 1)
    if any(items[number].mnemonic == "mac_matmul" for number in rest):
        return before  # which need what comes while those of other frames are made
    return before if any(_conflict(touches[number], touches[at]) for number in rest) else last + 1


def _brought_late(
    loads: Mapping[int, Sequence[int]], touches: Sequence[Sequence[_Touch]], shared: Set[int]
) -> dict[int, list[int]]:
    """Shared transfers by the item that they come before, with those behind if they can be."""
    found: dict[int, list[int]] = {}
    behind = len(touches)
    for end in sorted(loads, reverse=True):
        passed = [touches[at] for at in range(end, behind) if at not in shared]
        kept: list[int] = []
        late: list[int] = []
        for at in reversed(loads[end]):
            stay = end < behind and _touch_same(passed, touches[at])
            (kept if stay else late).insert(0, at)
            if stay:
                passed.append(touches[at])
        found[behind] = [*late, *found.get(behind, ())]
        if kept:
            found[end] = kept
            behind = end
    return found


def _touch_same(items: Iterable[Sequence[_Touch]], touches: Sequence[_Touch]) -> bool:
    return any(_conflict(of_item, touches) for of_item in items)


def _brought_early(
    loads: Mapping[int, Sequence[int]], touches: Sequence[Sequence[_Touch]], shared: Set[int]
) -> dict[int, list[int]]:
    """Shared transfers by the item that they come before, with those before them if they can be.

    Where nothing in between touches what one of them moves.  A frame goes on there with what it has
    made, and need not keep it until all frames have come as far.
    """
    found: dict[int, list[int]] = {}
    before: int | None = None
    for end in sorted(loads):
        kept = list(loads[end])
        if before is not None and end < len(touches):
            passed = [touches[at] for at in range(before, end) if at not in shared]
            kept = []
            for at in loads[end]:
                if _touch_same(passed, touches[at]):
                    passed.append(touches[at])
                    kept.append(at)
                else:
                    found[before].append(at)
        if kept or end == len(touches):
            found[end] = kept
            before = end
    return found


def _is_turned(order: Sequence[int], touches: Sequence[Sequence[_Touch]]) -> bool:
    """Whether of two transfers that touch the same the later one of a frame comes first."""
    return any(
        earlier > later and _conflict(touches[earlier], touches[later])
        for earlier, later in itertools.combinations(order, 2)
    )


def _loads_by_place(
    items: Sequence[Item], shared: Set[int], storages: Mapping[str, Storage]
) -> dict[Hashable, list[int]]:
    """Numbers of the shared loads to each place on the chip."""
    found: dict[Hashable, list[int]] = {}
    for at in sorted(shared):
        if items[at].mnemonic in _LOADS:
            found.setdefault(_moved(items[at], storages)[1], []).append(at)
    return found


def _begins_alike(
    items: Sequence[Item],
    before: Iterable[Item],
    touches: Sequence[Sequence[_Touch]],
    shared: Set[int],
    storages: Mapping[str, Storage],
) -> bool:
    """Whether the first frame finds in each place what the others do, the last load of a frame."""
    written: dict[Hashable, Item] = {}
    for item in before:
        for touch in _touches(item, storages):
            if touch.is_write:
                written[touch.place] = item
    for place, loads in _loads_by_place(items, shared, storages).items():
        is_used = any(touch.place == place for at in range(loads[0]) for touch in touches[at])
        if is_used and (place not in written or written[place].windows != items[loads[-1]].windows):
            return False
    return True


def _by_visit(
    items: Sequence[Item],
    touches: Sequence[Sequence[_Touch]],
    shared: Set[int],
    storages: Mapping[str, Storage],
) -> list[list[_Touch]]:
    """What items touch, with what a place holds from one load to the next one as one of its own.

    Behind the last load of a frame is what the next one begins with.
    """
    loads = _loads_by_place(items, shared, storages)
    return [
        [
            replace(touch, place=(touch.place, bisect.bisect(of_place, at) % len(of_place)))
            if (of_place := loads.get(touch.place))
            else touch
            for touch in of_item
        ]
        for at, of_item in enumerate(touches)
    ]


def _is_in_conflict(stretches: Sequence[Sequence[Sequence[_Touch]]]) -> bool:
    """Whether a stretch of a frame must not come behind an earlier one of the next frame."""
    before: dict[Hashable, list[_Touch]] = {}
    for stretch in stretches:
        mine = [touch for of_item in stretch for touch in of_item]
        if any(_conflict(before.get(touch.place, ()), [touch]) for touch in mine):
            return True
        for touch in mine:
            before.setdefault(touch.place, []).append(touch)
    return False
