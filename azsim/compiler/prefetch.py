"""Prefetch: the loads of tiles that do not stay, ahead of the products that need them.

Contract: takes items that multiply by streamed tiles by name, gives the same items with a load in
front of each use; a tile's load stands two tiles ahead of its use, so that it hides behind the
product with the other slot's tile, and a slot is loaded only after the last product with what it
held.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from azsim.compiler.schedule import Item, Repeat, Storage, accesses, walk
from azsim.ops.lowering import Access

__all__ = ["Prefetcher"]


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

    def place(self, items: Sequence[Item | Repeat]) -> tuple[Item | Repeat, ...]:
        """Insert the loads.

        A loop that loads tiles itself uses both slots, so nothing is prefetched across it.
        """
        result: list[Item | Repeat] = []
        run: list[Item | Repeat] = []
        for item in items:
            if isinstance(item, Repeat) and any(
                inner.mnemonic == "weight_load" for inner in walk(item.body)
            ):
                result += [*self._place_run(run), item]
                run = []
            else:
                run.append(item)
        return (*result, *self._place_run(run))

    def _place_run(self, items: Sequence[Item | Repeat]) -> list[Item | Repeat]:
        uses: list[tuple[str, int, str]] = []  # tile, index of its last use in a row, layer
        use_of: list[int] = []  # number of the use that each item belongs to
        for index, item in enumerate(items):
            for name, layer in _multiplied(item):
                if name in self.tiles:
                    if uses and uses[-1][0] == name:
                        uses[-1] = (name, index, layer)
                    else:
                        uses.append((name, index, layer))
            use_of.append(len(uses) - 1)
        if not uses:
            return list(items)

        def load(number: int) -> Item:
            name, _, layer = uses[number]
            return _renamed(self.load(name, layer), name, self._in_slot(name, number % 2))

        result: list[Item | Repeat] = [load(number) for number in range(min(2, len(uses)))]
        for index, item in enumerate(items):
            number = use_of[index]
            if number >= 0:
                name = uses[number][0]
                item = _renamed(item, name, self._in_slot(name, number % 2))
            result.append(item)
            if number >= 0 and uses[number][1] == index and number + 2 < len(uses):
                result.append(load(number + 2))
        return result

    def _in_slot(self, tile: str, slot: int) -> str:
        name = f"{tile}@{slot}"
        if name not in self.storages:
            self.storages[name] = replace(self.tiles[tile], name=name, slot=slot)
        return name


def _multiplied(item: Item | Repeat) -> Iterator[tuple[str, str]]:
    """Weight tiles that an item multiplies by, with their layer."""
    for inner in walk((item,)):
        if inner.mnemonic == "mac_matmul":
            for name, access in accesses(inner):
                if name == "src2":
                    yield access.buffer, inner.layer


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
