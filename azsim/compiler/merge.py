"""Merge: what a stream begins with comes in one transfer, and what it ends with goes in one.

Contract: takes a schedule in its order, gives one that moves the same numbers, at other addresses.
A transfer waits for DRAM's latency and for a row to open, and a channel does one at a time, so that
many small ones take longer than their bytes.  Constants and states lie side by side in activation
SRAM, and in DRAM in the same order (`Storage.within`): first the states that the program stores at
its end, so that those are neighbours too, as are the final states in DRAM.  Then transfers one
behind another that move neighbours become one: at the start, at the end, and where an utterance
ends and the initial state comes anew (`azsim.compiler.edges`).  In a schedule with a single round
each comes when it is wanted, and goes when it is there: `azsim.compiler.compile_graph` merges them
before they are put in order where that is shorter.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from azsim.compiler.schedule import (
    Item,
    Repeat,
    Schedule,
    Storage,
    shows_all,
    unused_name,
)
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES, MAX_EXTENT

__all__ = ["merge"]

_DTYPE = "i32"
"""Of what lies side by side: four bytes, as each of its elements has."""
_MOST_BYTES = MAX_EXTENT * ELEMENT_BYTES[_DTYPE]
"""Of a transfer that is made of several, a window of one row."""
_INSIDE, _OUTSIDE, _FINAL = "(start)", "(start)#dram", "(end)#dram"


def merge(schedule: Schedule) -> Schedule:
    """Merge the transfers of a stream's start and end.

    Parameters
    ----------
    schedule : Schedule
        The same one comes back if there is nothing to merge.
    """
    loads = _whole_moves(schedule.startup, "load", schedule.storages)
    stores = _whole_moves(schedule.finish, "store", schedule.storages)
    if len(loads) < 2:
        return schedule
    final = {_window(item, "src").buffer: _window(item, "dst").buffer for item in stores}
    given = {_window(item, "dst").buffer: _window(item, "src").buffer for item in loads}
    names = sorted(given, key=lambda name: name not in final)
    storages = dict(schedule.storages)
    _place(_INSIDE, "activation", names, storages)
    _place(_OUTSIDE, "dram", [given[name] for name in names], storages)
    _place(_FINAL, "dram", [final[name] for name in names if name in final], storages)
    merged = {id(item) for item in loads}
    first = next(at for at, item in enumerate(schedule.startup) if id(item) in merged)
    rest = [item for item in schedule.startup if id(item) not in merged]
    startup = (*rest[:first], *loads, *rest[first:])
    merging = _Merging(storages)
    parts = (startup, schedule.body, schedule.finish)
    startup, body, finish = (tuple(merging.items(items)) for items in parts)
    held = {name: merging.places[at] for name, at in schedule.held.items()}
    return replace(
        schedule, startup=startup, body=body, finish=finish, storages=storages, held=held
    )


def _window(item: Item, operand: str) -> Access:
    window = item.operands[operand]
    assert isinstance(window, Access)
    return window


def _whole_moves(
    items: Iterable[Item | Repeat], mnemonic: str, storages: Mapping[str, Storage]
) -> list[Item]:
    """Items that alone move all of what stays in activation SRAM, or to there, and of DRAM's."""
    wholes = {storage.whole for storage in storages.values() if storage.within is not None}

    def is_whole(window: Access) -> bool:
        storage = storages[window.buffer]
        is_alone = storage.within is None and storage.name not in wholes
        is_there = storage.persistent and storage.space != "weight"
        return is_alone and is_there and shows_all(window, storage)

    moves = [item for item in items if isinstance(item, Item) and item.mnemonic == mnemonic]
    times = collections.Counter(window.buffer for item in moves for _, window in item.windows)
    return [
        item
        for item in moves
        if all(is_whole(window) and times[window.buffer] == 1 for _, window in item.windows)
    ]


def _place(whole: str, space: str, names: Sequence[str], storages: dict[str, Storage]) -> None:
    """Let storages be parts of one, side by side, if there are several."""
    if len(names) < 2:
        return
    whole = unused_name(whole, storages)
    end = 0
    for name in names:
        storages[name] = replace(storages[name], within=(whole, end))
        end += storages[name].size_bytes
    storages[whole] = Storage(whole, space, _DTYPE, end, True)


@dataclass
class _Merging:
    """Items of a program one behind another, with transfers merged.

    Attributes
    ----------
    storages : mapping of str to Storage
    places : list of int
        By number of an item that was, the number of the one that does its work now, or that of
        another transfer beside it.
    count : int
        Items so far.
    """

    storages: Mapping[str, Storage]
    places: list[int] = field(default_factory=list)
    count: int = 0

    def items(self, items: Iterable[Item | Repeat]) -> Iterator[Item | Repeat]:
        """Items in which neighbours come and go together, also those in loops."""
        for kind, run in itertools.groupby(items, lambda item: _kind(item, self.storages)):
            if kind is None:
                for item in run:
                    if isinstance(item, Repeat):
                        yield replace(item, body=tuple(self.items(item.body)))
                    else:
                        self._note(1, 1)
                        yield item
                continue
            moves = [item for item in run if isinstance(item, Item)]
            moves.sort(key=lambda item: _begins(item, self.storages))
            found = list(_in_one(moves, self.storages))
            self._note(len(moves), len(found))
            yield from found

    def _note(self, were: int, are: int) -> None:
        """So many items became so many."""
        self.places += [self.count + min(number, are - 1) for number in range(were)]
        self.count += are


def _kind(item: Item | Repeat, storages: Mapping[str, Storage]) -> tuple[str, str, str] | None:
    """The same for transfers that may become one: between which storages they move parts."""
    if not isinstance(item, Item) or item.mnemonic not in ("load", "store"):
        return None
    windows = [_window(item, "src"), _window(item, "dst")]
    if any(
        storages[window.buffer].within is None
        or storages[window.buffer].pieces_bytes is not None
        or not shows_all(window, storages[window.buffer])
        for window in windows
    ):
        return None
    source, target = (storages[window.buffer].whole for window in windows)
    return item.mnemonic, source, target


def _begins(item: Item, storages: Mapping[str, Storage]) -> tuple[int, int]:
    """First byte of what a transfer moves, in the storages of which that is a part."""
    source, target = (storages[_window(item, name).buffer].within for name in ("src", "dst"))
    assert source is not None
    assert target is not None
    return source[1], target[1]


def _in_one(moves: Sequence[Item], storages: Mapping[str, Storage]) -> Iterator[Item]:
    """Transfers of one kind, in the order of what they move: neighbours become one."""
    size = ELEMENT_BYTES[_DTYPE]
    at = 0
    while at < len(moves):
        first = at
        begins = _begins(moves[first], storages)
        size_bytes = 0
        while at < len(moves):
            own_bytes = storages[_window(moves[at], "src").buffer].size_bytes
            is_next = _begins(moves[at], storages) == tuple(n + size_bytes for n in begins)
            if at > first and not (is_next and size_bytes + own_bytes <= _MOST_BYTES):
                break
            size_bytes += own_bytes
            at += 1
        if at == first + 1:
            yield moves[first]
            continue
        source, target = (storages[_window(moves[first], name).buffer] for name in ("src", "dst"))
        window = Access(source.whole, begins[0] // size, 1, size_bytes // size, 0, 1)
        place = replace(window, buffer=target.whole, offset=begins[1] // size)
        waits = {
            name: value
            for move in moves[first:at]
            for name, value in move.operands.items()
            if name not in ("src", "dst")
        }
        yield replace(moves[first], operands={**waits, "dst": place, "src": window})
