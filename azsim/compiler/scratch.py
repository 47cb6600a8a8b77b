"""Scratch: intermediate tensors that activation SRAM has no room for, in DRAM.

Contract: takes the items of a frame and a buffer that lives in a frame only, gives items that work
on the same bytes, with the buffer in DRAM: what an item (or a round of a loop) uses is loaded into
a place of its own before, and what it wrote and somebody reads later is stored behind.  Work that
is done row by row goes through a large tensor a few rows at a time.  Each part of a region
(`azsim.compiler.regions`) is a sequence of items of its own, and where room is short
(`Scratch.in_rounds`) so is the body of a loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from azsim.compiler.places import is_kept, placed, places_of
from azsim.compiler.schedule import (
    MAX_EXTENT,
    Item,
    Repeat,
    Storage,
    accesses,
    extent,
    is_written,
    only_in_a_part,
    part,
    rewritten_parts,
    walk,
    window_extents,
)
from azsim.ops.lowering import Access
from azsim.ops.steps import ELEMENT_BYTES

__all__ = ["Scratch", "in_dram"]

_Items = tuple[Item | Repeat, ...]

_ROW_BY_ROW = (
    "vector_binary",
    "vector_copy",
    "vector_multiply_add",
    "vector_norm",
    "vector_quantize",
    "vector_reduce",
    "vector_softmax",
    "vector_unary",
)


_ELEMENTWISE = ("vector_binary", "vector_copy", "vector_multiply_add", "vector_unary")


@dataclass(frozen=True)
class Scratch:
    """A buffer that is to live in DRAM.

    Attributes
    ----------
    storage : Storage
        As it was.
    port : str
        Name of its storage in DRAM.
    most_bytes : int
        What a place of its own may take, where work can be cut by rows.
    is_carried : bool
        Whether the next frame reads what this one leaves.
    in_rounds : bool
        Whether it comes and goes inside the rounds of a loop too, where one would use more than
        `most_bytes`.
    """

    storage: Storage
    port: str
    most_bytes: int
    is_carried: bool = False
    in_rounds: bool = False

    @property
    def name(self) -> str:
        """Of the buffer."""
        return self.storage.name

    @property
    def element_bytes(self) -> int:
        """Bytes of an element."""
        return ELEMENT_BYTES[self.storage.dtype]


def in_dram(
    items: Sequence[Item | Repeat], scratch: Scratch
) -> tuple[list[list[Item | Repeat]], list[Storage]] | None:
    """Move a buffer to DRAM.

    Parameters
    ----------
    items : sequence of Item or Repeat
        Of a frame, in order; those that do not touch the buffer may be left out.
    scratch : Scratch

    Returns
    -------
    items : list of list of Item or Repeat
        For each of `items`, what takes its place.
    storages : list of Storage
        The places on the chip.

    None where a window cannot be transferred as it lies.
    """
    moved = _Moved(scratch)
    size = scratch.storage.size_bytes // scratch.element_bytes
    try:
        found = moved.each(items, [(0, size)] if scratch.is_carried else [], {})
    except _CannotMoveError:
        return None
    return found, moved.storages


class _CannotMoveError(Exception):
    """A window cannot be transferred as it lies."""


def _cut(item: Item | Repeat, scratch: Scratch) -> list[Item | Repeat]:
    """Work on many rows in parts of as many as there is room for; on long ones in parts of them."""
    if isinstance(item, Repeat) or item.mnemonic not in _ROW_BY_ROW:
        return [item]
    windows = dict(accesses(item))
    mine = [window for window in windows.values() if window.buffer == scratch.name]
    if not mine or any(window.advance for window in mine):
        return [item]
    rows = max(window.rows for window in windows.values())
    is_shared = {"scale", "bias"} if item.mnemonic != "vector_quantize" else set()
    follow = {name: window for name, window in windows.items() if name not in is_shared}
    if any(window.rows != rows for window in follow.values()):
        return [item]  # a scale that all rows share is not known before the last of them
    longest = max(window.cols for window in mine)
    width = max(1, scratch.most_bytes // scratch.element_bytes)
    is_cut = item.mnemonic in _ELEMENTWISE and all(w.cols == longest for w in follow.values())
    width = min(longest, width) if is_cut else longest
    height = max(1, scratch.most_bytes // (scratch.element_bytes * width))
    if height >= rows and width == longest:
        return [item]
    cut: list[Item | Repeat] = []
    for row, col in itertools.product(range(0, rows, height), range(0, longest, width)):
        count, cols = min(height, rows - row), min(width, longest - col)
        parts = {
            name: part(window, row, count, col, cols if is_cut else window.cols)
            for name, window in follow.items()
        }
        cut.append(replace(item, operands={**item.operands, **parts}))
    return cut


def _reads(items: _Items, buffer: str) -> Iterator[tuple[int, int]]:
    """Elements of a buffer that items read, from the first to one past the last."""
    for item in items:
        yield from window_extents(item, buffer, {}, lambda one, name: not is_written(one, name))
        # What a product is added to is read, and so is what a scatter leaves alone.
        yield from window_extents(item, buffer, {}, is_kept)


def _read_later(
    items: Sequence[Item | Repeat], buffer: str, after: Sequence[tuple[int, int]]
) -> list[list[tuple[int, int]]]:
    """For each item, what others read behind it, and what itself reads in other rounds."""
    later = list(after)
    found: list[list[tuple[int, int]]] = []
    for item in reversed(items):
        if buffer not in item.buffers:
            found.append(later)
            continue
        mine = list(_reads((item,), buffer))
        found.append(later + (mine if isinstance(item, Repeat) else []))
        later = later + mine
    return found[::-1]


class _Moved:
    """Units of work with their transfers, and the places that these need."""

    def __init__(self, scratch: Scratch) -> None:
        self.storages: list[Storage] = []
        self._scratch = scratch

    def sequence(
        self,
        items: Sequence[Item | Repeat],
        after: Sequence[tuple[int, int]],
        loops: Mapping[int, int],
    ) -> list[Item | Repeat]:
        """Items one after another, inside `loops`; `after` them these elements are read."""
        return list(itertools.chain.from_iterable(self.each(items, after, loops)))

    def each(
        self,
        items: Sequence[Item | Repeat],
        after: Sequence[tuple[int, int]],
        loops: Mapping[int, int],
    ) -> list[list[Item | Repeat]]:
        """For each item of a sequence, what takes its place."""
        name = self._scratch.name
        result: list[list[Item | Repeat]] = []
        for item, later in zip(items, _read_later(items, name, after), strict=True):
            if name not in item.buffers:
                result.append([item])
            elif isinstance(item, Repeat) and item.is_region:
                is_alone = sum(name in other.buffers for other in items) == 1
                is_local = is_alone and name in only_in_a_part(item)
                result.append([self._region(item, after if is_local else later)])
            else:
                result.append(self._cut_item(item, later, loops))
        return result

    def _cut_item(
        self, item: Item | Repeat, later: Sequence[tuple[int, int]], loops: Mapping[int, int]
    ) -> list[Item | Repeat]:
        """An item in parts that have places of their own."""
        units = _cut(item, self._scratch)
        read = _read_later(units, self._scratch.name, later)
        found = (self._unit(unit, reads, loops) for unit, reads in zip(units, read, strict=True))
        return list(itertools.chain.from_iterable(found))

    def _region(self, region: Repeat, after: Sequence[tuple[int, int]]) -> Repeat:
        """Each part of a region for itself, as nobody knows which one comes next."""
        name = self._scratch.name
        if any(item.leave is not None and name in item.buffers for item in walk((region,))):
            raise _CannotMoveError
        return rewritten_parts(region, lambda part, loops: self.sequence(part, after, loops))

    def _unit(
        self, unit: Item | Repeat, later: Sequence[tuple[int, int]], loops: Mapping[int, int]
    ) -> list[Item | Repeat]:
        """One item, or a loop: around it, or in each of its rounds."""
        if isinstance(unit, Repeat) and self._is_cut_by_round(unit, loops):
            inside = {**loops, unit.number: unit.count}
            return [replace(unit, body=tuple(self.sequence(unit.body, later, inside)))]
        layer = next(walk((unit,))).layer
        windows = [access for one in walk((unit,)) for _, access in accesses(one)]
        mine = [access for access in windows if access.buffer == self._scratch.name]
        if isinstance(unit, Repeat) and any(unit.number in access.advance for access in mine):
            inside = {**loops, unit.number: unit.count}
            return [replace(unit, body=tuple(self._around(unit.body, layer, later, inside)))]
        return self._around((unit,), layer, later, loops)

    def _is_cut_by_round(self, loop: Repeat, loops: Mapping[int, int]) -> bool:
        """Whether each item of a loop's body is to have places of its own."""
        if not self._scratch.in_rounds:
            return False
        places = places_of(loop.body, self._scratch.name, {*loops, loop.number})
        size = sum(place.outside.rows * place.outside.cols for place in places or ())
        return places is None or size * self._scratch.element_bytes > self._scratch.most_bytes

    def _around(
        self,
        items: _Items,
        layer: str,
        later: Sequence[tuple[int, int]],
        loops: Mapping[int, int],
    ) -> list[Item | Repeat]:
        """Items with their loads before and their stores behind; `loops` are around them."""
        places = places_of(items, self._scratch.name, set(loops))
        if places is None:
            raise _CannotMoveError
        loads: list[Item] = []
        stores: list[Item] = []
        round_of = next(reversed(loops), None) if self._scratch.in_rounds else None
        for place in places:
            name = f"{self._scratch.name}@{len(self.storages)}"
            inside, outside = place.inside(name), replace(place.outside, buffer=self._scratch.port)
            size_bytes = inside.rows * inside.cols * self._scratch.element_bytes
            self.storages.append(
                Storage(
                    name, "activation", self._scratch.storage.dtype, size_bytes, round_of=round_of
                )
            )
            if place.reads:
                loads += _transfers("load", layer, inside, outside)
            low, high = extent(place.outside, loops)
            if place.writes and any(first < high and low < last for first, last in later):
                stores += _transfers("store", layer, outside, inside)
            items = tuple(placed(item, place, inside) for item in items)
        return [*loads, *items, *stores]


def _transfers(mnemonic: str, layer: str, target: Access, source: Access) -> Iterator[Item]:
    """Items that move a window; one that is a single long row in pieces that a view can show."""
    if target.rows > 1 or target.cols <= MAX_EXTENT:
        windows = [(0, target.cols)]
    else:
        edges = [*range(0, target.cols, MAX_EXTENT), target.cols]
        windows = [(low, high - low) for low, high in itertools.pairwise(edges)]
    for low, count in windows:
        yield Item(
            mnemonic,
            layer,
            {
                "dst": part(target, 0, target.rows, low, count),
                "src": part(source, 0, source.rows, low, count),
            },
        )
