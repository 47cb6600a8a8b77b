"""Prefetch: the loads of tiles that do not stay, ahead of the products that need them.

Contract: takes a schedule whose items multiply by streamed tiles by name, gives it with each of
these tiles in one of the two slots and a load ahead of each use.

Uses take turns with the slots, so that the load of one tile hides behind the product with the
other.  A load stands right behind the last product with what its slot held before: across steps,
layers, loops and frames.

- The first two tiles of a sequence are loaded ahead of it: those of the frame loop at the end of
  startup, those of an inner loop where the products before it leave the slots.
- In a loop the tiles of the next round are loaded behind the last products of this one.  These
  loads are left out in the last round (`Item.but_last`), so that nothing is loaded in vain.
- A slot that holds the tile already is not loaded again; a loop over one or two tiles loads them
  once.

- In a region (`azsim.compiler.regions`) each part loads what it multiplies by, at its begin and
  behind its products, and what follows the region is loaded behind it; what the next round begins
  with, behind the last region of this one.

With an odd number of uses in a round, the next round's first tile has to wait for the last product
of this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from azsim.compiler.schedule import (
    FRAME_LOOP,
    Item,
    Repeat,
    Schedule,
    Storage,
    accesses,
    rewritten_parts,
    walk,
)
from azsim.ops.lowering import Access

__all__ = ["Prefetcher", "prefetch"]

_NUM_SLOTS = 2
_NO_LOOP = -1
_Items = tuple[Item | Repeat, ...]


def prefetch(schedule: Schedule) -> Schedule:
    """Place the loads of a schedule's streamed tiles."""
    tiles = {name: schedule.storages[name] for name in schedule.loads}
    storages = {name: one for name, one in schedule.storages.items() if name not in tiles}

    def load(name: str, layer: str) -> Item:
        return replace(schedule.loads[name], layer=layer)

    startup, body = Prefetcher(tiles, storages, load).place(
        schedule.startup, schedule.body, schedule.frames
    )
    return replace(schedule, startup=startup, body=body, storages=storages, loads={})


@dataclass(frozen=True)
class _Tile:
    """A tile and the layer that it is loaded for."""

    name: str
    layer: str


_ANYTHING = _Tile("", "")
"""What a slot holds where data decided that."""


@dataclass
class _Use:
    """What one slot goes through while items `first` to `last` are carried out.

    `enters` has to be there before, `leaves` is there afterwards; they differ where an inner loop
    changes the slot itself.
    """

    enters: _Tile
    leaves: _Tile
    last: int


@dataclass(frozen=True)
class _Placed:
    """Items with their loads; the first and the last tile in the slots, in the order of turns."""

    items: _Items
    enters: tuple[_Tile, ...]
    leaves: tuple[_Tile, ...]


@dataclass(frozen=True)
class Prefetcher:
    """Places the loads of streamed tiles.

    Attributes
    ----------
    tiles : mapping of str to Storage
        Streamed tiles by name, without a slot.
    storages : mapping of str to Storage
        Gets one entry for each tile and slot that is used.
    load : callable
        ``load(tile, layer)`` makes the item that loads a tile.
    """

    tiles: Mapping[str, Storage]
    storages: MutableMapping[str, Storage]
    load: Callable[[str, str], Item]

    def place(
        self, startup: Sequence[Item | Repeat], body: Sequence[Item | Repeat], frames: int
    ) -> tuple[_Items, _Items]:
        """Insert the loads; gives startup and body."""
        placed = self._sequence(body, 0, FRAME_LOOP, frames)
        return (*startup, *self._heads(placed)), placed.items

    def _heads(self, placed: _Placed) -> list[Item]:
        """Loads of what has to be there before."""
        entering = enumerate(placed.enters)
        return [self._load(tile, slot) for slot, tile in entering if tile is not _ANYTHING]

    def _part(self, part: _Items, loops: Mapping[int, int]) -> _Items:
        """A part of a region that loads what it multiplies by."""
        placed = self._sequence(part, 0, _NO_LOOP, 1)
        return (*self._heads(placed), *placed.items)

    def _sequence(
        self, items: Sequence[Item | Repeat], turn: int, loop: int, count: int
    ) -> _Placed:
        """Place the loads of a loop's body; `turn` is the slot of its first use."""
        uses: list[_Use] = []
        result: list[Item | Repeat] = []
        for index, item in enumerate(items):
            found = {tile.name: tile for tile in self._streamed(item)}
            if found and isinstance(item, Repeat) and item.is_region:
                result.append(rewritten_parts(item, self._part))
                uses += [_Use(_ANYTHING, _ANYTHING, index) for _ in range(_NUM_SLOTS)]
                continue
            if len(found) > 1:
                assert isinstance(item, Repeat)
                inner = self._sequence(
                    item.body, (turn + len(uses)) % _NUM_SLOTS, item.number, item.count
                )
                result.append(replace(item, body=inner.items))
                uses += [
                    _Use(enters, leaves, index)
                    for enters, leaves in zip(inner.enters, inner.leaves, strict=True)
                ]
                continue
            for tile in found.values():
                if uses and uses[-1].leaves.name == tile.name and not _is_double(uses):
                    uses[-1].last = index
                else:
                    uses.append(_Use(tile, tile, index))
                slot = (turn + len(uses) - 1) % _NUM_SLOTS
                item = _renamed(item, tile.name, self._in_slot(tile.name, slot))
            result.append(item)
        loads: dict[int, list[Item]] = {}
        for number in range(_NUM_SLOTS, len(uses)):
            before, use = uses[number - _NUM_SLOTS], uses[number]
            if use.enters is not _ANYTHING and before.leaves.name != use.enters.name:
                item = self._load(use.enters, (turn + number) % _NUM_SLOTS)
                loads.setdefault(before.last, []).append(item)
        # A region begins with a fence, which a load for the next round would hold up.
        regions = (n for n, item in enumerate(items) if isinstance(item, Repeat) and item.is_region)
        last_region = max(regions, default=-1)
        last_of_slot = {number % _NUM_SLOTS: use for number, use in enumerate(uses)}
        for number, use in enumerate(uses[:_NUM_SLOTS] if count > 1 else ()):
            before = last_of_slot[number]
            if use.enters is not _ANYTHING and before.leaves.name != use.enters.name:
                item = self._load(use.enters, (turn + number) % _NUM_SLOTS)
                place = max(before.last, last_region)
                loads.setdefault(place, []).append(replace(item, but_last=loop))
        return _Placed(
            tuple(
                entry
                for index, item in enumerate(result)
                for entry in (item, *loads.get(index, ()))
            ),
            tuple(use.enters for use in uses[:_NUM_SLOTS]),
            tuple(last_of_slot[number].leaves for number in sorted(last_of_slot)),
        )

    def _streamed(self, item: Item | Repeat) -> Iterator[_Tile]:
        """Streamed tiles that an item multiplies by, in order."""
        for inner in walk((item,)):
            if inner.mnemonic == "mac_matmul":
                for name, access in accesses(inner):
                    if name == "src2" and access.buffer in self.tiles:
                        yield _Tile(access.buffer, inner.layer)

    def _load(self, tile: _Tile, slot: int) -> Item:
        item = self.load(tile.name, tile.layer)
        return _renamed(item, tile.name, self._in_slot(tile.name, slot))

    def _in_slot(self, tile: str, slot: int) -> str:
        name = f"{tile}@{slot}"
        if name not in self.storages:
            self.storages[name] = replace(self.tiles[tile], name=name, slot=slot)
        return name


def _is_double(uses: list[_Use]) -> bool:
    """Whether the last use is one of the two that stand for an inner loop."""
    return len(uses) > 1 and uses[-1].last == uses[-2].last


_Either = TypeVar("_Either", Item, Repeat, Item | Repeat)


def _renamed(item: _Either, old: str, new: str) -> _Either:
    """Replace a buffer's name in an item's windows."""
    if isinstance(item, Repeat):
        return replace(item, body=tuple(_renamed(inner, old, new) for inner in item.body))
    operands = {
        name: replace(operand, buffer=new)
        if isinstance(operand, Access) and operand.buffer == old
        else operand
        for name, operand in item.operands.items()
    }
    return replace(item, operands=operands)
