"""Channels: which transfers of a frame meet in DRAM, and what it takes, by a model of the engines.

Every engine carries out its items in program order, each after those with which it shares a buffer,
and no more than a queue ahead of the other engines.  What fills a place, a load in any case, also
waits for what was there before.  Transfers share DRAM evenly.  Rounds of loops are played one by
one, so that windows which advance are where they will be.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from azsim.compiler.estimate import Estimator, engine_of
from azsim.compiler.schedule import FRAME_LOOP, Item, Repeat, Schedule, extent, is_written, walk
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["Meeting", "meetings", "run_cycles"]

_CHANNELS = ("weight", "load", "store")
_WRITERS = ("weight", "load", "mac", "vector")  # into SRAM
_MOST_ITEMS = 30_000
"""Of a frame; loops of a longer one are played for a few rounds."""
_BLOCK_BYTES = 64
"""That places are looked at by: what they are aligned to."""
_FEW_ROUNDS = 4


@dataclass(frozen=True)
class Meeting:
    """Two transfers that go on at the same time, or one behind another.

    Attributes
    ----------
    storage, other : str
        In DRAM, what each of them moves a part of.
    span, other_span : tuple of float
        Bytes in the storage: from one to another.
    bursts : float
        Of each of them meanwhile; 1 for one behind another, the last burst and the first one.
    step, other_step : float
        Bytes by which each of them is further on in the next round of the frame loop.
    """

    storage: str
    other: str
    span: tuple[float, float]
    other_span: tuple[float, float]
    bursts: float
    step: float
    other_step: float

    def turned(self) -> Meeting:
        """The same, as the other one sees it."""
        spans, steps = (self.other_span, self.span), (self.other_step, self.step)
        return Meeting(self.other, self.storage, *spans, self.bursts, *steps)


@dataclass(frozen=True)
class _Played:
    """An item in some rounds of the loops around it."""

    item: Item
    rounds: Mapping[int, int]


def meetings(
    schedule: Schedule, on_chip: Mapping[str, int], estimator: Estimator, hardware: Hardware
) -> list[Meeting]:
    """Transfers that meet: in a frame behind another, or in all of a single one.

    Parameters
    ----------
    schedule : Schedule
    on_chip : mapping of str to int
        Addresses of storages in SRAM.
    estimator : Estimator
    hardware : Hardware
    """
    is_stream = schedule.rounds > 1
    items = schedule.body if is_stream else schedule.startup + schedule.body + schedule.finish
    if len({engine_of(item) for item in walk(items)} & set(_CHANNELS)) < 2:
        return []
    frame = _played(items)
    model = _Model(frame * 2 if is_stream else frame, schedule, on_chip, estimator, hardware)
    return model.run(len(frame) if is_stream else 0)


def run_cycles(
    schedule: Schedule, on_chip: Mapping[str, int], estimator: Estimator, hardware: Hardware
) -> float:
    """Cycles of a run: of its begin and end, and of as many rounds as there are.

    A loop of many items is played a few rounds long: for comparing orders of the same work, and
    places in which work waits for other work.

    Parameters
    ----------
    schedule : Schedule
    on_chip : mapping of str to int
        Addresses of storages in SRAM.
    estimator : Estimator
    hardware : Hardware
    """
    is_loop = schedule.rounds > 1
    first = _played((*schedule.startup, *schedule.body))
    second = _played(schedule.body) if is_loop else []
    played = [*first, *second, *_played(schedule.finish)]
    model = _Model(played, schedule, on_chip, estimator, hardware, waits=_WRITERS)
    model.run(len(played))
    if not is_loop:
        return max(model.ends)
    ends = max(model.ends[: len(first)]), max(model.ends[: len(first) + len(second)])
    return max(model.ends) + (schedule.rounds - 2) * (ends[1] - ends[0])


def _played(items: Sequence[Item | Repeat]) -> list[_Played]:
    most = math.inf if sum(map(_count, items)) <= _MOST_ITEMS else _FEW_ROUNDS
    return list(_in_rounds(items, {}, most))


def _count(item: Item | Repeat) -> float:
    return item.mean_rounds * sum(map(_count, item.body)) if isinstance(item, Repeat) else 1


def _in_rounds(
    items: Sequence[Item | Repeat], rounds: Mapping[int, int], most: float
) -> Iterator[_Played]:
    """Items as they are carried out."""
    for item in items:
        if isinstance(item, Item):
            yield _Played(item, rounds)
            continue
        for number in range(int(min(math.ceil(item.mean_rounds), most))):
            is_last = number + 1 == item.count
            inside = [
                inner
                for inner in item.body
                if not (is_last and isinstance(inner, Item) and inner.but_last == item.number)
            ]
            yield from _in_rounds(inside, {**rounds, item.number: number}, most)


@dataclass
class _Transfer:
    """One that goes on."""

    number: int
    cycles: float
    done: float = 0.0


class _Model:
    """Engines that carry out items."""

    def __init__(
        self,
        played: Sequence[_Played],
        schedule: Schedule,
        on_chip: Mapping[str, int],
        estimator: Estimator,
        hardware: Hardware,
        waits: Collection[str] = ("load",),
    ) -> None:
        self.ends = [0.0] * len(played)
        self._played = played
        self._wait_for_place = waits
        self._storages = schedule.storages
        self._estimator = estimator
        self._queue_entries = hardware.sequencer.queue_entries
        self._burst_cycles = (
            hardware.dram.burst_bytes / hardware.dram.bytes_per_s * hardware.clock_hz
        )
        self._spans = {
            name: (storage.space, slice(*_blocks(on_chip[name], storage.size_bytes)))
            for name, storage in schedule.storages.items()
            if name in on_chip and storage.space != "dram"
        }
        self._cycles: dict[int, float] = {}  # by an item's identity
        self._parts: dict[str, list[str]] = {}
        for name, storage in schedule.storages.items():
            if storage.within is not None:
                self._parts.setdefault(storage.whole, []).append(name)

    def run(self, first: int) -> list[Meeting]:
        """Meetings in which an item from the first one on is."""
        queues: dict[str, deque[int]] = {}
        for number, played in enumerate(self._played):
            queues.setdefault(engine_of(played.item), deque()).append(number)
        waits = list(self._waits())
        is_over = [False] * len(self._played)
        before: _Transfer | None = None
        moving: dict[str, _Transfer] = {}
        working: dict[str, tuple[float, int]] = {}
        found: list[Meeting] = []
        now = 0.0
        while True:
            for engine, queue in queues.items():
                if not queue or engine in moving or engine in working:
                    continue
                if all(map(is_over.__getitem__, waits[queue[0]])):
                    number = queue.popleft()
                    cycles = self._cycles_of(self._played[number].item)
                    if engine in _CHANNELS:
                        moving[engine] = transfer = _Transfer(number, cycles)
                        if before is not None and number >= first:
                            found.append(self._succession(before, transfer))
                        before = transfer
                    else:
                        working[engine] = now + cycles, number
            if not moving and not working:
                return found
            ends = [(t.cycles - t.done) * len(moving) for t in moving.values()]
            step = min(*ends, *(end - now for end, _ in working.values()), math.inf)
            now += step
            for one, other in itertools.combinations(moving.values(), 2):
                if step > 0 and max(one.number, other.number) >= first:
                    found.append(self._meeting(one, other, step / len(moving)))
            share = step / len(moving) if moving else 0.0
            for engine, transfer in list(moving.items()):
                transfer.done += share
                if transfer.done > transfer.cycles - 1e-6:
                    is_over[transfer.number] = True
                    self.ends[transfer.number] = now
                    del moving[engine]
            for engine, (end, number) in list(working.items()):
                if end <= now:
                    is_over[number] = True
                    self.ends[number] = now
                    del working[engine]

    def _cycles_of(self, item: Item) -> float:
        if id(item) not in self._cycles:
            decides = item.leave is not None  # the sequencer, which takes no time in this model
            cycles = 1 if decides else self._estimator.cycles(item, self._storages, roughly=True)
            self._cycles[id(item)] = float(max(1, cycles))
        return self._cycles[id(item)]

    def _meeting(self, one: _Transfer, other: _Transfer, cycles: float) -> Meeting:
        """Two transfers, each of which does some of its cycles."""
        (storage, span), (other_storage, other_span) = (
            self._moved(transfer, cycles) for transfer in (one, other)
        )
        bursts, steps = cycles / self._burst_cycles, (self._step(one), self._step(other))
        return Meeting(storage, other_storage, span, other_span, bursts, *steps)

    def _succession(self, one: _Transfer, other: _Transfer) -> Meeting:
        """One transfer behind another: the last burst of that, and the first one of this."""
        storage, (_, end) = self._moved(_Transfer(one.number, one.cycles), one.cycles)
        other_storage, (begin, _) = self._moved(_Transfer(other.number, other.cycles), 0.0)
        spans, steps = ((end - 1, end - 1), (begin, begin)), (self._step(one), self._step(other))
        return Meeting(storage, other_storage, *spans, 1.0, *steps)

    def _step(self, transfer: _Transfer) -> float:
        """Bytes in DRAM by which a transfer is further on in the next round of the frame loop."""
        window = _in_dram(self._played[transfer.number].item)
        size = ELEMENT_BYTES[self._storages[window.buffer].dtype]
        return float(size * window.advance.get(FRAME_LOOP, 0))

    def _moved(self, transfer: _Transfer, cycles: float) -> tuple[str, tuple[float, float]]:
        """Storage in DRAM and bytes of it that a transfer moves in some cycles."""
        played = self._played[transfer.number]
        window = _in_dram(played.item)
        ahead = sum(played.rounds.get(loop, 0) * step for loop, step in window.advance.items())
        low, high = extent(replace(window, offset=window.offset + ahead, advance={}), {})
        storage = self._storages[window.buffer]
        size = ELEMENT_BYTES[storage.dtype]
        first = storage.within[1] if storage.within is not None else 0
        begin, end = (
            first + size * (low + (high - low) * done / transfer.cycles)
            for done in (transfer.done, transfer.done + cycles)
        )
        return storage.whole, (begin, end)

    def _waits(self) -> Iterator[set[int]]:
        """Numbers of the items that have to be over before each one begins."""
        done: dict[str, list[int]] = {}
        wrote: dict[Hashable, int] = {}
        read_since: dict[Hashable, list[int]] = {}
        # By space, engine and block of bytes, the last item that touched it.
        touched: dict[str, dict[str, np.ndarray]] = {}
        num_blocks = max((span.stop for _, span in self._spans.values()), default=0)
        for number, (item, engine) in enumerate((p.item, engine_of(p.item)) for p in self._played):
            before = {
                mine[-1 - self._queue_entries]
                for mine in done.values()
                if len(mine) > self._queue_entries
            }
            for other, mine in done.items():
                if item.leave is not None or item.operands.get(f"wait_{other}"):
                    before.add(mine[-1])
            for name, access in item.windows:
                for place in self._places(access.buffer):
                    before |= {wrote[place]} if place in wrote else set()
                    if is_written(item, name):
                        before |= set(read_since.get(place, ()))
                if is_written(item, name) and engine in self._wait_for_place:
                    space, span = self._spans[access.buffer]
                    engines = touched.get(space, {}).values()
                    before |= {int(last[span].max()) for last in engines}
            yield before - {-1}
            for name, access in item.windows:
                if access.buffer in self._spans:
                    space, span = self._spans[access.buffer]
                    blocks = touched.setdefault(space, {})
                    if engine not in blocks:
                        blocks[engine] = np.full(num_blocks, -1)
                    blocks[engine][span] = number
                for place in self._places(access.buffer):
                    if is_written(item, name):
                        wrote[place], read_since[place] = number, []
                    else:
                        read_since.setdefault(place, []).append(number)
            done.setdefault(engine, []).append(number)

    def _places(self, buffer: str) -> Sequence[Hashable]:
        """What a buffer takes turns in; its parts; or itself."""
        storage = self._storages[buffer]
        if storage.slot is not None:
            return [(storage.space, storage.slot)]
        return self._parts.get(buffer, (buffer,))


def _in_dram(item: Item) -> Access:
    """Window of a transfer into DRAM."""
    window = item.operands["dst" if engine_of(item) == "store" else "src"]
    assert isinstance(window, Access)
    return window


def _blocks(address: int, size_bytes: int) -> tuple[int, int]:
    """First block of bytes that a place has, and the one behind it."""
    return address // _BLOCK_BYTES, -(-(address + size_bytes) // _BLOCK_BYTES)
