"""Allocate: an address for every buffer.

Contract: takes a schedule, gives an address for every storage; storages whose live ranges meet
never share a byte of one memory, and no memory's capacity is exceeded.

Activation SRAM is filled largest buffer first, each at the lowest address that is free for its
whole life.  A buffer that is used in a loop lives for the whole loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from azsim.compiler.schedule import Item, Repeat, Schedule, Storage, accesses
from azsim.compiler.tile import ALIGN_BYTES
from azsim.errors import CompileError
from azsim.hardware.description import Hardware

__all__ = ["Allocation", "allocate"]


@dataclass(frozen=True)
class Allocation:
    """Addresses and peaks.

    Attributes
    ----------
    addresses : mapping of str to int
        Byte address of every storage.
    live : mapping of str to (int, int)
        First and last item (in program order, loop bodies once) that touch a storage.
    peak_bytes : mapping of str to int
        Highest used byte of each memory.
    """

    addresses: Mapping[str, int]
    live: Mapping[str, tuple[int, int]]
    peak_bytes: Mapping[str, int]


def _aligned(size: int, align: int = ALIGN_BYTES) -> int:
    return -(-size // align) * align


def _live_ranges(schedule: Schedule) -> dict[str, tuple[int, int]]:
    live: dict[str, tuple[int, int]] = {}
    position = 0

    def touch(name: str, at: int) -> None:
        first, last = live.get(name, (at, at))
        live[name] = min(first, at), max(last, at)

    def visit(items: tuple[Item | Repeat, ...]) -> set[str]:
        nonlocal position
        touched: set[str] = set()
        for item in items:
            if isinstance(item, Repeat):
                start = position
                inside = visit(item.body)
                for name in inside:
                    touch(name, start)
                    touch(name, max(start, position - 1))
                touched |= inside
            else:
                for _, access in accesses(item):
                    touch(access.buffer, position)
                    touched.add(access.buffer)
                position += 1
        return touched

    for items in (schedule.startup, schedule.body, schedule.finish):
        visit(items)
    for name, storage in schedule.storages.items():
        if storage.persistent and name in live:
            live[name] = 0, position
    return live


def allocate(schedule: Schedule, hardware: Hardware) -> Allocation:
    """Place every storage that the schedule touches.

    Raises
    ------
    CompileError
        If activation SRAM is too small; says how much is needed.
    """
    live = _live_ranges(schedule)
    used = [storage for name, storage in schedule.storages.items() if name in live]
    addresses: dict[str, int] = {}
    peak: dict[str, int] = {"dram": 0, "weight": 0, "activation": 0}
    slot_bytes = max((s.size_bytes for s in used if s.slot is not None), default=0)

    for storage in used:
        if storage.space == "dram" or (storage.space == "weight" and storage.persistent):
            addresses[storage.name] = peak[storage.space]
            peak[storage.space] += _aligned(storage.size_bytes)
    for storage in used:
        if storage.slot is not None:
            addresses[storage.name] = peak["weight"] + storage.slot * _aligned(slot_bytes)
    if slot_bytes:
        peak["weight"] += 2 * _aligned(slot_bytes)
    held = [s for s in used if s.space == "weight" and s.slot is None and not s.persistent]
    peak["weight"] += _place(held, live, addresses, peak["weight"])
    if peak["weight"] > hardware.weight_sram.bytes:
        raise CompileError(
            f"weight SRAM of {hardware.weight_sram.bytes} bytes is too small: "
            f"{peak['weight']} bytes are needed"
        )

    activations = [storage for storage in used if storage.space == "activation"]
    peak["activation"] = _place(activations, live, addresses)
    if peak["activation"] > hardware.activation_sram.bytes:
        largest = max(activations, key=lambda storage: storage.size_bytes)
        raise CompileError(
            f"activation SRAM of {hardware.activation_sram.bytes} bytes is too small: "
            f"{peak['activation']} bytes are needed; the largest tensor is '{largest.name}' "
            f"with {largest.size_bytes} bytes"
        )
    return Allocation(addresses, live, peak)


def _place(
    storages: list[Storage],
    live: Mapping[str, tuple[int, int]],
    addresses: dict[str, int],
    base: int = 0,
) -> int:
    placed: list[tuple[int, int, int, int]] = []  # low, high, first, last
    peak = 0
    for storage in sorted(storages, key=lambda entry: (-entry.size_bytes, entry.name)):
        first, last = live[storage.name]
        size = _aligned(storage.size_bytes)
        low = 0
        for other_low, other_high, other_first, other_last in sorted(placed):
            if other_first <= last and first <= other_last and other_low < low + size:
                low = max(low, other_high)
        addresses[storage.name] = base + low
        placed.append((low, low + size, first, last))
        peak = max(peak, low + size)
    return peak
