"""Allocate: an address for every buffer.

Contract: takes a schedule, gives an address for every storage; storages whose live ranges meet
never share a byte of one memory, and no memory's capacity is exceeded.

Activation SRAM is filled buffer by buffer, each at the lowest address that is free for its whole
life: the largest first, or in another of several orders if that needs less, down to the most bytes
that live at one time.  A buffer that is used in a loop lives for the whole loop, but for one that a
single part of a region (`azsim.compiler.regions`) writes and reads, and for one of a round
(`Storage.round_of`).  Tiles that a loop holds are placed likewise, behind what stays and the slots.
Of DRAM there is enough: `azsim.compiler.dram_layout` looks after its rows.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from azsim.compiler.dram_layout import dram_addresses
from azsim.compiler.estimate import Estimator
from azsim.compiler.first_fit import FirstFit
from azsim.compiler.schedule import (
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    of_rounds,
    only_in_a_part,
    walk,
)
from azsim.compiler.tile import aligned
from azsim.errors import CompileError
from azsim.hardware.description import Hardware

__all__ = ["Allocation", "allocate", "fits", "least_bytes"]

_PIECE = re.compile(r"([#@~]\d+)+$")
"""What names of places that hold a piece of a tensor end with."""
_FIRST_ITEMS = 4
"""Of a round, which can come while the round before ends."""
_MOST_TRIES = 64
_FEW_TRIES = 4


@dataclass(frozen=True)
class Allocation:
    """Addresses and peaks.

    Attributes
    ----------
    addresses : mapping of str to int
        Byte address of every storage.
    live : mapping of str to (int, int)
        First and last item (in program order, loop bodies once) that touch a storage, or a part of
        it; parts have no entry.
    peak_bytes : mapping of str to int
        Highest used byte of each memory.
    """

    addresses: Mapping[str, int]
    live: Mapping[str, tuple[int, int]]
    peak_bytes: Mapping[str, int]


def _live_ranges(schedule: Schedule, held: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    live: dict[str, tuple[int, int]] = {}
    local_to: list[tuple[int, int, set[str]]] = []
    position = 0

    def whole(name: str) -> str:
        return schedule.storages[name].whole

    def touch(name: str, at: int) -> None:
        name = whole(name)
        first, last = live.get(name, (at, at))
        live[name] = min(first, at), max(last, at)

    def visit(items: tuple[Item | Repeat, ...]) -> set[str]:
        nonlocal position
        touched: set[str] = set()
        for item in items:
            if isinstance(item, Repeat):
                start = position
                inside = visit(item.body)
                local = of_rounds(item, schedule.storages)
                inside -= local
                touched |= inside
                local = only_in_a_part(item) if item.is_region else set()
                local_to.append((start, position - 1, local))
                for name in inside - local:
                    touch(name, start)
                    touch(name, max(start, position - 1))
            else:
                for _, access in accesses(item):
                    touch(access.buffer, position)
                    touched.add(access.buffer)
                position += 1
        return touched

    for items in (schedule.startup, schedule.body, schedule.finish):
        visit(items)
    for start, end, local in local_to:
        for name in local:  # but what is used outside of the region has to outlive its rounds
            first, last = live[whole(name)]
            if first < start or last > end:
                touch(name, start)
                touch(name, end)
    for name, until in held.items():
        touch(name, until)
    for name, storage in schedule.storages.items():
        if storage.persistent and name in live:
            live[name] = 0, position
    return live


def allocate(
    schedule: Schedule,
    hardware: Hardware,
    estimator: Estimator | None = None,
    *,
    around: bool = False,
) -> Allocation:
    """Place every storage that the schedule touches.

    Storages that are held keep their place if there is room for all.  With an estimator, those in
    DRAM keep out of the way of those that move at the same time.  With `around`, if there is room
    for that too, what a round of the frame loop begins with has a place of its own, so that it can
    come while the round before ends.

    Raises
    ------
    CompileError
        If activation SRAM is too small; says how much is needed.
    """
    if around and (begins := _begins_of_rounds(schedule)):
        with contextlib.suppress(CompileError):
            return _allocated(schedule, hardware, estimator, {**schedule.held, **begins})
    with contextlib.suppress(CompileError):
        return _allocated(schedule, hardware, estimator, schedule.held)
    return _allocated(schedule, hardware, estimator, {})


def _begins_of_rounds(schedule: Schedule) -> dict[str, int]:
    """Storages in activation SRAM that a round's first items touch, and the last item of one."""
    items = list(walk(schedule.body))
    end = sum(1 for _ in walk(schedule.startup)) + len(items) - 1
    first = items[:_FIRST_ITEMS] if schedule.rounds > 1 else []
    names = set[str]().union(*(item.buffers for item in first))
    return {name: end for name in names if schedule.storages[name].space == "activation"}


def fits(schedule: Schedule, hardware: Hardware) -> bool:
    """Whether a schedule's storages in activation SRAM find a place, in one of a few orders."""
    live, room_bytes = _live_ranges(schedule, {}), hardware.activation_sram.bytes
    activations = [
        storage
        for name, storage in schedule.storages.items()
        if name in live and storage.space == "activation"
    ]
    pieces = list(_pieces(activations, live))
    if _least(pieces) > room_bytes:
        return False
    return _best(pieces, room_bytes, _FEW_TRIES)[1] <= room_bytes


def _allocated(
    schedule: Schedule,
    hardware: Hardware,
    estimator: Estimator | None,
    held: Mapping[str, int],
) -> Allocation:
    live = _live_ranges(schedule, held)
    used = [storage for name, storage in schedule.storages.items() if name in live]
    addresses: dict[str, int] = {}
    peak: dict[str, int] = {"dram": 0, "weight": 0, "activation": 0}
    slotted = [s for s in used if s.slot is not None and s.space == "weight"]
    slot_bytes = max((s.size_bytes for s in slotted), default=0)

    for storage in used:
        if storage.space == "weight" and storage.persistent:
            addresses[storage.name] = peak["weight"]
            peak["weight"] += aligned(storage.size_bytes)
    for storage in slotted:
        if storage.slot is not None:
            addresses[storage.name] = peak["weight"] + storage.slot * aligned(slot_bytes)
    if slot_bytes:
        peak["weight"] += 2 * aligned(slot_bytes)
    of_loops = [s for s in used if s.space == "weight" and s.slot is None and not s.persistent]
    peak["weight"] += _place(of_loops, live, addresses, peak["weight"])
    if peak["weight"] > hardware.weight_sram.bytes:
        raise CompileError(
            f"weight SRAM of {hardware.weight_sram.bytes} bytes is too small: "
            f"{peak['weight']} bytes are needed"
        )

    activations = [storage for storage in used if storage.space == "activation"]
    peak["activation"] = _place(activations, live, addresses)
    addresses |= _parts(schedule, addresses)
    if peak["activation"] > hardware.activation_sram.bytes:
        wholes = {one.whole for one in schedule.storages.values() if one.within is not None}
        largest = max(
            (
                one
                for one in schedule.storages.values()
                if one.space == "activation" and one.whole in live and one.name not in wholes
            ),
            key=lambda storage: storage.size_bytes,
        )
        name = _PIECE.sub("", largest.name)
        raise CompileError(
            f"activation SRAM of {hardware.activation_sram.bytes} bytes is too small: "
            f"{peak['activation']} bytes are needed; the largest tensor is '{name}' "
            f"with {largest.size_bytes} bytes"
        )
    in_dram, peak["dram"] = dram_addresses(schedule, used, addresses, hardware, estimator)
    return Allocation(addresses | in_dram | _parts(schedule, in_dram), live, peak)


def _parts(schedule: Schedule, addresses: Mapping[str, int]) -> dict[str, int]:
    """Addresses of parts of storages that have theirs."""
    return {
        name: addresses[storage.within[0]] + storage.within[1]
        for name, storage in schedule.storages.items()
        if storage.within is not None and storage.within[0] in addresses
    }


@dataclass(frozen=True)
class _Piece:
    """What looks for a place: storages, their bytes, and the items from first to last use."""

    names: tuple[str, ...]
    size: int
    first: int
    last: int

    @property
    def length(self) -> int:
        """How long it lives, in items."""
        return self.last - self.first + 1


def _pieces(storages: Sequence[Storage], live: Mapping[str, tuple[int, int]]) -> Iterator[_Piece]:
    """What looks for a place: storages, and slots as long as any storage in them lives."""
    slots: dict[int, list[_Piece]] = {}
    for storage in storages:
        piece = _Piece((storage.name,), aligned(storage.size_bytes), *live[storage.name])
        if storage.slot is None:
            yield piece
        else:
            slots.setdefault(storage.slot, []).append(piece)
    for pieces in slots.values():
        yield _Piece(
            tuple(name for piece in pieces for name in piece.names),
            max(piece.size for piece in pieces),
            min(piece.first for piece in pieces),
            max(piece.last for piece in pieces),
        )


def least_bytes(storages: Sequence[Storage], live: Mapping[str, tuple[int, int]]) -> int:
    """Most bytes that live at one time: no placement needs fewer."""
    return _least(list(_pieces(storages, live)))


def _least(pieces: Sequence[_Piece]) -> int:
    changes: dict[int, int] = {}
    for piece in pieces:
        changes[piece.first] = changes.get(piece.first, 0) + piece.size
        changes[piece.last + 1] = changes.get(piece.last + 1, 0) - piece.size
    return max(itertools.accumulate(changes[at] for at in sorted(changes)), default=0)


def _place(
    storages: Sequence[Storage],
    live: Mapping[str, tuple[int, int]],
    addresses: dict[str, int],
    base: int = 0,
) -> int:
    """Place storages from `base` on; returns the bytes that they take together."""
    pieces = list(_pieces(storages, live))
    found, peak = _best(pieces, _least(pieces))
    addresses |= {name: base + low for name, low in found.items()}
    return peak


def _best(
    pieces: Sequence[_Piece], least: int, most_tries: int = _MOST_TRIES
) -> tuple[dict[str, int], int]:
    """Addresses with the least peak of several orders, or with `least` or less, and that peak."""
    numbers = range(len(pieces))
    fit = FirstFit([p.size for p in pieces], [p.first for p in pieces], [p.last for p in pieces])
    orders = [
        sorted(numbers, key=lambda n: (-pieces[n].size, pieces[n].names)),
        sorted(numbers, key=lambda n: (-pieces[n].size * pieces[n].length, pieces[n].names)),
        sorted(numbers, key=lambda n: (-pieces[n].length, -pieces[n].size, pieces[n].names)),
        sorted(numbers, key=lambda n: (pieces[n].first, -pieces[n].size, pieces[n].names)),
    ]
    best: tuple[np.ndarray, int, np.ndarray] | None = None
    for order in (np.array(order, np.int64) for order in orders):
        found, peak = fit.place(order)
        if best is None or peak < best[1]:
            best = found, peak, order
        if best[1] <= least:
            break
    assert best is not None
    order = best[2]
    for _ in range(most_tries if best[1] > least else 0):
        found, peak = fit.place(order)
        if peak < best[1]:
            best = found, peak, order
        if best[1] <= least:
            break
        # What ends at the top comes earlier, in front of all that lives beside it.
        at = int(np.argmax((found + fit.sizes)[order] == peak))
        top = order[at]
        beside = np.flatnonzero(
            (fit.first[order] <= fit.last[top]) & (fit.first[top] <= fit.last[order])
        )
        middle = beside[len(beside) // 2]
        order = np.insert(np.delete(order, at), middle if at > middle else 0, top)
    addresses = {
        name: int(low) for piece, low in zip(pieces, best[0], strict=True) for name in piece.names
    }
    return addresses, best[1]
