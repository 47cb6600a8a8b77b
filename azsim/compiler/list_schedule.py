"""List scheduling: pieces of work in an order in which engines wait little for one another.

Contract: takes pieces with what each depends on and what it takes, gives when each begins, in the
order in which they begin.  Every engine does one piece at a time, and so does DRAM with those that
keep it busy; queues between the sequencer and the engines are not in the model.
"""

from __future__ import annotations

import bisect
import collections
import heapq
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from azsim.compiler.schedule import Item
from azsim.ops.lowering import Access

__all__ = ["Piece", "list_schedule", "program_order"]


@dataclass
class Piece:
    """Items that one engine carries out one after another.

    Attributes
    ----------
    items : list of Item
    unit : int
        What it is a piece of.
    engine : str
    fills_dram : bool
        Whether it keeps DRAM busy, so that no other such piece runs beside it.
    before : dict of (int, int) to int
        Items of other pieces, by those' numbers, that have to be over, and the item of this one
        before which they have to.
    behind : int or None
        Piece that has to have begun: the load that waits for the frame, with the sequencer.
    """

    items: list[Item]
    unit: int
    engine: str
    fills_dram: bool
    before: dict[tuple[int, int], int] = field(default_factory=dict)
    behind: int | None = None

    def needs(self, other: tuple[int, int], item: int) -> None:
        """Note that another piece's item has to be over before one of this one's."""
        self.before[other] = min(item, self.before.get(other, item))


def list_schedule(
    pieces: Sequence[Piece], cycles: Sequence[Sequence[int]], ahead: int | None = None
) -> dict[int, int]:
    """When each piece begins, in that order, with engines that do one piece at a time.

    Of the pieces that can begin at the earliest moment, the one with the longest way to the end
    goes first.  That way knows nothing of what else its engines have to do.  So the order is made
    once more from its end backwards, where what ended last goes first, and from there forwards
    again, where what has to begin first does, as long as that makes it shorter (K. Y. Li and
    R. J. Willis, "An iterative scheduling technique for resource-constrained project scheduling",
    1992).  Where a frame comes in several loads, that is tried in another way besides: an engine
    may wait for what one of them brings, instead of taking longer work that has time.

    Parameters
    ----------
    pieces : sequence of Piece
    cycles : sequence of sequence of int
        Of each piece's items.
    ahead : int, optional
        Units, from the first that has not begun as a whole, of which pieces may begin.
    """
    takes = [sum(items) for items in cycles]
    later: list[list[tuple[int, int]]] = [[] for _ in pieces]  # piece, cycles from this one's begin
    sooner: list[list[tuple[int, int]]] = [[] for _ in pieces]  # the same, from the end backwards
    for number, piece in enumerate(pieces):
        for other, lead in _leads(piece, number, cycles).items():
            later[other].append((number, max(0, takes[other] - lead)))
            sooner[number].append((other, max(0, takes[number] - lead)))
    way = list(takes)
    for number in range(len(pieces) - 1, -1, -1):
        way[number] = max([way[number], *(delay + way[other] for other, delay in later[number])])

    def last_end(starts: Mapping[int, int]) -> int:
        return max((at + takes[number] for number, at in starts.items()), default=0)

    is_free = ahead is None or all(piece.unit < ahead for piece in pieces)
    in_parts = is_free and _comes_in_parts(pieces)

    best = _in_order(pieces, takes, later, _Gate(pieces, ahead), [-length for length in way])
    while best:
        last_first = [-best[number] - takes[number] for number in range(len(pieces))]
        backwards = _in_order(pieces, takes, sooner, _Gate(pieces, None), last_first)
        first_first = [-backwards[number] - takes[number] for number in range(len(pieces))]
        found = _in_order(pieces, takes, later, _Gate(pieces, ahead), first_first)
        if in_parts:
            found = min(found, _in_gaps(pieces, takes, later, first_first), key=last_end)
        if last_end(found) >= last_end(best):
            break
        best = found
    return best


def _comes_in_parts(pieces: Iterable[Piece]) -> bool:
    """Whether what waits for a frame is one of several loads of the same input."""
    loads = [item for piece in pieces if piece.engine == "load" for item in piece.items]
    inputs: dict[tuple[str, int], list[Item]] = {}
    for item in loads:
        source = item.operands.get("src")
        if isinstance(source, Access):
            inputs.setdefault((source.buffer, item.frame), []).append(item)
    return any(
        len(parts) > 1 and any(item.operands.get("paced") for item in parts)
        for parts in inputs.values()
    )


def _in_order(
    pieces: Sequence[Piece],
    takes: Sequence[int],
    after: Sequence[Sequence[tuple[int, int]]],
    gate: _Gate,
    keys: Sequence[int],
) -> dict[int, int]:
    """When each piece begins if the least key goes first.

    `after` has, by piece, others that begin no sooner, and how many cycles later they do.
    """
    missing = [0] * len(pieces)
    for other, _ in itertools.chain.from_iterable(after):
        missing[other] += 1
    ready_at = [0] * len(pieces)
    queues = {piece.engine: _Queue() for piece in pieces}

    def offer(number: int) -> None:
        if gate.is_open(number):
            queues[pieces[number].engine].add(ready_at[number], keys[number], number)

    for number, count in enumerate(missing):
        if not count:
            offer(number)
    starts: dict[int, int] = {}
    dram_is_free = 0
    while len(starts) < len(pieces):
        heads = [head for queue in queues.values() if (head := queue.head()) is not None]
        at, _, number = min(
            (max(at, dram_is_free) if pieces[number].fills_dram else at, key, number)
            for at, key, number in heads
        )
        piece = pieces[number]
        queues[piece.engine].take(at + takes[number])
        if piece.fills_dram:
            dram_is_free = at + takes[number]
        starts[number] = at
        for other, delay in after[number]:
            ready_at[other] = max(ready_at[other], at + delay)
            missing[other] -= 1
            if not missing[other]:
                offer(other)
        for other in gate.opened_by(number):
            ready_at[other] = max(ready_at[other], at)
            offer(other)
    return starts


def _in_gaps(
    pieces: Sequence[Piece],
    takes: Sequence[int],
    after: Sequence[Sequence[tuple[int, int]]],
    keys: Sequence[int],
) -> dict[int, int]:
    """When each piece begins if the least key is placed first, where there is room for it.

    An engine may wait for a piece although it could begin another one, which the list of
    `_in_order` never does.
    """
    keys = list(keys)
    for number, others in enumerate(after):  # what a piece depends on has its place before it
        for other, _ in others:
            keys[other] = max(keys[other], keys[number])
    ready_at = [0] * len(pieces)
    starts = [0] * len(pieces)
    busy: dict[str, list[tuple[int, int]]] = {piece.engine: [] for piece in pieces}
    busy["dram"] = []
    for number in sorted(range(len(pieces)), key=lambda number: (keys[number], number)):
        piece = pieces[number]
        length = max(1, takes[number])  # no two of an engine begin at once
        lists = [busy[piece.engine], *([busy["dram"]] if piece.fills_dram else [])]
        at = ready_at[number]
        while True:
            begin = at
            for intervals in lists:
                at = _free(intervals, at, length)
            if at == begin:
                break
        for intervals in lists:
            bisect.insort(intervals, (at, at + length))
        starts[number] = at
        for other, delay in after[number]:
            ready_at[other] = max(ready_at[other], at + delay)
    return {number: starts[number] for number in sorted(range(len(pieces)), key=starts.__getitem__)}


def _free(intervals: Sequence[tuple[int, int]], at: int, length: int) -> int:
    """The first cycle from which on so many are free."""
    place = bisect.bisect_right(intervals, (at, 1 << 62)) - 1
    if place >= 0:
        at = max(at, intervals[place][1])
    for begin, end in intervals[place + 1 :]:
        if at + length <= begin:
            break
        at = max(at, end)
    return at


def program_order(pieces: Sequence[Piece], cycles: Sequence[Sequence[int]]) -> dict[int, int]:
    """When each piece begins if every engine keeps the order of the pieces; the earliest first.

    Parameters and the value are those of `list_schedule`.
    """
    takes = [sum(items) for items in cycles]
    free_at: dict[str, int] = {}
    dram_is_free = 0
    starts: list[int] = []
    for number, piece in enumerate(pieces):
        at = max(free_at.get(piece.engine, 0), dram_is_free if piece.fills_dram else 0)
        for other, lead in _leads(piece, number, cycles).items():
            at = max(at, starts[other], starts[other] + takes[other] - lead)
        starts.append(at)
        free_at[piece.engine] = at + takes[number]
        if piece.fills_dram:
            dram_is_free = at + takes[number]
    return {number: starts[number] for number in sorted(range(len(pieces)), key=starts.__getitem__)}


def _leads(piece: Piece, number: int, cycles: Sequence[Sequence[int]]) -> dict[int, int]:
    """Cycles that a piece can do before each of those that it depends on is over."""
    leads: dict[int, int] = {}
    if piece.behind is not None:
        leads[piece.behind] = sum(cycles[piece.behind])
    for (other, done), item in piece.before.items():
        lead = sum(cycles[number][:item]) + sum(cycles[other][done + 1 :])
        leads[other] = min(lead, leads.get(other, lead))
    return leads


class _Gate:
    """Lets only pieces begin whose unit is not too far ahead of the first that has not begun.

    Pieces come in the order of their units.
    """

    def __init__(self, pieces: Sequence[Piece], ahead: int | None) -> None:
        self._units = [piece.unit for piece in pieces]
        self._ahead = 1 + max(self._units, default=0) if ahead is None else ahead
        self._left = collections.Counter(self._units)
        self._first = min(self._units, default=0)
        self._waiting: list[tuple[int, int]] = []  # unit, number

    def is_open(self, number: int) -> bool:
        """Whether a piece may begin; if not, `opened_by` gives it when it may."""
        unit = self._units[number]
        if unit < self._first + self._ahead:
            return True
        heapq.heappush(self._waiting, (unit, number))
        return False

    def opened_by(self, number: int) -> Iterator[int]:
        """Pieces that may begin now that another one has begun."""
        self._left[self._units[number]] -= 1
        while self._first <= self._units[-1] and not self._left[self._first]:
            self._first += 1
        while self._waiting and self._waiting[0][0] < self._first + self._ahead:
            yield heapq.heappop(self._waiting)[1]


class _Queue:
    """Pieces of an engine that nothing has to come before any more."""

    def __init__(self) -> None:
        self._free_at = 0
        self._later: list[tuple[int, int, int]] = []  # ready, key, number
        self._ready: list[tuple[int, int]] = []  # key, number; ready when the engine is free

    def add(self, ready_at: int, key: int, number: int) -> None:
        if ready_at <= self._free_at:
            heapq.heappush(self._ready, (key, number))
        else:
            heapq.heappush(self._later, (ready_at, key, number))

    def head(self) -> tuple[int, int, int] | None:
        """When the next piece can begin, its key and number."""
        if self._ready:
            return self._free_at, *self._ready[0]
        return self._later[0] if self._later else None

    def take(self, end: int) -> None:
        """Take the head, which ends at `end`."""
        if self._ready:
            heapq.heappop(self._ready)
        else:
            heapq.heappop(self._later)
        self._free_at = end
        while self._later and self._later[0][0] <= end:
            heapq.heappush(self._ready, heapq.heappop(self._later)[1:])
