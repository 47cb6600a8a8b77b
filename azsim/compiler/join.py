"""Join: results that a frame stores one after another go to DRAM together.

Contract: takes a schedule, gives one that stores the same numbers, at other addresses.  Where data
decides, nothing is under way (`azsim.compiler.regions`), so what a frame stores behind it is at the
end of the frame: each store waits for the one before, for DRAM's latency and for a row to open.
Stores behind a region become one, of results that lie side by side in activation SRAM, and in DRAM
frame after frame: a record (`Storage.within`).  Where products or loops come behind the region,
results may go meanwhile, and where a record does not fit activation SRAM, the schedule stays as it
is.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.allocate import fits
from azsim.compiler.edges import OUTPUT
from azsim.compiler.schedule import (
    FRAME_LOOP,
    MAX_EXTENT,
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    is_written,
    shows_all,
    unused_name,
    users_of,
)
from azsim.compiler.tile import aligned
from azsim.hardware.description import Hardware
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["join"]

_DTYPE = "i32"
"""Of a record: four bytes, as each of its elements has."""


@dataclass(frozen=True)
class _Store:
    """A store that can be a part of another: where it stands, and the results that it stores."""

    at: int
    source: Storage
    target: Storage


def join(schedule: Schedule, hardware: Hardware) -> Schedule:
    """Join the stores of a frame that stand behind a region.

    Parameters
    ----------
    schedule : Schedule
    hardware : Hardware
    """
    body: list[Item | Repeat | None] = list(schedule.body)
    storages = dict(schedule.storages)
    for stretch in _behind_regions(schedule.body):
        stores = _joinable(schedule, stretch, storages)
        if len(stores) < 2:
            continue
        for store in stores:
            body[store.at] = None
        body[stores[-1].at] = _joined(stores, storages, schedule.frames)
    joined = replace(
        schedule, body=tuple(item for item in body if item is not None), storages=storages
    )
    return joined if joined.body != schedule.body and fits(joined, hardware) else schedule


def _behind_regions(body: Sequence[Item | Repeat]) -> Iterator[dict[int, Item]]:
    """Items by number from a region to the next one, or to the end, if all of it is short."""
    regions = [at for at, item in enumerate(body) if isinstance(item, Repeat) and item.is_region]
    for first, last in itertools.pairwise([*regions, len(body)]):
        stretch = {at: body[at] for at in range(first + 1, last)}
        items = {at: item for at, item in stretch.items() if isinstance(item, Item)}
        if items == stretch and all(one.mnemonic != "mac_matmul" for one in items.values()):
            yield items


def _joinable(
    schedule: Schedule, stretch: Mapping[int, Item], storages: Mapping[str, Storage]
) -> list[_Store]:
    """Stores of a stretch that can be one at the place of the last of them."""
    users = users_of((*schedule.startup, *schedule.body, *schedule.finish))
    found: dict[str, _Store] = {}
    for at, item in stretch.items():
        if item.mnemonic == "store" and item.layer == OUTPUT:
            source, target = (item.operands[name] for name in ("src", "dst"))
            assert isinstance(source, Access)
            assert isinstance(target, Access)
            store = _Store(at, storages[source.buffer], storages[target.buffer])
            if (
                shows_all(source, store.source)
                and shows_all(target, store.target, schedule.frames)
                and store.source.is_of_a_frame
                and store.source.round_of is None
                and store.source.within is None
                and len(users[store.target.name]) == 1
            ):
                found.setdefault(source.buffer, store)
    stores = list(found.values())
    most_bytes = MAX_EXTENT * ELEMENT_BYTES[_DTYPE]
    while sum(store.source.size_bytes for store in stores) > most_bytes:
        stores.remove(max(stores, key=lambda store: store.source.size_bytes))
    last = max((store.at for store in stores), default=0)
    changed = {
        access.buffer: at
        for at, item in stretch.items()
        for name, access in accesses(item)
        if is_written(item, name) and at < last
    }
    return [store for store in stores if changed.get(store.source.name, -1) < store.at]


def _joined(stores: Sequence[_Store], storages: dict[str, Storage], frames: int) -> Item:
    """One store in the place of several; their storages become parts of two others."""
    size_bytes = sum(store.source.size_bytes for store in stores)
    step_bytes = aligned(size_bytes)  # where a burst begins
    inside = unused_name(", ".join(store.source.name for store in stores), storages)
    results = (store.target.name.removeprefix("output ") for store in stores)
    outside = unused_name(f"output {', '.join(results)}", storages)
    storages[inside] = Storage(inside, "activation", _DTYPE, size_bytes)
    storages[outside] = Storage(outside, "dram", _DTYPE, frames * step_bytes, True)
    first = 0
    for store in stores:
        for part, whole in ((store.source, inside), (store.target, outside)):
            storages[part.name] = replace(part, within=(whole, first))
        first += store.source.size_bytes
    element = ELEMENT_BYTES[_DTYPE]
    source = Access(inside, 0, 1, size_bytes // element, 0, 1)
    moves = {FRAME_LOOP: step_bytes // element} if frames > 1 else {}
    target = replace(source, buffer=outside, advance=moves)
    return Item("store", OUTPUT, {"dst": target, "src": source})
